package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
)

// This file has bodies be erased again that a restore of the timeline store brought back: what was recalled, and what has
// disappeared, the directory knows for good. A row for each life of the store says how far that is, and moves on in the
// transaction that writes what is to be erased: so a core that ends leaves the rest to another one, and of two that do the
// same step one does nothing. What is there is erased as ever (erase.go, lifetime_sweep.go).

// restoredBatch is how many rows of the directory one step looks at.
const restoredBatch = 200

// Stages of a life: whose turn it is.
const (
	recalledAgain = iota // rows of chat_changes
	expiredAgain         // rows of chat_lifetimes
	allAgain             // nothing is left
)

// errOtherCore is how a step ends that another core has done meanwhile.
var errOtherCore = errors.New("another core has done it")

// restores is how far this life of the store is.
type restores struct {
	stage int
	stored
}

// eraseRestored takes steps until nothing is left, another core takes them, or others have their turn.
func (p *Chat) eraseRestored(ctx context.Context) (done bool, err error) {
	for until := time.Now().Add(sweepTurn); ; {
		if done, err = p.restoredStep(ctx); errors.Is(err, errOtherCore) {
			return false, nil
		}
		if done || err != nil || ctx.Err() != nil || time.Now().After(until) {
			return done, err
		}
	}
}

// restoredStep has some of what a restore may have brought back be erased. It returns errOtherCore when that is done already.
func (p *Chat) restoredStep(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	err = p.host.Tx(ctx, func(tx *sql.Tx) error {
		at, err := p.restoredAt(ctx, tx)
		if err != nil {
			return err
		}
		switch at.stage {
		case recalledAgain:
			return p.recalledStep(ctx, tx, at)
		case expiredAgain:
			return p.expiredStep(ctx, tx, at)
		}
		done = true
		return nil
	})
	return done, err
}

// restoredAt is how far the store's present life is; it begins when somebody asks first.
func (p *Chat) restoredAt(ctx context.Context, tx *sql.Tx) (at restores, err error) {
	epoch := p.timelines.Epoch()
	err = tx.QueryRowContext(ctx, "SELECT stage, conversation, seq FROM chat_restores WHERE epoch = ?", epoch).Scan(&at.stage, &at.log, &at.seq)
	if errors.Is(err, sql.ErrNoRows) {
		// Another core may write it at the same moment, the same; to SQLite, where there is none, IGNORE is a comment.
		_, err = tx.ExecContext(ctx, "INSERT /*! IGNORE */ INTO chat_restores (epoch, stage, conversation, seq) VALUES (?, 0, '', 0)", epoch)
	}
	if err != nil {
		return at, fmt.Errorf("look how far a restored store is: %w", err)
	}
	return at, nil
}

// restoredTo moves on, unless another core has.
func (p *Chat) restoredTo(ctx context.Context, tx *sql.Tx, from, to restores) error {
	result, err := tx.ExecContext(ctx, "UPDATE chat_restores SET stage = ?, conversation = ?, seq = ? WHERE epoch = ? AND stage = ? AND conversation = ? AND seq = ?",
		to.stage, string(to.log), to.seq, p.timelines.Epoch(), from.stage, string(from.log), from.seq)
	if err != nil {
		return fmt.Errorf("keep how far a restored store is: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errOtherCore)
	}
	return nil
}

// Rows of chat_changes behind a place: of its log, and of the logs behind that.
const (
	selectChangesOfLog = "SELECT conversation, seq, message_id, recalled_ms FROM chat_changes WHERE conversation = ? AND seq > ? ORDER BY seq LIMIT ?"
	selectChangesAfter = "SELECT conversation, seq, message_id, recalled_ms FROM chat_changes WHERE conversation > ? ORDER BY conversation, seq LIMIT ?"
)

// recalledStep has those of some changed messages that were recalled wait to be erased, keep_recalled after their recall.
func (p *Chat) recalledStep(ctx context.Context, tx *sql.Tx, at restores) error {
	all, err := changesBehind(ctx, tx, selectChangesOfLog, string(at.log), at.seq, restoredBatch)
	if err == nil && len(all) == 0 {
		all, err = changesBehind(ctx, tx, selectChangesAfter, string(at.log), restoredBatch)
	}
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return p.restoredTo(ctx, tx, at, restores{stage: expiredAgain})
	}
	if err := p.restoredTo(ctx, tx, at, restores{recalledAgain, all[len(all)-1].stored}); err != nil {
		return err
	}
	for _, b := range all {
		if !b.recalled() {
			continue
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO chat_erasures (conversation, seq, message_id, due_ms) SELECT ?, ?, ?, ? FROM (SELECT 1) AS one "+
			"WHERE NOT EXISTS (SELECT 1 FROM chat_erasures WHERE conversation = ? AND seq = ? AND message_id = ?)",
			string(b.log), b.seq, b.id, b.recalledMs+p.config.KeepRecalled.Milliseconds(), string(b.log), b.seq, b.id)
		if err != nil {
			return fmt.Errorf("have a message be erased again: %w", err)
		}
	}
	return nil
}

func changesBehind(ctx context.Context, tx *sql.Tx, query string, args ...any) (all []became, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("look for messages that were recalled: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var b became
		if err := rows.Scan(&b.log, &b.seq, &b.id, &b.recalledMs); err != nil {
			return nil, fmt.Errorf("read a message that was recalled: %w", err)
		}
		all = append(all, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for messages that were recalled: %w", err)
	}
	return all, nil
}

const selectSettled = "SELECT conversation FROM chat_lifetimes WHERE conversation > ? ORDER BY conversation LIMIT ?"

// expiredStep begins a part of any lifetime, which ends where the log does, for some conversations that have, or had, one: those
// of before may be swept, and so forgotten.
func (p *Chat) expiredStep(ctx context.Context, tx *sql.Tx, at restores) error {
	all, err := settledBehind(ctx, tx, at.log)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return p.restoredTo(ctx, tx, at, restores{stage: allAgain})
	}
	if err := p.restoredTo(ctx, tx, at, restores{expiredAgain, stored{log: all[len(all)-1]}}); err != nil {
		return err
	}
	now := p.host.Now().UnixMilli()
	for _, c := range all {
		logs := []im.ConversationID{c}
		if a, b, ok := c.Pair(); ok {
			logs = append(logs, c.Shadow(a), c.Shadow(b))
		}
		for _, log := range logs {
			if err := p.lifetimes.begin(ctx, tx, sweep{conversation: log, lifetimeMs: anyLifetime, closedMs: 1, epoch: p.timelines.Epoch(), nextMs: now}); err != nil {
				return err
			}
		}
	}
	return nil
}

func settledBehind(ctx context.Context, tx *sql.Tx, after im.ConversationID) (all []im.ConversationID, err error) {
	rows, err := tx.QueryContext(ctx, selectSettled, string(after), restoredBatch)
	if err != nil {
		return nil, fmt.Errorf("look for conversations with lifetimes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c im.ConversationID
		if err := rows.Scan(&c); err != nil {
			return nil, fmt.Errorf("read a conversation with a lifetime: %w", err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for conversations with lifetimes: %w", err)
	}
	return all, nil
}
