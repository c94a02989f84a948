package social

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

const (
	expiryEvery = time.Minute
	expiryBatch = 200 // applications that are seen to before the directory is asked again
)

// runExpiry sees to applications whose time has come, until ctx ends. Several cores may: each
// application is looked at again under its lock.
func (p *Social) runExpiry(ctx context.Context) {
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := p.expire(ctx); err != nil && ctx.Err() == nil {
			p.host.Log().Warn("applications do not expire", "err", err)
		}
	}
}

const dueQuery = "WHERE until_ms >= ? AND until_ms <= ? ORDER BY until_ms LIMIT ?"

// expire ends the applications whose time is over, and forgets those that ended a month ago.
// One that cannot be ended holds up no other; the first error of all is given.
func (p *Social) expire(ctx context.Context) (first error) {
	for sinceMs := int64(0); ; {
		nowMs := p.host.Now().UnixMilli()
		due, err := p.store.applications(ctx, p.store.db, dueQuery, sinceMs, nowMs, expiryBatch)
		if err != nil {
			return err
		}
		failed := 0
		for _, a := range due {
			if err := p.expireOne(ctx, a.from, a.to, nowMs); err != nil {
				failed++
				first = cmp.Or(first, fmt.Errorf("application of %d to %d: %w", a.from, a.to, err))
			}
		}
		if len(due) < expiryBatch || ctx.Err() != nil {
			return first
		}
		last := due[len(due)-1].untilMs
		if failed == len(due) && last == sinceMs { // none of these can be passed
			return first
		}
		if failed > 0 {
			sinceMs = last
		}
	}
}

func (p *Social) expireOne(ctx context.Context, from, to im.UserID, nowMs int64) error {
	return p.change(ctx, func(tx *sql.Tx, people []*person) ([]plugin.Event, error) {
		a, err := p.store.application(ctx, tx, from, to)
		switch {
		case err != nil || !a.stored || a.untilMs > nowMs:
			return nil, err
		case !a.open():
			if _, err := tx.ExecContext(ctx, "DELETE FROM social_applications WHERE from_id = ? AND to_id = ?", int64(from), int64(to)); err != nil {
				return nil, fmt.Errorf("forget an application: %w", err)
			}
			return nil, nil
		}
		told := []im.UserID{from, to}
		if a.state == unseen {
			told = told[:1]
		}
		if err := p.end(ctx, tx, people[0], people[1], a, expired, nowMs); err != nil {
			return nil, err
		}
		return []plugin.Event{event(0, "expired", two{from, to}, told...)}, nil
	}, from, to)
}
