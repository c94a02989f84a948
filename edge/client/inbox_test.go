package client_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

func TestResets(t *testing.T) {
	known := client.Cursor{User: me, Epoch: "e1", InboxSeq: 7, ReceiptsHead: 3, Unacked: map[string]int64{chat: 7}}
	tests := []struct {
		name   string
		before client.Cursor
		epoch  string // as Auth says
		asked  chatpb.SyncRequest
		page   *chatpb.SyncReply
		want   []string
		acked  int64
	}{
		{
			name: "another epoch at Auth", before: known, epoch: "e2",
			asked: chatpb.SyncRequest{Epoch: "e2", Limit: 100},
			page:  &chatpb.SyncReply{Entries: entries(1, 2), Head: 2, Floor: 1},
			want:  append([]string{"connected 1", "reset epoch e2 0"}, told(1, 2)...), acked: 2,
		},
		{
			name: "another epoch at Sync", before: known, epoch: "e1",
			asked: chatpb.SyncRequest{AfterSeq: 7, ReceiptsAfter: 3, Epoch: "e1", Limit: 100},
			page:  &chatpb.SyncReply{Entries: entries(1, 2), Head: 2, Floor: 1, Epoch: "e2", Restarted: true},
			want:  append([]string{"connected 1", "reset epoch e2 1"}, told(1, 2)...), acked: 2,
		},
		{
			name: "trimmed", before: known, epoch: "e1",
			asked: chatpb.SyncRequest{AfterSeq: 7, ReceiptsAfter: 3, Epoch: "e1", Limit: 100},
			page:  &chatpb.SyncReply{Entries: entries(11, 12), Head: 12, Floor: 11, Restarted: true},
			want:  append([]string{"connected 1", "reset trimmed e1 11"}, told(11, 12)...), acked: 12,
		},
		{
			name: "another person", before: client.Cursor{User: 77, Epoch: "e1", InboxSeq: 7}, epoch: "e1",
			asked: chatpb.SyncRequest{Epoch: "e1", Limit: 100},
			page:  &chatpb.SyncReply{Entries: entries(1, 1), Head: 1, Floor: 1},
			want:  append([]string{"connected 1", "reset user e1 0"}, told(1, 1)...), acked: 1,
		},
		{
			name: "the first time", before: client.Cursor{}, epoch: "e1",
			asked: chatpb.SyncRequest{Epoch: "e1", Limit: 100},
			page:  &chatpb.SyncReply{Entries: entries(1, 1), Head: 1, Floor: 1, ReceiptsHead: 4},
			want:  append([]string{"connected 1"}, told(1, 1)...), acked: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, use := storing(tt.before)
				_, srv, d := opened(t, forms()[1], use)
				peer := srv.Accept()
				peer.Answer(peer.Expect(idl.ActionAuth, nil), auth(tt.epoch, 0))
				asked := new(chatpb.SyncRequest)
				r := peer.Expect(idl.ActionSync, asked)
				if *asked != tt.asked {
					t.Errorf("got sync %+v, want %+v", asked, &tt.asked)
				}
				if tt.epoch == "e1" && tt.before.Unacked != nil {
					expectAck(t, peer, 7) // kept from the last run
				}
				if tt.page.Epoch == "" {
					tt.page.Epoch = tt.epoch
				}
				peer.Answer(r, tt.page)
				expectAck(t, peer, tt.acked)
				d.expect(t, tt.want...)
				c := store.cursor(t)
				last := tt.page.Entries[len(tt.page.Entries)-1].InboxSeq
				if c.User != me || c.Epoch != tt.page.Epoch || c.InboxSeq != last || c.ReceiptsHead != tt.page.ReceiptsHead {
					t.Errorf("stored %+v", c)
				}
			})
		})
	}
}

