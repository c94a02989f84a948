package room

import (
	"sync"
	"sync/atomic"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// state is how a member stands.
type state uint8

const (
	present state = iota
	behind        // it does not read: it gets nothing and misses what passes
	left
)

// Member is a session in a room. Its mu is held while something is given to it, so
// nothing is once Leave has returned. It is taken before the room's.
type Member struct {
	// Static.
	room    *room
	out     Receiver
	session uint64
	user    int64
	head    int64 // as its join said
	form    Form

	gone atomic.Bool // state is left

	// Guarded by the room's mu.
	dropped bool  // it is not to be in an array any more
	place   int32 // in its array

	mu    sync.Mutex // guards the fields below
	state state
	above int64 // the seq up to which it needs nothing from passes
	late  *late // while it is behind
}

// late is what a member that is behind has missed.
type late struct {
	since  time.Time
	missed spans
}

// In reports whether the session is in the room still.
func (m *Member) In() bool { return !m.gone.Load() }

// Room is the room's conversation ID.
func (m *Member) Room() string { return m.room.name }

// Leave takes the session out; nothing of the room is sent to it any more. It may be
// called again, and with any lock held but those of rooms.
func (m *Member) Leave() {
	m.mu.Lock()
	was := m.state
	m.end()
	m.mu.Unlock()
	if was != left {
		m.room.remove(m)
	}
}

// end is the end of it. Called with mu held.
func (m *Member) end() {
	m.gone.Store(true)
	m.state, m.late = left, nil
}

// turnOut takes a member out and tells it so; false: the session must be closed,
// since it does not read. Called with mu held.
func (m *Member) turnOut(a idl.Action, protobuf, json []byte) (told bool) {
	if m.state == left {
		return true
	}
	m.end()
	m.room.remove(m)
	return m.room.rooms.opts.Left(m.session, a, protobuf, json)
}

// miss notes what was not given to it. Called with mu held.
func (m *Member) miss(s spans, now time.Time) {
	if m.state != behind {
		m.state, m.late = behind, &late{since: now}
		m.room.rooms.counts.refused.Add(1)
	}
	for _, e := range s {
		m.late.missed.add(e.from, e.to)
	}
	m.room.rooms.counts.missed.Add(s.seqs())
}

// Writable implements Waiter: the member goes on, and is told what it has missed.
func (m *Member) Writable() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != behind {
		return
	}
	if missed := m.late.missed; len(missed) > 0 && !m.out.Broadcast(m.room.declaration(m.form, missed), m) {
		return // it will be called again
	}
	m.state, m.late = present, nil
}

// declaration is a block that says what a slow member has missed.
func (r *room) declaration(f Form, missed spans) []byte {
	frames := declare(nil, r.name, missed, roompb.RoomSkipReason_ROOM_SKIP_SLOW, r.rooms.opts.Codec(f))
	return r.rooms.opts.Block(nil, f, frames)
}
