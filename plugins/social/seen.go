package social

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
)

// seen gives when users were online last, as far as it is known; some must be asked for.
func (s *store) seen(ctx context.Context, of []im.UserID) (map[im.UserID]int64, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT user_id, seen_ms FROM social_seen WHERE user_id IN "+plugin.Marks(len(of)), args(of)...)
	if err != nil {
		return nil, fmt.Errorf("read when people were seen: %w", err)
	}
	defer rows.Close()
	found := map[im.UserID]int64{}
	for rows.Next() {
		var u im.UserID
		var ms int64
		if err := rows.Scan(&u, &ms); err != nil {
			return nil, fmt.Errorf("read when somebody was seen: %w", err)
		}
		found[u] = ms
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read when people were seen: %w", err)
	}
	return found, nil
}

// noteSeen writes when users were online last, in the order of their IDs as all who write do;
// what is later by then stays.
func (s *store) noteSeen(ctx context.Context, at map[im.UserID]int64) error {
	for some := range slices.Chunk(slices.Sorted(maps.Keys(at)), seenAtOnce) {
		err := s.writeSeen(ctx, some, at)
		if err != nil { // another core has inserted one of them at the same time, perhaps
			err = s.writeSeen(ctx, some, at)
		}
		if err != nil {
			return fmt.Errorf("note when people were seen: %w", err)
		}
	}
	return nil
}

// seenAtOnce is how many rows one transaction writes.
const seenAtOnce = 500

func (s *store) writeSeen(ctx context.Context, users []im.UserID, at map[im.UserID]int64) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		for _, u := range users {
			result, err := tx.ExecContext(ctx, "UPDATE social_seen SET seen_ms = CASE WHEN seen_ms < ? THEN ? ELSE seen_ms END WHERE user_id = ?", at[u], at[u], int64(u))
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil || n == 1 {
				if err != nil {
					return err
				}
				continue
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO social_seen (user_id, seen_ms) VALUES (?, ?)", int64(u), at[u]); err != nil {
				return err
			}
		}
		return nil
	})
}
