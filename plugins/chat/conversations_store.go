package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

// listed is a conversation as one person has it.
type listed struct {
	conversation im.ConversationID
	lastInbox    int64 // the place of its newest message in the inbox; 0: none since the store is new
	lastSeq      int64 // and in the log
	since        int64 // unread is only what came later: since the person came, or wrote himself
	read         int64 // up to where he has read
	floor        int64 // up to where he has deleted it, for himself
	pinned       bool
	mute         int32
	hidden       int64 // it is hidden until the inbox has something later of it
	draft        string
	uncounted    marks  // behind what he has seen: they are not unread
	mentions     marks  // and these name him
	fading       fading // nor are these, from when they disappear on

	stands int64  // among others, as an entry of the inbox would
	marked string // the marks as they are stored
	faded  string // and what disappears
	fresh  bool   // there is no row yet
}

// place is where it stands in its list.
func (l *listed) place() listPlace {
	return listPlace{pinned: l.pinned, before: l.stands, last: l.lastInbox}
}

// seen is up to where nothing is unread.
func (l *listed) seen() int64 { return max(l.since, l.read, l.floor) }

// unread is how much is: neither what has disappeared, nor what was recalled.
func (l *listed) unread(now time.Time) int64 {
	seen, gone := l.seen(), l.fading.gone(now)
	return max(0, l.lastSeq-seen-l.uncounted.behind(seen)-gone.behind(seen)+gone.shared(l.uncounted, seen))
}

// named is how much of it names him.
func (l *listed) named(now time.Time) int64 {
	return l.mentions.behind(l.seen()) - l.mentions.shared(l.fading.gone(now), l.seen())
}

// followed is how far a person's list follows his inbox and his receipts.
type followed struct {
	epoch           string
	inbox, receipts int64
	fresh           bool // there is no row yet
}

// listStore keeps people's lists of conversations in the directory.
type listStore struct{ host plugin.Host }

func (s listStore) followed(ctx context.Context, u im.UserID) (f followed, err error) {
	err = s.host.DB().QueryRowContext(ctx, "SELECT epoch, inbox, receipts FROM chat_lists WHERE user_id = ?", int64(u)).Scan(&f.epoch, &f.inbox, &f.receipts)
	if errors.Is(err, sql.ErrNoRows) {
		return followed{fresh: true}, nil
	}
	if err != nil {
		return f, fmt.Errorf("look how far a list is: %w", err)
	}
	return f, nil
}

