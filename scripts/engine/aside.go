package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// asideWorkers is how many after hooks run at one time.
const asideWorkers = 2

// aside runs the hooks that decide nothing, away from the actions: after hooks
// from a bounded queue, whose overflow drops the newest and counts it.
type aside struct {
	clock func() time.Time
	queue chan *Call
	stop  chan struct{}
	done  sync.WaitGroup

	dropped atomic.Int64
}

func newAside(length int, clock func() time.Time) *aside {
	a := &aside{clock: clock, queue: make(chan *Call, length), stop: make(chan struct{})}
	for range asideWorkers {
		a.done.Go(a.run)
	}
	return a
}

// close lets the running hooks end, and drops what waits.
func (a *aside) close() {
	close(a.stop)
	a.done.Wait()
	a.dropped.Add(int64(len(a.queue)))
}

func (a *aside) run() {
	for {
		select {
		case <-a.stop:
			return
		default:
		}
		select {
		case <-a.stop:
			return
		case c := <-a.queue:
			b := c.Pin.b
			for _, h := range b.chain(After, c.Action, false) {
				b.judge(context.Background(), []*hook{h}, c, a.clock)
			}
		}
	}
}

// Answered has the after hooks follow an action, with c.Code and c.Reply set. It
// never blocks: when too many wait, this one is dropped and counted. Nobody may
// change c, or what it points to, any more.
func (e *Engine) Answered(c *Call) {
	if c.Pin.b == nil {
		c.Pin = e.PinFor(c.Facts)
	}
	if !c.Pin.Has(After, c.Action, false) {
		return
	}
	select {
	case e.aside.queue <- c:
	default:
		e.aside.dropped.Add(1)
	}
}

// ticker calls the on_tick hooks of one bundle, one at a time, from its activation
// until another bundle is active.
type ticker struct {
	b     *bundle
	clock func() time.Time
	stop  chan struct{}
	done  sync.WaitGroup
}

// newTicker begins; nil when the bundle has no such hook.
func newTicker(b *bundle, clock func() time.Time) *ticker {
	if len(b.at[Tick]) == 0 {
		return nil
	}
	t := &ticker{b: b, clock: clock, stop: make(chan struct{})}
	t.done.Go(t.run)
	return t
}

// close lets a running hook end.
func (t *ticker) close() {
	if t != nil {
		close(t.stop)
		t.done.Wait()
	}
}

// run calls each hook when it is due, and then not before its time has passed
// again: what was missed is not made up for.
func (t *ticker) run() {
	hooks := t.b.at[Tick]
	due := make([]time.Time, len(hooks))
	for i, h := range hooks {
		due[i] = time.Now().Add(h.every)
	}
	for {
		next := 0
		for i := range due {
			if due[i].Before(due[next]) {
				next = i
			}
		}
		wait := time.NewTimer(time.Until(due[next]))
		select {
		case <-t.stop:
			wait.Stop()
			return
		case <-wait.C:
		}
		if !t.b.off.Load() {
			t.b.judge(context.Background(), hooks[next:next+1], &Call{}, t.clock)
		}
		due[next] = time.Now().Add(hooks[next].every)
	}
}
