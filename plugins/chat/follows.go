package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is who follows which logs: conversations whose messages are written to no inbox. gather.go brings
// them into an inbox when its person asks. README.md, Logs that people follow.

// follow is a part of a log that somebody follows: a row of chat_follows.
type follow struct {
	conversation   im.ConversationID
	after, through int64 // 0: without an end
	epoch          string
}

// wholeMark begins the epoch of a part that was gathered to its end. Nobody asks for it again in that life of the store; but
// a restore may take the places of the last of it away, and then it is a part like others.
const wholeMark = "="

// mostWhole is how many such parts of a log are kept of one person, the newest: he came and left between.
const mostWhole = 16

// followsAtOnce is how many people one statement is about.
const followsAtOnce = 200

// Follow implements plugin.Messages.
func (p *Chat) Follow(ctx context.Context, tx *sql.Tx, c im.ConversationID, after int64, users ...im.UserID) error {
	if _, err := p.begin(ctx, tx, c); err != nil { // so that it is known later of which life these seqs are
		return fmt.Errorf("follow %s: %w", c, err)
	}
	for some := range slices.Chunk(users, followsAtOnce) {
		if err := p.followers(ctx, tx, c, after, some); err != nil {
			return fmt.Errorf("follow %s: %w", c, err)
		}
	}
	return nil
}

