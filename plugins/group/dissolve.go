package group

import (
	"context"
	"encoding/json"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// dissolve ends a group: its members are none any more, and are told by the last event of its
// log.
func (p *Group) dissolve(ctx context.Context, call *plugin.Call, req *grouppb.DissolveGroupRequest) (*grouppb.DissolveGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		if _, err := c.owner(call.User); err != nil {
			return err
		}
		return c.finish(call.User)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.DissolveGroupReply{}, nil
}

// finish dissolves the group.
func (c *change) finish(by im.UserID) error {
	large, err := logged(c.ctx, c.tx, c.group.id)
	if err != nil {
		return err
	}
	c.event(by, "dissolved", facts{"name": c.group.name})
	told, tables := &c.events[len(c.events)-1], []string{"group_requests", "group_bans", "group_mutes", "group_lives"}
	if large { // its members go behind that event
		told.audience = toFollowers
		c.later = append(c.later, posted{name: endRow})
	} else {
		users, err := c.everybody("")
		if err != nil {
			return err
		}
		audience, err := json.Marshal(users)
		if err != nil {
			return err
		}
		told.audience, tables = string(audience), append(tables, "group_members")
	}
	for _, table := range tables {
		if _, err := c.tx.ExecContext(c.ctx, "DELETE FROM "+table+" WHERE group_id = ?", c.group.id); err != nil {
			return fmt.Errorf("delete the rows of a group: %w", err)
		}
	}
	c.group.dissolved, c.group.members = true, 0
	return nil
}
