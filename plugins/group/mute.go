package group

import (
	"context"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

func (p *Group) validateMute(_ *plugin.Call, req *grouppb.MuteInGroupRequest) error {
	if req.UserId < 0 {
		return checkUser(req.UserId)
	}
	if err := p.checkUntil(req.UntilMs); err != nil {
		return err
	}
	return prose("reason", &req.Reason, maxReason)
}

// checkUntil checks when a mute or a ban ends: 0 is now.
func (p *Group) checkUntil(untilMs int64) error {
	if untilMs != 0 && untilMs != forGood && untilMs <= p.host.Now().UnixMilli() {
		return im.Invalid("until_ms", "must lie ahead, or be -1: for good, or 0: not any more")
	}
	return nil
}

// unmuted refuses a muted member a text that the group would be told: it would be a way of writing.
func (c *change) unmuted(m member, field string) error {
	if !holds(m.mutedUntilMs, c.nowMs) {
		return nil
	}
	refused := muted(m.mutedUntilMs, time.UnixMilli(c.nowMs), "muted in the group")
	refused.Field = field
	return refused
}

// mute has a member, or all but owner and admins, write nothing until some time, or write
// again. When it is answered it holds, on every core.
func (p *Group) mute(ctx context.Context, call *plugin.Call, req *grouppb.MuteInGroupRequest) (*grouppb.MuteInGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.actor(call.User, grouppb.GroupPermission_GROUP_PERMISSION_MUTE)
		if err != nil {
			return err
		}
		if req.UserId == 0 {
			if p.lasting(c.group.mutedUntilMs) == req.UntilMs {
				return errSame
			}
			c.group.mutedUntilMs = req.UntilMs
			c.event(call.User, "muted_all", facts{"until_ms": req.UntilMs, "reason": req.Reason})
			return nil
		}
		if req.UntilMs == 0 {
			if away, err := c.unmuteAway(call.User, im.UserID(req.UserId), req.Reason); err != nil || away {
				return err
			}
		}
		m, err := c.below(me, im.UserID(req.UserId))
		if err != nil {
			return err
		}
		if p.lasting(m.mutedUntilMs) == req.UntilMs {
			return errSame
		}
		m.mutedUntilMs = req.UntilMs
		c.event(call.User, "muted", facts{"user_id": m.user, "until_ms": req.UntilMs, "reason": req.Reason})
		return writeMember(ctx, c.tx, m)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.MuteInGroupReply{}, nil
}
