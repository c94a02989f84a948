package webhook

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
)

// onlineState is what other programs know of somebody.
type onlineState int

// The states, as they are stored. Who has no row is offline, and they know.
const (
	stateOffline onlineState = 0
	stateComing  onlineState = 1 // they are to be told that he came
	stateOnline  onlineState = 2
	stateAway    onlineState = 3 // he is gone, and may be back in time
	stateGoing   onlineState = 4 // they are to be told that he went
)

// person is a row of webhook_online.
type person struct {
	user    im.UserID
	state   onlineState
	tag     string // of the event
	atMs    int64
	sinceMs int64
	device  im.DeviceID
	kind    idl.DeviceType
}

// onlineStore is that table. Every change names the state and the tag that it changes: of two cores that
// change one row, one does.
type onlineStore struct {
	*store
	dialect string
}

const personColumns = "user_id, state, tag, at_ms, since_ms, device, device_type"

// The listings: those of some people, those whose time has come, and all, in pages.
const (
	selectPeople = "SELECT " + personColumns + " FROM webhook_online WHERE user_id IN %s"
	selectDue    = "SELECT user_id FROM webhook_online WHERE state = ? AND at_ms <= ? ORDER BY at_ms, user_id LIMIT ?"
	selectAll    = "SELECT user_id FROM webhook_online WHERE user_id > ? ORDER BY user_id LIMIT ?"
)

// people gives the rows of some people; who has none is offline.
func (s onlineStore) people(ctx context.Context, users []im.UserID) (map[im.UserID]person, error) {
	args := make([]any, len(users))
	for i, u := range users {
		args[i] = int64(u)
	}
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf(selectPeople, plugin.Marks(len(users))), args...)
	if err != nil {
		return nil, fmt.Errorf("read who is online: %w", err)
	}
	defer rows.Close()
	found := make(map[im.UserID]person, len(users))
	for rows.Next() {
		var p person
		if err := rows.Scan(&p.user, &p.state, &p.tag, &p.atMs, &p.sinceMs, &p.device, &p.kind); err != nil {
			return nil, fmt.Errorf("read who is online: %w", err)
		}
		found[p.user] = p
	}
	return found, wrap(rows.Err(), "read who is online")
}

// list gives users by one of the listings.
func (s onlineStore) list(ctx context.Context, query string, args ...any) (users []im.UserID, err error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list who is online: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u im.UserID
		if err := rows.Scan(&u); err != nil {
			return nil, fmt.Errorf("list who is online: %w", err)
		}
		users = append(users, u)
	}
	return users, wrap(rows.Err(), "list who is online")
}

// count gives how many are not offline, as other programs know.
func (s onlineStore) count(ctx context.Context) (n int, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM webhook_online").Scan(&n)
	return n, wrap(err, "count who is online")
}

// move is one person's change from a state to another.
type move struct {
	was, is person
	done    bool // the row was as it was believed
}

// apply makes moves in one transaction.
func (s onlineStore) apply(ctx context.Context, moves []*move) error {
	if len(moves) == 0 {
		return nil
	}
	ignore := "OR IGNORE"
	if s.dialect != "sqlite" {
		ignore = "IGNORE"
	}
	return s.tx(ctx, func(tx *sql.Tx) (err error) {
		for _, m := range moves {
			if m.done, err = changed(m.exec(ctx, tx, ignore)); err != nil {
				return fmt.Errorf("note who is online: %w", err)
			}
		}
		return nil
	})
}

func (m *move) exec(ctx context.Context, tx *sql.Tx, ignore string) (sql.Result, error) {
	switch {
	case m.was.state == stateOffline: // another core may have been faster
		return tx.ExecContext(ctx, "INSERT "+ignore+" INTO webhook_online ("+personColumns+") VALUES (?, ?, ?, ?, ?, ?, ?)",
			int64(m.is.user), m.is.state, m.is.tag, m.is.atMs, m.is.sinceMs, string(m.is.device), int32(m.is.kind))
	case m.is.state == stateOffline:
		return tx.ExecContext(ctx, "DELETE FROM webhook_online WHERE user_id = ? AND state = ? AND tag = ?", int64(m.was.user), m.was.state, m.was.tag)
	}
	return tx.ExecContext(ctx, "UPDATE webhook_online SET state = ?, tag = ?, at_ms = ?, device = ?, device_type = ? WHERE user_id = ? AND state = ? AND tag = ? AND at_ms = ?",
		m.is.state, m.is.tag, m.is.atMs, string(m.is.device), int32(m.is.kind), int64(m.was.user), m.was.state, m.was.tag, m.was.atMs)
}

// erase forgets somebody: nobody is told that he went.
func (s onlineStore) erase(ctx context.Context, u im.UserID) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM webhook_online WHERE user_id = ?", int64(u))
		return wrap(err, "forget who was online")
	})
}

// newTag names an event.
func newTag() string { return rand.Text()[:16] }

// came is somebody who is online from now on, by a session.
func came(r presence.Route, nowMs int64) person {
	return person{user: r.User, state: stateComing, tag: newTag(), atMs: nowMs, sinceMs: nowMs, device: r.Device, kind: r.DeviceType}
}

// notice is the event of a person who is coming or going.
func (p person) notice() (n plugin.Notice, err error) {
	data := struct {
		Device  im.DeviceID `json:"device_id,omitempty"`
		Kind    string      `json:"device_type,omitempty"`
		SinceMs int64       `json:"since_ms"`
		SeenMs  int64       `json:"last_seen_ms,omitempty"` // of one who went
	}{Device: p.device, Kind: idl.DeviceTypeName(p.kind), SinceMs: p.sinceMs}
	n = plugin.Notice{About: im.NoticesOf(p.user), ID: "~online." + p.tag, Name: onlineEvent}
	if p.state == stateGoing {
		n.ID, n.Name, data.SeenMs = "~offline."+p.tag, offlineEvent, p.atMs
	}
	text, err := json.Marshal(data)
	n.Data = string(text)
	return n, err
}
