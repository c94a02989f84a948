package pebble

import (
	"sync"

	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
)

// view is a flushed state of the database. Pebble shows a write to readers
// before it is on the disk; a snapshot taken after the flush does not.
type view struct {
	*db.Snapshot
	refs  int            // guarded by views.mu
	spare []*db.Iterator // of newLookup, between two uses; guarded by views.mu
}

// maxSpare is how many look-up iterators a view keeps: more than callers run at once.
const maxSpare = 16

// views hands out the newest view and closes old ones when their last reader is
// done. The zero value has none.
type views struct {
	mu      sync.Mutex // guards the fields below
	current *view
	closed  bool
	readers sync.WaitGroup // grows only under mu, while not closed
}

// publish makes snap what readers see from now on. Called by the flusher, or an import.
func (v *views) publish(snap *db.Snapshot) {
	v.mu.Lock()
	old := v.current
	v.current = &view{Snapshot: snap, refs: 1}
	v.mu.Unlock()
	if old != nil {
		v.drop(old)
	}
}

// acquire gives the newest view, to be given back with release.
func (v *views) acquire() (*view, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, timeline.ErrClosed
	}
	v.current.refs++
	v.readers.Add(1)
	return v.current, nil
}

func (v *views) release(held *view) {
	v.drop(held)
	v.readers.Done()
}

func (v *views) drop(old *view) {
	v.mu.Lock()
	old.refs--
	last := old.refs == 0
	v.mu.Unlock()
	if last {
		_ = old.end() // its only error is being closed twice
	}
}

// end closes a view that nobody holds any more.
func (v *view) end() error {
	for _, iter := range v.spare {
		_ = iter.Close() // what was wrong with it, its user has heard
	}
	return v.Close()
}

// lookup gives an iterator of newLookup over a view that the caller holds, to be given
// back with done: making one costs as much as a look.
func (v *views) lookup(held *view) (*db.Iterator, error) {
	v.mu.Lock()
	if n := len(held.spare); n > 0 {
		iter := held.spare[n-1]
		held.spare = held.spare[:n-1]
		v.mu.Unlock()
		return iter, nil
	}
	v.mu.Unlock()
	return newLookup(held)
}

// done takes an iterator of lookup back, while the caller still holds the view. One
// that has failed is closed.
func (v *views) done(held *view, iter *db.Iterator) error {
	if iter.Error() == nil {
		v.mu.Lock()
		keep := len(held.spare) < maxSpare
		if keep {
			held.spare = append(held.spare, iter)
		}
		v.mu.Unlock()
		if keep {
			return nil
		}
	}
	return iter.Close()
}

// close refuses new readers and waits for those that are there.
func (v *views) close() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.readers.Wait()
	return v.current.end()
}
