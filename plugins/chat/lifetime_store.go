package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/chatpb"
)

// lifetime is after how long messages of a conversation disappear; ms 0: they stay.
type lifetime struct {
	conversation im.ConversationID
	ms           int64
	setBy        im.UserID // 0: nobody settled anything
	setMs        int64
}

func (l lifetime) shown() *chatpb.LifetimeReply {
	return &chatpb.LifetimeReply{ConversationId: string(l.conversation), LifetimeMs: l.ms, SetBy: int64(l.setBy), SetMs: l.setMs}
}

const (
	// lifetimesAtOnce is how many conversations' lifetimes one query reads.
	lifetimesAtOnce = 250
	// mostLifetimes is how many a core remembers that is alone with its directory.
	mostLifetimes = 50_000
)

// lifetimes are those of conversations. Where other cores may change them they are read for each message, of many at
// once; a core that has the directory alone remembers them. Safe for concurrent use.
type lifetimes struct {
	host  plugin.Host
	looks *plugin.Lookups[im.ConversationID, int64]
	alone bool

	mu      sync.Mutex // guards the fields below
	known   map[im.ConversationID]int64
	changes int64 // counts forget: what was read before one is not remembered
}

func newLifetimes(h plugin.Host) *lifetimes {
	l := &lifetimes{host: h, alone: h.Dialect() == "sqlite", known: map[im.ConversationID]int64{}}
	l.looks = plugin.NewLookups(h, "read lifetimes", lifetimesAtOnce, l.some)
	return l
}

// of gives the lifetime of messages of c as it is after the call, 0: they stay.
func (l *lifetimes) of(ctx context.Context, c im.ConversationID) (int64, error) {
	l.mu.Lock()
	ms, known := l.known[c]
	changes := l.changes
	l.mu.Unlock()
	if known {
		return ms, nil
	}
	ms, _, err := l.looks.Find(ctx, c)
	if err == nil && l.alone {
		l.remember(c, ms, changes)
	}
	return ms, err
}

// ofAll is of for many, without those for which none was settled.
func (l *lifetimes) ofAll(ctx context.Context, conversations []im.ConversationID) (map[im.ConversationID]int64, error) {
	found := map[im.ConversationID]int64{}
	var unknown []im.ConversationID
	l.mu.Lock()
	for _, c := range conversations {
		if ms, known := l.known[c]; !known {
			unknown = append(unknown, c)
		} else if ms != 0 {
			found[c] = ms
		}
	}
	changes := l.changes
	l.mu.Unlock()
	if len(unknown) == 0 {
		return found, nil
	}
	read, err := l.some(ctx, unknown)
	if err != nil {
		return nil, err
	}
	maps.Copy(found, read)
	if l.alone {
		for _, c := range unknown {
			l.remember(c, read[c], changes)
		}
	}
	return found, nil
}

func (l *lifetimes) remember(c im.ConversationID, ms, changes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changes != changes {
		return
	}
	if len(l.known) >= mostLifetimes { // any of them: all at once would be as many queries
		for other := range l.known {
			delete(l.known, other)
			break
		}
	}
	l.known[c] = ms
}

// forget has the lifetime of c be read again: it was changed.
func (l *lifetimes) forget(c im.ConversationID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	delete(l.known, c)
}

const selectLifetimes = "SELECT conversation, lifetime_ms FROM chat_lifetimes WHERE conversation IN "

// some are the lifetimes of those of conversations for which one was settled.
func (l *lifetimes) some(ctx context.Context, of []im.ConversationID) (map[im.ConversationID]int64, error) {
	args := make([]any, len(of))
	for i, c := range of {
		args[i] = string(c)
	}
	rows, err := l.host.DB().QueryContext(ctx, selectLifetimes+plugin.Marks(len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("look up lifetimes: %w", err)
	}
	defer rows.Close()
	found := map[im.ConversationID]int64{}
	for rows.Next() {
		var c im.ConversationID
		var ms int64
		if err := rows.Scan(&c, &ms); err != nil {
			return nil, fmt.Errorf("read a lifetime: %w", err)
		}
		found[c] = ms
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up lifetimes: %w", err)
	}
	return found, nil
}

// one gives the lifetime that was settled for c, and by whom.
func (l *lifetimes) one(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, c im.ConversationID) (lifetime, error) {
	now := lifetime{conversation: c}
	err := q.QueryRowContext(ctx, "SELECT lifetime_ms, set_by, set_ms FROM chat_lifetimes WHERE conversation = ?", string(c)).Scan(&now.ms, &now.setBy, &now.setMs)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return now, fmt.Errorf("look up a lifetime: %w", err)
	}
	return now, nil
}

// keep has now be followed by want; of two who do that at once the second fails, or finds it changed.
func (l *lifetimes) keep(ctx context.Context, tx *sql.Tx, now, want lifetime) (err error) {
	if now.setBy == 0 {
		_, err = tx.ExecContext(ctx, "INSERT INTO chat_lifetimes (conversation, lifetime_ms, set_by, set_ms) VALUES (?, ?, ?, ?)",
			string(want.conversation), want.ms, int64(want.setBy), want.setMs)
	} else {
		var result sql.Result
		result, err = tx.ExecContext(ctx, "UPDATE chat_lifetimes SET lifetime_ms = ?, set_by = ?, set_ms = ? WHERE conversation = ? AND lifetime_ms = ?",
			want.ms, int64(want.setBy), want.setMs, string(want.conversation), now.ms)
		if err == nil {
			var n int64
			if n, err = result.RowsAffected(); err == nil && n == 0 {
				err = errors.New("somebody else settled it meanwhile")
			}
		}
	}
	if err != nil {
		return fmt.Errorf("keep a lifetime: %w", err)
	}
	return nil
}

