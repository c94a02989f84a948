package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

func send(t *testing.T, s *client.Session, text string) *client.Pending {
	t.Helper()
	return sendTo(t, s, bob, text)
}

func sendTo(t *testing.T, s *client.Session, to int64, text string) *client.Pending {
	t.Helper()
	p, err := s.Send(t.Context(), client.Outgoing{To: to, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// expectSend reads a send, which must be of that text.
func expectSend(t *testing.T, p *clienttest.Peer, text string) (clienttest.Request, *chatpb.SendRequest) {
	t.Helper()
	req := new(chatpb.SendRequest)
	r := p.Expect(idl.ActionMessage, req)
	if req.Text != text {
		t.Fatalf("got a send of %q, want %q", req.Text, text)
	}
	return r, req
}

func sendReply(seq int64) *chatpb.SendReply {
	return &chatpb.SendReply{MessageId: fmt.Sprintf("M%d", seq), ConversationId: chat, Seq: seq, InboxSeq: seq}
}

func expectState(t *testing.T, p *client.Pending, want client.State) {
	t.Helper()
	synctest.Wait()
	if got := p.State(); got != want {
		t.Errorf("got state %v, want %v", got, want)
	}
}

func TestStatesOfAMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, _, peer, d := joined(t, f, nil)
		p, err := s.Send(t.Context(), client.Outgoing{To: bob, Text: "hi", ClientID: "mine-1"})
		if err != nil {
			t.Fatal(err)
		}
		r, req := expectSend(t, peer, "hi")
		if req.ClientId != "mine-1" || p.ClientID() != "mine-1" || req.ToUserId != bob {
			t.Errorf("got request %+v", req)
		}
		expectState(t, p, client.Queued)
		if rep, err := p.Result(); rep != nil || err != nil {
			t.Errorf("before the answer: %v, %v", rep, err)
		}
		peer.Answer(r, sendReply(1))
		<-p.Settled()
		expectState(t, p, client.Committed)
		if rep, err := p.Result(); err != nil || rep.MessageId != "M1" {
			t.Errorf("got %v, %v", rep, err)
		}
		peer.Push(idl.ActionMessageAck, &chatpb.Receipt{ConversationId: chat, UserId: bob, Seq: 1})
		<-p.Delivered()
		expectState(t, p, client.Delivered)
		d.expect(t, "message 1 hi", "delivered c_1_2 1")
	})
}

func TestReceipts(t *testing.T) {
	receipt := func(user, seq int64) *chatpb.Receipt {
		return &chatpb.Receipt{ConversationId: chat, UserId: user, Seq: seq}
	}
	tests := []struct {
		name string
		play func(p *clienttest.Peer, answer func())
		want client.State
	}{
		{"before the answer", func(p *clienttest.Peer, answer func()) {
			p.Push(idl.ActionMessageAck, receipt(bob, 3))
			answer()
		}, client.Delivered},
		{"with sync", func(p *clienttest.Peer, answer func()) {
			answer()
			p.Push(idl.ActionSync, new(chatpb.SyncPush))
			p.AnswerSync("e1", &chatpb.SyncReply{Receipts: []*chatpb.Receipt{receipt(bob, 3)}, ReceiptsHead: 1})
		}, client.Delivered},
		{"with the second answer of a sync", func(p *clienttest.Peer, answer func()) {
			answer()
			p.Push(idl.ActionSync, new(chatpb.SyncPush))
			p.AnswerSync("e1", &chatpb.SyncReply{Receipts: []*chatpb.Receipt{{ConversationId: "c_1_9", UserId: 9, Seq: 1}}, ReceiptsHead: 7, MoreReceipts: true})
			if asked := p.AnswerSync("e1", &chatpb.SyncReply{Receipts: []*chatpb.Receipt{receipt(bob, 3)}, ReceiptsHead: 8}); asked.ReceiptsAfter != 7 {
				t.Errorf("asked for receipts after %d", asked.ReceiptsAfter)
			}
		}, client.Delivered},
		{"read", func(p *clienttest.Peer, answer func()) {
			answer()
			p.Push(idl.ActionRead, &chatpb.Read{ConversationId: chat, UserId: bob, Seq: 3})
		}, client.Delivered},
		{"read before the answer", func(p *clienttest.Peer, answer func()) {
			p.Push(idl.ActionRead, &chatpb.Read{ConversationId: chat, UserId: bob, Seq: 3})
			answer()
		}, client.Delivered},
		{"read by me", func(p *clienttest.Peer, answer func()) {
			answer()
			p.Push(idl.ActionRead, &chatpb.Read{ConversationId: chat, UserId: me, Seq: 3})
		}, client.Committed},
		{"beyond it", func(p *clienttest.Peer, answer func()) {
			answer()
			p.Push(idl.ActionMessageAck, receipt(bob, 9))
		}, client.Delivered},
		{"below it", func(p *clienttest.Peer, answer func()) {
			answer()
			p.Push(idl.ActionMessageAck, receipt(bob, 2))
		}, client.Committed},
		{"my own device", func(p *clienttest.Peer, answer func()) {
			answer()
			p.Push(idl.ActionMessageAck, receipt(me, 3))
		}, client.Committed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _, peer, _ := joined(t, forms()[1], nil)
				p := send(t, s, "hi")
				r, _ := expectSend(t, peer, "hi")
				rep := sendReply(3)
				rep.InboxSeq = 1
				tt.play(peer, func() { peer.Answer(r, rep) })
				expectState(t, p, tt.want)
			})
		})
	}
}

