package webhook

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"freeim/core/im"
)

// store is the plugin's tables.
type store struct {
	db *sql.DB
	tx func(ctx context.Context, fn func(*sql.Tx) error) error
}

// cursor is how far an endpoint is in a feed.
type cursor struct {
	feed    im.UserID
	place   int64
	lastID  string // of the message there; empty: it was none of the endpoint's
	epoch   string
	floorMs int64
	tries   int
}

// letter is a dead one.
type letter struct {
	feed   im.UserID
	place  int64
	id     string
	event  string
	diedMs int64
	reason string
}

// state is what is stored of an endpoint beside its cursors.
type state struct {
	owner   string
	fence   int64
	untilMs int64
	stopped string
}

const selectState = "SELECT owner, fence, until_ms, stopped FROM webhook_endpoints WHERE name = ?"

func (s *store) state(ctx context.Context, name string) (st state, err error) {
	err = s.db.QueryRowContext(ctx, selectState, name).Scan(&st.owner, &st.fence, &st.untilMs, &st.stopped)
	return st, wrap(err, "read the state of a webhook")
}

func wrap(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// knows reports whether an endpoint of that name was begun.
func (s *store) knows(ctx context.Context, name string) (known bool, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM webhook_endpoints WHERE name = ?)", name).Scan(&known)
	return known, wrap(err, "look for a webhook")
}

// begin makes an endpoint with its cursors; an error if there is one.
func (s *store) begin(ctx context.Context, name string, cursors []cursor) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO webhook_endpoints (name, owner, fence, beat, until_ms, stopped) VALUES (?, '', 0, 0, 0, '')", name); err != nil {
			return fmt.Errorf("make a webhook: %w", err)
		}
		for _, c := range cursors {
			_, err := tx.ExecContext(ctx, "INSERT INTO webhook_cursors (endpoint, feed, place, last_id, epoch, floor_ms, tries) VALUES (?, ?, ?, ?, ?, ?, 0)",
				name, int64(c.feed), c.place, c.lastID, c.epoch, c.floorMs)
			if err != nil {
				return fmt.Errorf("make the cursor of a webhook: %w", err)
			}
		}
		return nil
	})
}

// beginOnce is begin where another core may be faster.
func (s *store) beginOnce(ctx context.Context, name string, cursors []cursor) error {
	err := s.begin(ctx, name, cursors)
	if err != nil {
		if known, lookErr := s.knows(ctx, name); known && lookErr == nil {
			return nil
		}
	}
	return err
}

// take gives the lease of an endpoint to a core if nobody has it; nil: somebody has, or it is stopped.
func (s *store) take(ctx context.Context, name, core string, now time.Time, length time.Duration) (l *lease, stopped bool, err error) {
	st, err := s.state(ctx, name)
	if err != nil || st.stopped != "" {
		return nil, st.stopped != "", err
	}
	if st.owner != "" && st.untilMs > now.UnixMilli() {
		return nil, false, nil
	}
	err = s.tx(ctx, func(tx *sql.Tx) error {
		done, err := changed(tx.ExecContext(ctx, "UPDATE webhook_endpoints SET owner = ?, fence = fence + 1, until_ms = ? WHERE name = ? AND fence = ? AND until_ms = ? AND stopped = ''",
			core, now.Add(length).UnixMilli(), name, st.fence, st.untilMs))
		l = nil
		if done {
			l = &lease{fence: st.fence + 1}
		}
		return wrap(err, "take the lease of a webhook")
	})
	return l, false, err
}

// changed reports whether a statement changed a row.
func changed(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// renew extends a lease, or gives errFenced.
func (s *store) renew(ctx context.Context, name string, l *lease, until time.Time) error {
	return s.fenced(ctx, "renew the lease of a webhook", nil,
		"UPDATE webhook_endpoints SET until_ms = ?, beat = beat + 1 WHERE name = ? AND fence = ?", until.UnixMilli(), name, l.fence)
}

// fenced does then after a change that must change a row: else it gives errFenced.
func (s *store) fenced(ctx context.Context, what string, then func(*sql.Tx) error, query string, args ...any) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		done, err := changed(tx.ExecContext(ctx, query, args...))
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case !done:
			return errFenced
		case then == nil:
			return nil
		}
		return then(tx)
	})
}

// giveBack ends a lease, if it is the present one.
func (s *store) giveBack(ctx context.Context, name string, fence int64) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE webhook_endpoints SET owner = '', until_ms = 0 WHERE name = ? AND fence = ?", name, fence)
		return wrap(err, "give the lease of a webhook back")
	})
}

// anyFence is for changes that need no lease.
const anyFence = -1

// stop stops an endpoint.
func (s *store) stop(ctx context.Context, name string, fence int64, why string) error {
	return s.fenced(ctx, "stop a webhook", nil,
		"UPDATE webhook_endpoints SET stopped = ?, owner = '', until_ms = 0, fence = fence + 1 WHERE name = ? AND (fence = ? OR ? = ?)", why, name, fence, fence, anyFence)
}

