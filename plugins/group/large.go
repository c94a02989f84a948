package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
)

// This file is what is different of large groups: those that have, or once had, more than write_diffusion members.
// Their messages are in the log alone, which the members follow (plugin.Messages.Follow). README.md, Large groups.

// The names of rows of group_outbox that are no events, but work that is left to do in their turn.
const (
	remindRow = "~remind" // those in audience follow the log since now: their devices are to sync
	endRow    = "~end"    // the group is dissolved: its members' rows are to go
)

// logged reports whether a group's messages are in its log alone.
func logged(ctx context.Context, q querier, id int64) (bool, error) {
	var since int64
	err := q.QueryRowContext(ctx, "SELECT since_ms FROM group_logs WHERE group_id = ?", id).Scan(&since)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look how a group is read: %w", err)
	}
	return true, nil
}

// followers has those who have just come in follow the log of a large group, or all members if it has become
// one by them. What they may read of before is another matter: it comes into no inbox.
func (c *change) followers(users []im.UserID) error {
	large, err := logged(c.ctx, c.tx, c.group.id)
	if err != nil || !large && c.group.members <= c.config.WriteDiffusion {
		return err
	}
	if !large {
		_, err := c.tx.ExecContext(c.ctx, "INSERT INTO group_logs (group_id, since_ms) VALUES (?, ?)", c.group.id, c.nowMs)
		if err != nil {
			return fmt.Errorf("make a group a large one: %w", err)
		}
		if users, err = c.everybody("LIMIT ?", c.group.members); err != nil {
			return err
		}
	}
	head, err := c.head()
	if err != nil {
		return err
	}
	if err := c.messages.Follow(c.ctx, c.tx, conversation(c.group.id), head, users...); err != nil {
		return err
	}
	audience, err := json.Marshal(users)
	if err == nil {
		c.later = append(c.later, posted{name: remindRow, audience: string(audience)})
	}
	return err
}

// unfollow ends that for those who go.
func (c *change) unfollow(users []im.UserID) error {
	large, err := logged(c.ctx, c.tx, c.group.id)
	if err != nil || !large {
		return err
	}
	head, err := c.head()
	if err != nil {
		return err
	}
	return c.messages.Unfollow(c.ctx, c.tx, conversation(c.group.id), head, users...)
}

// head is where the group's log ends.
func (c *change) head() (int64, error) {
	page, err := c.host.Timelines().Log(c.ctx, conversation(c.group.id), 0, 0)
	return page.Head, err
}

// everybody are the members, or some of them.
func (c *change) everybody(rest string, args ...any) ([]im.UserID, error) {
	return someMembers(c.ctx, c.tx, c.group.id, rest, args...)
}

func someMembers(ctx context.Context, q querier, id int64, rest string, args ...any) ([]im.UserID, error) {
	return list(ctx, q, func(u *im.UserID) []any { return []any{u} }, "SELECT user_id FROM group_members WHERE group_id = ? ORDER BY user_id "+rest, append([]any{id}, args...)...)
}

// endAtOnce is how many members of a dissolved group one transaction takes out.
const endAtOnce = 500

// end takes the members of a dissolved large group out, who have its log to its end. Begun again it goes on.
func (p *Group) end(ctx context.Context, id int64) error {
	page, err := p.host.Timelines().Log(ctx, conversation(id), 0, 0)
	if err != nil {
		return err
	}
	for more := true; more; {
		err := p.host.Tx(ctx, func(tx *sql.Tx) error {
			users, err := someMembers(ctx, tx, id, "LIMIT ?", endAtOnce)
			if more = len(users) == endAtOnce; err != nil || len(users) == 0 {
				return err
			}
			if err := p.messages.Unfollow(ctx, tx, conversation(id), page.Head, users...); err != nil {
				return err
			}
			return dropMembers(ctx, tx, id, users...)
		})
		if err != nil {
			return fmt.Errorf("take the members out of group %d: %w", id, err)
		}
	}
	return nil
}

// mate gives a member of a group as messages need him, as he is now.
func (p *Group) mate(ctx context.Context, now *membership, u im.UserID) (mate, bool, error) {
	if !now.logged {
		me, in := now.find(u)
		return me, in, nil
	}
	m, err := readMember(ctx, p.host.DB(), now.group.id, u)
	return mate{user: u, role: m.role, permissions: m.permissions, mutedUntilMs: m.mutedUntilMs, afterSeq: m.afterSeq}, m.role != 0, err
}

// those are the members among users, each once.
func (p *Group) those(ctx context.Context, now *membership, users []im.UserID) (there []im.UserID, err error) {
	if !now.logged || len(users) == 0 {
		for _, u := range users {
			if _, in := now.find(u); in {
				there = append(there, u)
			}
		}
		return there, nil
	}
	found, err := members(ctx, p.host.DB(), "WHERE m.group_id = ? AND m.user_id IN "+plugin.Marks(len(users)), withUsers([]any{now.group.id}, users)...)
	for _, m := range found {
		there = append(there, m.user)
	}
	return there, err
}

// audience is to whom a message of a group goes.
func (now *membership) audience() plugin.Audience {
	if now.logged {
		return plugin.Audience{Log: true, Version: now.group.version}
	}
	return plugin.Audience{Inboxes: now.users, Version: now.group.version}
}
