package room

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

var (
	errUnknown = errors.New("no such room")
	errTaken   = errors.New("there is a room of that name")
)

// store is the plugin's tables. Every statement runs on SQLite and MySQL.
type store struct {
	db *sql.DB                                                    // for reading
	tx func(ctx context.Context, fn func(tx *sql.Tx) error) error // plugin.Host.Tx
}

// room is a row of room_rooms.
type room struct {
	name         string
	title        string
	announcement string
	owner        im.UserID // 0: nobody
	slowModeMs   int64
	muted        bool
	closed       bool
	overload     roompb.RoomOverload
	lowPerSecond int // 0: the server's
	createdMs    int64
	changes      int64 // how often the room, or somebody's place in it, was changed
}

// person is a row of room_people: somebody with a role, a mute or a ban. All others
// are the zero value.
type person struct {
	user          im.UserID
	role          roompb.RoomRole
	mutedUntilMs  int64 // 0: not; -1: for good
	bannedUntilMs int64
}

// forGood is the moment of a mute or a ban without an end.
const forGood = -1

// holds reports whether a mute or a ban until that moment is one now.
func holds(untilMs, nowMs int64) bool { return untilMs == forGood || untilMs > nowMs }

// state is what the tables say of a person in a room.
type state struct {
	room   room
	person person
}

const roomColumns = "r.name, r.title, r.announcement, r.owner_id, r.slow_mode_ms, r.muted, r.closed, r.overload, r.low_per_second, r.created_ms, r.changes"

func (r *room) fields() []any {
	return []any{&r.name, &r.title, &r.announcement, &r.owner, &r.slowModeMs, &r.muted, &r.closed, &r.overload, &r.lowPerSecond, &r.createdMs, &r.changes}
}

// querier is a pool or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// state reads a room and a person in it. It returns errUnknown when there is no such
// room.
func (s *store) state(ctx context.Context, k key) (state, error) { return readState(ctx, s.db, k) }

func readState(ctx context.Context, q querier, k key) (s state, err error) {
	fields := append(s.room.fields(), &s.person.role, &s.person.mutedUntilMs, &s.person.bannedUntilMs)
	err = q.QueryRowContext(ctx, "SELECT "+roomColumns+", COALESCE(p.role, 0), COALESCE(p.muted_until_ms, 0), COALESCE(p.banned_until_ms, 0) "+
		"FROM room_rooms r LEFT JOIN room_people p ON p.room = r.name AND p.user_id = ? WHERE r.name = ?", int64(k.user), k.room).Scan(fields...)
	if errors.Is(err, sql.ErrNoRows) {
		return state{}, errUnknown
	}
	if err != nil {
		return state{}, fmt.Errorf("read a room: %w", err)
	}
	s.person.user = k.user
	return s, nil
}

const changesQuery = "SELECT name, changes FROM room_rooms WHERE name IN "

// changes gives how often each of some rooms was changed, of those that there are.
func (s *store) changes(ctx context.Context, rooms []string) (map[string]int64, error) {
	args := make([]any, len(rooms))
	for i, name := range rooms {
		args[i] = name
	}
	rows, err := s.db.QueryContext(ctx, changesQuery+plugin.Marks(len(rooms)), args...)
	if err != nil {
		return nil, fmt.Errorf("count changes of rooms: %w", err)
	}
	defer rows.Close()
	found := make(map[string]int64, len(rooms))
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return nil, fmt.Errorf("count changes of rooms: %w", err)
		}
		found[name] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count changes of rooms: %w", err)
	}
	return found, nil
}

// create files a new room, and does then in the same transaction. It returns errTaken when there is one of that name.
func (s *store) create(ctx context.Context, r room, then func(*sql.Tx) error) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO room_rooms "+
			"(name, title, announcement, owner_id, slow_mode_ms, muted, closed, overload, low_per_second, created_ms, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
			r.name, r.title, r.announcement, int64(r.owner), r.slowModeMs, r.muted, r.closed, int32(r.overload), r.lowPerSecond, r.createdMs)
		if err != nil {
			return err
		}
		return then(tx)
	})
	if err == nil {
		return nil
	}
	// Engines report a broken unique index in words of their own: look instead.
	if _, lookErr := s.state(ctx, key{room: r.name}); lookErr == nil {
		return errTaken
	}
	return fmt.Errorf("insert room: %w", err)
}

