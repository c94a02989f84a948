package session

import "sync/atomic"

// This file is how all sessions learn of an announcement: each is asked to sync, a part of them in each tick, so that a
// million do not have the cores syncing at once. Nothing is kept of a session for that. Who passes Auth while they are asked
// was told by it, or his Auth was under way when the word came: then he is among those who are asked (Session.missed).

// everybody is the round in which all sessions are asked.
type everybody struct {
	told atomic.Bool  // since the round began: another one follows, since some have synced before that
	toGo atomic.Int64 // parts of the hub's table that are to be looked at in this round still
	here atomic.Int64 // sessions left of the part that is looked at

	// Guarded by followers.mu: what was heard last, so that nobody is asked for the same announcement again.
	life int
	seq  int64

	// Owned by followers.run.
	parts int        // as toGo
	left  []*Session // as here
}

// hears takes the word of an announcement, and reports whether it is new.
func (e *everybody) hears(life int, seq int64) bool {
	if e.life == life && seq <= e.seq {
		return false
	}
	e.life, e.seq = life, seq
	e.told.Store(true)
	return true
}

// under reports whether somebody is to be asked.
func (e *everybody) under() bool { return len(e.left) > 0 || e.parts > 0 || e.told.Load() }

// waiting is about how many of so many sessions are to be asked still.
func (e *everybody) waiting(live int64) int64 {
	n := e.here.Load() + live*e.toGo.Load()/shards
	if e.told.Load() {
		n += live
	}
	return n
}

// next gives up to most of those who are to be asked.
func (e *everybody) next(t *table, most int) (some []*Session) {
	defer func() {
		e.toGo.Store(int64(e.parts))
		e.here.Store(int64(len(e.left)))
	}()
	for len(some) < most {
		switch {
		case len(e.left) > 0:
			n := min(len(e.left), most-len(some))
			some, e.left = append(some, e.left[:n]...), e.left[n:]
		case e.parts > 0:
			e.parts--
			e.left = t.parts[e.parts].snapshot()
		case e.told.CompareAndSwap(true, false):
			e.parts = shards
		default:
			e.left = nil
			return some
		}
	}
	return some
}