// turn closes the part of the log for which another lifetime held, and begins one behind a seq. The closed one is looked at as
// soon as it is known where it ends: later much of the next one would seem to be its.
func (l *lifetimes) turn(ctx context.Context, tx *sql.Tx, want lifetime, after int64, epoch string) error {
	ends := want.setMs + sweepGrace.Milliseconds() + 1000
	_, err := tx.ExecContext(ctx, "UPDATE chat_sweeps SET closed_ms = ?, next_ms = CASE WHEN next_ms > ? THEN ? ELSE next_ms END WHERE conversation = ? AND closed_ms = 0",
		want.setMs, ends, ends, string(want.conversation))
	if err != nil {
		return fmt.Errorf("close a part of a log: %w", err)
	}
	if want.ms == 0 {
		return nil
	}
	return l.begin(ctx, tx, sweep{conversation: want.conversation, lifetimeMs: want.ms, swept: after, epoch: epoch,
		nextMs: want.setMs + resting(want.ms).Milliseconds()})
}

// anyLifetime is that of a part in which messages of all lifetimes are swept whose time is over. 0 it must not be: cores of
// before would take what stays for theirs.
const anyLifetime = -1

// sweep is a part of a log in which messages disappear.
type sweep struct {
	id           string
	conversation im.ConversationID
	lifetimeMs   int64 // anyLifetime: of all
	closedMs     int64
	through      int64
	swept        int64
	epoch        string
	nextMs       int64
}

// begin keeps a new part. q is a transaction, or the database.
func (l *lifetimes) begin(ctx context.Context, q interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, s sweep) error {
	_, err := q.ExecContext(ctx, "INSERT INTO chat_sweeps (id, conversation, lifetime_ms, closed_ms, through_seq, swept_seq, epoch, next_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		l.host.MessageIDs().Next(s.conversation).String(), string(s.conversation), s.lifetimeMs, s.closedMs, s.through, s.swept, s.epoch, s.nextMs)
	if err != nil {
		return fmt.Errorf("begin a part of a log: %w", err)
	}
	return nil
}

// grow has the part of a log in which messages of s's lifetime disappear end with it, or begins it. A sweep that is under way
// sees that by when it was closed, and neither moves nor ends it.
func (l *lifetimes) grow(ctx context.Context, s sweep) error {
	result, err := l.host.DB().ExecContext(ctx, "UPDATE chat_sweeps SET through_seq = ?, closed_ms = ? WHERE conversation = ? AND lifetime_ms = ? AND epoch = ? AND through_seq < ?",
		s.through, s.closedMs, string(s.conversation), s.lifetimeMs, s.epoch, s.through)
	if err != nil {
		return fmt.Errorf("grow a part of a log: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return l.begin(ctx, l.host.DB(), s)
}

const selectDueSweeps = "SELECT id, conversation, lifetime_ms, closed_ms, through_seq, swept_seq, epoch, next_ms FROM chat_sweeps WHERE next_ms <= ? ORDER BY next_ms, id LIMIT ?"

// due are parts that somebody has to go on with, those that wait for longest first.
func (l *lifetimes) due(ctx context.Context, now time.Time, limit int) (all []*sweep, err error) {
	rows, err := l.host.DB().QueryContext(ctx, selectDueSweeps, now.UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("look for messages that have disappeared: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		s := new(sweep)
		if err := rows.Scan(&s.id, &s.conversation, &s.lifetimeMs, &s.closedMs, &s.through, &s.swept, &s.epoch, &s.nextMs); err != nil {
			return nil, fmt.Errorf("read a part of a log: %w", err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for messages that have disappeared: %w", err)
	}
	return all, nil
}

// claim has the caller go on with a part until so long from now; false: another core does.
func (l *lifetimes) claim(ctx context.Context, s *sweep, until time.Time) (bool, error) {
	result, err := l.host.DB().ExecContext(ctx, "UPDATE chat_sweeps SET next_ms = ? WHERE id = ? AND next_ms = ?", until.UnixMilli(), s.id, s.nextMs)
	if err != nil {
		return false, fmt.Errorf("take a part of a log: %w", err)
	}
	n, err := result.RowsAffected()
	s.nextMs = until.UnixMilli()
	return n > 0, err
}

// moved keeps how far a part is swept. It changes no row that another core has taken since, or closed: that is looked at again.
func (l *lifetimes) moved(ctx context.Context, s *sweep, next time.Time) error {
	_, err := l.host.DB().ExecContext(ctx, "UPDATE chat_sweeps SET through_seq = ?, swept_seq = ?, epoch = ?, next_ms = ? WHERE id = ? AND next_ms = ? AND closed_ms = ?",
		s.through, s.swept, s.epoch, next.UnixMilli(), s.id, s.nextMs, s.closedMs)
	if err != nil {
		return fmt.Errorf("keep how far a part of a log is swept: %w", err)
	}
	return nil
}

// end forgets a part that is swept, unless it was closed anew meanwhile: it has grown.
func (l *lifetimes) end(ctx context.Context, s *sweep) error {
	if _, err := l.host.DB().ExecContext(ctx, "DELETE FROM chat_sweeps WHERE id = ? AND closed_ms = ?", s.id, s.closedMs); err != nil {
		return fmt.Errorf("end a part of a log: %w", err)
	}
	return nil
}
