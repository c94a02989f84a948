package session

import (
	"maps"
	"sync"
	"sync/atomic"

	"freeim/edge/room"
	"freeim/idl"
)

// Stats is what a hub has counted since it began.
type Stats struct {
	Sessions int64 // connections now, authenticated or not
	Live     int64 // authenticated now
	Received int64 // frames
	Answered int64 // frames, refused or not; those to sequence 0 have no answer
	Calls    int64 // actions passed to the core
	Refused  int64 // actions that the edge refused itself
	Pushed   int64 // frames pushed, one for each session
	Lost     int64 // pushes for sessions that were gone, not live, or had no body in their codec
	Stray    int64 // replies that no session waited for
	Barred   int64 // connections that a rule refused
	// WakesOfLogs is about how many sessions are to be asked to sync still since logs that they follow have grown,
	// WakesOfAll since something was announced to everybody.
	WakesOfLogs, WakesOfAll int64
	// Closed counts the endings by the server by reason, and under
	// idl.CloseReason(0) the connections that the client or the network ended.
	Closed map[idl.CloseReason]int64
	Rooms  room.Stats
}

// counters is the hub's side of Stats.
type counters struct {
	sessions, live, received, answered, calls, refused, pushed, lost, stray, barred atomic.Int64

	mu     sync.Mutex // guards closed
	closed map[idl.CloseReason]int64
}

func (c *counters) close(reason idl.CloseReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = make(map[idl.CloseReason]int64)
	}
	c.closed[reason]++
}

// Stats returns the counts of this moment. They are read one after the other.
func (h *Hub) Stats() Stats {
	c := &h.counters
	c.mu.Lock()
	closed := maps.Clone(c.closed)
	c.mu.Unlock()
	live := c.live.Load()
	ofLogs, ofAll := h.followers.waiting(live)
	return Stats{
		Sessions: c.sessions.Load(), Live: live, WakesOfLogs: ofLogs, WakesOfAll: ofAll, Received: c.received.Load(), Answered: c.answered.Load(), Calls: c.calls.Load(), Refused: c.refused.Load(),
		Pushed: c.pushed.Load(), Lost: c.lost.Load(), Stray: c.stray.Load(), Barred: c.barred.Load(), Closed: closed,
		Rooms: h.rooms.Stats(),
	}
}
