package chat

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// scheduleState is where a scheduled message is on its way.
type scheduleState int

// The states. Stored rows rest on them: clients see sending and unsure as chatpb's WAITING, unsent as UNSENT.
const (
	toSend  scheduleState = 0
	unsent  scheduleState = 1 // refused; its sender may try again
	sending scheduleState = 2 // by a core, which is believed to until next_ms
	unsure  scheduleState = 3 // a try failed so that it may have arrived all the same: the next one tells
)

// scheduledMessage is a message that is to be sent later.
type scheduledMessage struct {
	id      string
	sender  im.UserID
	request *chatpb.SendRequest
	atMs    int64
	version int32
	state   scheduleState
	tries   int
	nextMs  int64
	reason  string

	doubt bool // not stored: an earlier try may have done it
}

func (s *scheduledMessage) shown() *chatpb.Scheduled {
	out := &chatpb.Scheduled{Id: s.id, Message: s.request, AtMs: s.atMs, Version: s.version, Reason: s.reason}
	if s.state == unsent {
		out.State = chatpb.ScheduledState_SCHEDULED_STATE_UNSENT
	}
	return out
}

// size is about what it takes in codec c.
func (s *scheduledMessage) size(c idl.Codec) int {
	size := plugin.SizeOf(s.request.Text, c) + plugin.SizeOf(s.reason, c) + 3*perMessage
	if s.request.Media != nil || s.request.Place != nil || s.request.Payload != nil {
		if body, err := s.request.Marshal(nil); err == nil {
			size += plugin.SizeOf(body, c)
		}
	}
	return size
}

// facts are the data of an event.
type facts map[string]any

func (f facts) json() string {
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(text)
}

// scheduleStore keeps scheduled messages in the directory.
type scheduleStore struct{ host plugin.Host }

const (
	selectFromScheduled = "SELECT id, sender, client_id, request, at_ms, version, state, tries, next_ms, reason FROM chat_scheduled "
	selectScheduled     = selectFromScheduled + "WHERE sender = ? AND id > ? ORDER BY id LIMIT ?"
	selectScheduledAs   = selectFromScheduled + "WHERE sender = ? AND client_id = ?"
	selectToSend        = selectFromScheduled + "WHERE next_ms <= ? ORDER BY next_ms, id LIMIT ?"
	selectScheduledID   = selectFromScheduled + "WHERE id = ?"
)

func (s scheduleStore) list(ctx context.Context, q querier, query string, args ...any) (all []*scheduledMessage, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list scheduled messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		m := &scheduledMessage{request: &chatpb.SendRequest{}}
		var clientID, request string
		if err := rows.Scan(&m.id, &m.sender, &clientID, &request, &m.atMs, &m.version, &m.state, &m.tries, &m.nextMs, &m.reason); err != nil {
			return nil, fmt.Errorf("read a scheduled message: %w", err)
		}
		body, err := base64.StdEncoding.DecodeString(request)
		if err == nil {
			err = m.request.Unmarshal(body)
		}
		if err != nil {
			return nil, fmt.Errorf("read the scheduled message %s: %w", m.id, err)
		}
		m.request.ClientId = clientID
		all = append(all, m)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list scheduled messages: %w", err)
	}
	return all, nil
}

// first is the only one that a query finds; nil: there is none.
func (s scheduleStore) first(ctx context.Context, q querier, query string, args ...any) (*scheduledMessage, error) {
	all, err := s.list(ctx, q, query, args...)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// sentAs is the one that a person scheduled under a client ID.
func (s scheduleStore) sentAs(ctx context.Context, q querier, sender im.UserID, clientID string) (*scheduledMessage, error) {
	return s.first(ctx, q, selectScheduledAs, int64(sender), clientID)
}

// count counts those of a person, and has others who count for him wait until tx ends: it writes to his rows.
func (s scheduleStore) count(ctx context.Context, tx *sql.Tx, sender im.UserID) (n int, err error) {
	if _, err := tx.ExecContext(ctx, "UPDATE chat_scheduled SET version = version WHERE sender = ?", int64(sender)); err != nil {
		return 0, fmt.Errorf("count scheduled messages: %w", err)
	}
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM chat_scheduled WHERE sender = ?", int64(sender)).Scan(&n); err != nil {
		return 0, fmt.Errorf("count scheduled messages: %w", err)
	}
	return n, nil
}

// lock reads one that nobody else changes until tx ends; nil: it is not there.
func (s scheduleStore) lock(ctx context.Context, tx *sql.Tx, id string) (*scheduledMessage, error) {
	if _, err := tx.ExecContext(ctx, "UPDATE chat_scheduled SET version = version WHERE id = ?", id); err != nil {
		return nil, fmt.Errorf("lock a scheduled message: %w", err)
	}
	return s.first(ctx, tx, selectScheduledID, id)
}

func (s scheduleStore) add(ctx context.Context, tx *sql.Tx, m *scheduledMessage) error {
	body, err := m.request.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO chat_scheduled (id, sender, client_id, request, at_ms, version, state, tries, next_ms, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		m.id, int64(m.sender), m.request.ClientId, base64.StdEncoding.EncodeToString(body), m.atMs, m.version, int(m.state), m.tries, m.nextMs, m.reason)
	if err != nil {
		return fmt.Errorf("schedule a message: %w", err)
	}
	return nil
}

// keep writes all of one that tx has locked.
func (s scheduleStore) keep(ctx context.Context, tx *sql.Tx, m *scheduledMessage) error {
	body, err := m.request.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE chat_scheduled SET request = ?, at_ms = ?, version = ?, state = ?, tries = ?, next_ms = ?, reason = ? WHERE id = ?",
		base64.StdEncoding.EncodeToString(body), m.atMs, m.version, int(m.state), m.tries, m.nextMs, m.reason, m.id)
	if err != nil {
		return fmt.Errorf("change a scheduled message: %w", err)
	}
	return nil
}

func (s scheduleStore) remove(ctx context.Context, tx *sql.Tx, id string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM chat_scheduled WHERE id = ?", id); err != nil {
		return fmt.Errorf("forget a scheduled message: %w", err)
	}
	return nil
}