// move moves how far a list is, in a transaction that then changes it; false: somebody else did.
func (s listStore) move(ctx context.Context, tx *sql.Tx, u im.UserID, from, to followed) (bool, error) {
	if from.fresh {
		var n int
		err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM chat_lists WHERE user_id = ?", int64(u)).Scan(&n)
		if err != nil || n > 0 {
			return false, err
		}
		if _, err = tx.ExecContext(ctx, "INSERT INTO chat_lists (user_id, epoch, inbox, receipts) VALUES (?, ?, ?, ?)", int64(u), to.epoch, to.inbox, to.receipts); err != nil {
			return false, fmt.Errorf("begin a list: %w", err)
		}
		return true, nil
	}
	result, err := tx.ExecContext(ctx, "UPDATE chat_lists SET epoch = ?, inbox = ?, receipts = ? WHERE user_id = ? AND epoch = ? AND inbox = ? AND receipts = ?",
		to.epoch, to.inbox, to.receipts, int64(u), from.epoch, from.inbox, from.receipts)
	if err != nil {
		return false, fmt.Errorf("move a list: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// lock has others who change a person's list wait until tx ends.
func (s listStore) lock(ctx context.Context, tx *sql.Tx, u im.UserID) error {
	if _, err := tx.ExecContext(ctx, "UPDATE chat_lists SET inbox = inbox WHERE user_id = ?", int64(u)); err != nil {
		return fmt.Errorf("lock a list: %w", err)
	}
	return nil
}

const selectListed = "SELECT conversation, last_inbox, last_seq, since_seq, read_seq, floor_seq, pinned, mute, hidden, draft, COALESCE(uncounted, ''), COALESCE(mentions, ''), COALESCE(spans, '') " +
	"FROM chat_conversations " + joinMarks + "WHERE user_id = ?"

// joinMarks adds to conversations of people what is kept beside them of their messages.
const joinMarks = "LEFT JOIN chat_marks ON owner_id = user_id AND marked = conversation LEFT JOIN chat_fading ON reader_id = user_id AND fades = conversation "

// The pages of a list: newest activity first, and the same with what is hidden.
const (
	selectShown = selectListed + " AND pinned = ? AND last_inbox < ? AND last_inbox > hidden ORDER BY last_inbox DESC LIMIT ?"
	selectAll   = selectListed + " AND pinned = ? AND last_inbox < ? AND last_inbox > 0 ORDER BY last_inbox DESC LIMIT ?"
)

func (s listStore) list(ctx context.Context, q querier, query string, args ...any) (all []*listed, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list conversations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		l := new(listed)
		var uncounted, mentions string
		if err := rows.Scan(&l.conversation, &l.lastInbox, &l.lastSeq, &l.since, &l.read, &l.floor, &l.pinned, &l.mute, &l.hidden, &l.draft, &uncounted, &mentions, &l.faded); err != nil {
			return nil, fmt.Errorf("read a conversation: %w", err)
		}
		l.stands = l.lastInbox
		l.uncounted, l.mentions = parseMarks(uncounted), parseMarks(mentions)
		l.marked = uncounted + "\n" + mentions
		l.fading = parseFading(l.faded)
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list conversations: %w", err)
	}
	return all, nil
}

// some are those of the named conversations that a person has.
func (s listStore) some(ctx context.Context, q querier, u im.UserID, names []im.ConversationID) (map[im.ConversationID]*listed, error) {
	found := make(map[im.ConversationID]*listed, len(names))
	if len(names) == 0 {
		return found, nil
	}
	args := []any{int64(u)}
	for _, c := range names {
		args = append(args, string(c))
	}
	all, err := s.list(ctx, q, selectListed+" AND conversation IN (?"+strings.Repeat(", ?", len(names)-1)+")", args...)
	for _, l := range all {
		found[l.conversation] = l
	}
	return found, err
}

// follow keeps what came of a conversation.
func (s listStore) follow(ctx context.Context, tx *sql.Tx, u im.UserID, l *listed, at time.Time) (err error) {
	if l.fresh {
		_, err = tx.ExecContext(ctx, "INSERT INTO chat_conversations (user_id, conversation, last_inbox, last_seq, since_seq, read_seq, floor_seq, pinned, mute, hidden, draft) "+
			"VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '')", int64(u), string(l.conversation), l.lastInbox, l.lastSeq, l.since, l.read)
	} else {
		_, err = tx.ExecContext(ctx, "UPDATE chat_conversations SET last_inbox = ?, last_seq = ?, since_seq = ?, read_seq = ? WHERE user_id = ? AND conversation = ?",
			l.lastInbox, l.lastSeq, l.since, l.read, int64(u), string(l.conversation))
	}
	if err != nil {
		return fmt.Errorf("keep a conversation: %w", err)
	}
	l.fade(at)
	return errors.Join(s.mark(ctx, tx, u, l), s.fade(ctx, tx, u, l))
}

// fade makes marks of what has disappeared.
func (l *listed) fade(now time.Time) {
	for _, s := range l.fading.gone(now) {
		l.uncounted, l.mentions = l.uncounted.addSpan(s), l.mentions.removeSpan(s)
	}
	l.fading = l.fading.keep(now, l.seen())
}

// fade keeps what fades of a conversation, if it is something else than before.
func (s listStore) fade(ctx context.Context, tx *sql.Tx, u im.UserID, l *listed) error {
	spans := l.fading.String()
	if spans == l.faded {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM chat_fading WHERE reader_id = ? AND fades = ?", int64(u), string(l.conversation)); err != nil {
		return fmt.Errorf("keep what disappears: %w", err)
	}
	if spans == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO chat_fading (reader_id, fades, spans) VALUES (?, ?, ?)", int64(u), string(l.conversation), spans); err != nil {
		return fmt.Errorf("keep what disappears: %w", err)
	}
	return nil
}

// mark keeps the marks of a conversation, if they are others than before.
func (s listStore) mark(ctx context.Context, tx *sql.Tx, u im.UserID, l *listed) error {
	l.uncounted, l.mentions = l.uncounted.drop(l.seen()), l.mentions.drop(l.seen())
	now := l.uncounted.String() + "\n" + l.mentions.String()
	if now == l.marked || now == "\n" && l.marked == "" {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM chat_marks WHERE owner_id = ? AND marked = ?", int64(u), string(l.conversation)); err != nil {
		return fmt.Errorf("keep marks: %w", err)
	}
	if now == "\n" {
		return nil
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO chat_marks (owner_id, marked, uncounted, mentions) VALUES (?, ?, ?, ?)",
		int64(u), string(l.conversation), l.uncounted.String(), l.mentions.String())
	if err != nil {
		return fmt.Errorf("keep marks: %w", err)
	}
	return nil
}

// set keeps what a person says of a conversation.
func (s listStore) set(ctx context.Context, tx *sql.Tx, u im.UserID, l *listed) error {
	_, err := tx.ExecContext(ctx, "UPDATE chat_conversations SET floor_seq = ?, pinned = ?, mute = ?, hidden = ?, draft = ? WHERE user_id = ? AND conversation = ?",
		l.floor, l.pinned, l.mute, l.hidden, l.draft, int64(u), string(l.conversation))
	if err != nil {
		return fmt.Errorf("change a conversation: %w", err)
	}
	return nil
}

// pinned counts those that a person has pinned.
func (s listStore) pinned(ctx context.Context, tx *sql.Tx, u im.UserID) (n int, err error) {
	if err = tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM chat_conversations WHERE user_id = ? AND pinned = 1", int64(u)).Scan(&n); err != nil {
		return 0, fmt.Errorf("count pinned conversations: %w", err)
	}
	return n, nil
}

