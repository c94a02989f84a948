package room

import (
	"context"
	"errors"
	"sync"
	"time"

	"freeim/core/im"
)

const (
	// fresh is how long a core acts on what it has read of a person in a room.
	fresh = time.Second
	// maxStates bounds what is remembered, in each of two halves.
	maxStates = 1 << 15
	// loading bounds one reading, which several callers may wait for.
	loading = 5 * time.Second
)

// errBroken is what those get who wait for a reading that panicked.
var errBroken = errors.New("reading a room broke")

// key names a person in a room.
type key struct {
	room string
	user im.UserID
}

// states remembers what was read of people in rooms, for fresh at most. Callers at
// once share one reading. Safe for concurrent use.
type states struct {
	load func(ctx context.Context, k key) (state, error)
	now  func() time.Time

	mu         sync.Mutex // guards the fields below
	generation int64      // what was begun in an earlier one is not used
	young, old map[key]*reading
}

// reading is one look at the tables. What it found may be read when done is closed.
type reading struct {
	generation int64
	at         time.Time
	done       chan struct{}
	state      state
	err        error
}

func newStates(load func(context.Context, key) (state, error), now func() time.Time) *states {
	return &states{load: load, now: now, young: map[key]*reading{}, old: map[key]*reading{}}
}

// forget has everything read anew: called when a change was committed.
func (s *states) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
}

// get gives what is known, or reads it.
func (s *states) get(ctx context.Context, k key) (state, error) {
	r, mine := s.find(k)
	if mine {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loading)
		defer cancel()
		defer close(r.done)
		r.err = errBroken // unless load returns
		r.state, r.err = s.load(ctx, k)
		return r.state, r.err
	}
	select {
	case <-r.done:
		return r.state, r.err
	case <-ctx.Done():
		return state{}, ctx.Err()
	}
}

// find gives the reading to wait for; mine: the caller must do it.
func (s *states) find(k key) (r *reading, mine bool) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r = s.young[k]
	if r == nil {
		r = s.old[k]
	}
	if r != nil && r.generation == s.generation && r.usable(now) {
		return r, false
	}
	if len(s.young) >= maxStates {
		s.young, s.old = map[key]*reading{}, s.young
	}
	r = &reading{generation: s.generation, at: now, done: make(chan struct{})}
	s.young[k] = r
	return r, true
}

// usable reports whether a reading is under way, or found something lately.
func (r *reading) usable(now time.Time) bool {
	select {
	case <-r.done:
		return r.err == nil && now.Sub(r.at) < fresh && now.Sub(r.at) >= 0
	default:
		return true
	}
}
