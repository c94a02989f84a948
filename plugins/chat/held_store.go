package chat

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"freeim/core/im"
	"freeim/idl/kitex_gen/chatpb"
)

// heldState is where a held message is on its way.
type heldState int

const (
	waiting  heldState = iota // for a reviewer or the deadline
	behind                    // for those before it; no rule holds it
	approved                  // as behind, after a decision
	denied                    // over; remembered until its time
)

// line names what is kept in order: one person's messages to one conversation.
type line struct {
	sender       im.UserID
	conversation im.ConversationID
}

// held is one message that waits.
type held struct {
	message
	id      string
	place   int64 // in the line
	state   heldState
	queue   string
	rule    string
	allow   bool  // what happens at its time
	heldMs  int64 // since when
	untilMs int64 // waiting: the deadline; denied: when it is forgotten
	reason  string
	by      string // who decided
}

// line is that of the message.
func (h *held) line() line { return line{h.sender, h.conversation} }

const heldColumns = "id, sender, conversation, place, client_id, digest, kind, content, rewritten, shadowed, state, queue, rule, allow, held_ms, until_ms, reason, decided_by"

// heldStore keeps held messages in the directory.
type heldStore struct {
	db *sql.DB
	tx func(ctx context.Context, fn func(*sql.Tx) error) error
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// list reads messages; rest is what follows FROM chat_held.
func (s *heldStore) list(ctx context.Context, q querier, rest string, args ...any) (all []held, err error) {
	rows, err := q.QueryContext(ctx, "SELECT "+heldColumns+", body FROM chat_held LEFT JOIN chat_held_bodies ON held_id = id "+rest, args...)
	if err != nil {
		return nil, fmt.Errorf("list held messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var h held
		var digest string
		var rest sql.NullString
		err := rows.Scan(&h.id, &h.sender, &h.conversation, &h.place, &h.clientID, &digest, &h.content.Kind, &h.content.Text, &h.content.Rewritten, &h.shadowed, &h.state,
			&h.queue, &h.rule, &h.allow, &h.heldMs, &h.untilMs, &h.reason, &h.by, &rest)
		if err == nil {
			_, err = hex.Decode(h.digest[:], []byte(digest[:min(len(digest), 2*len(h.digest))]))
		}
		if err == nil && rest.Valid {
			err = restored(&h.content, rest.String)
		}
		if err != nil {
			return nil, fmt.Errorf("read a held message: %w", err)
		}
		h.peer, _ = member(h.conversation, h.sender)
		all = append(all, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list held messages: %w", err)
	}
	return all, nil
}

// first is list for one message; nil: there is none.
func (s *heldStore) first(ctx context.Context, q querier, rest string, args ...any) (*held, error) {
	all, err := s.list(ctx, q, rest+" LIMIT 1", args...)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// sentAs is what a person sent under a client ID.
func (s *heldStore) sentAs(ctx context.Context, q querier, sender im.UserID, clientID string) (*held, error) {
	return s.first(ctx, q, "WHERE sender = ? AND client_id = ?", int64(sender), clientID)
}

// lined is a line as the directory has it.
type lined struct {
	line
	begun  string // the ID of the message that others began to wait behind: when the line begins anew, another
	moving bool   // a message of it was decided about, and nobody has seen to what follows
	idle   bool   // nothing waits: all are denied
}

// lines are all that there are.
func (s *heldStore) lines(ctx context.Context) (all []lined, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT sender, conversation, begun, moving, idle FROM chat_held_lines")
	if err != nil {
		return nil, fmt.Errorf("list lines of held messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l lined
		if err := rows.Scan(&l.sender, &l.conversation, &l.begun, &l.moving, &l.idle); err != nil {
			return nil, fmt.Errorf("read a line of held messages: %w", err)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list lines of held messages: %w", err)
	}
	return all, nil
}

// begun gives the message that began a line, "" when nothing waits there.
func (s *heldStore) begun(ctx context.Context, q querier, l line) (id string, err error) {
	err = q.QueryRowContext(ctx, "SELECT begun FROM chat_held_lines WHERE sender = ? AND conversation = ? AND idle = 0", int64(l.sender), string(l.conversation)).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look for a line: %w", err)
	}
	return id, nil
}

// errFull is returned by add when as many wait as may.
var errFull = errors.New("too many messages wait")

// add puts h at the end of its line: if it is to wait, or any message waits there. was is
// h, or the message that its sender held under the same client ID before; nil: there is
// nothing to wait for. begun is what began the line that was is in.
func (s *heldStore) add(ctx context.Context, h held, ofSender, ofAll int) (was *held, begun string, err error) {
	for range 3 {
		err = s.tx(ctx, func(tx *sql.Tx) (err error) {
			if was, err = s.adding(ctx, tx, h, ofSender, ofAll); was == nil {
				return err
			}
			begun, err = s.begun(ctx, tx, was.line())
			return err
		})
		if err == nil || errors.Is(err, errFull) || ctx.Err() != nil {
			return was, begun, err
		}
		// Two that begin the same line, or send the same message, break a unique index: the
		// second time the other one is seen.
	}
	return nil, "", err
}

func (s *heldStore) adding(ctx context.Context, tx *sql.Tx, h held, ofSender, ofAll int) (*held, error) {
	there, err := lock(ctx, tx, h.line())
	if err != nil {
		return nil, err
	}
	if was, err := s.sentAs(ctx, tx, h.sender, h.clientID); was != nil || err != nil {
		return was, err
	}
	var last, pending int64
	err = tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(place), 0), COALESCE(SUM(CASE WHEN state = ? THEN 0 ELSE 1 END), 0) FROM chat_held WHERE sender = ? AND conversation = ?",
		int(denied), int64(h.sender), string(h.conversation)).Scan(&last, &pending)
	if err != nil {
		return nil, fmt.Errorf("look at a line: %w", err)
	}
	if pending == 0 && h.state == behind {
		return nil, nil
	}
	mine, err := count(ctx, tx, "sender = ? AND state <> ?", int64(h.sender), int(denied))
	if err != nil {
		return nil, err
	}
	all := 0
	if h.state == waiting { // what stands behind is bounded by the sender's
		if all, err = count(ctx, tx, "state = ?", int(waiting)); err != nil {
			return nil, err
		}
	}
	if mine >= ofSender || all >= ofAll {
		return nil, errFull
	}
	switch {
	case !there:
		_, err = tx.ExecContext(ctx, "INSERT INTO chat_held_lines (begun, sender, conversation, moving, idle, changes) VALUES (?, ?, ?, 0, 0, 0)",
			h.id, int64(h.sender), string(h.conversation))
	case pending == 0:
		_, err = tx.ExecContext(ctx, "UPDATE chat_held_lines SET begun = ?, idle = 0 WHERE sender = ? AND conversation = ?",
			h.id, int64(h.sender), string(h.conversation))
	}
	if err != nil {
		return nil, fmt.Errorf("begin a line: %w", err)
	}
	h.place = last + 1
	_, err = tx.ExecContext(ctx, "INSERT INTO chat_held ("+heldColumns+") VALUES (?"+strings.Repeat(", ?", 17)+")",
		h.id, int64(h.sender), string(h.conversation), h.place, h.clientID, hex.EncodeToString(h.digest[:]), int32(h.content.Kind), h.content.Text, h.content.Rewritten, h.shadowed, int(h.state),
		h.queue, h.rule, h.allow, h.heldMs, h.untilMs, h.reason, h.by)
	if err == nil {
		err = keepRest(ctx, tx, h)
	}
	if err != nil {
		return nil, fmt.Errorf("hold a message: %w", err)
	}
	return &h, nil
}

// keepRest keeps what a message is beside its kind and text, if it is anything.
func keepRest(ctx context.Context, tx *sql.Tx, h held) error {
	rest := h.content
	rest.Kind, rest.Text, rest.Rewritten = 0, "", false
	octets, err := rest.Marshal(nil)
	if err != nil || len(octets) == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO chat_held_bodies (held_id, body) VALUES (?, ?)", h.id, base64.StdEncoding.EncodeToString(octets))
	return err
}

// restored adds to a message what keepRest kept.
func restored(content *chatpb.Content, rest string) error {
	octets, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return err
	}
	kind, text, rewritten := content.Kind, content.Text, content.Rewritten
	if err := content.Unmarshal(octets); err != nil {
		return err
	}
	content.Kind, content.Text, content.Rewritten = kind, text, rewritten
	return nil
}

func count(ctx context.Context, q querier, which string, args ...any) (n int, err error) {
	if err = q.QueryRowContext(ctx, "SELECT COUNT(*) FROM chat_held WHERE "+which, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count held messages: %w", err)
	}
	return n, nil
}

// lock has the transaction be the only one that changes a line; there is false when there
// is none, and nothing is locked. Every change begins with it.
func lock(ctx context.Context, tx *sql.Tx, l line) (there bool, err error) {
	result, err := tx.ExecContext(ctx, "UPDATE chat_held_lines SET changes = changes + 1 WHERE sender = ? AND conversation = ?", int64(l.sender), string(l.conversation))
	if err != nil {
		return false, fmt.Errorf("lock a line: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// move says whether somebody must see to a line, and whether nothing waits there; the
// transaction has locked it.
func move(ctx context.Context, tx *sql.Tx, l line, must, idle bool) error {
	_, err := tx.ExecContext(ctx, "UPDATE chat_held_lines SET moving = ?, idle = ? WHERE sender = ? AND conversation = ?",
		must, idle, int64(l.sender), string(l.conversation))
	if err != nil {
		return fmt.Errorf("note that a line moves: %w", err)
	}
	return nil
}

// decide ends the waiting of a message, and has its line move; done is false when somebody
// did before, and then was says what, nil if there is no such message.
func (s *heldStore) decide(ctx context.Context, id string, to heldState, untilMs int64, reason, by string) (was *held, done bool, err error) {
	if was, err = s.first(ctx, s.db, "WHERE id = ?", id); was == nil || err != nil {
		return nil, false, err
	}
	l := was.line()
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if done, err = s.change(ctx, tx, l, "UPDATE chat_held SET state = ?, until_ms = ?, reason = ?, decided_by = ? WHERE id = ? AND state = ?",
			int(to), untilMs, reason, by, id, int(waiting)); err != nil {
			return err
		}
		was, err = s.first(ctx, tx, "WHERE id = ?", id)
		return err
	})
	return was, done, err
}

// deny ends the way of a message that waits for nothing any more, and is in the state that h says; done is false
// when it is not.
func (s *heldStore) deny(ctx context.Context, h held, untilMs int64, reason string) (done bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) (err error) {
		done, err = s.change(ctx, tx, h.line(), "UPDATE chat_held SET state = ?, until_ms = ?, reason = ? WHERE id = ? AND state = ?",
			int(denied), untilMs, reason, h.id, int(h.state))
		return err
	})
	return done, err
}

// claim has a message that stands behind others be committed, and not denied by its sender any more; mine is false
// when somebody was first.
func (s *heldStore) claim(ctx context.Context, h held) (mine bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) (err error) {
		mine, err = s.change(ctx, tx, h.line(), "UPDATE chat_held SET state = ? WHERE id = ? AND state = ?", int(approved), h.id, int(behind))
		return err
	})
	return mine, err
}

