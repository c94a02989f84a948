package chat

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
)

// This file is what a restore of the timeline store does to the logs that people follow: seqs of the life before mean
// something up to where the log ended when the new life began, and nothing behind. So that is written down before
// the first message of a life comes into the log. README.md, Logs that people follow. A transaction must see here what
// others have committed meanwhile: it takes READ COMMITTED, which is what the directory's transactions have.

// life is a row of chat_log_lives.
type life struct {
	epoch string
	head  int64 // of the log, when the life began
	place int64
}

// begin gives the lives of a log, the present one among them: it is there before anything is committed to the log in it.
// Whoever comes first writes it, and until then the log is as the life found it.
func (p *Chat) begin(ctx context.Context, tx *sql.Tx, c im.ConversationID) ([]life, error) {
	epoch := p.timelines.Epoch()
	all, err := readLives(ctx, tx, c)
	if err != nil || slices.ContainsFunc(all, func(l life) bool { return l.epoch == epoch }) {
		return all, err
	}
	heads, _, err := p.timelines.Heads(ctx, []im.ConversationID{c}, nil)
	if err != nil {
		return nil, err
	}
	// Another core may write it at the same moment, the same; to SQLite, where there is none, IGNORE is a comment.
	_, err = tx.ExecContext(ctx, "INSERT /*! IGNORE */ INTO chat_log_lives (conversation, epoch, head_seq, place) SELECT ?, ?, ?, ? FROM (SELECT 1) AS one "+
		"WHERE NOT EXISTS (SELECT 1 FROM chat_log_lives WHERE conversation = ? AND epoch = ?)", string(c), epoch, heads[0], len(all)+1, string(c), epoch)
	if err != nil {
		return nil, fmt.Errorf("begin a life of a log: %w", err)
	}
	return readLives(ctx, tx, c)
}

const selectLives = "SELECT epoch, head_seq, place FROM chat_log_lives WHERE conversation = ?"

func readLives(ctx context.Context, q querier, c im.ConversationID) (all []life, err error) {
	rows, err := q.QueryContext(ctx, selectLives, string(c))
	if err != nil {
		return nil, fmt.Errorf("look up the lives of a log: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l life
		if err := rows.Scan(&l.epoch, &l.head, &l.place); err != nil {
			return nil, fmt.Errorf("read a life of a log: %w", err)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up the lives of a log: %w", err)
	}
	return all, nil
}

// begun makes sure that the present life of a log is written down.
func (p *Chat) begun(ctx context.Context, c im.ConversationID) error {
	var n int
	err := p.host.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM chat_log_lives WHERE conversation = ? AND epoch = ?", string(c), p.timelines.Epoch()).Scan(&n)
	if err != nil || n > 0 {
		return err
	}
	return p.host.Tx(ctx, func(tx *sql.Tx) error {
		_, err := p.begin(ctx, tx, c)
		return err
	})
}

// shared is up to which seq a log is today what it was in the life epoch.
func shared(lives []life, epoch string) int64 {
	place, end := int64(0), int64(-1)
	for _, l := range lives {
		if l.epoch == epoch {
			place = l.place
		}
	}
	for _, l := range lives {
		if l.place > place && (end < 0 || l.head < end) {
			end = l.head
		}
	}
	return max(0, end)
}

// adopt has the parts of c that people follow be of the store's present life. What they had coming of a life before
// they get as far as the log has it still; who followed it without an end follows what came since, all of it. Done twice,
// or by two cores at once, it does the same.
func (p *Chat) adopt(ctx context.Context, tx *sql.Tx, c im.ConversationID, users []im.UserID) error {
	now := p.timelines.Epoch()
	which, args := ofPeople(c, users)
	old, err := staleEpochs(ctx, tx, "SELECT DISTINCT epoch FROM chat_follows WHERE "+which+" AND epoch NOT IN (?, ?)", append(slices.Clone(args), now, wholeMark+now)...)
	if err != nil || len(old) == 0 {
		return err
	}
	lives, err := p.begin(ctx, tx, c)
	if err != nil {
		return err
	}
	for _, epoch := range old { // what goes first: what stays may take its place in the key
		end := shared(lives, strings.TrimPrefix(epoch, wholeMark))
		if _, err := tx.ExecContext(ctx, "DELETE FROM chat_follows WHERE "+which+" AND epoch = ? AND through_seq > 0 AND after_seq >= ?",
			append(slices.Clone(args), epoch, end)...); err != nil {
			return fmt.Errorf("follow another life of %s: %w", c, err)
		}
	}
	for _, epoch := range old {
		end := shared(lives, strings.TrimPrefix(epoch, wholeMark))
		if _, err := tx.ExecContext(ctx, "UPDATE chat_follows SET after_seq = CASE WHEN after_seq > ? THEN ? ELSE after_seq END, "+
			"through_seq = CASE WHEN through_seq > ? THEN ? ELSE through_seq END, epoch = ? WHERE "+which+" AND epoch = ?",
			append(append([]any{end, end, end, end, now}, args...), epoch)...); err != nil {
			return fmt.Errorf("follow another life of %s: %w", c, err)
		}
	}
	return nil
}

func staleEpochs(ctx context.Context, tx *sql.Tx, query string, args ...any) (all []string, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("look for followers of before: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var epoch string
		if err := rows.Scan(&epoch); err != nil {
			return nil, fmt.Errorf("read a follower's epoch: %w", err)
		}
		all = append(all, epoch)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for followers of before: %w", err)
	}
	return all, nil
}