// followers makes the rows of people who do not follow c yet. A new part never overlaps an older one.
func (p *Chat) followers(ctx context.Context, tx *sql.Tx, c im.ConversationID, after int64, users []im.UserID) error {
	if err := p.adopt(ctx, tx, c, users); err != nil {
		return err
	}
	epoch := p.timelines.Epoch()
	which, args := ofPeople(c, users)
	rows, err := tx.QueryContext(ctx, "SELECT user_id, MIN(through_seq), MAX(through_seq) FROM chat_follows WHERE "+which+" GROUP BY user_id", args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	ended := map[im.UserID]int64{}
	follows := map[im.UserID]bool{}
	for rows.Next() {
		var u im.UserID
		var least, most int64
		if err := rows.Scan(&u, &least, &most); err != nil {
			return err
		}
		ended[u], follows[u] = most, least == 0
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	args = args[:0]
	for _, u := range users {
		if !follows[u] {
			args = append(args, int64(u), string(c), max(after, ended[u]), epoch)
		}
	}
	if len(args) == 0 {
		return nil
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO chat_follows (user_id, conversation, after_seq, through_seq, epoch) VALUES (?, ?, ?, 0, ?)"+
		strings.Repeat(", (?, ?, ?, 0, ?)", len(args)/4-1), args...)
	return err
}

// ofPeople is a condition for the rows of c that are those people's.
func ofPeople(c im.ConversationID, users []im.UserID) (which string, args []any) {
	args = make([]any, 0, 4*len(users))
	for _, u := range users {
		args = append(args, int64(u))
	}
	return "user_id IN (?" + strings.Repeat(", ?", len(users)-1) + ") AND conversation = ?", append(args, string(c))
}

// Unfollow implements plugin.Messages.
func (p *Chat) Unfollow(ctx context.Context, tx *sql.Tx, c im.ConversationID, through int64, users ...im.UserID) error {
	for some := range slices.Chunk(users, followsAtOnce) {
		if err := p.adopt(ctx, tx, c, some); err != nil {
			return fmt.Errorf("unfollow %s: %w", c, err)
		}
		which, args := ofPeople(c, some)
		_, err := tx.ExecContext(ctx, "UPDATE chat_follows SET through_seq = ? WHERE through_seq = 0 AND after_seq < ? AND "+which, append([]any{through, through}, args...)...)
		if err == nil { // of what is left nothing lies before its end
			_, err = tx.ExecContext(ctx, "DELETE FROM chat_follows WHERE through_seq = 0 AND "+which, args...)
		}
		if err != nil {
			return fmt.Errorf("unfollow %s: %w", c, err)
		}
	}
	return nil
}

// Follows implements plugin.Messages.
func (p *Chat) Follows(ctx context.Context, u im.UserID) (bool, error) {
	_, follows, err := p.following.Find(ctx, u)
	return follows, err
}

// Remind implements plugin.Messages.
func (p *Chat) Remind(users ...im.UserID) {
	p.host.Push(plugin.Push{Action: idl.ActionSync, Body: &chatpb.SyncPush{}, Users: users})
}

const followsOf = "SELECT conversation, after_seq, through_seq, epoch FROM chat_follows WHERE user_id = ? AND epoch <> ? ORDER BY conversation, after_seq"

// followed are the parts of logs that somebody follows, as they are in this life of the store; announcements are
// behind those of which there are rows.
func (p *Chat) followed(ctx context.Context, u im.UserID) ([]follow, error) {
	all, err := p.followedRows(ctx, u)
	if err != nil {
		return nil, err
	}
	announced, err := p.announcements.follows(ctx, u)
	return append(all, announced...), err
}

func (p *Chat) followedRows(ctx context.Context, u im.UserID) ([]follow, error) {
	epoch := p.timelines.Epoch()
	all, err := readFollows(ctx, p.host.DB(), u, epoch)
	if err != nil || !slices.ContainsFunc(all, func(f follow) bool { return f.epoch != epoch }) {
		return all, err
	}
	floors := map[im.ConversationID]int64{} // of logs of other lives: behind which he may read
	for _, f := range all {
		if _, known := floors[f.conversation]; f.epoch == epoch || known {
			continue
		}
		if floors[f.conversation], err = p.readsAfter(ctx, f.conversation, u); err != nil {
			return nil, err
		}
	}
	err = p.host.Tx(ctx, func(tx *sql.Tx) error {
		for _, c := range slices.Sorted(maps.Keys(floors)) {
			floor := floors[c]
			err := p.adopt(ctx, tx, c, []im.UserID{u})
			if err == nil { // a copy of a life that was given up may have the log again that was before him
				_, err = tx.ExecContext(ctx, "UPDATE chat_follows SET after_seq = ? WHERE user_id = ? AND conversation = ? AND through_seq = 0 AND after_seq < ?", floor, int64(u), string(c), floor)
			}
			if err != nil {
				return fmt.Errorf("follow another life of %s: %w", c, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return readFollows(ctx, p.host.DB(), u, epoch)
}

// readsAfter is the seq of c behind which u may read; 0: all, or he may not now, so that he gets what he had coming.
func (p *Chat) readsAfter(ctx context.Context, c im.ConversationID, u im.UserID) (int64, error) {
	owner := p.owners[c.Type()]
	if owner == nil {
		return 0, nil
	}
	reach, err := owner.Read(ctx, c, u)
	if final(err) {
		return 0, nil
	}
	return reach.After, err
}

// placedParts are followed, and the parts of which he has all: there may be places of any of them.
func (p *Chat) placedParts(ctx context.Context, u im.UserID) ([]follow, error) {
	all, err := p.followed(ctx, u) // which has them be of this life
	if err != nil {
		return nil, err
	}
	rows, err := readFollows(ctx, p.host.DB(), u, "")
	for _, f := range rows {
		if strings.HasPrefix(f.epoch, wholeMark) {
			all = append(all, f)
		}
	}
	return all, err
}

// readFollows reads the parts of which there may be more in the life epoch.
func readFollows(ctx context.Context, q querier, u im.UserID, epoch string) (all []follow, err error) {
	rows, err := q.QueryContext(ctx, followsOf, int64(u), wholeMark+epoch)
	if err != nil {
		return nil, fmt.Errorf("look up followed logs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var f follow
		if err := rows.Scan(&f.conversation, &f.after, &f.through, &f.epoch); err != nil {
			return nil, fmt.Errorf("read a followed log: %w", err)
		}
		all = append(all, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up followed logs: %w", err)
	}
	return all, nil
}

// forgetFollows notes that somebody has parts whole, and deletes such of long ago.
func (p *Chat) forgetFollows(ctx context.Context, u im.UserID, done []follow) error {
	if len(done) == 0 {
		return nil
	}
	return p.host.Tx(ctx, func(tx *sql.Tx) error {
		for _, f := range done {
			_, err := tx.ExecContext(ctx, "UPDATE chat_follows SET epoch = ? WHERE user_id = ? AND conversation = ? AND after_seq = ? AND through_seq = ? AND epoch = ?",
				wholeMark+f.epoch, int64(u), string(f.conversation), f.after, f.through, f.epoch)
			if err == nil {
				err = dropWhole(ctx, tx, u, f)
			}
			if err != nil {
				return fmt.Errorf("forget followed logs: %w", err)
			}
		}
		return nil
	})
}

const selectWhole = "SELECT after_seq FROM chat_follows WHERE user_id = ? AND conversation = ? AND epoch = ? ORDER BY after_seq"

// dropWhole deletes the whole parts of f's log but the newest.
func dropWhole(ctx context.Context, tx *sql.Tx, u im.UserID, f follow) error {
	of := []any{int64(u), string(f.conversation), wholeMark + f.epoch}
	var oldest int64
	err := tx.QueryRowContext(ctx, selectWhole+" DESC LIMIT 1 OFFSET ?", append(of, mostWhole-1)...).Scan(&oldest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM chat_follows WHERE user_id = ? AND conversation = ? AND epoch = ? AND after_seq < ?", append(of, oldest)...)
	}
	return err
}
