package room

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"freeim/core/im"
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

const roomColumns = "r.name, r.title, r.announcement, r.owner_id, r.slow_mode_ms, r.muted, r.closed, r.overload, r.low_per_second, r.created_ms"

func (r *room) fields() []any {
	return []any{&r.name, &r.title, &r.announcement, &r.owner, &r.slowModeMs, &r.muted, &r.closed, &r.overload, &r.lowPerSecond, &r.createdMs}
}

// querier is a pool or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
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

// create files a new room. It returns errTaken when there is one of that name.
func (s *store) create(ctx context.Context, r room) error {
	err := s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO room_rooms "+
			"(name, title, announcement, owner_id, slow_mode_ms, muted, closed, overload, low_per_second, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			r.name, r.title, r.announcement, int64(r.owner), r.slowModeMs, r.muted, r.closed, int32(r.overload), r.lowPerSecond, r.createdMs)
		return err
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
