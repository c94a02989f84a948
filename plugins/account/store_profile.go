package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
)

// This file is the profiles in the store's tables, and the names that are taken.

// profileColumns are read by scanProfile, of account_users u and account_profiles p.
const profileColumns = "u.id, u.name, u.nickname, u.created_ms, COALESCE(p.handle, ''), COALESCE(p.handle_changed_ms, 0), COALESCE(p.avatar, ''), " +
	"COALESCE(p.gender, 0), COALESCE(p.birthday, ''), COALESCE(p.signature, ''), COALESCE(p.city, ''), COALESCE(p.language, ''), " +
	"COALESCE(p.found_by, 7), COALESCE(p.hidden, 0), COALESCE(p.nickname_key, '')"

const selectProfiles = "SELECT " + profileColumns + " FROM account_users u LEFT JOIN account_profiles p ON p.user_id = u.id "

func scanProfile(row interface{ Scan(into ...any) error }) (one profile, err error) {
	err = row.Scan(&one.id, &one.name, &one.nickname, &one.madeMs, &one.handle, &one.handleChangedMs, &one.avatar,
		&one.gender, &one.birthday, &one.signature, &one.city, &one.language, &one.foundBy, &one.hidden, &one.nicknameKey)
	one.hidden = one.hidden || one.erased()
	return one, err
}

// profile returns errUnknown when there is no such user.
func (s *store) profile(ctx context.Context, q querier, u im.UserID) (profile, error) {
	return oneProfile(q.QueryRowContext(ctx, selectProfiles+"WHERE u.id = ?", int64(u)))
}

// profileOf is profile by account name.
func (s *store) profileOf(ctx context.Context, name string) (profile, error) {
	return oneProfile(s.db.QueryRowContext(ctx, selectProfiles+"WHERE u.name = ?", name))
}

func oneProfile(row *sql.Row) (profile, error) {
	one, err := scanProfile(row)
	if errors.Is(err, sql.ErrNoRows) {
		return profile{}, errUnknown
	}
	if err != nil {
		return profile{}, fmt.Errorf("read a profile: %w", err)
	}
	return one, nil
}

// profiles gives those of the users that there are.
func (s *store) profiles(ctx context.Context, users []im.UserID) (map[im.UserID]profile, error) {
	args := make([]any, len(users))
	for i, u := range users {
		args[i] = int64(u)
	}
	all, err := s.listProfiles(ctx, selectProfiles+"WHERE u.id IN "+plugin.Marks(len(args)), args...)
	found := make(map[im.UserID]profile, len(all))
	for _, one := range all {
		found[one.id] = one
	}
	return found, err
}

func (s *store) listProfiles(ctx context.Context, query string, args ...any) (all []profile, err error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		one, err := scanProfile(rows)
		if err != nil {
			return nil, fmt.Errorf("read a profile: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	return all, nil
}

// lockProfile is profile for one who changes something of a user: others wait until tx ends.
// Who was erased is unknown.
func (s *store) lockProfile(ctx context.Context, tx *sql.Tx, u im.UserID) (profile, error) {
	if _, err := tx.ExecContext(ctx, "UPDATE account_users SET nickname = nickname WHERE id = ?", int64(u)); err != nil {
		return profile{}, fmt.Errorf("lock a user: %w", err)
	}
	one, err := s.profile(ctx, tx, u)
	if err == nil && one.erased() {
		err = errUnknown
	}
	return one, err
}

// putProfile files one, whose user's row tx has locked. The handle may have been taken by
// another: errNameTaken.
func (s *store) putProfile(ctx context.Context, tx *sql.Tx, one profile) error {
	if _, err := tx.ExecContext(ctx, "UPDATE account_users SET nickname = ? WHERE id = ?", one.nickname, int64(one.id)); err != nil {
		return fmt.Errorf("change a nickname: %w", err)
	}
	known := 0
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM account_profiles WHERE user_id = ?", int64(one.id)).Scan(&known); err != nil {
		return fmt.Errorf("look for a profile: %w", err)
	}
	holder, err := s.handleHolder(ctx, tx, one.handle)
	if err != nil {
		return err
	}
	if holder != 0 && holder != one.id {
		return handleTaken()
	}
	if known == 0 {
		return s.insertProfile(ctx, tx, one)
	}
	_, err = tx.ExecContext(ctx, "UPDATE account_profiles SET handle = ?, handle_changed_ms = ?, nickname_key = ?, avatar = ?, gender = ?, birthday = ?, "+
		"signature = ?, city = ?, language = ?, found_by = ?, hidden = ? WHERE user_id = ?", profileRow(one)...)
	if err != nil {
		return fmt.Errorf("change a profile: %w", err)
	}
	return nil
}

func (s *store) insertProfile(ctx context.Context, tx *sql.Tx, one profile) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO account_profiles (handle, handle_changed_ms, nickname_key, avatar, gender, birthday, "+
		"signature, city, language, found_by, hidden, user_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", profileRow(one)...)
	if err != nil {
		return fmt.Errorf("insert profile: %w", err)
	}
	return nil
}

