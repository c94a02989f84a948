package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
)

// This file is how people are erased from the store's tables.

const dueUsers = "SELECT user_id FROM account_states WHERE erase_ms <= ? ORDER BY erase_ms, user_id LIMIT ?"

// due are the next who are to be erased now.
func (s *store) due(ctx context.Context, now time.Time) (users []im.UserID, err error) {
	rows, err := s.db.QueryContext(ctx, dueUsers, now.UnixMilli(), eraseBatch)
	if err != nil {
		return nil, fmt.Errorf("list who is due: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u im.UserID
		if err := rows.Scan(&u); err != nil {
			return nil, fmt.Errorf("read who is due: %w", err)
		}
		users = append(users, u)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list who is due: %w", err)
	}
	return users, nil
}

// beginErasing claims u, if he is still due, until a time, after which he is due again.
func (s *store) beginErasing(ctx context.Context, u im.UserID, now, until time.Time) (ended []device, claimed bool, err error) {
	defer s.endings.begin(u)()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		claimed = false
		if _, err := s.lockProfile(ctx, tx, u); err != nil {
			return err
		}
		st, err := s.state(ctx, tx, u)
		if err != nil || st.eraseMs == 0 || st.eraseMs > now.UnixMilli() {
			return err
		}
		st.leaving, st.eraseMs = erasing, until.UnixMilli()
		if err := s.putState(ctx, tx, u, st); err != nil {
			return err
		}
		claimed = true
		ended, err = endChosen(ctx, tx, u, func(all []device) ([]device, error) { return all, nil })
		return err
	})
	return ended, claimed && err == nil, err
}

// anonymise forgets who u was. His names are kept from others until a time, and his ID is
// nobody else's ever.
func (s *store) anonymise(ctx context.Context, u im.UserID, until time.Time) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		one, err := s.lockProfile(ctx, tx, u)
		if errors.Is(err, errUnknown) {
			return nil // another core has done it
		}
		if err != nil {
			return err
		}
		for _, name := range []string{one.name, one.handle} {
			if name == "" {
				continue
			}
			if err := s.reserve(ctx, tx, name, u, until); err != nil {
				return err
			}
		}
		for _, query := range []string{
			"DELETE FROM account_identities WHERE user_id = ?",
			"DELETE FROM account_profiles WHERE user_id = ?",
			"DELETE FROM account_exports WHERE user_id = ?",
			"DELETE FROM account_devices WHERE user_id = ?",
			"UPDATE account_states SET leaving = 3, erase_ms = NULL, disabled_reason = '' WHERE user_id = ?",
		} {
			if _, err := tx.ExecContext(ctx, query, int64(u)); err != nil {
				return fmt.Errorf("forget a person: %w", err)
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE account_users SET name = ?, nickname = '', password = ? WHERE id = ?",
			fmt.Sprintf("%s%d", gone, u), noPassword, int64(u))
		if err != nil {
			return fmt.Errorf("forget a name: %w", err)
		}
		return nil
	})
}

// tidy forgets reserved names and copies that have had their time.
func (s *store) tidy(ctx context.Context, now, copies time.Time) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_reserved WHERE until_ms <= ?", now.UnixMilli()); err != nil {
			return fmt.Errorf("forget reserved names: %w", err)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_exports WHERE made_ms <= ?", copies.UnixMilli()); err != nil {
			return fmt.Errorf("forget copies: %w", err)
		}
		return nil
	})
}

// password is the hash that u has now.
func (s *store) password(ctx context.Context, q querier, u im.UserID) (hash string, err error) {
	if err := q.QueryRowContext(ctx, "SELECT password FROM account_users WHERE id = ?", int64(u)).Scan(&hash); err != nil {
		return "", fmt.Errorf("read a password's hash: %w", err)
	}
	return hash, nil
}
