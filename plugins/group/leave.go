package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// leave takes the caller out. An owner leaves nobody without one.
func (p *Group) leave(ctx context.Context, call *plugin.Call, req *grouppb.LeaveGroupRequest) (*grouppb.LeaveGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.actor(call.User, 0)
		if err != nil {
			return err
		}
		if me.role == grouppb.GroupRole_GROUP_ROLE_OWNER {
			return denied("group_id", "its owner transfers a group before he leaves it, or dissolves it")
		}
		return c.depart(me.user)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.LeaveGroupReply{}, nil
}

// depart takes out a member who leaves.
func (c *change) depart(u im.UserID) error {
	c.event(u, "left", facts{"user_id": u})
	c.notice(u, "left", nil, u)
	return c.remove(u)
}
