package webhook

import (
	"context"
	"errors"
	"sync"
	"time"
)

// This file is how exactly one core delivers to an endpoint: by a lease in the directory. Every
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

// run delivers whenever this core has the lease, until ctx ends.
func (e *endpoint) run(ctx context.Context) {
	log := e.plugin.host.Log().With("webhook", e.Name)
	every := e.plugin.config.Lease / 4
	failing := false
	for ctx.Err() == nil {
		began := time.Now()
		l, stopped, err := e.plugin.store.take(ctx, e.Name, e.core, e.plugin.host.Now(), e.plugin.config.Lease)
		e.stopped.Store(err == nil && stopped)
		if err != nil && !failing && ctx.Err() == nil {
			log.Error("deliveries wait: the directory does not say who makes them", "err", err)
		}
		failing = err != nil
		if l != nil {
			l.until = began.Add(e.plugin.config.Lease)
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
		if err := e.renew(working, l); err != nil {
			cancel(err)
		}
	}
	shards.Wait()
	cancel(nil) // without effect if there is a cause
	giving, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	if err := e.plugin.store.giveBack(giving, e.Name, l.fence); err != nil && ctx.Err() == nil {
		e.plugin.host.Log().Warn("a lease was not given back: it ends by itself", "webhook", e.Name, "err", err)
	}
	return context.Cause(working)
}

// renew extends the lease; it is over when the directory says so, or has not answered in time.
func (e *endpoint) renew(ctx context.Context, l *lease) error {
	began := time.Now()
	limited, cancel := context.WithDeadline(ctx, l.end())
	defer cancel()
	err := e.plugin.store.renew(limited, e.Name, l, e.plugin.host.Now().Add(e.plugin.config.Lease))
	switch {
	case err == nil:
		l.extend(began.Add(e.plugin.config.Lease))
		return nil
	case errors.Is(err, errFenced), time.Now().After(l.end()):
		return err
	}
	return nil // there is time to try again
}
