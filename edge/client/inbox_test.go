package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// watched is a store that shows what was saved, and fails on demand.
type watched struct {
	client.MemoryStore
	mu    sync.Mutex
	fail  error
	saves int
}

func (w *watched) Save(ctx context.Context, c client.Cursor) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saves++
	if w.fail != nil {
		return w.fail
	}
	return w.MemoryStore.Save(ctx, c)
}

func (w *watched) failWith(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

func (w *watched) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.saves
}

func (w *watched) cursor(t *testing.T) client.Cursor {
	t.Helper()
	synctest.Wait()
	c, err := w.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func storing(c client.Cursor) (*watched, func(*client.Options)) {
	w := new(watched)
	w.MemoryStore.Save(context.Background(), c) // cannot fail
	return w, func(o *client.Options) { o.Store = w }
}

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

func TestMessageThatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, use := storing(client.Cursor{})
		full := errors.New("no space")
		s, srv, d := opened(t, forms()[1], func(o *client.Options) {
			use(o)
			take := o.Handler.Message
			o.Handler.Message = func(ctx context.Context, e *client.Entry) error {
				if e.InboxSeq == 2 {
					return full
				}
				return take(ctx, e)
			}
		})
		peer := srv.Accept()
		peer.Welcome(auth("e1", 3), &chatpb.SyncReply{Entries: entries(1, 3), Head: 3})
		<-s.Done()
		if !errors.Is(s.Err(), full) {
			t.Errorf("got %v", s.Err())
		}
		d.expect(t, "connected 1", "message 1 text 1", "ended "+s.Err().Error())
		if c := store.cursor(t); c.InboxSeq != 1 || c.Unacked[chat] != 1 {
			t.Errorf("stored %+v", c)
		}
		peer.ExpectEnd()
	})
}

// TestAcksWaitForTheStore: an ack promises what a crash must not take back.
func TestAcksWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, use := storing(client.Cursor{})
		_, _, peer, d := joined(t, forms()[1], use)
		store.failWith(errBroken)
		peer.Push(idl.ActionMessage, entry(1))
		d.expect(t, "message 1 text 1")
		time.Sleep(10 * time.Second)
		if n := store.count(); n < 10 || n > 15 {
			t.Errorf("saved %d times in 10 s, want about one a second", n)
		}
		store.failWith(nil)
		expectAck(t, peer, 1) // the first frame since
	})
}

func TestAcksOutliveAProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, use := storing(client.Cursor{})
		s, _, peer, _ := joined(t, forms()[1], use)
		peer.Push(idl.ActionMessage, entry(1))
		peer.Expect(idl.ActionMessageAck, nil) // not answered
		peer.Cut()
		s.Close()
		if c := store.cursor(t); c.Unacked[chat] != 1 {
			t.Fatalf("stored %+v", c)
		}
		_, srv, _ := opened(t, forms()[1], use)
		peer = srv.Accept()
		peer.Welcome(auth("e1", 1), new(chatpb.SyncReply))
		expectAck(t, peer, 1)
	})
}

func TestAcksOutliveAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, srv, peer, _ := joined(t, forms()[1], nil)
		peer.Push(idl.ActionMessage, entry(1))
		peer.Expect(idl.ActionMessageAck, nil) // not answered
		peer.Cut()
		peer = srv.Accept()
		peer.Welcome(auth("e1", 1), new(chatpb.SyncReply))
		expectAck(t, peer, 1)
	})
}

// TestAcksOfAnotherEpochAreNotSent: an entry that the handler takes after the
// epoch changed says nothing about the new timelines.
func TestAcksOfAnotherEpochAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		var next chan struct{}
		_, srv, _ := opened(t, forms()[1], func(o *client.Options) { next = slow(o, d) })
		peer := srv.Accept()
		peer.Welcome(auth("e1", 1), &chatpb.SyncReply{Entries: entries(1, 1), Head: 1})
		peer.Cut()
		peer = srv.Accept()
		peer.Welcome(auth("e2", 0), new(chatpb.SyncReply))
		next <- struct{}{}
		peer.Answer(peer.Expect(idl.ActionHeartbeat, nil), new(wirepb.HeartbeatReply))
		d.expect(t, "message 1 text 1")
	})
}

func TestAckThatIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		code  idl.Code
		again bool
	}{
		{"for good", idl.CodeInvalidArgument, false},
		{"not now", idl.CodeUnavailable, true},
		{"server's fault", idl.CodeInternal, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, peer, _ := joined(t, forms()[1], nil)
				peer.Push(idl.ActionMessage, entry(1))
				peer.Refuse(peer.Expect(idl.ActionMessageAck, nil), &wirepb.Error{Code: tt.code, RetryAfterMs: 2000})
				if tt.again {
					expectAck(t, peer, 1)
				} else {
					peer.Answer(peer.Expect(idl.ActionHeartbeat, nil), new(wirepb.HeartbeatReply))
				}
				peer.Push(idl.ActionMessage, entry(2))
				expectAck(t, peer, 2)
			})
		})
	}
}

func TestManualAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer, d := joined(t, forms()[1], func(o *client.Options) { o.ManualAck = true })
		for _, e := range entries(1, 3) {
			peer.Push(idl.ActionMessage, e)
		}
		d.expect(t, told(1, 3)...)
		if err := s.Ack(t.Context(), "", 2); err == nil {
			t.Error("an ack of no conversation was taken")
		}
		if err := s.Ack(t.Context(), chat, 2); err != nil {
			t.Fatal(err)
		}
		expectAck(t, peer, 2)
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
	synctest.Test(t, func(t *testing.T) {
		_, srv, _ := opened(t, forms()[1], nil)
		peer := srv.Accept()
		peer.Answer(peer.Expect(idl.ActionAuth, nil), auth("e1", 1))
		start := time.Now()
		for range 10 {
			peer.AnswerSync("e1", &chatpb.SyncReply{HasMore: true, Head: 1})
		}
		if d := time.Since(start); d < 15*time.Second {
			t.Errorf("ten pages in %v", d)
		}
	})
}

// TestCloseInTheMiddle: the entry in the handler's hands is taken or comes again,
// those that wait come again.
func TestCloseInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, use := storing(client.Cursor{})
		d := new(diary)
		var next chan struct{}
		s, srv, _ := opened(t, forms()[1], func(o *client.Options) {
			use(o)
			next = slow(o, d)
		})
		peer := srv.Accept()
		peer.Welcome(auth("e1", 3), &chatpb.SyncReply{Entries: entries(1, 3), Head: 3})
		next <- struct{}{}
		synctest.Wait()
		closed := calling(s.Close)
		var acked []int64
		for {
			r, err := peer.Next()
			if err != nil || r.Action == idl.ActionQuit {
				break
			}
			var a chatpb.AckRequest
			idl.Decode(r.Body, r.Codec, &a)
			acked = append(acked, a.Seq)
		}
		peer.Cut()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		if c := store.cursor(t); c.InboxSeq != 1 {
			t.Errorf("stored %+v", c)
		}
		if !slices.Equal(acked, []int64{1}) {
			t.Errorf("acked %v, want 1", acked)
		}
		_, srv, again := opened(t, forms()[1], use)
		asked := srv.Accept().Welcome(auth("e1", 3), &chatpb.SyncReply{Entries: entries(2, 3), Head: 3})
		if asked.AfterSeq != 1 {
			t.Errorf("got sync after %d, want 1", asked.AfterSeq)
		}
		again.expect(t, append([]string{"connected 1"}, told(2, 3)...)...)
	})
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
