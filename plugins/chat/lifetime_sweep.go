package chat

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file erases messages that have disappeared, and deletes what is kept beside them: their edits, reactions and files. Nobody
// can read them by then, so it has time: a row for each part of a log says how far it is, whichever core goes on, and doing it twice does
// nothing.

const (
	// sweepLook is how often a core looks for parts that are due, sweepBatch how many it reads at once.
	sweepLook, sweepBatch = time.Second, 64
	// sweepPage is how many messages of a part are looked at before another has its turn.
	sweepPage = 200
	// sweepGrace is how long after its time what is kept beside a message is deleted: no action that began before
	// is under way then. sweepRest is the most by which a part with nothing to wait for is looked at later than the
	// next message of it may disappear.
	sweepGrace, sweepRest = time.Minute, 10 * time.Minute
	// sweepTime bounds one step; a core that takes one is believed to be over after sweepBelieved.
	sweepTime, sweepBelieved = 20 * time.Second, time.Minute
	// sweepTurn is how long parts that disappeared are swept, and recalled messages erased, before the others have their turn.
	sweepTurn = 10 * time.Second
	// sweepPause is how long a part waits that could not be swept.
	sweepPause = time.Minute
	// sweepBegun bounds how long the answer to a message that only its sender sees waits for its part to begin.
	sweepBegun = 5 * time.Second
)

// runSweeps deletes until ctx ends.
func (p *Chat) runSweeps(ctx context.Context) {
	every := time.NewTicker(sweepLook)
	defer every.Stop()
	for failing, again := false, false; ; { // again: all that a restore may have brought back is due again
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		var fault error
		if !again {
			fault = p.barred(func() (err error) {
				again, err = p.eraseRestored(ctx)
				return err
			})
		}
		err := errors.Join(fault, p.barred(func() error { return p.eraseDue(ctx) }), p.sweepDue(ctx))
		if err != nil && !failing && ctx.Err() == nil {
			p.host.Log().Error("messages that were recalled, or have disappeared, wait to be erased", "err", err)
		}
		failing = err != nil
	}
}

// sweepDue sees to parts that are due until none is, all of a batch failed or are another core's, or others have their turn.
func (p *Chat) sweepDue(ctx context.Context) error {
	for until := time.Now().Add(sweepTurn); ; {
		all, err := p.lifetimes.due(ctx, p.host.Now(), sweepBatch)
		if err != nil {
			return err
		}
		var faults []error
		done := 0
		for _, s := range all {
			mine, err := p.sweepOne(ctx, s)
			if mine && err == nil {
				done++
			}
			faults = append(faults, err)
		}
		if err := errors.Join(faults...); err != nil || done == 0 || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
	}
}

// sweepOne takes a step of one part, unless another core does.
func (p *Chat) sweepOne(ctx context.Context, s *sweep) (mine bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	if mine, err = p.lifetimes.claim(ctx, s, p.host.Now().Add(sweepBelieved)); !mine || err != nil {
		return mine, err
	}
	var next time.Time
	err = p.barred(func() (err error) {
		next, err = p.sweepStep(ctx, s)
		return err
	})
	switch {
	case errors.Is(err, timeline.ErrCorrupt):
		p.host.Log().Error("a part of a log cannot be swept", "conversation", s.conversation, "behind", s.swept, "err", err)
		return true, p.lifetimes.moved(ctx, s, p.host.Now().Add(mostLifetime))
	case err != nil:
		return true, errors.Join(err, p.lifetimes.moved(context.WithoutCancel(ctx), s, p.host.Now().Add(sweepPause)))
	case next.IsZero():
		return true, p.lifetimes.end(ctx, s)
	}
	return true, p.lifetimes.moved(ctx, s, next)
}

// resting is how long nothing is due in a part in which no message waits.
func resting(lifetimeMs int64) time.Duration {
	lifetime := time.Duration(lifetimeMs) * time.Millisecond
	return lifetime + min(sweepRest, max(sweepGrace, lifetime/10))
}

