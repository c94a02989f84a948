package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// aside runs the hooks that decide nothing, away from the actions: after hooks
// from a queue that is bounded by number and by octets, whose overflow drops the
// newest and counts it.
type aside struct {
	clock func() time.Time
	share *share
	queue chan *late
	stop  chan struct{}
	done  sync.WaitGroup

	waits   backlog // of what is in queue
	dropped atomic.Int64
}

func newAside(length int, clock func() time.Time) *aside {
	a := &aside{clock: clock, share: newShare(), queue: make(chan *late, length), stop: make(chan struct{})}
	for range cap(a.share.turns) {
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
		case c := <-a.queue:
			if !a.follow(c) {
				a.dropped.Add(1)
			}
			a.waits.gives(c.octets)
		}
	}
}

// follow calls the hooks, each in a turn of its own; false: it was ended before.
func (a *aside) follow(c *late) bool {
	b := c.Pin.b
	for _, h := range b.chain(After, c.Action, false) {
		if !a.share.do(a.stop, func() { b.judge(context.Background(), []*hook{h}, &c.Call, a.clock) }) {
			return false
		}
	}
	return true
}

// offer hands a call over, unless too much waits.
func (a *aside) offer(c *Call) {
	if len(a.queue) < cap(a.queue) {
		kept := keptFor(c)
		if a.waits.takes(kept.octets) {
			select {
			case a.queue <- kept:
				return
			default:
				a.waits.gives(kept.octets)
			}
		}
	}
	a.dropped.Add(1)
}

// Answered has the after hooks follow an action, with c.Code and c.Reply set. It
// never blocks: when too many wait, this one is dropped and counted. Nobody may
// change c's request and reply any more.
func (e *Engine) Answered(c *Call) {
	if c.Pin.b == nil {
		c.Pin = e.PinFor(c.Facts)
	}
	if c.Pin.Has(After, c.Action, false) {
		e.aside.offer(c)
	}
}

// ticker calls the on_tick hooks of one bundle, one at a time, from its activation
// until another bundle is active.
type ticker struct {
	b     *bundle
	clock func() time.Time
	share *share
	stop  chan struct{}
	done  sync.WaitGroup
}

// newTicker begins; nil when the bundle has no such hook.
func newTicker(b *bundle, clock func() time.Time, turns *share) *ticker {
	if len(b.at[Tick]) == 0 || b.opts.Edge {
		return nil
	}
	t := &ticker{b: b, clock: clock, share: turns, stop: make(chan struct{})}
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
			t.share.do(t.stop, func() { t.b.judge(context.Background(), hooks[next:next+1], &Call{}, t.clock) })
		}
		due[next] = time.Now().Add(hooks[next].every)
	}
}
