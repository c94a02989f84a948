package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"freeim/core/im"
	"freeim/idl/kitex_gen/chatpb"
)

// reactionLines is the form in which the reactions to a message are counted in its row.
func reactionLines(all []reaction) string {
	var b strings.Builder
	for _, r := range all {
		b.WriteString(r.name + " " + strconv.FormatInt(r.count, 10) + "\n")
	}
	return b.String()
}

// parseReactions reads what reactionLines writes, and leaves out what cannot be read.
func parseReactions(text string) (all []reaction) {
	for line := range strings.Lines(text) {
		name, count, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if n, err := strconv.ParseInt(count, 10, 64); ok && err == nil && n > 0 && name != "" {
			all = append(all, reaction{name, n})
		}
	}
	return all
}

// selectMine, with the condition that finds messages, are a person's own reactions to them.
const selectMine = "SELECT conversation, seq, reaction FROM chat_reactions WHERE user_id = ? AND ("

// mine adds a person's own reactions to what became of messages.
func (s changeStore) mine(ctx context.Context, user im.UserID, found map[stored]*became, where string, args []any) error {
	rows, err := s.host.DB().QueryContext(ctx, selectMine+where+")", append([]any{int64(user)}, args...)...)
	if err != nil {
		return fmt.Errorf("list a person's reactions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var at stored
		var name string
		if err := rows.Scan(&at.log, &at.seq, &name); err != nil {
			return fmt.Errorf("read a reaction: %w", err)
		}
		if b := found[at]; b != nil {
			b.mine = append(b.mine, name)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list a person's reactions: %w", err)
	}
	return nil
}

// ofUser are a person's reactions to one message.
func (s changeStore) ofUser(ctx context.Context, tx *sql.Tx, user im.UserID, at stored) (names []string, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT reaction FROM chat_reactions WHERE user_id = ? AND conversation = ? AND seq = ?", int64(user), string(at.log), at.seq)
	if err != nil {
		return nil, fmt.Errorf("list a person's reactions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("read a reaction: %w", err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list a person's reactions: %w", err)
	}
	return names, nil
}

func (s changeStore) reacted(ctx context.Context, tx *sql.Tx, user im.UserID, at stored, name string, ms int64) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO chat_reactions (conversation, seq, reaction, user_id, time_ms) VALUES (?, ?, ?, ?, ?)",
		string(at.log), at.seq, name, int64(user), ms)
	if err != nil {
		return fmt.Errorf("keep a reaction: %w", err)
	}
	return nil
}

func (s changeStore) unreact(ctx context.Context, tx *sql.Tx, user im.UserID, at stored, name string) (done bool, err error) {
	result, err := tx.ExecContext(ctx, "DELETE FROM chat_reactions WHERE conversation = ? AND seq = ? AND reaction = ? AND user_id = ?", string(at.log), at.seq, name, int64(user))
	if err != nil {
		return false, fmt.Errorf("take a reaction away: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

const selectReacted = "SELECT user_id, time_ms FROM chat_reactions WHERE conversation = ? AND seq = ? AND reaction = ? AND user_id > ? ORDER BY user_id LIMIT ?"

// by are those who reacted so, behind one of them.
func (s changeStore) by(ctx context.Context, at stored, name string, after im.UserID, limit int) (all []*chatpb.Reacted, err error) {
	rows, err := s.host.DB().QueryContext(ctx, selectReacted, string(at.log), at.seq, name, int64(after), limit)
	if err != nil {
		return nil, fmt.Errorf("list who reacted: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		one := new(chatpb.Reacted)
		if err := rows.Scan(&one.UserId, &one.TimeMs); err != nil {
			return nil, fmt.Errorf("read who reacted: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list who reacted: %w", err)
	}
	return all, nil
}

// mostReacted is how many of a person's reactions a copy of what is kept of him has.
const mostReacted = 10_000

// reacted is a person's reaction, for a copy of what is kept of him.
type reacted struct {
	Conversation string `json:"conversation_id"`
	Seq          int64  `json:"seq"`
	Reaction     string `json:"reaction"`
	TimeMs       int64  `json:"time_ms"`
}

const selectReactions = "SELECT conversation, seq, reaction, time_ms FROM chat_reactions WHERE user_id = ? ORDER BY conversation, seq, reaction LIMIT ?"

// reactionsOf are the first of a person's reactions.
func (s changeStore) reactionsOf(ctx context.Context, user im.UserID, limit int) (all []reacted, err error) {
	rows, err := s.host.DB().QueryContext(ctx, selectReactions, int64(user), limit)
	if err != nil {
		return nil, fmt.Errorf("list a person's reactions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one reacted
		if err := rows.Scan(&one.Conversation, &one.Seq, &one.Reaction, &one.TimeMs); err != nil {
			return nil, fmt.Errorf("read a reaction: %w", err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list a person's reactions: %w", err)
	}
	return all, nil
}

// eraseReactions takes all of a person's reactions away, and tells nobody.
func (s changeStore) eraseReactions(ctx context.Context, user im.UserID) error {
	for {
		some, err := s.reactionsOf(ctx, user, 100)
		if err != nil || len(some) == 0 {
			return err
		}
		for _, one := range some {
			at := stored{im.ConversationID(one.Conversation), one.Seq}
			err := s.host.Tx(ctx, func(tx *sql.Tx) error {
				if _, err := tx.ExecContext(ctx, "UPDATE chat_changes SET revision = revision + 1 WHERE conversation = ? AND seq = ?", one.Conversation, one.Seq); err != nil {
					return fmt.Errorf("lock a message: %w", err)
				}
				all, err := s.list(ctx, tx, selectBecame+selectSpan, one.Conversation, one.Seq, one.Seq)
				if err != nil {
					return err
				}
				done, err := s.unreact(ctx, tx, user, at, one.Reaction)
				if !done || err != nil {
					return err
				}
				for _, b := range all {
					b.take(slices.IndexFunc(b.reactions, func(r reaction) bool { return r.name == one.Reaction }))
					err = errors.Join(err, s.keep(ctx, tx, b))
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
}