// change runs fn in a transaction that is, while it lasts, the only one that changes
// the room. It returns errUnknown when there is no such room.
func (s *store) change(ctx context.Context, name string, fn func(tx *sql.Tx) error) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		// The update locks the room's row, on SQLite the directory.
		result, err := tx.ExecContext(ctx, "UPDATE room_rooms SET changes = changes + 1 WHERE name = ?", name)
		if err != nil {
			return fmt.Errorf("count a room's changes: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, errUnknown)
		}
		return fn(tx)
	})
}

// update writes a room's owner and settings.
func (s *store) update(ctx context.Context, tx *sql.Tx, r room) error {
	_, err := tx.ExecContext(ctx, "UPDATE room_rooms SET owner_id = ?, title = ?, announcement = ?, slow_mode_ms = ?, muted = ?, closed = ?, overload = ?, low_per_second = ? WHERE name = ?",
		int64(r.owner), r.title, r.announcement, r.slowModeMs, r.muted, r.closed, int32(r.overload), r.lowPerSecond, r.name)
	if err != nil {
		return fmt.Errorf("update room: %w", err)
	}
	return nil
}

// maxPeople bounds the people of one room with a role, a mute or a ban.
const maxPeople = 10_000

// setPerson changes what is written of a person from was to one. Of those who have
// nothing there is no row.
func (s *store) setPerson(ctx context.Context, tx *sql.Tx, name string, was, one person, nowMs int64) (err error) {
	switch nothing := (person{user: one.user}); {
	case one == nothing:
		_, err = tx.ExecContext(ctx, "DELETE FROM room_people WHERE room = ? AND user_id = ?", name, int64(one.user))
	case was != nothing:
		_, err = tx.ExecContext(ctx, "UPDATE room_people SET role = ?, muted_until_ms = ?, banned_until_ms = ? WHERE room = ? AND user_id = ?",
			int32(one.role), one.mutedUntilMs, one.bannedUntilMs, name, int64(one.user))
	default:
		if err := s.makeRoom(ctx, tx, name, nowMs); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO room_people (room, user_id, role, muted_until_ms, banned_until_ms) VALUES (?, ?, ?, ?, ?)",
			name, int64(one.user), int32(one.role), one.mutedUntilMs, one.bannedUntilMs)
	}
	if err != nil {
		return fmt.Errorf("write a person of a room: %w", err)
	}
	return nil
}

// makeRoom sees to it that one more person can be written, and forgets those whose
// mutes and bans are over for it.
func (s *store) makeRoom(ctx context.Context, tx *sql.Tx, name string, nowMs int64) error {
	for _, purged := range []bool{false, true} {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM room_people WHERE room = ?", name).Scan(&n); err != nil {
			return fmt.Errorf("count the people of a room: %w", err)
		}
		switch {
		case n < maxPeople:
			return nil
		case purged:
			return &im.Error{Code: idl.CodeLimitExceeded, Field: "moderation.user_id", Reason: "too many people have a role, a mute or a ban"}
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM room_people WHERE room = ? AND role = 0 AND muted_until_ms >= 0 AND muted_until_ms <= ? "+
			"AND banned_until_ms >= 0 AND banned_until_ms <= ?", name, nowMs, nowMs)
		if err != nil {
			return fmt.Errorf("forget people of a room: %w", err)
		}
	}
	return nil
}

// people lists those with a role, or, unless rolesOnly, with a mute or a ban now, by
// user ID.
func (s *store) people(ctx context.Context, name string, after im.UserID, limit int, nowMs int64, rolesOnly bool) (all []person, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT user_id, role, muted_until_ms, banned_until_ms FROM room_people WHERE room = ? AND user_id > ? "+
		"AND (role > 0 OR ? = 0 AND (muted_until_ms = -1 OR muted_until_ms > ? OR banned_until_ms = -1 OR banned_until_ms > ?)) "+
		"ORDER BY user_id LIMIT ?", name, int64(after), rolesOnly, nowMs, nowMs, limit)
	if err != nil {
		return nil, fmt.Errorf("list the people of a room: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one person
		if err := rows.Scan(&one.user, &one.role, &one.mutedUntilMs, &one.bannedUntilMs); err != nil {
			return nil, fmt.Errorf("read a person of a room: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the people of a room: %w", err)
	}
	return all, nil
}
