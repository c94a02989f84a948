package group

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// This file is what a restore of the timeline store does to the places from which members read (after_seq). One that is
// behind the end of a restored log would hide what is written from then on, so it is brought to the end: before anything is written
// to the log in the new life. If a later restore has the log as it was, with what was written before he came, it goes back.

// cutDoubt is how much later than a member came a message must be to have been written when he was in: cores' clocks differ.
const cutDoubt = time.Minute

// adopt has the places of a group's members be of the store's present life. Whoever comes first does it.
func (p *Group) adopt(ctx context.Context, id int64) error {
	epoch := p.host.Timelines().Epoch()
	var known string
	err := p.host.DB().QueryRowContext(ctx, "SELECT epoch FROM group_lives WHERE group_id = ?", id).Scan(&known)
	switch {
	case err == nil && known == epoch:
		return nil
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("look up the life of group %d: %w", id, err)
	}
	err = p.host.Tx(ctx, func(tx *sql.Tx) error {
		// The update locks the group's row, as that of change does: nobody comes in between the log's end and the places.
		locked, err := tx.ExecContext(ctx, "UPDATE group_groups SET id = id WHERE id = ? AND dissolved = 0", id)
		if err != nil {
			return err
		}
		if n, err := locked.RowsAffected(); err != nil || n == 0 { // nobody reads one that is dissolved
			return err
		}
		if first, err := enterLife(ctx, tx, id, epoch); err != nil || !first {
			return err
		}
		page, err := p.host.Timelines().Log(ctx, conversation(id), 0, 0)
		if err != nil {
			return fmt.Errorf("look where its log ends: %w", err)
		}
		if err := p.uncut(ctx, tx, id, page.Head); err != nil {
			return err
		}
		return cutMembers(ctx, tx, id, page.Head)
	})
	if err != nil {
		return fmt.Errorf("have group %d be of another life: %w", id, err)
	}
	return nil
}

// enterLife notes that a group is of a life; first is false when another core has.
func enterLife(ctx context.Context, tx *sql.Tx, id int64, epoch string) (first bool, err error) {
	result, err := tx.ExecContext(ctx, "UPDATE group_lives SET epoch = ? WHERE group_id = ? AND epoch <> ?", epoch, id, epoch)
	if err != nil {
		return false, err
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return n > 0, err
	}
	// To SQLite, where no other core is, IGNORE is a comment.
	result, err = tx.ExecContext(ctx, "INSERT /*! IGNORE */ INTO group_lives (group_id, epoch) SELECT ?, ? FROM (SELECT 1) AS one "+
		"WHERE NOT EXISTS (SELECT 1 FROM group_lives WHERE group_id = ?)", id, epoch, id)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// The members whose places were brought to the end of a restored log, and who have not left since.
const cutsOf = "FROM group_cuts c WHERE c.group_id = group_members.group_id AND c.user_id = group_members.user_id AND c.joined_ms = group_members.joined_ms"

// uncut brings those back to their places behind whose cuts the log has what was written before they came. They are many, and the
// places that they were brought to few: one for each restore.
func (p *Group) uncut(ctx context.Context, tx *sql.Tx, id, head int64) error {
	places, err := list(ctx, tx, func(place *int64) []any { return []any{place} },
		"SELECT DISTINCT after_seq FROM group_members WHERE group_id = ? AND after_seq < ? AND EXISTS (SELECT 1 "+cutsOf+") ORDER BY after_seq", id, head)
	if err != nil {
		return err
	}
	for _, place := range places {
		page, err := p.host.Timelines().Log(ctx, conversation(id), place, 1)
		if err != nil {
			return err
		}
		var at int64 // when the message behind the cut was written
		if len(page.Items) > 0 {
			at = page.Items[0].Time.UnixMilli()
		}
		_, err = tx.ExecContext(ctx, "UPDATE group_members SET after_seq = (SELECT c.after_seq "+cutsOf+") WHERE group_id = ? AND after_seq = ? "+
			"AND EXISTS (SELECT 1 "+cutsOf+" AND c.joined_ms >= ?)", id, place, at-cutDoubt.Milliseconds())
		if err != nil {
			return err
		}
	}
	return nil
}

// cutMembers brings those to the log's end whose places are behind it, and notes where these were.
func cutMembers(ctx context.Context, tx *sql.Tx, id, head int64) error {
	for _, s := range []struct {
		statement string
		args      []any
	}{
		{"DELETE FROM group_cuts WHERE group_id = ? AND NOT EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = group_cuts.group_id AND m.user_id = group_cuts.user_id " +
			"AND m.joined_ms = group_cuts.joined_ms)", []any{id}},
		{"INSERT INTO group_cuts (group_id, user_id, joined_ms, after_seq) SELECT m.group_id, m.user_id, m.joined_ms, m.after_seq FROM group_members m WHERE m.group_id = ? AND m.after_seq > ? " +
			"AND NOT EXISTS (SELECT 1 FROM group_cuts c WHERE c.group_id = m.group_id AND c.user_id = m.user_id)", []any{id, head}},
		{"UPDATE group_members SET after_seq = ? WHERE group_id = ? AND after_seq > ?", []any{head, id, head}},
	} {
		if _, err := tx.ExecContext(ctx, s.statement, s.args...); err != nil {
			return err
		}
	}
	return nil
}
