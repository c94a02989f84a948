package rpc

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"
)

// roomy is a Receiver without sessions, with that many rooms.
type roomy struct {
	Receiver
	rooms int
}

func (roomy) Live(func(session.ID, session.Identity, idl.Codec) bool) {}

func (r roomy) RoomStates(_ bool, yield func(room.State) bool) {
	for i := range r.rooms {
		if !yield(room.State{Room: fmt.Sprint("r_", i), Members: 1}) {
			return
		}
	}
}

// TestCensusOfRoomsRests: the rooms of a census come at its pace too, and count for how
// long the next one takes.
func TestCensusOfRoomsRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy time.Duration // what a page takes, of the bubble's clock
		l := &Links{receiver: roomy{rooms: 4 * page}, asked: make(chan struct{}, 1), running: t.Context(), options: Options{Census: time.Second}}
		k := &link{links: l, phase: open, outbox: outbox{wake: make(chan struct{}, 1)}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { // the sender
			for {
				select {
				case <-k.outbox.wake:
					k.mu.Lock()
					sent := k.outbox.listing
					k.outbox.listing = nil
					k.mu.Unlock()
					time.Sleep(busy)
					sent.done(true)
				case <-ctx.Done():
					return
				}
			}
		}()
		began := time.Now()
		if size, err := l.census(k, time.Second, false); err != nil || size != 4*page {
			t.Errorf("got %d, %v, want %d rooms counted", size, err, 4*page)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("it took %s, want a rest after each of 4 pages", took)
		}
		busy, began = 3*time.Second, time.Now()
		if _, err := l.census(k, time.Second, false); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 15*time.Second { // four pages and the end
			t.Errorf("it took %s on a busy machine, where there is no time to rest", took)
		}
		busy = 0
		l.ask()
		if _, err := l.census(k, time.Hour, false); err != errListing || len(l.asked) != 1 {
			t.Errorf("a census that is wanted at once: got %v", err)
		}
		l.asked, l.receiver = make(chan struct{}, 1), roomy{rooms: 40 * page}
		began = time.Now()
		if _, err := l.census(k, l.pause(page+1), false); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 7*time.Second {
			t.Errorf("it took %s where there were few at the last one, want 6 s and a page", took)
		}
		if got := l.pause(page + 1); got > page*time.Millisecond {
			t.Errorf("it rests %s for one of %d", got, page+1)
		}
		if got := l.passTime(4_000); got != 4*time.Second {
			t.Errorf("4,000 sessions and rooms take %s", got)
		}
	})
}