// profileRow are the columns of account_profiles, the user's ID last.
func profileRow(one profile) []any {
	handle := sql.NullString{String: one.handle, Valid: one.handle != ""}
	return []any{handle, one.handleChangedMs, searchKey(one.nickname), one.avatar, int32(one.gender), one.birthday,
		one.signature, one.city, one.language, one.foundBy, one.hidden, int64(one.id)}
}

// handleHolder is who has a handle, 0: nobody.
func (s *store) handleHolder(ctx context.Context, q querier, handle string) (holder im.UserID, err error) {
	err = q.QueryRowContext(ctx, "SELECT user_id FROM account_profiles WHERE handle = ?", handle).Scan(&holder)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("look for a handle: %w", err)
	}
	return holder, nil
}

// moveHandle keeps the handle that one had before for him until a time, and makes sure
// that the one he has now is not kept for another and is not another's account. It comes
// after putProfile, whose unique index has the others wait.
func (s *store) moveHandle(ctx context.Context, tx *sql.Tx, before string, one profile, now, until time.Time) error {
	if one.handle != "" {
		var account im.UserID
		err := tx.QueryRowContext(ctx, "SELECT id FROM account_users WHERE name = ?", one.handle).Scan(&account)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("look for an account: %w", err)
		}
		if err == nil && account != one.id {
			return handleTaken()
		}
		reserved, err := s.reserved(ctx, tx, one.handle, one.id, now)
		if err != nil {
			return err
		}
		if reserved {
			return handleTaken()
		}
	}
	if before == "" {
		return nil
	}
	return s.reserve(ctx, tx, before, one.id, until)
}

// reserved reports whether a name is kept for another than u.
func (s *store) reserved(ctx context.Context, q querier, name string, u im.UserID, now time.Time) (bool, error) {
	n := 0
	err := q.QueryRowContext(ctx, "SELECT count(*) FROM account_reserved WHERE name = ? AND user_id <> ? AND until_ms > ?",
		name, int64(u), now.UnixMilli()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for a reserved name: %w", err)
	}
	return n > 0, nil
}

// otherwiseTaken reports whether an account name is somebody's handle, or kept for somebody.
func (s *store) otherwiseTaken(ctx context.Context, q querier, name string, nowMs int64) (bool, error) {
	holder, err := s.handleHolder(ctx, q, name)
	if err != nil || holder != 0 {
		return holder != 0, err
	}
	return s.reserved(ctx, q, name, 0, time.UnixMilli(nowMs))
}

// reserve keeps a name for u.
func (s *store) reserve(ctx context.Context, tx *sql.Tx, name string, u im.UserID, until time.Time) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM account_reserved WHERE name = ?", name); err != nil {
		return fmt.Errorf("drop a reserved name: %w", err)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO account_reserved (name, user_id, until_ms) VALUES (?, ?, ?)", name, int64(u), until.UnixMilli())
	if err != nil {
		return fmt.Errorf("reserve a name: %w", err)
	}
	return nil
}

func handleTaken() error {
	return &im.Error{Code: idl.CodeAlreadyExists, Field: "handle", Reason: "the handle is taken"}
}
