package group

import (
	"cmp"
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// withdraw takes back one's own application, or an invitation: one's own, or, for those who
// decide, any.
func (p *Group) withdraw(ctx context.Context, call *plugin.Call, req *grouppb.WithdrawRequest) (*grouppb.WithdrawReply, error) {
	if req.UserId < 0 {
		return nil, checkUser(req.UserId)
	}
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	u := cmp.Or(im.UserID(req.UserId), call.User)
	err := p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.member(call.User)
		if err != nil {
			return err
		}
		r, waits, err := readRequest(ctx, c.tx, c.group.id, u, c.nowMs)
		if err != nil {
			return err
		}
		applied := r.invitedBy == 0
		decides := c.group.permissions(me)&int32(grouppb.GroupPermission_GROUP_PERMISSION_APPROVE) != 0
		if !waits && c.group.hidesFrom(me) {
			return noSuchGroup()
		}
		if !waits || applied && u != call.User || !applied && r.invitedBy != call.User && !decides {
			return &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: "nothing waits that you can withdraw"}
		}
		told := []im.UserID{u}
		if applied {
			who, err := c.deciders()
			if err != nil {
				return err
			}
			told = append(told, who...)
		}
		c.notice(call.User, "withdrawn", facts{"user_id": u}, told...)
		return dropRequests(ctx, c.tx, c.group.id, u)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.WithdrawReply{}, nil
}