// change runs an update of a message, and has its line move if it changed one.
func (s *heldStore) change(ctx context.Context, tx *sql.Tx, l line, update string, args ...any) (done bool, err error) {
	if _, err := lock(ctx, tx, l); err != nil {
		return false, err
	}
	result, err := tx.ExecContext(ctx, update, args...)
	if err != nil {
		return false, fmt.Errorf("decide about a held message: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil || n == 0 {
		return false, err
	}
	return true, move(ctx, tx, l, true, false)
}

// remove forgets a message; done is false when somebody did before.
func (s *heldStore) remove(ctx context.Context, h held) (done bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := lock(ctx, tx, h.line()); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "DELETE FROM chat_held WHERE id = ?", h.id)
		if err != nil {
			return fmt.Errorf("forget a held message: %w", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		done = n > 0
		if _, err = tx.ExecContext(ctx, "DELETE FROM chat_held_bodies WHERE held_id = ?", h.id); err != nil {
			return fmt.Errorf("forget a held message: %w", err)
		}
		left, err := count(ctx, tx, "sender = ? AND conversation = ?", int64(h.sender), string(h.conversation))
		if err != nil || left > 0 {
			return err
		}
		if _, err = tx.ExecContext(ctx, "DELETE FROM chat_held_lines WHERE sender = ? AND conversation = ?", int64(h.sender), string(h.conversation)); err != nil {
			return fmt.Errorf("end a line: %w", err)
		}
		return nil
	})
	return done, err
}

