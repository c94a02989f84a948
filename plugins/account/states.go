package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"freeim/core/im"
	"freeim/idl"
)

// leaving is how far a person has gone in leaving.
type leaving int

const (
	staying     leaving = iota
	deactivated         // hidden and signed out until he signs in again
	deleting            // the same, and erased at a time
	erasing             // being erased, or it was done: nothing takes that back
)

// state is what keeps somebody from his account. Who has no row of account_states has the
// zero state.
type state struct {
	disabledUntilMs int64 // 0: is not
	disabledReason  string
	leaving         leaving
	eraseMs         int64 // when to be erased; 0: not
}

// forGood is the time until which something lasts that has no end.
const forGood = math.MaxInt64

func (s *store) state(ctx context.Context, q querier, u im.UserID) (st state, err error) {
	var erase sql.NullInt64
	err = q.QueryRowContext(ctx, "SELECT disabled_until_ms, disabled_reason, leaving, erase_ms FROM account_states WHERE user_id = ?", int64(u)).
		Scan(&st.disabledUntilMs, &st.disabledReason, &st.leaving, &erase)
	if errors.Is(err, sql.ErrNoRows) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("read a state: %w", err)
	}
	st.eraseMs = erase.Int64
	return st, nil
}

// putState files the state of a user whose row tx has locked.
func (s *store) putState(ctx context.Context, tx *sql.Tx, u im.UserID, st state) error {
	known := 0
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM account_states WHERE user_id = ?", int64(u)).Scan(&known); err != nil {
		return fmt.Errorf("look for a state: %w", err)
	}
	query := "INSERT INTO account_states (disabled_until_ms, disabled_reason, leaving, erase_ms, user_id) VALUES (?, ?, ?, ?, ?)"
	if known > 0 {
		query = "UPDATE account_states SET disabled_until_ms = ?, disabled_reason = ?, leaving = ?, erase_ms = ? WHERE user_id = ?"
	}
	erase := sql.NullInt64{Int64: st.eraseMs, Valid: st.eraseMs != 0}
	if _, err := tx.ExecContext(ctx, query, st.disabledUntilMs, st.disabledReason, int(st.leaving), erase, int64(u)); err != nil {
		return fmt.Errorf("file a state: %w", err)
	}
	return nil
}

// hide has u seen by others, or not.
func (s *store) hide(ctx context.Context, tx *sql.Tx, u im.UserID, hidden bool) error {
	one, err := s.profile(ctx, tx, u)
	if err != nil || one.hidden == hidden {
		return err
	}
	one.hidden = hidden
	return s.putProfile(ctx, tx, one)
}

// comeBack is part of a sign-in of u, whose row tx has locked: who has left has not any
// more, and who is disabled is refused.
func (s *store) comeBack(ctx context.Context, tx *sql.Tx, u im.UserID, now time.Time) error {
	st, err := s.state(ctx, tx, u)
	if err != nil || st == (state{}) {
		return err
	}
	switch {
	case st.disabledUntilMs > now.UnixMilli():
		return disabled(st, now)
	case st.leaving == erasing:
		return badCredentials()
	case st.leaving == staying:
		return nil
	}
	st.leaving, st.eraseMs = staying, 0
	if err := s.putState(ctx, tx, u, st); err != nil {
		return err
	}
	return s.hide(ctx, tx, u, false)
}

// disabled is the refusal of one whom the operator keeps out; only who knows the
// password hears it.
func disabled(st state, now time.Time) error {
	refusal := &im.Error{Code: idl.CodePermissionDenied, Field: "account", Reason: "the account is disabled"}
	if st.disabledReason != "" {
		refusal.Reason += ": " + st.disabledReason
	}
	if until := time.UnixMilli(st.disabledUntilMs); st.disabledUntilMs != forGood {
		refusal.RetryAfter = until.Sub(now)
	}
	return refusal
}