// floor is up to where a person has deleted a conversation for himself.
func (s listStore) floor(ctx context.Context, u im.UserID, c im.ConversationID) (floor int64, err error) {
	err = s.host.DB().QueryRowContext(ctx, "SELECT floor_seq FROM chat_conversations WHERE user_id = ? AND conversation = ?", int64(u), string(c)).Scan(&floor)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("look up a conversation: %w", err)
	}
	return floor, nil
}

// forget has a list follow another life of the store, whose logs are as long as ends says, from its beginning.
func (s listStore) forget(ctx context.Context, tx *sql.Tx, u im.UserID, ends map[im.ConversationID]int64) error {
	_, err := tx.ExecContext(ctx, "UPDATE chat_conversations SET last_inbox = 0, last_seq = 0, since_seq = 0, read_seq = 0, hidden = 0 WHERE user_id = ?", int64(u))
	if err != nil {
		return fmt.Errorf("begin a list anew: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM chat_marks WHERE owner_id = ?", int64(u)); err != nil {
		return fmt.Errorf("begin a list anew: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM chat_fading WHERE reader_id = ?", int64(u)); err != nil {
		return fmt.Errorf("begin a list anew: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM chat_listed_at WHERE user_id = ?", int64(u)); err != nil {
		return fmt.Errorf("begin a list anew: %w", err)
	}
	for c, end := range ends {
		if _, err := tx.ExecContext(ctx, "UPDATE chat_conversations SET floor_seq = ? WHERE user_id = ? AND conversation = ? AND floor_seq > ?", end, int64(u), string(c), end); err != nil {
			return fmt.Errorf("begin a list anew: %w", err)
		}
	}
	return nil
}
