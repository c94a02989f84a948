package group

import (
	"context"
	"database/sql"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// This file is how a mute outlives a stay: to leave and come back is no way out of it.

const mutesOf = "SELECT user_id, until_ms FROM group_mutes WHERE group_id = ? AND user_id IN "

// keepMutes notes until when those are muted who go now, and forgets the mutes that are over. A core of before may have left one of
// somebody who came back.
func (c *change) keepMutes(users []im.UserID) error {
	if len(users) == 0 {
		return nil
	}
	if err := dropMutes(c.ctx, c.tx, c.group.id, users); err != nil {
		return err
	}
	if _, err := c.tx.ExecContext(c.ctx, "DELETE FROM group_mutes WHERE group_id = ? AND until_ms >= 0 AND until_ms <= ?", c.group.id, c.nowMs); err != nil {
		return fmt.Errorf("forget mutes: %w", err)
	}
	statement := "INSERT INTO group_mutes (group_id, user_id, until_ms) SELECT group_id, user_id, muted_until_ms FROM group_members " +
		"WHERE group_id = ? AND (muted_until_ms = ? OR muted_until_ms > ?) AND user_id IN " + plugin.Marks(len(users))
	if _, err := c.tx.ExecContext(c.ctx, statement, withUsers([]any{c.group.id, forGood, c.nowMs}, users)...); err != nil {
		return fmt.Errorf("keep mutes: %w", err)
	}
	return nil
}

// takeMutes gives, of people who are away, those who are muted still, and forgets that they were.
func (c *change) takeMutes(users []im.UserID) (map[im.UserID]int64, error) {
	until := map[im.UserID]int64{}
	all, err := list(c.ctx, c.tx, func(m *mutedAway) []any { return []any{&m.user, &m.untilMs} }, mutesOf+plugin.Marks(len(users)), withUsers([]any{c.group.id}, users)...)
	if err != nil || len(all) == 0 {
		return until, err
	}
	for _, m := range all {
		if holds(m.untilMs, c.nowMs) {
			until[m.user] = m.untilMs
		}
	}
	return until, dropMutes(c.ctx, c.tx, c.group.id, users)
}

// unmuteAway lifts the mute of somebody who is away, who has no role that he could be above; away is false when he is not.
// Of who is not muted it is done already.
func (c *change) unmuteAway(by, u im.UserID, reason string) (away bool, err error) {
	m, err := c.member(u)
	if err != nil || m.role != grouppb.GroupRole_GROUP_ROLE_NONE {
		return false, err
	}
	until, err := c.takeMutes([]im.UserID{u})
	if err != nil {
		return true, err
	}
	if _, is := until[u]; !is {
		return true, errSame
	}
	c.event(by, "muted", facts{"user_id": u, "until_ms": 0, "reason": reason})
	return true, nil
}

// mutesOfOne are somebody's, where he is in and where he is away; also those that are over, until they are forgotten.
const mutesOfOne = "SELECT group_id, muted_until_ms AS until_ms FROM group_members WHERE user_id = ? AND muted_until_ms <> 0 " +
	"UNION ALL SELECT group_id, until_ms FROM group_mutes WHERE user_id = ?"

// mutedAway is a row of group_mutes.
type mutedAway struct {
	user    im.UserID
	untilMs int64
}

func dropMutes(ctx context.Context, tx *sql.Tx, id int64, users []im.UserID) error {
	return drop(ctx, tx, "DELETE FROM group_mutes WHERE group_id = ? AND user_id IN ", id, users)
}
