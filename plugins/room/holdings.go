package room

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// holdings is what the plugin keeps of people: a plugin.Holdings. What they said in rooms is the rooms'.
type holdings struct{ *Room }

// exported is a room that somebody owns, or in which he has a role, a mute or a ban; -1: for good.
type exported struct {
	Room          string `json:"room"`
	Role          string `json:"role,omitempty"`
	MutedUntilMs  int64  `json:"muted_until_ms,omitempty"`
	BannedUntilMs int64  `json:"banned_until_ms,omitempty"`
}

// The listings; each has an index.
const (
	ownedRooms = "SELECT name, 0, 0, 0 FROM room_rooms WHERE owner_id = ? AND name > ? ORDER BY name LIMIT ?"
	roomsOf    = "SELECT room, role, muted_until_ms, banned_until_ms FROM room_people WHERE user_id = ? AND room > ? ORDER BY room LIMIT ?"
	heirOf     = "SELECT user_id, role, muted_until_ms, banned_until_ms FROM room_people WHERE room = ? AND role > 0 AND user_id <> ? ORDER BY user_id LIMIT 1"
)

// holdingStep is how many rooms are read at a time.
const holdingStep = 200

// Export implements plugin.Holdings.
func (h holdings) Export(ctx context.Context, u im.UserID) (any, error) {
	all := map[string][]exported{"rooms": {}}
	for _, query := range []string{ownedRooms, roomsOf} {
		for after := ""; ; {
			some, err := h.store.placesOf(ctx, query, u, after)
			if err != nil {
				return nil, err
			}
			for _, one := range some {
				role := ""
				if query == ownedRooms {
					role = "owner"
				} else if one.role >= roompb.RoomRole_ROOM_ROLE_ADMIN {
					role = "admin"
				}
				all["rooms"] = append(all["rooms"], exported{one.room, role, one.mutedUntilMs, one.bannedUntilMs})
				after = one.room
			}
			if len(some) < holdingStep {
				break
			}
		}
	}
	return all, nil
}

// Erase implements plugin.Holdings. A room that the person owns goes to the first of its admins, or is
// nobody's. Nobody is told.
func (h holdings) Erase(ctx context.Context, u im.UserID) error {
	for _, query := range []string{ownedRooms, roomsOf} {
		for {
			some, err := h.store.placesOf(ctx, query, u, "")
			if err != nil {
				return err
			}
			for _, one := range some {
				if err := h.depart(ctx, one.room, u); err != nil {
					return fmt.Errorf("take %s out of a room: %w", u, err)
				}
			}
			if len(some) < holdingStep {
				break
			}
		}
	}
	return nil
}

// depart forgets somebody in one room.
func (h holdings) depart(ctx context.Context, name string, u im.UserID) error {
	err := h.change(ctx, name, func(tx *sql.Tx) error {
		s, err := readState(ctx, tx, key{name, u})
		if err != nil {
			return err
		}
		if err := h.store.setPerson(ctx, tx, name, s.person, person{user: u}, h.host.Now().UnixMilli()); err != nil {
			return err
		}
		if s.room.owner != u {
			return nil
		}
		heir := person{}
		err = tx.QueryRowContext(ctx, heirOf, name, int64(u)).Scan(&heir.user, &heir.role, &heir.mutedUntilMs, &heir.bannedUntilMs)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("look for an heir: %w", err)
		}
		if err == nil {
			if err := h.store.setPerson(ctx, tx, name, heir, person{user: heir.user, mutedUntilMs: heir.mutedUntilMs, bannedUntilMs: heir.bannedUntilMs}, 0); err != nil {
				return err
			}
		}
		s.room.owner = heir.user
		return h.store.update(ctx, tx, s.room)
	})
	if im.CodeOf(err) == idl.CodeNotFound {
		return nil
	}
	return err
}

// place is a person in a room, by the room.
type place struct {
	room string
	person
}

func (s *store) placesOf(ctx context.Context, query string, u im.UserID, after string) (all []place, err error) {
	rows, err := s.db.QueryContext(ctx, query, int64(u), after, holdingStep)
	if err != nil {
		return nil, fmt.Errorf("list a person's rooms: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		one := place{}
		if err := rows.Scan(&one.room, &one.role, &one.mutedUntilMs, &one.bannedUntilMs); err != nil {
			return nil, fmt.Errorf("read a person's room: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list a person's rooms: %w", err)
	}
	return all, nil
}
