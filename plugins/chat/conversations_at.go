package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"freeim/core/im"
)

// This file is where conversations stand in a list whose messages come into the inbox when their person asks: by
// when the newest was written, among the others by when they came.

// lookAtOnce is how many look-ups in timelines one call has under way.
const lookAtOnce = 16

// standAll finds where conversations stand.
func (p *Chat) standAll(ctx context.Context, u im.UserID, news map[im.ConversationID]*news) error {
	all := slices.Collect(maps.Values(news))
	faults := make([]error, len(all))
	var looking sync.WaitGroup
	for first := range min(lookAtOnce, len(all)) {
		looking.Go(func() {
			for i := first; i < len(all); i += lookAtOnce {
				faults[i] = p.stands(ctx, u, all[i])
			}
		})
	}
	looking.Wait()
	return errors.Join(faults...)
}

// stands finds where a conversation stands by what came of it.
func (p *Chat) stands(ctx context.Context, u im.UserID, n *news) error {
	for i := len(n.entries) - 1; i >= 0; i-- {
		e := n.entries[i]
		if e.quiet {
			continue
		}
		if !e.logged {
			return nil
		}
		at, err := p.timelines.Locate(ctx, u, e.id)
		if err == nil && at < e.inbox-1 {
			n.aside, n.at = true, at
		}
		return err
	}
	return nil
}

// stand keeps where a conversation stands, in the transaction that moves its list.
func (s listStore) stand(ctx context.Context, tx *sql.Tx, u im.UserID, l *listed, n *news) error {
	if !n.aside {
		return nil // a row of before is of no use any more: it is of an older last_inbox
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM chat_listed_at WHERE user_id = ? AND conversation = ?", int64(u), string(l.conversation))
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO chat_listed_at (user_id, conversation, last_inbox, at_inbox) VALUES (?, ?, ?, ?)",
			int64(u), string(l.conversation), l.lastInbox, n.at)
	}
	if err != nil {
		return fmt.Errorf("keep where a conversation stands: %w", err)
	}
	return nil
}

// selectStands are the conversations of a page by where they stand. Only who has rows of chat_listed_at is asked so: what is
// sorted are the conversations of one person.
const selectStands = "SELECT c.conversation, COALESCE(a.at_inbox, c.last_inbox) AS stands FROM chat_conversations c " +
	"LEFT JOIN chat_listed_at a ON a.user_id = c.user_id AND a.conversation = c.conversation AND a.last_inbox = c.last_inbox " +
	"WHERE c.user_id = ? AND c.pinned = ? AND c.last_inbox > CASE WHEN ? THEN 0 ELSE c.hidden END AND " +
	"(COALESCE(a.at_inbox, c.last_inbox) < ? OR COALESCE(a.at_inbox, c.last_inbox) = ? AND c.last_inbox < ?) ORDER BY stands DESC, c.last_inbox DESC LIMIT ?"

// page reads a page of a person's pinned conversations, or of the others, the newest activity first.
func (s listStore) page(ctx context.Context, u im.UserID, from listPlace, limit int, hidden bool) ([]*listed, error) {
	var stand bool
	if err := s.host.DB().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM chat_listed_at WHERE user_id = ?)", int64(u)).Scan(&stand); err != nil {
		return nil, fmt.Errorf("look how a list is ordered: %w", err)
	}
	if !stand {
		query := selectShown
		if hidden {
			query = selectAll
		}
		return s.list(ctx, s.host.DB(), query, int64(u), from.pinned, from.last, limit)
	}
	names, stands, err := s.stands(ctx, int64(u), from.pinned, hidden, from.before, from.before, from.last, limit)
	if err != nil {
		return nil, err
	}
	found, err := s.some(ctx, s.host.DB(), u, names)
	if err != nil {
		return nil, err
	}
	page := make([]*listed, 0, len(names))
	for i, c := range names {
		if l := found[c]; l != nil {
			l.stands = stands[i]
			page = append(page, l)
		}
	}
	return page, nil
}

func (s listStore) stands(ctx context.Context, args ...any) (names []im.ConversationID, stands []int64, err error) {
	rows, err := s.host.DB().QueryContext(ctx, selectStands, args...)
	if err != nil {
		return nil, nil, fmt.Errorf("list conversations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c im.ConversationID
		var at int64
		if err := rows.Scan(&c, &at); err != nil {
			return nil, nil, fmt.Errorf("read where a conversation stands: %w", err)
		}
		names, stands = append(names, c), append(stands, at)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("list conversations: %w", err)
	}
	return names, stands, nil
}
