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
	// maxChanged bounds the rooms whose changes are remembered one by one; past it
	// everything is read anew once.
	maxChanged = 1 << 12
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

	mu         sync.Mutex       // guards the fields below
	generation int64            // counts changes
	changed    map[string]int64 // of rooms: what was begun before that generation is not used
	floor      int64            // the same, of all rooms
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
	return &states{load: load, now: now, changed: map[string]int64{}, young: map[key]*reading{}, old: map[key]*reading{}}
}

// forget has everything of a room read anew: called when a change was committed.
func (s *states) forget(room string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	if len(s.changed) >= maxChanged {
		clear(s.changed)
		s.floor = s.generation
	}
	s.changed[room] = s.generation
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
	if r != nil && r.generation >= max(s.floor, s.changed[k.room]) && r.usable(now) {
		return r, false
	}
	if len(s.young) >= maxStates {
		s.young, s.old = map[key]*reading{}, s.young
	}
	r = &reading{generation: s.generation, at: now, done: make(chan struct{})}
	s.young[k] = r
	return r, true
}

// usable reports whether a reading is under way, or said something lately, be it that
// there is no such room.
func (r *reading) usable(now time.Time) bool {
	select {
	case <-r.done:
		return (r.err == nil || errors.Is(r.err, errUnknown)) && now.Sub(r.at) < fresh && now.Sub(r.at) >= 0
	default:
		return true
	}
}
