package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/client"
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
