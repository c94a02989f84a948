package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

func validateRemove(_ *plugin.Call, req *grouppb.RemoveFromGroupRequest) error {
	if err := checkUsers(req.UserIds, 1); err != nil {
		return err
	}
	return prose("reason", &req.Reason, maxReason)
}

// remove puts members out, all of them or none. When it is answered none of them writes or
// reads any more, by whatever core.
func (p *Group) remove(ctx context.Context, call *plugin.Call, req *grouppb.RemoveFromGroupRequest) (*grouppb.RemoveFromGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	users := usersOf(req.UserIds)
	rep := &grouppb.RemoveFromGroupReply{}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		rep.UserIds = nil
		me, err := c.actor(call.User, grouppb.GroupPermission_GROUP_PERMISSION_REMOVE)
		if err != nil {
			return err
		}
		there, err := members(ctx, c.tx, "WHERE m.group_id = ? AND m.user_id IN "+plugin.Marks(len(users))+" ORDER BY m.user_id", withUsers([]any{c.group.id}, users)...)
		if err != nil {
			return err
		}
		var gone []im.UserID
		for _, m := range there {
			if m.role <= me.role {
				return denied("user_ids", "not all are below you")
			}
			gone, rep.UserIds = append(gone, m.user), append(rep.UserIds, int64(m.user))
		}
		if len(gone) == 0 {
			return errSame
		}
		c.event(call.User, "removed", facts{"user_ids": gone, "reason": req.Reason})
		c.notice(call.User, "removed", facts{"reason": req.Reason}, gone...)
		return c.remove(gone...)
	})
	if err != nil {
		return nil, err
	}
	return rep, nil
}
