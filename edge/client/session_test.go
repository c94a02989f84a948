package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

const (
	me   = 1
	bob  = 2
	chat = "c_1_2"
)

// diary writes down what a handler was told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// read gives the lines since the last read, when everything has settled. It
// works in a bubble only.
func (d *diary) read() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// messages gives only the lines of messages.
func (d *diary) messages() []string {
	return slices.DeleteFunc(d.read(), func(line string) bool { return !strings.HasPrefix(line, "message") })
}

func (d *diary) handler() client.Handler {
	return client.Handler{
		Message: func(_ context.Context, e *client.Entry) error {
			d.note("message %d %s", e.InboxSeq, e.Text)
			return nil
		},
		Delivered:    func(_ context.Context, r *chatpb.Receipt) { d.note("delivered %s %d", r.ConversationId, r.Seq) },
		Connected:    func(_ context.Context, who *accountpb.AuthReply) { d.note("connected %d", who.UserId) },
		Disconnected: func(_ context.Context, x client.Disconnect) { d.note("disconnected") },
		Reset:        func(_ context.Context, r client.Reset) { d.note("reset %v %s %d", r.Reason, r.Epoch, r.Floor) },
		Ended:        func(_ context.Context, err error) { d.note("ended %v", err) },
	}
}

func (d *diary) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := d.read(); !slices.Equal(got, want) {
		t.Fatalf("the handler was told\n%q, want\n%q", got, want)
	}
}

// opened is a session that is about to connect to srv.
func opened(t *testing.T, f form, change func(*client.Options)) (*client.Session, *clienttest.Server, *diary) {
	t.Helper()
	srv := clienttest.NewServer(t, f.wire)
	d := new(diary)
	o := f.options(srv)
	o.Token, o.Handler = "token", d.handler()
	if change != nil {
		change(&o)
	}
	s, err := client.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, srv, d
}

// joined is a session that is connected and has synced an empty inbox.
func joined(t *testing.T, f form, change func(*client.Options)) (*client.Session, *clienttest.Server, *clienttest.Peer, *diary) {
	t.Helper()
	s, srv, d := opened(t, f, change)
	peer := srv.Accept()
	peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
	d.expect(t, "connected 1")
	return s, srv, peer, d
}

func auth(epoch string, head int64) *accountpb.AuthReply {
	return &accountpb.AuthReply{UserId: me, Epoch: epoch, InboxHead: head, HeartbeatMs: 30_000, MaxBody: 65536}
}

// entry is bob's message with that inbox_seq, the same as its seq.
func entry(seq int64) *chatpb.InboxEntry {
	return &chatpb.InboxEntry{InboxSeq: seq, Message: &chatpb.Message{
		Id: fmt.Sprintf("M%d", seq), ConversationId: chat, Seq: seq, SenderId: bob, Text: fmt.Sprintf("text %d", seq),
	}}
}

func entries(from, to int64) []*chatpb.InboxEntry {
	var all []*chatpb.InboxEntry
	for seq := from; seq <= to; seq++ {
		all = append(all, entry(seq))
	}
	return all
}

func told(from, to int64) []string {
	var all []string
	for _, e := range entries(from, to) {
		all = append(all, fmt.Sprintf("message %d %s", e.InboxSeq, e.Message.Text))
	}
	return all
}

// expectAck answers an ack, which must be for seq.
func expectAck(t *testing.T, p *clienttest.Peer, seq int64) {
	t.Helper()
	var a chatpb.AckRequest
	r := p.Expect(idl.ActionMessageAck, &a)
	if a.ConversationId != chat || a.Seq != seq {
		t.Fatalf("got ack %+v, want %s up to %d", &a, chat, seq)
	}
	p.Answer(r, new(chatpb.AckReply))
}

func TestSessionSyncsThenTakesPushes(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, srv, d := opened(t, f, nil)
		peer := srv.Accept()
		var a accountpb.AuthRequest
		r := peer.Expect(idl.ActionAuth, &a)
		if a.Token != "token" {
			t.Errorf("got token %q", a.Token)
		}
		peer.Answer(r, auth("e1", 3))
		first := peer.AnswerSync("e1", &chatpb.SyncReply{Entries: entries(1, 2), HasMore: true, Head: 3})
		if first.AfterSeq != 0 || first.Epoch != "e1" || first.Limit != 100 {
			t.Errorf("first sync: got %+v", first)
		}
		var second chatpb.SyncRequest
		r = peer.Expect(idl.ActionSync, &second)
		if second.AfterSeq != 2 {
			t.Errorf("second sync: got %+v, want it after 2", &second)
		}
		expectAck(t, peer, 2)
		peer.Answer(r, &chatpb.SyncReply{Entries: entries(3, 3), Head: 3, Epoch: "e1"})
		expectAck(t, peer, 3)
		peer.Push(idl.ActionMessage, entry(4))
		expectAck(t, peer, 4)
		d.expect(t, append([]string{"connected 1"}, told(1, 4)...)...)
	})
}