// sweepStep sweeps a page of a part, and says when to go on; zero: it is swept. When it fails it is to be done again.
func (p *Chat) sweepStep(ctx context.Context, s *sweep) (next time.Time, err error) {
	now := p.host.Now()
	if epoch := p.timelines.Epoch(); s.epoch != epoch { // restored: seqs may have other messages
		s.epoch, s.swept = epoch, 0
	}
	page, err := p.timelines.Log(ctx, s.conversation, s.swept, sweepPage)
	if err != nil {
		return next, err
	}
	// Who committed with the lifetime of this part has asked for it before it was closed, and is done after the grace.
	if s.closedMs != 0 && now.Sub(time.UnixMilli(s.closedMs)) > sweepGrace && (s.through == 0 || s.through > page.Head) {
		s.through = max(page.Head, 1)
	}
	var gone []im.Message
	swept := s.swept
	for _, m := range page.Items {
		at, mine := p.sweepable(m, s, now)
		if mine && now.Before(at) {
			next = at
			break
		}
		if mine || saidOfGone(m, now) {
			gone = append(gone, m)
		}
		if swept = m.Seq; s.through != 0 && swept >= s.through {
			break
		}
	}
	if err := p.sweepMessages(ctx, gone); err != nil {
		return next, err
	}
	s.swept = swept
	switch {
	case s.through != 0 && (s.swept >= s.through || page.Head == 0):
		return time.Time{}, nil
	case !next.IsZero():
		return next, nil
	case page.HasMore:
		return now, nil
	case s.closedMs != 0:
		return now.Add(sweepGrace), nil
	}
	return now.Add(resting(s.lifetimeMs)), nil
}

// sweepable is when what is kept beside a message of a part may be deleted. Messages of another lifetime are not mine: another
// part has them, and this one does not wait for them. Of a part of any lifetime are those whose time is over.
func (p *Chat) sweepable(m im.Message, s *sweep, now time.Time) (at time.Time, mine bool) {
	var content chatpb.Content
	if err := content.Unmarshal(m.Body); err != nil {
		p.host.Log().Error("what is kept beside a message is not deleted when it disappears: it cannot be read", "id", m.ID, "err", err)
		return at, false
	}
	if content.LifetimeMs == 0 || content.Erased {
		return at, false
	}
	at = expiry(m, &content).Add(sweepGrace)
	if s.lifetimeMs == anyLifetime {
		return at, !now.Before(at)
	}
	return at, content.LifetimeMs == s.lifetimeMs
}

// saidOfGone reports whether a message is an event about another one that has disappeared: a reaction goes with it.
func saidOfGone(m im.Message, now time.Time) bool {
	var content chatpb.Content
	return content.Unmarshal(m.Body) == nil && !content.Erased && content.AboutExpiresMs != 0 && now.Sub(time.UnixMilli(content.AboutExpiresMs)) >= sweepGrace
}

// sweepMessages erases messages of one log, when all that is kept beside them is deleted: what is erased names no files any more.
func (p *Chat) sweepMessages(ctx context.Context, gone []im.Message) error {
	if len(gone) == 0 {
		return nil
	}
	places, erasures := make([]stored, len(gone)), make([]timeline.Erasure, len(gone))
	for i, m := range gone {
		places[i] = stored{m.Conversation, m.Seq}
		var err error
		if erasures[i], err = erasureOf(m); err != nil {
			return err
		}
		var content chatpb.Content
		if err := content.Unmarshal(m.Body); err != nil || content.Media == nil || p.files == nil {
			continue
		}
		if err := p.files.Release(ctx, nil, holder(m.Sender, m.ClientID)); err != nil {
			return err
		}
	}
	err := p.host.Tx(ctx, func(tx *sql.Tx) error {
		return spans(p.host.Dialect(), places, func(where string, args []any) error { return p.changes.clear(ctx, tx, where, args) })
	})
	if err != nil {
		return err
	}
	return p.timelines.Erase(ctx, erasures)
}

// sweepShadow has a message that only its sender sees be swept too: those are in a log of their own, in which one part for each
// lifetime grows with them, and ends when all of it has disappeared.
func (p *Chat) sweepShadow(ctx context.Context, done timeline.Committed, lifetimeMs int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepBegun) // it is committed: that its sender left changes nothing
	defer cancel()
	now := p.host.Now().UnixMilli()
	err := p.lifetimes.grow(ctx, sweep{conversation: done.Conversation, lifetimeMs: lifetimeMs, closedMs: now, through: done.Seq, swept: done.Seq - 1,
		epoch: p.timelines.Epoch(), nextMs: now + lifetimeMs + sweepGrace.Milliseconds()})
	if err != nil {
		p.host.Log().Warn("a message that disappears may be kept for good", "id", done.ID, "err", err)
	}
}
