package dispatch

import (
	"context"
	"sync/atomic"
	"time"
)

// deadlines gives the calls of one action their deadlines. A context and a timer for
// each call were a good part of what dispatch cost, so calls that begin within a
// sixteenth of the timeout share them: each has its timeout, and up to that much more.
// A shared context ends at its deadline, and not with a call.
type deadlines struct {
	timeout time.Duration
	current atomic.Pointer[shared]
}

// shared is a context for the calls that begin before until.
type shared struct {
	parent context.Context
	until  time.Time
	ctx    context.Context
	cancel context.CancelFunc // never called: the deadline ends it, or parent does
}

// from gives a call that begins now its context; done must be called when the call
// has ended. A call with a context of its own, as a traced one has, shares none.
// parent must be comparable, and should be the same for all calls of one caller.
func (d *deadlines) from(parent context.Context, now time.Time, own bool) (_ context.Context, done context.CancelFunc) {
	if own {
		return context.WithDeadline(parent, now.Add(d.timeout))
	}
	if s := d.current.Load(); s != nil && s.parent == parent && now.Before(s.until) {
		return s.ctx, func() {}
	}
	s := &shared{parent: parent, until: now.Add(d.timeout / 16)}
	s.ctx, s.cancel = context.WithDeadline(parent, s.until.Add(d.timeout))
	d.current.Store(s)
	return s.ctx, func() {}
}
