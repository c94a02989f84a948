package moment

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"freeim/core/im"
)

// This file is how the likes and comments of deleted moments go: nobody sees them any more, and
// there may be many, so that they are deleted in small transactions, by any core.

const (
	sweepEvery = time.Minute
	sweepStep  = 500 // rows in a transaction
	// sweepKeep is how long a client ID is remembered behind what was deleted.
	sweepKeep = 7 * 24 * time.Hour
)

// awake has this core sweep now.
func (p *Moment) awake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// runSweep sweeps until ctx ends.
func (p *Moment) runSweep(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		case <-p.wake:
		}
		if err := p.sweep(ctx); err != nil && ctx.Err() == nil {
			p.host.Log().Error("remains of deleted moments wait on", "err", err)
		}
		pause.Reset(sweepEvery)
	}
}

// Listings of moment_gone.
const (
	goneUnswept = "SELECT kind, author, client_id, id FROM moment_gone WHERE swept = 0 AND gone_ms >= ? ORDER BY gone_ms, kind, author, client_id LIMIT ?"
	goneOld     = "SELECT kind, author, client_id, id FROM moment_gone WHERE swept = 1 AND gone_ms < ? ORDER BY gone_ms, kind, author, client_id LIMIT ?"
)

// sweep does what there is to do.
func (p *Moment) sweep(ctx context.Context) error {
	for {
		some, err := p.store.gone(ctx, goneUnswept, 0, sweepStep)
		if err != nil {
			return err
		}
		for _, g := range some {
			if err := p.sweepOne(ctx, g); err != nil {
				return err
			}
		}
		if len(some) < sweepStep {
			break
		}
	}
	for {
		some, err := p.store.gone(ctx, goneOld, p.host.Now().Add(-sweepKeep).UnixMilli(), sweepStep)
		if err != nil || len(some) == 0 {
			return err
		}
		err = p.store.tx(ctx, func(tx *sql.Tx) error {
			for _, g := range some {
				if err := p.store.forget(ctx, tx, g); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// sweepOne deletes what is left of one moment.
func (p *Moment) sweepOne(ctx context.Context, g gone) error {
	if err := p.store.dropOpinions(ctx, g.id); err != nil {
		return err
	}
	return p.store.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE moment_gone SET swept = 1 WHERE kind = ? AND author = ? AND client_id = ?", g.kind, int64(g.author), g.client)
		if err != nil {
			return fmt.Errorf("note that a moment was swept: %w", err)
		}
		return nil
	})
}

func (s *store) gone(ctx context.Context, query string, args ...any) (all []gone, err error) {
	err = each(ctx, s.db, query, args, func(rows *sql.Rows) error {
		var g gone
		err := rows.Scan(&g.kind, &g.author, &g.client, &g.id)
		all = append(all, g)
		return err
	})
	return all, err
}

func (s *store) forget(ctx context.Context, tx *sql.Tx, g gone) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM moment_gone WHERE kind = ? AND author = ? AND client_id = ?", g.kind, int64(g.author), g.client)
	if err != nil {
		return fmt.Errorf("forget what was deleted: %w", err)
	}
	return nil
}

// dropOpinions deletes the likes and comments of a moment that is not there.
func (s *store) dropOpinions(ctx context.Context, id string) error {
	for {
		likes, err := s.likes(ctx, s.db, "SELECT moment_id, user_id, id, made_ms, gone FROM moment_likes WHERE moment_id = ? ORDER BY user_id LIMIT ?", id, sweepStep)
		if err != nil {
			return err
		}
		comments, err := s.comments(ctx, s.db, momentComments, id, "", sweepStep)
		if err != nil {
			return err
		}
		if len(likes)+len(comments) == 0 {
			return nil
		}
		err = s.tx(ctx, func(tx *sql.Tx) error {
			if n := len(likes); n > 0 {
				if _, err := tx.ExecContext(ctx, "DELETE FROM moment_likes WHERE moment_id = ? AND user_id <= ?", id, int64(likes[n-1].user)); err != nil {
					return fmt.Errorf("delete likes: %w", err)
				}
			}
			if n := len(comments); n > 0 {
				if _, err := tx.ExecContext(ctx, "DELETE FROM moment_comments WHERE moment_id = ? AND id <= ?", id, comments[n-1].id); err != nil {
					return fmt.Errorf("delete comments: %w", err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// dropGone forgets what somebody deleted.
func (s *store) dropGone(ctx context.Context, author im.UserID) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		for _, kind := range []int{goneMoment, goneComment} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM moment_gone WHERE kind = ? AND author = ?", kind, int64(author)); err != nil {
				return fmt.Errorf("forget what somebody deleted: %w", err)
			}
		}
		return nil
	})
}