// TestReceiptsAreToldOnce: also those that come by push and by sync.
func TestReceiptsAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, peer, d := joined(t, forms()[1], nil)
		r := &chatpb.Receipt{ConversationId: chat, UserId: bob, Seq: 4}
		peer.Push(idl.ActionMessageAck, r)
		peer.Push(idl.ActionMessageAck, r)
		peer.Push(idl.ActionMessageAck, &chatpb.Receipt{ConversationId: chat, UserId: bob, Seq: 3})
		peer.Push(idl.ActionSync, new(chatpb.SyncPush))
		peer.AnswerSync("e1", &chatpb.SyncReply{Receipts: []*chatpb.Receipt{r}, ReceiptsHead: 1})
		d.expect(t, "delivered c_1_2 4")
	})
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name  string
		code  idl.Code
		tries int // refusals before it is answered; 0: it is final at once
	}{
		{"rule", idl.CodeRejected, 0},
		{"field", idl.CodeInvalidArgument, 0},
		{"conflict", idl.CodeConflict, 0},
		{"nobody", idl.CodeNotFound, 0},
		{"too often", idl.CodeRateLimited, 7},
		{"not now", idl.CodeUnavailable, 7},
		{"no answer in time", idl.CodeDeadlineExceeded, 7},
		{"server's fault", idl.CodeInternal, 4},
		{"code of a newer server", 99, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _, peer, _ := joined(t, forms()[0], nil)
				p, next := send(t, s, "hi"), send(t, s, "next")
				refuse := func() {
					t.Helper()
					r, req := expectSend(t, peer, "hi")
					if req.ClientId != p.ClientID() {
						t.Errorf("sent again as %q, not %q", req.ClientId, p.ClientID())
					}
					peer.Refuse(r, &wirepb.Error{Code: tt.code})
				}
				for range tt.tries {
					refuse()
					expectState(t, p, client.Queued)
				}
				if tt.tries == 0 {
					refuse()
					if _, err := p.Wait(t.Context()); client.CodeOf(err) != tt.code || p.State() != client.Refused {
						t.Errorf("got %v in state %v", err, p.State())
					}
					r, _ := expectSend(t, peer, "next")
					peer.Answer(r, sendReply(1))
				} else {
					r, _ := expectSend(t, peer, "hi")
					peer.Answer(r, sendReply(1))
					r, _ = expectSend(t, peer, "next")
					peer.Answer(r, sendReply(2))
					expectState(t, p, client.Committed)
				}
				expectState(t, next, client.Committed)
			})
		})
	}
}

func TestInternalIsFinalInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, _ := joined(t, forms()[0], nil)
		p := send(t, s, "hi")
		for range 5 {
			r, _ := expectSend(t, peer, "hi")
			peer.Refuse(r, &wirepb.Error{Code: idl.CodeInternal})
		}
		if _, err := p.Wait(t.Context()); client.CodeOf(err) != idl.CodeInternal {
			t.Errorf("got %v", err)
		}
	})
}

func TestRetryWaitsAsAdvised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, _ := joined(t, forms()[0], nil)
		send(t, s, "hi")
		r, _ := expectSend(t, peer, "hi")
		start := time.Now()
		peer.Refuse(r, &wirepb.Error{Code: idl.CodeRateLimited, RetryAfterMs: 7000})
		r, _ = expectSend(t, peer, "hi")
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("sent again after %v, want 7 s", d)
		}
		peer.Answer(r, sendReply(1))
	})
}

// TestLostAuthIsTakenUpAgain: a send refused as UNAUTHENTICATED asks for Auth on
// another connection, and only its refusal ends the session.
func TestLostAuthIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv, peer, _ := joined(t, forms()[0], nil)
		p := send(t, s, "hi")
		r, _ := expectSend(t, peer, "hi")
		peer.Refuse(r, &wirepb.Error{Code: idl.CodeUnauthenticated})
		peer = srv.Accept()
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		r, _ = expectSend(t, peer, "hi")
		peer.Answer(r, sendReply(1))
		expectState(t, p, client.Committed)
	})
}

func TestOrderOfADestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv, d := opened(t, forms()[1], nil)
		send(t, s, "a1") // before there is a connection
		send(t, s, "a2")
		sendTo(t, s, 3, "b1")
		peer := srv.Accept()
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		a1, _ := expectSend(t, peer, "a1")
		b1, _ := expectSend(t, peer, "b1")
		other := sendReply(1)
		other.ConversationId = "c_1_3"
		peer.Answer(b1, other)
		peer.Refuse(a1, &wirepb.Error{Code: idl.CodeRateLimited, RetryAfterMs: 1000})
		a1, _ = expectSend(t, peer, "a1")
		peer.Answer(a1, sendReply(2))
		a2, _ := expectSend(t, peer, "a2")
		peer.Answer(a2, sendReply(3))
		d.expect(t, "connected 1", "message 1 b1", "message 2 a1", "message 3 a2")
	})
}

// TestRewrittenText: the inbox holds what was stored, not what was typed.
func TestRewrittenText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, d := joined(t, forms()[0], nil)
		send(t, s, "darn")
		r, _ := expectSend(t, peer, "darn")
		rep := sendReply(1)
		rep.Rewritten, rep.Text = true, "d***"
		peer.Answer(r, rep)
		d.expect(t, "message 1 d***")
	})
}

// TestSyncCommitsASend whose answer was lost with the connection.
func TestSyncCommitsASend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv, peer, d := joined(t, forms()[0], nil)
		p := send(t, s, "hi")
		_, req := expectSend(t, peer, "hi")
		peer.Cut()
		mine := entry(1)
		mine.Message.SenderId, mine.Message.ClientId, mine.Message.Text = me, req.ClientId, "hi"
		peer = srv.Accept()
		peer.Answer(peer.Expect(idl.ActionAuth, nil), auth("e1", 1))
		synced := peer.Expect(idl.ActionSync, nil)
		again, _ := expectSend(t, peer, "hi") // goes out before the sync can tell
		peer.Answer(synced, &chatpb.SyncReply{Entries: []*chatpb.InboxEntry{mine}, Head: 1, Epoch: "e1"})
		expectState(t, p, client.Committed)
		rep := sendReply(1)
		rep.Duplicate = true
		peer.Answer(again, rep)
		d.expect(t, "disconnected", "connected 1", "message 1 hi")
		if got, _ := p.Result(); got.MessageId != "M1" || got.InboxSeq != 1 {
			t.Errorf("got %+v", got)
		}
	})
}

// TestAnswerWithoutInboxSeq makes the session look for its own message.
func TestAnswerWithoutInboxSeq(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, d := joined(t, forms()[0], nil)
		send(t, s, "hi")
		r, req := expectSend(t, peer, "hi")
		rep := sendReply(1)
		rep.InboxSeq = 0
		peer.Answer(r, rep)
		mine := entry(1)
		mine.Message.SenderId, mine.Message.ClientId, mine.Message.Text = me, req.ClientId, "hi"
		peer.AnswerSync("e1", &chatpb.SyncReply{Entries: []*chatpb.InboxEntry{mine}, Head: 1})
		d.expect(t, "message 1 hi")
	})
}

func TestSendThatIsTooLongIsRefusedHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, _ := joined(t, forms()[0], nil)
		p, next := send(t, s, strings.Repeat("x", 70_000)), send(t, s, "short")
		expectState(t, p, client.Refused)
		if _, err := p.Result(); client.CodeOf(err) != idl.CodeTooLarge {
			t.Errorf("got %v", err)
		}
		r, _ := expectSend(t, peer, "short")
		peer.Answer(r, sendReply(1))
		expectState(t, next, client.Committed)
	})
}

func TestFullOutboxMakesSendWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, _ := joined(t, forms()[0], func(o *client.Options) { o.Outbox = 2 })
		send(t, s, "1")
		send(t, s, "2")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Send(ctx, client.Outgoing{To: bob, Text: "no room"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
		third := make(chan *client.Pending, 1)
		go func() { third <- send(t, s, "3") }()
		for i, text := range []string{"1", "2", "3"} {
			r, _ := expectSend(t, peer, text)
			peer.Answer(r, sendReply(int64(i+1)))
		}
		expectState(t, <-third, client.Committed)
	})
}

func TestCloseGivesUpWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, d := joined(t, forms()[0], nil)
		p := send(t, s, "hi")
		expectSend(t, peer, "hi")
		closed := calling(s.Close)
		peer.ExpectEnd()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		expectState(t, p, client.GivenUp)
		if _, err := p.Result(); !errors.Is(err, client.ErrClosed) || !errors.Is(s.Err(), client.ErrClosed) {
			t.Errorf("got %v and %v", err, s.Err())
		}
		<-s.Done()
		d.expect(t)
	})
}
