package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errWork = errors.New("instruction budget spent")
	errWall = errors.New("time budget spent")
)

const (
	tick    = time.Millisecond // how often the watchdog looks at running calls
	strikes = 3                // after so many of them a call is stopped, one less if it has few ticks
)

// budget bounds one call into a VM, by work and by time. It is the VM's context:
// the VM asks Done before every instruction, so Done counts. A nil channel never
// fires and costs almost nothing, a real deadline would double the price of an
// instruction. Library functions pay for their work through spend.
//
// Time is measured by the watchdog. It takes three strikes, each of a third of the wall
// time: a goroutine that was merely not scheduled for a while sees the first one and
// ends before the last, so a busy machine does not fail innocent hooks.
type budget struct {
	dog *watchdog

	// Owned by the goroutine that runs the VM.
	left   int64
	given  int64
	call   uint64 // the running call's number
	struck int    // strikes that it has seen
	most   int    // how many stop it
	err    error  // why the call was stopped

	// Shared with the watchdog.
	running atomic.Uint64 // call, 0 when idle
	expired atomic.Uint64 // the call whose time is over
	part    atomic.Int64  // of the wall time, for one strike, ns

	// Owned by the watchdog.
	seen  uint64
	since time.Time
}

var _ context.Context = (*budget)(nil)

// begin arms the budget for one call.
func (b *budget) begin(units int, wall time.Duration) {
	b.left, b.given = int64(units), int64(units)
	b.struck, b.most, b.err = 0, strikes, nil
	if wall < strikes*tick {
		b.most = strikes - 1 // a strike takes a tick or two
	}
	if part := int64(wall) / int64(b.most); b.part.Load() != part {
		b.part.Store(part)
	}
	b.call++
	b.running.Store(b.call)
	b.dog.wakeUp()
}

// end disarms it and gives the units that were used.
func (b *budget) end() int {
	b.running.Store(0)
	return int(b.given - b.left)
}

// Done is called by the VM before every instruction.
func (b *budget) Done() <-chan struct{} {
	b.left--
	if b.left >= 0 && b.expired.Load() != b.call {
		return nil
	}
	return b.strike()
}

// spend charges n units for work outside of the VM's instructions and reports
// whether the call may go on.
func (b *budget) spend(n int) bool {
	b.left -= int64(n)
	return b.left >= 0 && b.expired.Load() != b.call || b.strike() == nil
}

func (b *budget) strike() <-chan struct{} {
	if b.left >= 0 && b.struck < b.most-1 {
		b.struck++
		b.call++
		b.running.Store(b.call)
		return nil
	}
	if b.err == nil {
		b.err = errWall
		if b.left < 0 {
			b.err = errWork
		}
	}
	return b.dog.closed
}

func (b *budget) Err() error                  { return b.err }
func (b *budget) Deadline() (time.Time, bool) { return time.Time{}, false }
func (b *budget) Value(any) any               { return nil }

// watchdog ends calls that run too long. Its goroutine sleeps while none runs.
type watchdog struct {
	closed chan struct{} // closed from the start: what a spent budget's Done gives
	wake   chan struct{} // capacity 1
	stop   chan struct{}
	asleep atomic.Bool
	done   sync.WaitGroup

	mu      sync.Mutex // guards budgets
	budgets map[*budget]struct{}
}

func newWatchdog() *watchdog {
	w := &watchdog{
		closed: make(chan struct{}), wake: make(chan struct{}, 1), stop: make(chan struct{}),
		budgets: map[*budget]struct{}{},
	}
	close(w.closed)
	w.done.Go(w.run)
	return w
}

// close ends the goroutine. Calls after it are bounded by work only.
func (w *watchdog) close() {
	close(w.stop)
	w.done.Wait()
}

func (w *watchdog) add(b *budget) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.budgets[b] = struct{}{}
}

func (w *watchdog) remove(b *budget) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.budgets, b)
}

func (w *watchdog) wakeUp() {
	if w.asleep.Load() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *watchdog) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for quiet := 0; ; {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
			quiet++
			if w.look(time.Now()) { // the tick's own time may be long ago
				quiet = 0
			}
		}
		if quiet < 100 {
			continue
		}
		ticker.Stop()
		if !w.sleep() {
			return
		}
		ticker.Reset(tick)
		quiet = 0
	}
}

// sleep waits for the next call; false means stop. A call that began before
// asleep was set is seen by look, one that began after it wakes.
func (w *watchdog) sleep() bool {
	w.asleep.Store(true)
	defer w.asleep.Store(false)
	if w.look(time.Now()) {
		return true
	}
	select {
	case <-w.wake:
		return true
	case <-w.stop:
		return false
	}
}

// look strikes every call that has run for its part of the wall time since the last
// strike, and reports whether any call runs. A call is seen up to a tick after it began, which
// is counted in.
func (w *watchdog) look(now time.Time) (busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for b := range w.budgets {
		call := b.running.Load()
		if call == 0 {
			continue
		}
		busy = true
		if b.seen != call {
			b.seen, b.since = call, now
		} else if now.Sub(b.since) >= time.Duration(b.part.Load())-tick {
			b.expired.Store(call)
		}
	}
	return busy
}
