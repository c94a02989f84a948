package room

import (
	"context"
	"errors"
	"sync"
	"time"

	"freeim/core/im"
)

const (
	// fresh is how long a core acts on what it has read of a person in a room and of which
	// it knows no change. A directory that was put back to what it once was tells of none.
	fresh = time.Minute
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

// states remembers what was read of people in rooms until the room changes, for fresh at
// most. Callers at once share one reading. Safe for concurrent use.
type states struct {
	load func(ctx context.Context, k key) (state, error)
	// changes counts a room's changes as they are after the call, by whichever core;
	// found is false when there is no such room. nil: this core alone makes them.
	changes func(ctx context.Context, room string) (n int64, found bool, err error)
	now     func() time.Time

	mu         sync.Mutex       // guards the fields below
	generation int64            // counts changes
	changed    map[string]int64 // of rooms: what was begun before that generation is not used
	floor      int64            // the same, of all rooms
	young, old map[key]*reading
}

// reading is one look at the tables. What it found may be read when done is closed.
type reading struct {
	generation int64
	changes    int64 // of the room, when it was begun, or whatever
	at         time.Time
	done       chan struct{}
	state      state
	err        error
}

// whatever stands for a number of changes that nobody asked for.
const whatever = -1

func newStates(load func(context.Context, key) (state, error), changes func(context.Context, string) (int64, bool, error), now func() time.Time) *states {
	return &states{load: load, changes: changes, now: now, changed: map[string]int64{}, young: map[key]*reading{}, old: map[key]*reading{}}
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

// get gives what is known, or reads it: as it is after the call, whichever core changed it
// last. It returns errUnknown when there is no such room.
func (s *states) get(ctx context.Context, k key) (state, error) {
	changes := int64(whatever)
	if s.changes != nil {
		n, found, err := s.changes(ctx, k.room)
		switch {
		case err != nil:
			return state{}, err
		case !found:
			return state{}, errUnknown
		}
		changes = n
	}
	r, mine := s.find(k, changes)
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

// last gives what was read last, whether or not it still holds, and reads nothing.
func (s *states) last(k key) (last state, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.remembered(k); r != nil && r.read() && r.err == nil {
		return r.state, true
	}
	return state{}, false
}

// remembered gives the reading of k, nil for none. Called with s.mu held.
func (s *states) remembered(k key) *reading {
	if r := s.young[k]; r != nil {
		return r
	}
	return s.old[k]
}

// find gives the reading of a room after so many changes to wait for; mine: the caller
// must do it.
func (s *states) find(k key, changes int64) (r *reading, mine bool) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	r = s.remembered(k)
	if r != nil && r.generation >= max(s.floor, s.changed[k.room]) && r.usable(now, changes) {
		return r, false
	}
	if len(s.young) >= maxStates {
		s.young, s.old = map[key]*reading{}, s.young
	}
	r = &reading{generation: s.generation, changes: changes, at: now, done: make(chan struct{})}
	s.young[k] = r
	return r, true
}

// read reports whether it is over.
func (r *reading) read() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// usable reports whether a reading is under way, or said something lately, be it that
// there is no such room; and whether it is of a room after so many changes.
func (r *reading) usable(now time.Time, changes int64) bool {
	switch {
	case !r.read():
		return r.changes == changes
	case r.err != nil && !(errors.Is(r.err, errUnknown) && changes == whatever):
		return false
	case changes != whatever && r.state.room.changes != changes:
		return false
	}
	return now.Sub(r.at) < fresh && now.Sub(r.at) >= 0
}
