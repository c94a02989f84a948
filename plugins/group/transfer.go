package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// transfer makes a member the owner. Of two at once the second finds that he is the owner no
// more.
func (p *Group) transfer(ctx context.Context, call *plugin.Call, req *grouppb.TransferGroupRequest) (*grouppb.TransferGroupReply, error) {
	if err := checkUser(req.UserId); err != nil {
		return nil, err
	}
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.owner(call.User)
		if err != nil {
			return err
		}
		next, err := c.below(me, im.UserID(req.UserId))
		if err != nil {
			return err
		}
		was := me
		me.role, me.permissions = grouppb.GroupRole_GROUP_ROLE_ADMIN, allBits
		if next.role != me.role { // else that place becomes free
			if err := c.roomForAdmin(was, me); err != nil {
				return err
			}
		}
		if err := writeMember(ctx, c.tx, me); err != nil {
			return err
		}
		return c.crown(call.User, next)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.TransferGroupReply{}, nil
}

// crown makes a member the owner, in whose stead is no other.
func (c *change) crown(by im.UserID, next member) error {
	next.role, next.permissions, next.mutedUntilMs = grouppb.GroupRole_GROUP_ROLE_OWNER, 0, 0
	c.group.owner = next.user
	c.event(by, "transferred", facts{"user_id": next.user})
	return writeMember(c.ctx, c.tx, next)
}