// resume ends that.
func (s *store) resume(ctx context.Context, name string) error {
	return s.fenced(ctx, "resume a webhook", nil,
		"UPDATE webhook_endpoints SET stopped = '', fence = fence + 1 WHERE name = ?", name)
}

// cursor reads one.
func (s *store) cursor(ctx context.Context, name string, feed im.UserID) (c cursor, err error) {
	c.feed = feed
	err = s.db.QueryRowContext(ctx, "SELECT place, last_id, epoch, floor_ms, tries FROM webhook_cursors WHERE endpoint = ? AND feed = ?", name, int64(feed)).
		Scan(&c.place, &c.lastID, &c.epoch, &c.floorMs, &c.tries)
	return c, wrap(err, "read the cursor of a webhook")
}

// move stores how far an endpoint is, and letters that died on the way, if the fence is still that.
// The shards of an endpoint do not lock each other's rows: the fence is read, in a share lock.
func (s *store) move(ctx context.Context, name string, fence int64, c cursor, letters []letter) error {
	return s.fenced(ctx, "move the cursor of a webhook", func(tx *sql.Tx) error { return bury(ctx, tx, name, letters) },
		"UPDATE webhook_cursors SET place = ?, last_id = ?, epoch = ?, floor_ms = ?, tries = ? WHERE endpoint = ? AND feed = ? "+
			"AND EXISTS (SELECT 1 FROM webhook_endpoints WHERE name = ? AND fence = ?)",
		c.place, c.lastID, c.epoch, c.floorMs, c.tries, name, int64(c.feed), name, fence)
}

func bury(ctx context.Context, tx *sql.Tx, name string, letters []letter) error {
	for _, l := range letters {
		// One that died before, and was replayed, dies again.
		if _, err := tx.ExecContext(ctx, "DELETE FROM webhook_dead WHERE endpoint = ? AND feed = ? AND place = ?", name, int64(l.feed), l.place); err != nil {
			return fmt.Errorf("make an event a dead letter: %w", err)
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO webhook_dead (endpoint, feed, place, id, event, died_ms, reason) VALUES (?, ?, ?, ?, ?, ?, ?)",
			name, int64(l.feed), l.place, l.id, l.event, l.diedMs, l.reason)
		if err != nil {
			return fmt.Errorf("make an event a dead letter: %w", err)
		}
	}
	return nil
}

// replay has an endpoint go on from other places, whoever delivers. Their floor is now.
func (s *store) replay(ctx context.Context, name string, cursors []cursor) error {
	return s.fenced(ctx, "replay to a webhook", func(tx *sql.Tx) error {
		for _, c := range cursors {
			_, err := tx.ExecContext(ctx, "UPDATE webhook_cursors SET place = ?, last_id = '', epoch = ?, floor_ms = ?, tries = 0 WHERE endpoint = ? AND feed = ?",
				c.place, c.epoch, c.floorMs, name, int64(c.feed))
			if err != nil {
				return fmt.Errorf("replay to a webhook: %w", err)
			}
		}
		return nil
	}, "UPDATE webhook_endpoints SET owner = '', until_ms = 0, fence = fence + 1 WHERE name = ?", name)
}

// countDead counts dead letters, up to most.
func (s *store) countDead(ctx context.Context, name string, most int) (n int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM webhook_dead WHERE endpoint = ? LIMIT ?) some", name, most).Scan(&n)
	return n, wrap(err, "count dead letters")
}

// selectDead lists dead letters behind a place, feed by feed.
const selectDead = "SELECT feed, place, id, event, died_ms, reason FROM webhook_dead WHERE endpoint = ? AND feed = ? AND place > ? ORDER BY place LIMIT ?"

// dead lists letters behind a position: those of the feed -1 first.
func (s *store) dead(ctx context.Context, name string, after position, limit int) (all []letter, err error) {
	for feed := after.feed; feed.IsFeed() && len(all) < limit; feed-- {
		if feed != after.feed {
			after.place = 0
		}
		some, err := s.deadOf(ctx, name, feed, after.place, limit-len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

func (s *store) deadOf(ctx context.Context, name string, feed im.UserID, after int64, limit int) (all []letter, err error) {
	rows, err := s.db.QueryContext(ctx, selectDead, name, int64(feed), after, limit)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l letter
		if err := rows.Scan(&l.feed, &l.place, &l.id, &l.event, &l.diedMs, &l.reason); err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		all = append(all, l)
	}
	return all, wrap(rows.Err(), "list dead letters")
}

// drop forgets a dead letter; false: there is none.
func (s *store) drop(ctx context.Context, name string, at position) (dropped bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		dropped, err = changed(tx.ExecContext(ctx, "DELETE FROM webhook_dead WHERE endpoint = ? AND feed = ? AND place = ?", name, int64(at.feed), at.place))
		return wrap(err, "drop a dead letter")
	})
	return dropped, err
}

// dropAll forgets all.
func (s *store) dropAll(ctx context.Context, name string) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM webhook_dead WHERE endpoint = ?", name)
		return wrap(err, "drop dead letters")
	})
}
