package session

import (
	"context"
	"slices"
	"time"

	"freeim/idl"
)

const (
	drainStep   = 50 * time.Millisecond // between two batches of sessions that are told to go
	drainReport = time.Second           // between two lines that say how far it is
	drainLeast  = 200                   // sessions told each second at least, unless a rate is set
)

// Drain empties the hub: no session is opened any more, and every session gets
// Quit with SHUTDOWN when its turn comes, at once or as soon as its frame at the
// core is answered; frames behind that one are dropped. Turns come at
// Options.DrainRate, so that the clients do not arrive all at once where they go; so
// none has to wait for longer than Options.DrainJitter before it goes there.
// It returns when the last connection has ended; when ctx ends first, the others
// are closed without waiting for turns and answers, with the usual advice when to
// come back, and ctx's error is returned.
// It may be called again, to wait for those.
func (h *Hub) Drain(ctx context.Context) error {
	h.draining.Store(true)
	if h.counters.sessions.Load() == 0 {
		h.emptied.Do(func() { close(h.empty) })
	}
	d := drainage{hub: h, todo: slices.Collect(h.sessions.all())}
	d.rate = h.drainRate(ctx, len(d.todo))
	return d.run(ctx)
}

// drainRate is how many sessions are told each second; 0: all at once.
func (h *Hub) drainRate(ctx context.Context, sessions int) float64 {
	end, bounded := ctx.Deadline()
	switch {
	case h.opts.DrainRate > 0:
		return float64(h.opts.DrainRate)
	case !bounded:
		return 0
	}
	half := max(time.Until(end)/2, drainStep)
	return max(drainLeast, float64(sessions)/half.Seconds())
}

// drainage is one draining under way.
type drainage struct {
	hub  *Hub
	rate float64
	told int
	todo []*Session // not told yet
	busy []*Session // told while a frame was at the core, which may still be so
}

func (d *drainage) run(ctx context.Context) error {
	step, report := time.NewTicker(drainStep), time.NewTicker(drainReport)
	defer step.Stop()
	defer report.Stop()
	began := time.Now()
	for {
		d.tell(time.Since(began))
		select {
		case <-d.hub.empty:
			d.report()
			return nil
		case <-step.C:
		case <-report.C:
			d.report()
		case <-ctx.Done():
			for s := range d.hub.sessions.all() {
				s.end(farewell{reason: idl.CloseShutdown, message: shuttingDown}) // all at once: they spread by themselves
			}
			d.report()
			return ctx.Err()
		}
	}
}

// tell closes the sessions whose turn has come.
func (d *drainage) tell(elapsed time.Duration) {
	n := len(d.todo)
	if d.rate > 0 {
		n = min(n, int((elapsed+drainStep).Seconds()*d.rate)+1-d.told)
	}
	for _, s := range d.todo[:max(n, 0)] {
		if s.drain() {
			d.busy = append(d.busy, s)
		}
		d.told++
	}
	d.todo = d.todo[max(n, 0):]
}

func (d *drainage) report() {
	d.busy = slices.DeleteFunc(d.busy, func(s *Session) bool { return !s.underWay() })
	left := d.hub.counters.sessions.Load()
	if left == 0 && d.told == 0 {
		return
	}
	d.hub.log.Info("draining", "connections", left, "told", d.told, "to_tell", len(d.todo), "in_flight", len(d.busy))
}

// drain closes the session once nothing of it is under way; busy says that
// something is.
func (s *Session) drain() (busy bool) {
	s.mu.Lock()
	s.leaving, s.waiting = true, nil
	busy = s.busy && !s.parked && s.state < closing
	s.parked = false
	s.mu.Unlock()
	if !busy {
		s.takeTurn()
	}
	return busy
}

// underWay reports whether a frame of an open session is being handled.
func (s *Session) underWay() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy && s.state < closing
}
