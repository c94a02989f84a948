package account

import (
	"sync"

	"freeim/core/im"
)

// endings knows when sign-ins were last ended by this core, so that Auth need not
// look at its token twice where there is no other core. Users who share a slot are
// taken for one another: then Auth looks once more than it had to.
type endings struct {
	mu    sync.Mutex // guards the fields below
	count uint64     // of endings that are over
	slots [1024]ending
}

type ending struct {
	under int    // transactions under way that may end sign-ins
	last  uint64 // the count when the last one was over
}

func (e *endings) slot(u im.UserID) *ending { return &e.slots[uint64(u)%uint64(len(e.slots))] }

// now is for none.
func (e *endings) now() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count
}

// begin says that sign-ins of u may be about to end; over, that all of them have which
// will, or that nobody knows. over comes before whoever ends them looks for their
// sessions.
func (e *endings) begin(u im.UserID) (over func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.slot(u).under++
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.count++
		s := e.slot(u)
		s.under--
		s.last = e.count
	}
}

// none reports that no sign-in of u has been ended since then, now said, up to this
// moment.
func (e *endings) none(u im.UserID, since uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slot(u)
	return s.under == 0 && s.last <= since
}
