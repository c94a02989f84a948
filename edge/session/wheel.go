package session

import (
	"sync"
	"sync/atomic"
	"time"
)

// wheelSlots is how many ticks the wheel covers in one turn; a session that is
// due later stays in its slot for another turn.
const wheelSlots = 512

// wheel is a hashed timing wheel with every session in it exactly once. A
// session is not moved when it speaks: when its turn comes it is asked how long
// it has been silent, and put back if need be. So a frame costs one store.
type wheel struct {
	tick time.Duration // what one step of clock stands for
	auth uint32        // ticks until Auth must have passed
	idle uint32        // ticks that a live session may be silent

	clock atomic.Uint32 // ticks since the hub began; written by the clock goroutine

	mu    sync.Mutex // guards slots, turned, and the wheel's fields of all sessions
	slots [wheelSlots]*Session
	turn  uint32 // the tick up to which slots were handled
}

// place is a session's place in the wheel, guarded by wheel.mu.
type place struct {
	next, prev *Session // in the slot's list, which ends with nil
	due        uint32   // the tick at which to look at it
	in         bool     // it is in a slot
	left       bool     // it is gone and must not come back
}

func (w *wheel) init(tick, auth, idle time.Duration) {
	w.tick, w.auth, w.idle = tick, ticks(auth, tick), ticks(idle, tick)
}

// ticks rounds up and adds one, since the current tick has partly passed: no
// deadline is early.
func ticks(d, tick time.Duration) uint32 { return uint32((d+tick-1)/tick) + 1 }

// arm has s looked at when the clock shows due.
func (w *wheel) arm(s *Session, due uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.place.left || s.place.in {
		return
	}
	due = max(due, w.turn+1)
	head := &w.slots[due%wheelSlots]
	s.place = place{next: *head, due: due, in: true}
	if *head != nil {
		(*head).place.prev = s
	}
	*head = s
}

// leave takes s out for good.
func (w *wheel) leave(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(s)
	s.place.left = true
}

func (w *wheel) unlink(s *Session) {
	p := &s.place
	if !p.in {
		return
	}
	if p.prev == nil {
		w.slots[p.due%wheelSlots] = p.next
	} else {
		p.prev.place.next = p.next
	}
	if p.next != nil {
		p.next.place.prev = p.prev
	}
	*p = place{due: p.due}
}

// advance sets the clock and takes out the sessions that are due.
func (w *wheel) advance(now uint32) []*Session {
	w.clock.Store(now)
	w.mu.Lock()
	defer w.mu.Unlock()
	first := w.turn + 1
	if now-w.turn > wheelSlots { // the process slept: once around is enough
		first = now - wheelSlots + 1
	}
	var due []*Session
	for t := first; t <= now; t++ {
		for s := w.slots[t%wheelSlots]; s != nil; {
			next := s.place.next
			if s.place.due <= now {
				w.unlink(s)
				due = append(due, s)
			}
			s = next
		}
	}
	w.turn = now
	return due
}

// runClock is the hub's only goroutine; Close ends it.
func (h *Hub) runClock() {
	began := time.Now()
	ticker := time.NewTicker(h.wheel.tick)
	defer ticker.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-ticker.C:
			h.beat.Store(time.Now().UnixNano())
			now := uint32(time.Since(began) / h.wheel.tick)
			for _, s := range h.wheel.advance(now) {
				s.look(now)
			}
		}
	}
}
