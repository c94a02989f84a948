package e2e_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// absences are how long devices were away: each from the end of its connection until a
// sync is answered on the next one. Before begin none is noted.
type absences struct {
	noting atomic.Bool

	mu   sync.Mutex  // guards the fields below
	ends []time.Time // when an edge that was shut down sent a device away
	all  []time.Duration
}

// absentee is one device. Its handlers run one at a time.
type absentee struct {
	*absences
	session atomic.Pointer[client.Session] // set once it is open
	since   time.Time                      // when its connection ended; zero: it is here
}

// watch has h note when its device is away, beside what it does already.
func (a *absences) watch(h *client.Handler) *absentee {
	w := &absentee{absences: a}
	connected, disconnected := h.Connected, h.Disconnected
	h.Disconnected = func(ctx context.Context, cut client.Disconnect) {
		w.left(cut.Err)
		if disconnected != nil {
			disconnected(ctx, cut)
		}
	}
	h.Connected = func(ctx context.Context, who *accountpb.AuthReply) {
		w.came(ctx)
		if connected != nil {
			connected(ctx, who)
		}
	}
	return w
}

// left is called again for each attempt that fails.
func (w *absentee) left(why error) {
	if !w.noting.Load() || !w.since.IsZero() {
		return
	}
	w.since = time.Now()
	quit, told := errors.AsType[*client.Quit](why)
	if !told || quit.Reason != idl.CloseShutdown {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, w.since)
}

func (w *absentee) came(ctx context.Context) {
	if w.since.IsZero() {
		return
	}
	if w.session.Load().Call(ctx, idl.ActionSync, &chatpb.SyncRequest{Limit: 1}, new(chatpb.SyncReply)) != nil {
		return // it goes on
	}
	gone := time.Since(w.since)
	w.since = time.Time{}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, gone)
}

// begin has those from now on noted.
func (a *absences) begin() { a.noting.Store(true) }

// count is how many have ended.
func (a *absences) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all)
}

// judge ends the noting, says how long they were, and holds them to three seconds in a
// full run.
func (a *absences) judge(t *testing.T) {
	t.Helper()
	a.noting.Store(false)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.all) == 0 {
		t.Error("no device was away and came back")
		return
	}
	slices.Sort(a.all)
	p99 := a.all[len(a.all)*99/100]
	t.Logf("%d times a device was away: median %v, p99 %v, longest %v", len(a.all), a.all[len(a.all)/2].Round(time.Millisecond),
		p99.Round(time.Millisecond), a.all[len(a.all)-1].Round(time.Millisecond))
	if full() && p99 > 3*time.Second {
		t.Errorf("p99 of the time that devices were away is %v, want 3 s at most", p99)
	}
}