// TestResetTellsAgain: what was known by the old epoch is news in the new one.
func TestResetTellsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv, peer, d := joined(t, forms()[1], nil)
		receipt := &chatpb.Receipt{ConversationId: chat, UserId: bob, Seq: 1}
		peer.Push(idl.ActionMessage, entry(1))
		expectAck(t, peer, 1)
		peer.Push(idl.ActionMessageAck, receipt)
		d.expect(t, "message 1 text 1", "delivered c_1_2 1")
		peer.Push(idl.ActionMessage, entry(3)) // beyond a gap
		peer.Expect(idl.ActionSync, nil)
		peer.Cut()
		peer = srv.Accept()
		peer.Welcome(auth("e2", 2), &chatpb.SyncReply{
			Entries: entries(1, 2), Head: 2, Receipts: []*chatpb.Receipt{receipt}, ReceiptsHead: 1,
		})
		expectAck(t, peer, 2)
		d.expect(t, "disconnected", "connected 1", "reset epoch e2 0", "message 1 text 1", "message 2 text 2", "delivered c_1_2 1")
	})
}

// slow is a handler that takes a message only when it is let.
func slow(o *client.Options, d *diary) chan struct{} {
	next := make(chan struct{})
	o.Handler.Message = func(ctx context.Context, e *client.Entry) error {
		select {
		case <-next:
			d.note("message %d %s", e.InboxSeq, e.Text)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return next
}

// TestSlowApplicationLosesNothing: what does not fit is let go, not acknowledged,
// and fetched when there is room. Answers go on meanwhile.
func TestSlowApplicationLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		var next chan struct{}
		s, srv, _ := opened(t, forms()[1], func(o *client.Options) {
			o.Queue = 4
			next = slow(o, d)
		})
		peer := srv.Accept()
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		for _, e := range entries(1, 20) {
			peer.Push(idl.ActionMessage, e)
		}
		p := send(t, s, "still answered")
		r, _ := expectSend(t, peer, "still answered")
		peer.Answer(r, &chatpb.SendReply{MessageId: "M21", ConversationId: chat, Seq: 21, InboxSeq: 21})
		expectState(t, p, client.Committed)
		for range 3 {
			next <- struct{}{}
		}
		if got := d.read(); !slices.Equal(got, told(1, 3)) {
			t.Errorf("got %v", got)
		}
		inbox := entries(1, 21)
		inbox[20].Message.SenderId, inbox[20].Message.Text = me, "still answered"
		served := make(chan int64)
		go func() { served <- serveInbox(t, peer, inbox) }()
		for range 18 {
			next <- struct{}{}
		}
		if got, want := d.read(), append(told(4, 20), "message 21 still answered"); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		s.Close()
		if acked := <-served; acked != 20 {
			t.Errorf("acked up to %d, want 20", acked)
		}
	})
}

// serveInbox answers syncs and acks until the client leaves, and gives the last
// seq that was acked.
func serveInbox(t *testing.T, peer *clienttest.Peer, inbox []*chatpb.InboxEntry) (acked int64) {
	head := int64(len(inbox))
	for {
		r, err := peer.Next()
		if err != nil {
			t.Error(err)
			return acked
		}
		switch r.Action {
		case idl.ActionSync:
			var s chatpb.SyncRequest
			idl.Decode(r.Body, r.Codec, &s)
			if s.Limit > 4 {
				t.Errorf("a page of %d was asked for with a queue of 4", s.Limit)
			}
			last := min(s.AfterSeq+int64(s.Limit), head)
			peer.Answer(r, &chatpb.SyncReply{
				Entries: inbox[s.AfterSeq:last], HasMore: last < head, Head: head, Epoch: "e1",
			})
		case idl.ActionMessageAck:
			var a chatpb.AckRequest
			idl.Decode(r.Body, r.Codec, &a)
			acked = a.Seq
			peer.Answer(r, new(chatpb.AckReply))
		case idl.ActionQuit:
			peer.Cut()
			return acked
		}
	}
}