func TestSessionDropsDuplicates(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, _, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionMessage, entry(1))
		expectAck(t, peer, 1)
		peer.Push(idl.ActionMessage, entry(1))
		again := entry(1)
		again.InboxSeq = 2 // the same message at another place
		peer.Push(idl.ActionMessage, again)
		peer.Push(idl.ActionMessage, &chatpb.InboxEntry{InboxSeq: 3, Message: entry(2).Message})
		expectAck(t, peer, 2)
		d.expect(t, "message 1 text 1", "message 3 text 2")
	})
}

func TestSessionFillsGaps(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, _, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionMessage, entry(1))
		expectAck(t, peer, 1)
		peer.Push(idl.ActionMessage, entry(3))
		var asked chatpb.SyncRequest
		r := peer.Expect(idl.ActionSync, &asked)
		if asked.AfterSeq != 1 {
			t.Errorf("got sync after %d, want 1", asked.AfterSeq)
		}
		peer.Push(idl.ActionMessage, entry(4)) // while the sync is on its way
		d.expect(t, "message 1 text 1")
		peer.Answer(r, &chatpb.SyncReply{Entries: entries(2, 3), Head: 3, Epoch: "e1"})
		expectAck(t, peer, 4)
		d.expect(t, told(2, 4)...)
	})
}

// TestOwnAnswerFillsAGap: a push may overtake the answer to a send. No sync is needed.
func TestOwnAnswerFillsAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, _, peer, d := joined(t, f, nil)
		send(t, s, "mine")
		r := peer.Expect(idl.ActionMessage, nil)
		peer.Push(idl.ActionMessage, entry(2))
		d.expect(t)
		peer.Answer(r, &chatpb.SendReply{MessageId: "M1", ConversationId: chat, Seq: 1, InboxSeq: 1})
		expectAck(t, peer, 2)
		d.expect(t, "message 1 mine", "message 2 text 2")
	})
}

func TestGapIsSyncedThoughASendFlies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, d := joined(t, forms()[1], nil)
		send(t, s, "mine")
		peer.Expect(idl.ActionMessage, nil) // not answered
		peer.Push(idl.ActionMessage, entry(2))
		peer.AnswerSync("e1", &chatpb.SyncReply{Entries: entries(1, 2), Head: 2})
		expectAck(t, peer, 2)
		d.expect(t, told(1, 2)...)
	})
}

func TestSyncPushIsObeyed(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, _, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionSync, new(chatpb.SyncPush))
		peer.AnswerSync("e1", &chatpb.SyncReply{Entries: entries(1, 1), Head: 1})
		expectAck(t, peer, 1)
		d.expect(t, "message 1 text 1")
	})
}

func TestPushThatCannotBeReadIsSynced(t *testing.T) {
	tests := []struct {
		name   string
		action idl.Action
		body   string
	}{
		{"message", idl.ActionMessage, `{"inbox_seq":"x"}`},
		{"no message", idl.ActionMessage, `{"inbox_seq":1}`},
		{"no inbox_seq", idl.ActionMessage, `{"message":{"id":"x"}}`},
		{"receipt", idl.ActionMessageAck, `[`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, peer, _ := joined(t, forms()[0], nil)
				peer.Send(clienttest.Request{Action: 150}) // of a plugin that is not known here
				peer.Send(clienttest.Request{Action: tt.action, Body: []byte(tt.body)})
				peer.AnswerSync("e1", new(chatpb.SyncReply))
			})
		})
	}
}

func TestSessionResumes(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, srv, peer, d := joined(t, f, nil)
		peer.Push(idl.ActionMessage, entry(1))
		expectAck(t, peer, 1)
		start := time.Now()
		peer.Cut()
		peer = srv.Accept()
		if pause := time.Since(start); pause < 250*time.Millisecond || pause > time.Second {
			t.Errorf("connected again after %v, want 0.25-1 s", pause)
		}
		asked := peer.Welcome(auth("e1", 2), &chatpb.SyncReply{Entries: entries(2, 2), Head: 2, ReceiptsHead: 5})
		if asked.AfterSeq != 1 {
			t.Errorf("got sync after %d, want 1", asked.AfterSeq)
		}
		expectAck(t, peer, 2)
		d.expect(t, "message 1 text 1", "disconnected", "connected 1", "message 2 text 2")
		peer.Cut()
		asked = srv.Accept().Welcome(auth("e1", 2), new(chatpb.SyncReply))
		if asked.AfterSeq != 2 || asked.ReceiptsAfter != 5 {
			t.Errorf("got sync %+v, want after 2 and 5", asked)
		}
	})
}

func TestQuitSaysWhenToComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		_, srv, peer, d := joined(t, f, nil)
		start := time.Now()
		peer.Quit(&wirepb.Quit{Reason: idl.CloseShutdown, Reconnect: true, RetryAfterMs: 5000, JitterMs: 2000})
		peer = srv.Accept()
		if pause := time.Since(start); pause < 5*time.Second || pause > 7*time.Second {
			t.Errorf("connected again after %v, want 5-7 s", pause)
		}
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		d.expect(t, "disconnected", "connected 1")
	})
}

func TestQuitForGood(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, srv, peer, d := joined(t, f, nil)
		p := send(t, s, "hi")
		peer.Expect(idl.ActionMessage, nil)
		peer.Push(idl.ActionMessage, entry(1)) // behind the gap that the send may fill
		peer.Quit(&wirepb.Quit{Reason: idl.CloseKicked, Message: "newer sign-in"})
		<-s.Done()
		q, ok := errors.AsType[*client.Quit](s.Err())
		if !ok || q.Reason != idl.CloseKicked {
			t.Errorf("got %v, want a Quit", s.Err())
		}
		if _, err := p.Wait(t.Context()); err != s.Err() || p.State() != client.GivenUp {
			t.Errorf("the pending send: got %v, %v", p.State(), err)
		}
		if _, err := s.Send(t.Context(), client.Outgoing{To: bob, Text: "more"}); err != s.Err() {
			t.Errorf("Send: got %v", err)
		}
		if _, err := s.Devices(t.Context()); err != s.Err() {
			t.Errorf("Devices: got %v", err)
		}
		if err := s.Ready(t.Context()); err != s.Err() {
			t.Errorf("Ready: got %v", err)
		}
		if err := s.Ack(t.Context(), chat, 1); err != s.Err() {
			t.Errorf("Ack: got %v", err)
		}
		d.expect(t, "message 1 text 1", "disconnected", "ended "+s.Err().Error())
		time.Sleep(time.Hour)
		if n := srv.Dials(); n != 1 {
			t.Errorf("dialed %d times, want once", n)
		}
	})
}

func TestAuthRefused(t *testing.T) {
	tests := []struct {
		name  string
		code  idl.Code
		again bool
	}{
		{"token not valid", idl.CodeUnauthenticated, false},
		{"not allowed", idl.CodePermissionDenied, false},
		{"no core", idl.CodeUnavailable, true},
		{"too often", idl.CodeRateLimited, true},
		{"server's fault", idl.CodeInternal, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, srv, d := opened(t, forms()[0], nil)
				peer := srv.Accept()
				start := time.Now()
				peer.Refuse(peer.Expect(idl.ActionAuth, nil), &wirepb.Error{Code: tt.code, RetryAfterMs: 3000})
				if !tt.again {
					<-s.Done()
					if client.CodeOf(s.Err()) != tt.code {
						t.Errorf("got %v, want %v", s.Err(), tt.code)
					}
					d.expect(t, "disconnected", "ended "+s.Err().Error())
					return
				}
				peer = srv.Accept()
				if pause := time.Since(start); pause < 3*time.Second {
					t.Errorf("tried again after %v, want 3 s", pause)
				}
				peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
				d.expect(t, "disconnected", "connected 1")
			})
		})
	}
}

// TestPausesGrow: while nobody answers, attempts become rare, and never stop.
func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv, d := opened(t, forms()[0], nil)
		srv.Down(errors.New("no route"))
		time.Sleep(time.Minute)
		if n := srv.Dials(); n < 6 || n > 12 {
			t.Errorf("%d attempts in the first minute, want about 8", n)
		}
		before := srv.Dials()
		time.Sleep(10 * time.Minute)
		if n := srv.Dials() - before; n < 20 || n > 80 {
			t.Errorf("%d attempts in ten minutes, want one in 7.5 to 30 s", n)
		}
		srv.Down(nil)
		srv.Accept().Welcome(auth("e1", 0), new(chatpb.SyncReply))
		if last := d.read(); last[len(last)-1] != "connected 1" {
			t.Errorf("got %v", last)
		}
	})
}

