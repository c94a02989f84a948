package webhook

import (
	"context"
	"errors"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
)

// This file is the one core that says who went: who is away for the grace, what a core that ended left half done, and, in
// rounds, everybody who is online as other programs know, since nobody says when an edge dies. It has a lease, kept
// beside those of endpoints.

// sweepLease is what the lease is kept under: no endpoint can have such a name.
const sweepLease = "~presence"

const (
	sweepEvery = time.Second
	// sweepLeft is the age at which what another core began is taken to be left.
	sweepLeft = 5 * time.Second
)

// beginSweeps makes sure that there is a lease to take.
func (p *Webhook) beginSweeps(ctx context.Context) error {
	known, err := p.store.knows(ctx, sweepLease)
	if known || err != nil {
		return err
	}
	return p.store.beginOnce(ctx, sweepLease, nil)
}

// runSweeps sweeps whenever this core has the lease, until ctx ends.
func (p *Webhook) runSweeps(ctx context.Context) {
	var asking faults
	for ctx.Err() == nil {
		l, _, err := p.take(ctx, sweepLease)
		if asking.first(ctx, err) {
			p.host.Log().Error("who went offline waits to be told: the directory does not say who tells it", "err", err)
		}
		if l != nil {
			p.sweepWhile(ctx, l)
		}
		pause(ctx, p.config.Lease/4)
	}
}

// sweepWhile sweeps until ctx ends or the lease is another core's.
func (p *Webhook) sweepWhile(ctx context.Context, l *lease) {
	defer p.giveBack(ctx, sweepLease, l)
	s := sweep{Webhook: p, began: p.host.Now()}
	var stepping faults
	for ctx.Err() == nil {
		if time.Until(l.end()) < p.config.Lease*3/4 {
			if err := p.renew(ctx, sweepLease, l); err != nil {
				return
			}
		}
		if err := s.step(ctx); stepping.first(ctx, err) {
			p.host.Log().Warn("who went offline waits to be told", "err", err)
		}
		pause(ctx, min(sweepEvery, p.config.PresenceGrace))
	}
}

// sweep is one core's, for as long as it has the lease.
type sweep struct {
	*Webhook
	began time.Time // nobody is gone before the grace is over since: edges may only just be linking

	after   im.UserID // where the round is
	rounded time.Time // when the last round began
	pages   int       // that the round began with
}

// step looks at those whose time has come, and at a part of all.
func (s *sweep) step(ctx context.Context) error {
	now := s.host.Now()
	faults := []error{s.due(ctx, stateComing, now.Add(-sweepLeft), false), s.due(ctx, stateGoing, now.Add(-sweepLeft), false)}
	if now.Sub(s.began) >= s.config.PresenceGrace {
		faults = append(faults, s.due(ctx, stateAway, now.Add(-s.config.PresenceGrace), true))
	}
	return errors.Join(append(faults, s.round(ctx, now))...)
}

// mostPages bounds what one step looks at of each state.
const mostPages = 20

// due looks at those who are in a state since some time.
func (s *sweep) due(ctx context.Context, state onlineState, since time.Time, late bool) error {
	for range mostPages {
		users, err := s.online.list(ctx, selectDue, state, since.UnixMilli(), lookedAt)
		if err != nil || len(users) == 0 {
			return err
		}
		if err := s.look(ctx, sessionless(users), late); err != nil || len(users) < lookedAt {
			return err
		}
	}
	return nil
}

// round looks at a part of all who are online, so that a round takes about half of PresenceSweep.
func (s *sweep) round(ctx context.Context, now time.Time) error {
	if s.after == 0 && now.Sub(s.rounded).Abs() < s.config.PresenceSweep {
		return nil
	}
	if s.after == 0 {
		people, err := s.online.count(ctx)
		if err != nil {
			return err
		}
		s.rounded, s.pages = now, people/lookedAt+1
	}
	steps := max(1, int(s.config.PresenceSweep/2/sweepEvery))
	for range (s.pages + steps - 1) / steps {
		users, err := s.online.list(ctx, selectAll, int64(s.after), lookedAt)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			if err := s.look(ctx, sessionless(users), false); err != nil {
				return err
			}
			s.after = users[len(users)-1]
		}
		if len(users) < lookedAt {
			s.after = 0
			return nil
		}
	}
	return nil
}

// sessionless is people of whose sessions nothing was heard.
func sessionless(users []im.UserID) queue {
	some := make(queue, len(users))
	for _, u := range users {
		some[u] = presence.Route{}
	}
	return some
}
