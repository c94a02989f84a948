package chat

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/chatpb"
)

// stored names a message by where it is stored.
type stored struct {
	log im.ConversationID
	seq int64
}

// became is what became of a message.
type became struct {
	stored
	id         string // of the message
	revision   int64
	recalledBy im.UserID
	recalledMs int64
	version    int32 // 0 and 1: as it was sent
	editedMs   int64
	text       string
	reactions  []reaction // in the order in which they came
	expired    bool       // nobody recalled it: its time is over
	mine       []string   // of a person who asks: his own
}

// reaction is one kind of them.
type reaction struct {
	name  string
	count int64
}

func (b *became) recalled() bool { return b != nil && b.recalledMs != 0 }
func (b *became) edited() bool   { return b != nil && b.editedMs != 0 && b.recalledMs == 0 }

// shown is it as clients see it, without the text.
func (b *became) shown() *chatpb.Became {
	if b == nil {
		return nil
	}
	var reactions []*chatpb.Reaction
	for _, r := range b.reactions {
		reactions = append(reactions, &chatpb.Reaction{Reaction: r.name, Count: r.count, Mine: slices.Contains(b.mine, r.name)})
	}
	return &chatpb.Became{Reactions: reactions, Revision: b.revision, Recalled: b.recalled(), Expired: b.expired, RecalledBy: int64(b.recalledBy), RecalledMs: b.recalledMs,
		Version: max(1, b.version), EditedMs: b.editedMs}
}

// announced is it for everybody who gets an event about the message, some of whom may not read that: without
// the text and the reactions. Who may reads them in the message.
func (b *became) announced() *chatpb.Became {
	if b == nil {
		return nil
	}
	return &chatpb.Became{Revision: b.revision, Recalled: b.recalled(), Expired: b.expired, RecalledBy: int64(b.recalledBy), RecalledMs: b.recalledMs, Version: max(1, b.version)}
}

// told is it with the text, for who may read the message and has it already.
func (b *became) told() *chatpb.Became {
	out := b.shown()
	if b.edited() {
		out.Text = b.text
	}
	return out
}

// changeStore keeps what became of messages in the directory.
type changeStore struct{ host plugin.Host }

const becameColumns = "conversation, seq, message_id, revision, recalled_by, recalled_ms, version, edited_ms, content, reactions"

