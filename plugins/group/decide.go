package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func validateDecide(_ *plugin.Call, req *grouppb.DecideApplicationRequest) error {
	if err := checkUser(req.UserId); err != nil {
		return err
	}
	return prose("reason", &req.Reason, maxReason)
}

// decide takes somebody in who has applied, or refuses him. Of two who decide at once the first
// one does.
func (p *Group) decide(ctx context.Context, call *plugin.Call, req *grouppb.DecideApplicationRequest) (*grouppb.DecideApplicationReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	u := im.UserID(req.UserId)
	err := p.change(ctx, req.GroupId, func(c *change) error {
		if _, err := c.actor(call.User, grouppb.GroupPermission_GROUP_PERMISSION_APPROVE); err != nil {
			return err
		}
		r, waits, err := readRequest(ctx, c.tx, c.group.id, u, c.nowMs)
		switch {
		case err != nil:
			return err
		case !waits || r.invitedBy != 0:
			return &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: "no application of his waits"}
		case !req.Approve:
			c.notice(call.User, "refused", facts{"reason": req.Reason}, u)
			return dropRequests(ctx, c.tx, c.group.id, u)
		}
		if err := c.joinable(u); err != nil {
			return err
		}
		c.event(call.User, "joined", facts{"user_ids": []im.UserID{u}, "approved": true})
		return c.add([]im.UserID{u}, 0)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.DecideApplicationReply{}, nil
}