// head is the first of a line that is not over; nil: there is none.
func (s *heldStore) head(ctx context.Context, q querier, l line) (*held, error) {
	return s.first(ctx, q, "WHERE sender = ? AND conversation = ? AND state <> ? ORDER BY place", int64(l.sender), string(l.conversation), int(denied))
}

// rest has a line move no more, unless its head may go on.
func (s *heldStore) rest(ctx context.Context, l line) (rests bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		rests = true
		if there, err := lock(ctx, tx, l); !there || err != nil {
			return err
		}
		head, err := s.head(ctx, tx, l)
		if err != nil {
			return err
		}
		if rests = head == nil || head.state == waiting; !rests {
			return nil
		}
		return move(ctx, tx, l, false, head == nil)
	})
	return rests && err == nil, err
}

// atOnce is how many messages are seen to in a turn.
const atOnce = 100

// due are those whose time has come, the first of them.
func (s *heldStore) due(ctx context.Context, state heldState, nowMs int64) ([]held, error) {
	return s.list(ctx, s.db, "WHERE state = ? AND until_ms <= ? ORDER BY until_ms, id LIMIT ?", int(state), nowMs, atOnce)
}

// spent are denied messages that may be forgotten: their time is over, or they are the
// oldest of more than there may be.
func (s *heldStore) spent(ctx context.Context, nowMs int64, tooMany int) ([]held, error) {
	all, err := s.due(ctx, denied, nowMs)
	if err != nil || len(all) > 0 || tooMany <= 0 {
		return all, err
	}
	return s.list(ctx, s.db, "WHERE state = ? ORDER BY until_ms, id LIMIT ?", int(denied), min(tooMany, atOnce))
}

// counts are numbers of messages by state.
type counts [denied + 1]int

func (s *heldStore) counts(ctx context.Context) (all counts, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT state, COUNT(*) FROM chat_held GROUP BY state")
	if err != nil {
		return all, fmt.Errorf("count held messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var state, n int
		if err := rows.Scan(&state, &n); err != nil {
			return all, fmt.Errorf("count held messages: %w", err)
		}
		if state >= 0 && state < len(all) {
			all[state] = n
		}
	}
	if err := rows.Err(); err != nil {
		return all, fmt.Errorf("count held messages: %w", err)
	}
	return all, nil
}