func (s changeStore) list(ctx context.Context, q querier, query string, args ...any) (all []*became, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("look what became of messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		b := new(became)
		var reactions string
		if err := rows.Scan(&b.log, &b.seq, &b.id, &b.revision, &b.recalledBy, &b.recalledMs, &b.version, &b.editedMs, &b.text, &reactions); err != nil {
			return nil, fmt.Errorf("read what became of a message: %w", err)
		}
		b.reactions = parseReactions(reactions)
		all = append(all, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look what became of messages: %w", err)
	}
	return all, nil
}

// selectSpan is part of a query for the messages of a page: seqs that follow each other in one log; selectOne is that for one.
const (
	selectBecame = "SELECT " + becameColumns + " FROM chat_changes WHERE "
	selectSpan   = "conversation = ? AND seq >= ? AND seq <= ?"
	selectOne    = "conversation = ? AND seq = ?"
)

// mostSpans is how many spans one query names.
const mostSpans = 250

// of gives what became of those of the named messages of which something did, in few queries; user is who
// asks, 0: nobody.
func (s changeStore) of(ctx context.Context, user im.UserID, messages []stored) (map[stored]*became, error) {
	found := map[stored]*became{}
	reacted := false
	err := spans(s.host.Dialect(), messages, func(where string, args []any) error {
		all, err := s.list(ctx, s.host.DB(), selectBecame+where, args...)
		for _, b := range all {
			found[b.stored] = b
			reacted = reacted || len(b.reactions) > 0
		}
		return err
	})
	if err != nil || user == 0 || !reacted {
		return found, err
	}
	messages = messages[:0]
	for at, b := range found {
		if len(b.reactions) > 0 {
			messages = append(messages, at)
		}
	}
	return found, spans(s.host.Dialect(), messages, func(where string, args []any) error { return s.mine(ctx, user, found, where, args) })
}

// spans calls ask with the condition that finds messages, in parts.
func spans(dialect string, messages []stored, ask func(where string, args []any) error) error {
	slices.SortFunc(messages, func(a, b stored) int {
		return cmp.Or(strings.Compare(string(a.log), string(b.log)), cmp.Compare(a.seq, b.seq))
	})
	var alone, runs []any // arguments: log and seq; log, first and last seq
	for i := 0; i < len(messages); {
		first, last := messages[i], messages[i]
		for i++; i < len(messages) && messages[i].log == first.log && messages[i].seq <= last.seq+1; i++ {
			last = messages[i]
		}
		if first == last {
			alone = append(alone, string(first.log), first.seq)
		} else {
			runs = append(runs, string(first.log), first.seq, last.seq)
		}
		if len(alone)/2+len(runs)/3 == mostSpans || i == len(messages) {
			if err := ask(whereSpans(dialect, len(alone)/2, len(runs)/3), append(alone, runs...)); err != nil {
				return err
			}
			alone, runs = nil, nil
		}
	}
	return nil
}

// whereSpans is the condition for so many messages that stand alone, and so many runs. The first are one list: each term of an OR
// is planned by itself. One is no list: MariaDB looks for a list of one by no index when it changes rows.
func whereSpans(dialect string, alone, runs int) string {
	var terms []string
	if alone == 1 {
		terms = append(terms, selectOne)
	} else if alone > 1 {
		list := strings.TrimSuffix(strings.Repeat("(?, ?), ", alone), ", ")
		if dialect == "sqlite" {
			list = "VALUES " + list
		}
		terms = append(terms, "(conversation, seq) IN ("+list+")")
	}
	return strings.Join(append(terms, slices.Repeat([]string{selectSpan}, runs)...), " OR ")
}

// one is of for one message; nil: nothing became of it.
func (s changeStore) one(ctx context.Context, q querier, at stored, id string) (*became, error) {
	all, err := s.list(ctx, q, selectBecame+selectSpan, string(at.log), at.seq, at.seq)
	if err != nil || len(all) == 0 || all[0].id != id {
		return nil, err
	}
	return all[0], nil
}

// lock has tx be the only one that changes a message, counts the change, and gives what became of the
// message so far.
func (s changeStore) lock(ctx context.Context, tx *sql.Tx, at stored, id string) (*became, error) {
	result, err := tx.ExecContext(ctx, "UPDATE chat_changes SET revision = revision + 1 WHERE conversation = ? AND seq = ? AND message_id = ?", string(at.log), at.seq, id)
	if err != nil {
		return nil, fmt.Errorf("lock a message: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		b, fault := s.one(ctx, tx, at, id)
		return b, errors.Join(err, fault)
	}
	return s.begin(ctx, tx, at, id)
}

// begin is lock for a message of which nothing became. What is there of another life of the timeline store
// is forgotten. If somebody else began meanwhile, that stays, and breaks the key: the caller tries again.
func (s changeStore) begin(ctx context.Context, tx *sql.Tx, at stored, id string) (*became, error) {
	result, err := tx.ExecContext(ctx, "DELETE FROM chat_changes WHERE conversation = ? AND seq = ? AND message_id <> ?", string(at.log), at.seq, id)
	if err != nil {
		return nil, fmt.Errorf("forget what became of a message: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil {
		return nil, err
	} else if n > 0 {
		if err := s.forget(ctx, tx, at); err != nil {
			return nil, err
		}
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO chat_changes ("+becameColumns+") VALUES (?, ?, ?, 1, 0, 0, 1, 0, '', '')", string(at.log), at.seq, id)
	if err != nil {
		return nil, fmt.Errorf("begin with what becomes of a message: %w", err)
	}
	return &became{stored: at, id: id, revision: 1, version: 1}, nil
}

// keep writes what became of a message; the transaction has locked it.
func (s changeStore) keep(ctx context.Context, tx *sql.Tx, b *became) error {
	_, err := tx.ExecContext(ctx, "UPDATE chat_changes SET recalled_by = ?, recalled_ms = ?, version = ?, edited_ms = ?, content = ?, reactions = ? WHERE conversation = ? AND seq = ?",
		int64(b.recalledBy), b.recalledMs, b.version, b.editedMs, b.text, reactionLines(b.reactions), string(b.log), b.seq)
	if err != nil {
		return fmt.Errorf("keep what became of a message: %w", err)
	}
	return nil
}

// version keeps how a message reads now.
func (s changeStore) version(ctx context.Context, tx *sql.Tx, b *became) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO chat_versions (conversation, seq, version, content, since_ms) VALUES (?, ?, ?, ?, ?)",
		string(b.log), b.seq, b.version, b.text, b.editedMs)
	if err != nil {
		return fmt.Errorf("keep a version: %w", err)
	}
	return nil
}

// forget removes what a message said after it was edited, and what others said of it.
func (s changeStore) forget(ctx context.Context, tx *sql.Tx, at stored) error {
	for _, table := range []string{"chat_versions", "chat_reactions"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE conversation = ? AND seq = ?", string(at.log), at.seq); err != nil {
			return fmt.Errorf("forget a message: %w", err)
		}
	}
	return nil
}

// clearing are the statements of clear, each without its condition.
var clearing = []string{"DELETE FROM chat_versions WHERE ", "DELETE FROM chat_reactions WHERE ", "UPDATE chat_changes SET content = '', reactions = '' WHERE "}

// clear is forget for all messages that a condition finds, and forgets how they read last.
func (s changeStore) clear(ctx context.Context, tx *sql.Tx, where string, args []any) error {
	for _, statement := range clearing {
		if _, err := tx.ExecContext(ctx, statement+where, args...); err != nil {
			return fmt.Errorf("forget messages: %w", err)
		}
	}
	return nil
}

const selectVersions = "SELECT version, content, since_ms FROM chat_versions WHERE conversation = ? AND seq = ? AND version > ? ORDER BY version LIMIT ?"

// versions are the versions behind one, but for the first.
func (s changeStore) versions(ctx context.Context, at stored, after int32, limit int) (all []*chatpb.Version, err error) {
	rows, err := s.host.DB().QueryContext(ctx, selectVersions, string(at.log), at.seq, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		v := new(chatpb.Version)
		if err := rows.Scan(&v.Version, &v.Text, &v.TimeMs); err != nil {
			return nil, fmt.Errorf("read a version: %w", err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	return all, nil
}