// TestReceiptsOfASlowApplication: of one conversation only the newest waits.
func TestReceiptsOfASlowApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		var next chan struct{}
		_, srv, other := opened(t, forms()[1], func(o *client.Options) {
			o.Queue = 3
			next = slow(o, d)
		})
		peer := srv.Accept()
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		peer.Push(idl.ActionMessage, entry(1))
		synctest.Wait() // it is in the handler's hands
		for seq := range int64(5) {
			peer.Push(idl.ActionMessageAck, &chatpb.Receipt{ConversationId: chat, UserId: bob, Seq: seq + 1})
		}
		late := &chatpb.Receipt{ConversationId: "c_1_5", UserId: 5, Seq: 9}
		for i := range int64(5) {
			peer.Push(idl.ActionMessageAck, &chatpb.Receipt{ConversationId: fmt.Sprint("c_1_", i+3), UserId: i + 3, Seq: 9})
		}
		synctest.Wait()
		next <- struct{}{}
		served := peer.AnswerSync("e1", &chatpb.SyncReply{Receipts: []*chatpb.Receipt{late}, ReceiptsHead: 8})
		expectAck(t, peer, 1)
		if served.AfterSeq != 1 {
			t.Errorf("got %+v", served)
		}
		other.expect(t, "connected 1", "delivered c_1_2 5", "delivered c_1_3 9", "delivered c_1_4 9", "delivered c_1_5 9")
	})
}

// TestFlappingLinkIsSummedUp for an application that does not look.
func TestFlappingLinkIsSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		var next chan struct{}
		_, srv, other := opened(t, forms()[1], func(o *client.Options) { next = slow(o, d) })
		peer := srv.Accept()
		peer.Welcome(auth("e1", 1), &chatpb.SyncReply{Entries: entries(1, 1), Head: 1})
		for range 10 {
			peer.Cut()
			peer = srv.Accept()
			peer.Welcome(auth("e1", 1), &chatpb.SyncReply{Head: 1})
		}
		next <- struct{}{}
		expectAck(t, peer, 1)
		got := other.read()
		if n := len(got); n > 22 || got[n-1] != "connected 1" {
			t.Errorf("got %v", got)
		}
	})
}

func TestRefusedSyncIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv, d := opened(t, forms()[1], nil)
		peer := srv.Accept()
		peer.Answer(peer.Expect(idl.ActionAuth, nil), auth("e1", 1))
		start := time.Now()
		peer.Refuse(peer.Expect(idl.ActionSync, nil), &wirepb.Error{Code: idl.CodeUnavailable, RetryAfterMs: 5000})
		peer.AnswerSync("e1", &chatpb.SyncReply{Entries: entries(1, 1), Head: 1})
		if pause := time.Since(start); pause != 5*time.Second {
			t.Errorf("asked again after %v, want 5 s", pause)
		}
		d.expect(t, "connected 1", "message 1 text 1")
	})
}

// TestEmptyPagesAreNoCircle: a server that promises more and gives nothing is
// not asked all the time.
func TestEmptyPagesAreNoCircle(t *testing.T) {
	for name, page := range map[string]func() *chatpb.SyncReply{
		"entries":  func() *chatpb.SyncReply { return &chatpb.SyncReply{HasMore: true, Head: 1} },
		"receipts": func() *chatpb.SyncReply { return &chatpb.SyncReply{MoreReceipts: true, Head: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, srv, _ := opened(t, forms()[1], nil)
				peer := srv.Accept()
				peer.Answer(peer.Expect(idl.ActionAuth, nil), auth("e1", 1))
				start := time.Now()
				for range 10 {
					peer.AnswerSync("e1", page())
				}
				if d := time.Since(start); d < 15*time.Second {
					t.Errorf("ten pages in %v", d)
				}
			})
		})
	}
}

// TestHandlerUsesItsSession: a handler may send and wait for the answer.
func TestHandlerUsesItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := make(chan *client.Session, 1)
		d := new(diary)
		s, srv, _ := opened(t, forms()[1], func(o *client.Options) {
			o.Handler.Message = func(ctx context.Context, e *client.Entry) error {
				if e.Mine {
					return nil
				}
				p, err := (<-sessions).Send(ctx, client.Outgoing{Conversation: e.ConversationId, Text: "echo " + e.Text})
				if err != nil {
					return err
				}
				_, err = p.Wait(ctx)
				d.note("answered %v", err)
				return err
			}
		})
		sessions <- s
		peer := srv.Accept()
		peer.Welcome(auth("e1", 1), &chatpb.SyncReply{Entries: entries(1, 1), Head: 1})
		r, req := expectSend(t, peer, "echo text 1")
		if req.ConversationId != chat {
			t.Errorf("got %+v", req)
		}
		peer.Answer(r, sendReply(2))
		expectAck(t, peer, 1)
		d.expect(t, "answered <nil>")
	})
}
