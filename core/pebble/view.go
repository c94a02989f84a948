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
	refs int // guarded by views.mu
}

// views hands out the newest view and closes old ones when their last reader is
// done. The zero value has none.
type views struct {
	mu      sync.Mutex // guards the fields below
	current *view
	closed  bool
	readers sync.WaitGroup // grows only under mu, while not closed
}

// publish makes snap what readers see from now on. Called by the committer.
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
		old.Close() // its only error is being closed twice
	}
}

// close refuses new readers and waits for those that are there.
func (v *views) close() error {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.readers.Wait()
	return v.current.Close()
}
