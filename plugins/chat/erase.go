package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file takes the bodies of recalled messages out of the timeline store, keep_recalled after the recall. A row that the
// recall's transaction writes waits for it, so nothing is forgotten, whichever core ends when; a core that erases takes rows
// for a while, so that others take the next ones, and doing it twice changes nothing. What disappears is erased by the sweep of its part (lifetime_sweep.go).

const (
	// eraseBatch is how many messages a core erases at a time.
	eraseBatch = 100
	// erasePause is how long a message waits that cannot be read.
	erasePause = 24 * time.Hour
)

// erasure is a recalled message whose body is to go.
type erasure struct {
	stored
	id    string
	dueMs int64
}

// eraseLater has the body of a message be erased when its recall is so old.
func (s changeStore) eraseLater(ctx context.Context, tx *sql.Tx, b *became, after time.Duration) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO chat_erasures (conversation, seq, message_id, due_ms) VALUES (?, ?, ?, ?)",
		string(b.log), b.seq, b.id, b.recalledMs+after.Milliseconds())
	if err != nil {
		return fmt.Errorf("have a message be erased: %w", err)
	}
	return nil
}

const selectErasures = "SELECT conversation, seq, message_id, due_ms FROM chat_erasures WHERE due_ms <= ? ORDER BY due_ms, conversation, seq, message_id LIMIT ?"

// erasures are those that are due, those that wait for longest first.
func (s changeStore) erasures(ctx context.Context, now time.Time, limit int) (all []erasure, err error) {
	rows, err := s.host.DB().QueryContext(ctx, selectErasures, now.UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("look for messages to erase: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e erasure
		if err := rows.Scan(&e.log, &e.seq, &e.id, &e.dueMs); err != nil {
			return nil, fmt.Errorf("read what is to be erased: %w", err)
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for messages to erase: %w", err)
	}
	return all, nil
}

// claimErasures has the caller erase what it gets of all until then: of the others another core has taken care.
func (s changeStore) claimErasures(ctx context.Context, all []erasure, until time.Time) (mine []erasure, err error) {
	err = s.host.Tx(ctx, func(tx *sql.Tx) error {
		mine = mine[:0]
		for _, e := range all {
			result, err := tx.ExecContext(ctx, "UPDATE chat_erasures SET due_ms = ? WHERE conversation = ? AND seq = ? AND message_id = ? AND due_ms = ?",
				until.UnixMilli(), string(e.log), e.seq, e.id, e.dueMs)
			if err != nil {
				return fmt.Errorf("take what is to be erased: %w", err)
			}
			switch n, err := result.RowsAffected(); {
			case err != nil:
				return err
			case n > 0:
				mine = append(mine, e)
			}
		}
		return nil
	})
	return mine, err
}

// erased forgets what is erased.
func (s changeStore) erased(ctx context.Context, done []erasure) error {
	return s.host.Tx(ctx, func(tx *sql.Tx) error {
		for _, e := range done {
			if _, err := tx.ExecContext(ctx, "DELETE FROM chat_erasures WHERE conversation = ? AND seq = ? AND message_id = ?", string(e.log), e.seq, e.id); err != nil {
				return fmt.Errorf("forget what is erased: %w", err)
			}
		}
		return nil
	})
}

// eraseAt has one wait until then.
func (s changeStore) eraseAt(ctx context.Context, e erasure, at time.Time) error {
	_, err := s.host.DB().ExecContext(ctx, "UPDATE chat_erasures SET due_ms = ? WHERE conversation = ? AND seq = ? AND message_id = ?", at.UnixMilli(), string(e.log), e.seq, e.id)
	if err != nil {
		return fmt.Errorf("put off what is to be erased: %w", err)
	}
	return nil
}

// eraseDue erases what is due until nothing is, or the sweep has its turn.
func (p *Chat) eraseDue(ctx context.Context) error {
	for until := time.Now().Add(sweepTurn); ; {
		n, err := p.eraseNext(ctx)
		if err != nil || n < eraseBatch || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
	}
}

// eraseNext erases of a batch that is due what this core gets, and says how many were due.
func (p *Chat) eraseNext(ctx context.Context) (due int, err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	now := p.host.Now()
	all, err := p.changes.erasures(ctx, now, eraseBatch)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	mine, err := p.changes.claimErasures(ctx, all, now.Add(sweepBelieved))
	if err != nil || len(mine) == 0 {
		return len(all), err
	}
	return len(all), p.eraseSome(ctx, mine)
}

// eraseSome erases messages, or is to be done again when they are due again. A place that has another message, since the
// store was restored, has nothing to erase.
func (p *Chat) eraseSome(ctx context.Context, all []erasure) error {
	var gone []timeline.Erasure
	done := make([]erasure, 0, len(all))
	for _, e := range all {
		page, err := p.timelines.Log(ctx, e.log, e.seq-1, 1)
		if errors.Is(err, timeline.ErrCorrupt) {
			p.host.Log().Error("a recalled message cannot be read, and so not be erased", "conversation", e.log, "id", e.id, "err", err)
			if err := p.changes.eraseAt(ctx, e, p.host.Now().Add(erasePause)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		done = append(done, e)
		for _, m := range page.Items {
			if m.ID.String() != e.id || bodyErased(m) {
				continue
			}
			one, err := erasureOf(m)
			if err != nil {
				return err
			}
			gone = append(gone, one)
		}
	}
	if err := p.timelines.Erase(ctx, gone); err != nil {
		return err
	}
	return p.changes.erased(ctx, done)
}

func bodyErased(m im.Message) bool {
	var content chatpb.Content
	return content.Unmarshal(m.Body) == nil && content.Erased
}

// erasureOf says what is left of a message: where people see it and what it was, which tells nothing of what it said. Of a body
// that cannot be read nothing else is.
func erasureOf(m im.Message) (e timeline.Erasure, err error) {
	left := chatpb.Content{Erased: true}
	var content chatpb.Content
	if content.Unmarshal(m.Body) == nil {
		left.Kind, left.Event, left.About, left.AboutSeq, left.AboutExpiresMs = content.Kind, content.Event, content.About, content.AboutSeq, content.AboutExpiresMs
		left.Rewritten, left.ShadowSeq, left.Logged, left.LifetimeMs = content.Rewritten, content.ShadowSeq, content.Logged, content.LifetimeMs
	}
	e = timeline.Erasure{Ref: timeline.Ref{Conversation: m.Conversation, Seq: m.Seq}, ID: m.ID}
	if e.Left, err = left.Marshal(nil); err != nil {
		return e, fmt.Errorf("what is left of message %s: %w", m.ID, err)
	}
	return e, nil
}