// TestPausesDependOnTheLastConnection: after a good one they are short again,
// after one that was cut at once they grow.
func TestPausesDependOnTheLastConnection(t *testing.T) {
	tests := []struct {
		name     string
		lives    time.Duration
		min, max time.Duration // of the sixth pause
	}{
		{"good", time.Minute, 0, time.Second},
		{"cut at once", 0, 7 * time.Second, 31 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, srv, _ := opened(t, forms()[1], func(o *client.Options) { o.AnswerTimeout = time.Hour })
				peer := srv.Accept()
				var pause time.Duration
				for range 6 {
					peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
					time.Sleep(tt.lives)
					start := time.Now()
					peer.Cut()
					peer = srv.Accept()
					pause = time.Since(start)
				}
				if pause < tt.min || pause > tt.max {
					t.Errorf("got a pause of %v, want %v to %v", pause, tt.min, tt.max)
				}
			})
		})
	}
}

// TestSilenceIsADeadConnection: what is not answered in time is asked again on
// another connection.
func TestSilenceIsADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv, peer, _ := joined(t, forms()[1], nil)
		p := send(t, s, "hi")
		first := new(chatpb.SendRequest)
		peer.Expect(idl.ActionMessage, first)
		peer = srv.Accept() // after AnswerTimeout
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		second := new(chatpb.SendRequest)
		r := peer.Expect(idl.ActionMessage, second)
		if *second != *first {
			t.Errorf("sent %+v, then %+v", first, second)
		}
		peer.Answer(r, &chatpb.SendReply{MessageId: "M1", ConversationId: chat, Seq: 1, InboxSeq: 1})
		if _, err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHeartbeatsOnlyInSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, _, peer, _ := joined(t, f, nil)
		last := time.Now()
		beat := func() {
			t.Helper()
			r := peer.Expect(idl.ActionHeartbeat, nil)
			if d := time.Since(last); d != 30*time.Second {
				t.Errorf("heartbeat after %v, want 30 s", d)
			}
			last = time.Now()
			peer.Answer(r, new(wirepb.HeartbeatReply))
		}
		beat()
		time.Sleep(20 * time.Second)
		found := calling(func() error { _, err := s.FindUser(t.Context(), "bob"); return err })
		peer.Answer(peer.Expect(idl.ActionFindUser, nil), new(accountpb.FindUserReply))
		if err := <-found; err != nil {
			t.Error(err)
		}
		last = time.Now()
		beat()
		beat()
	})
}

func TestHeartbeatsGoOnAfterACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv, peer, _ := joined(t, forms()[1], nil)
		peer.Expect(idl.ActionHeartbeat, nil) // not answered
		peer.Cut()
		peer = srv.Accept()
		peer.Welcome(auth("e1", 0), new(chatpb.SyncReply))
		peer.Expect(idl.ActionHeartbeat, nil)
	})
}

func TestSessionCallEndsWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, srv, peer, _ := joined(t, forms()[0], nil)
		lost := calling(func() error { _, err := s.Devices(t.Context()); return err })
		peer.Expect(idl.ActionListDevices, nil)
		peer.Cut()
		if err := <-lost; !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end of the connection", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		next := calling(func() error { _, err := s.Devices(ctx); return err })
		peer = srv.Accept()
		peer.Answer(peer.Expect(idl.ActionAuth, nil), auth("e1", 0))
		for range 2 { // the sync and the call, whichever comes first
			switch r, _ := peer.Next(); r.Action {
			case idl.ActionSync:
				peer.Answer(r, &chatpb.SyncReply{Epoch: "e1"})
			case idl.ActionListDevices:
				peer.Answer(r, new(accountpb.ListDevicesReply))
			}
		}
		if err := <-next; err != nil {
			t.Errorf("a call that waited for the connection: %v", err)
		}
		peer.Cut()
		synctest.Wait()
		if _, err := s.Devices(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want that the context ended", err)
		}
	})
}

func TestOpenNeedsATokenAndACursor(t *testing.T) {
	_, err := client.Open(t.Context(), client.Options{Address: "tcp://im.test:1"})
	if err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("got %v, want that a token is needed", err)
	}
	_, err = client.Open(t.Context(), client.Options{Address: "tcp://im.test:1", Token: "t", Store: brokenStore{}})
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the store's error", err)
	}
}

var errBroken = errors.New("disk is gone")

// brokenStore fails always.
type brokenStore struct{}

func (brokenStore) Load(context.Context) (client.Cursor, error) { return client.Cursor{}, errBroken }
func (brokenStore) Save(context.Context, client.Cursor) error   { return errBroken }
