package webhook

import (
	"context"
	"errors"
	"sync"
	"time"
)

// This file is how exactly one core delivers to an endpoint, or sweeps: by a lease in the directory. Every
// change of what is stored of the endpoint names the fence of the lease, so that a core which lost it
// without noticing changes nothing; and no delivery lasts longer than the lease. README.md says what
// clocks have to do with it.

var (
	errFenced  = errors.New("another core delivers, or an operator changed something")
	errStopped = errors.New("the endpoint is stopped")
)

// lease is the right to deliver to an endpoint.
type lease struct {
	fence int64

	mu    sync.Mutex // guards until
	until time.Time  // by this core's clock
}

func (l *lease) end() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

func (l *lease) extend(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
}

// take gives this core the lease of that name if nobody has it; nil: somebody has, or it is stopped.
func (p *Webhook) take(ctx context.Context, name string) (l *lease, stopped bool, err error) {
	began := time.Now()
	l, stopped, err = p.store.take(ctx, name, p.core, p.host.Now(), p.config.Lease)
	if l != nil {
		l.until = began.Add(p.config.Lease)
	}
	return l, stopped, err
}

// renew extends a lease; it is over when the directory says so, or has not answered in time. Who comes late has it
// still, if nobody took it.
func (p *Webhook) renew(ctx context.Context, name string, l *lease) error {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, max(l.end().Sub(began), p.config.Lease/4))
	defer cancel()
	err := p.store.renew(limited, name, l, p.host.Now().Add(p.config.Lease))
	switch {
	case err == nil:
		l.extend(began.Add(p.config.Lease))
		return nil
	case errors.Is(err, errFenced), time.Now().After(l.end()):
		return err
	}
	return nil // there is time to try again
}

// giveBack ends a lease, also when ctx has ended: else it ends by itself.
func (p *Webhook) giveBack(ctx context.Context, name string, l *lease) {
	giving, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	if err := p.store.giveBack(giving, name, l.fence); err != nil && ctx.Err() == nil {
		p.host.Log().Warn("a lease was not given back: it ends by itself", "webhook", name, "err", err)
	}
}

// faults says which of those that come again and again are worth a line in the log: the first in a row.
type faults struct{ last bool }

// first takes how something went, and reports whether that is the first fault since it went well. The end of ctx is none.
func (f *faults) first(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() != nil {
		return false
	}
	first := err != nil && !f.last
	f.last = err != nil
	return first
}

// run delivers whenever this core has the lease, until ctx ends.
func (e *endpoint) run(ctx context.Context) {
	log := e.plugin.host.Log().With("webhook", e.Name)
	every := e.plugin.config.Lease / 4
	var asking faults
	for ctx.Err() == nil {
		l, stopped, err := e.plugin.take(ctx, e.Name)
		e.stopped.Store(err == nil && stopped)
		if asking.first(ctx, err) {
			log.Error("deliveries wait: the directory does not say who makes them", "err", err)
		}
		if l != nil {
			log.Info("this core delivers")
			e.mine.Store(true)
			err := e.serve(ctx, l)
			e.mine.Store(false)
			if ctx.Err() == nil {
				log.Info("this core delivers no more", "why", err)
			}
			if errors.Is(err, errFenced) { // an operator, perhaps: look again soon
				e.pause(ctx, min(e.plugin.config.Pause, every))
				continue
			}
		}
		e.pause(ctx, every)
	}
}

// pause waits, or until somebody changed something.
func (e *endpoint) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-e.look:
	}
}

// changed has this core look at once what is stored of the endpoint.
func (e *endpoint) changed() {
	select {
	case e.look <- struct{}{}:
	default:
	}
}

// serve runs the shards while the lease lasts, and gives it back. It says why it ended.
func (e *endpoint) serve(ctx context.Context, l *lease) error {
	working, cancel := context.WithCancelCause(ctx)
	var shards sync.WaitGroup
	for _, s := range e.shards {
		shards.Go(func() {
			if err := s.run(working, l); err != nil {
				cancel(err)
			}
		})
	}
	for working.Err() == nil {
		e.pause(working, e.plugin.config.Lease/4)
		if working.Err() != nil {
			break
		}
		if err := e.plugin.renew(working, e.Name, l); err != nil {
			cancel(err)
		}
	}
	shards.Wait()
	cancel(nil) // without effect if there is a cause
	e.plugin.giveBack(ctx, e.Name, l)
	return context.Cause(working)
}
