package group

import (
	"context"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// mostBans bounds the bans of one group. Those that are over are forgotten first.
const mostBans = 10_000

func (p *Group) validateBan(_ *plugin.Call, req *grouppb.BanFromGroupRequest) error {
	if err := checkUser(req.UserId); err != nil {
		return err
	}
	if err := p.checkUntil(req.UntilMs); err != nil {
		return err
	}
	return prose("reason", &req.Reason, maxReason)
}

// ban puts somebody out, if he is in, and keeps him out until some time, or lets him again.
func (p *Group) ban(ctx context.Context, call *plugin.Call, req *grouppb.BanFromGroupRequest) (*grouppb.BanFromGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	u := im.UserID(req.UserId)
	known, err := p.people.People(ctx, []im.UserID{u})
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	if _, exists := known[u]; !exists && req.UntilMs != 0 {
		return nil, &im.Error{Code: idl.CodeNotFound, Field: "user_id", Reason: "no such user"}
	}
	var may grouppb.InviteOutcome // of him by who lifts a ban
	if req.UntilMs == 0 {
		if may, err = p.relation(ctx, call.User, u); err != nil {
			return nil, refusal(ctx, err)
		}
	}
	err = p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.actor(call.User, grouppb.GroupPermission_GROUP_PERMISSION_BAN)
		if err != nil {
			return err
		}
		kept, err := banned(ctx, c.tx, c.group.id, []im.UserID{u}, c.nowMs)
		if err != nil {
			return err
		}
		was, is := kept[u]
		switch {
		case !is && req.UntilMs == 0, is && was.untilMs == req.UntilMs && was.reason == req.Reason:
			return errSame
		case req.UntilMs != 0:
			return c.exclude(me, u, req)
		}
		c.event(call.User, "unbanned", facts{"user_id": u})
		if may != refused { // else a ban and its end would bring him the group's name, as an invitation must not
			c.notice(call.User, "unbanned", nil, u)
		}
		return dropBan(ctx, c.tx, c.group.id, u)
	})
	if err != nil {
		return nil, err
	}
	return &grouppb.BanFromGroupReply{}, nil
}

// exclude puts somebody out and keeps him out. He is told if he is in, or waits to be: to strangers a ban would be a way of
// writing, past whom they block and who may write to them. So would the reason be to who is invited: he asked for nothing.
func (c *change) exclude(me member, u im.UserID, req *grouppb.BanFromGroupRequest) error {
	m, err := c.member(u)
	if err != nil {
		return err
	}
	r, told, err := readRequest(c.ctx, c.tx, c.group.id, u, c.nowMs)
	reason := req.Reason
	if r.invitedBy != 0 {
		reason = ""
	}
	switch {
	case err != nil:
		return err
	case m.role == grouppb.GroupRole_GROUP_ROLE_NONE:
	case m.role <= me.role:
		return denied("user_id", "not below you")
	default:
		told = true
		if err := c.remove(u); err != nil {
			return err
		}
	}
	if err := dropRequests(c.ctx, c.tx, c.group.id, u); err != nil {
		return err
	}
	c.event(me.user, "banned", facts{"user_id": u, "until_ms": req.UntilMs, "reason": req.Reason})
	if told {
		c.notice(me.user, "banned", facts{"until_ms": req.UntilMs, "reason": reason}, u)
	}
	return c.putBan(ban{group: c.group.id, user: u, untilMs: req.UntilMs, by: me.user, reason: req.Reason, createdMs: c.nowMs})
}

// putBan files a ban in the place of another of the same person.
func (c *change) putBan(b ban) error {
	if err := dropBan(c.ctx, c.tx, b.group, b.user); err != nil {
		return err
	}
	for _, purged := range []bool{false, true} {
		var n int
		if err := c.tx.QueryRowContext(c.ctx, "SELECT COUNT(*) FROM group_bans WHERE group_id = ?", b.group).Scan(&n); err != nil {
			return fmt.Errorf("count bans: %w", err)
		}
		switch {
		case n < mostBans:
		case purged:
			return &im.Error{Code: idl.CodeLimitExceeded, Field: "user_id", Reason: "too many people are banned"}
		default:
			_, err := c.tx.ExecContext(c.ctx, "DELETE FROM group_bans WHERE group_id = ? AND until_ms >= 0 AND until_ms <= ?", b.group, c.nowMs)
			if err != nil {
				return fmt.Errorf("forget bans: %w", err)
			}
			continue
		}
		break
	}
	_, err := c.tx.ExecContext(c.ctx, "INSERT INTO group_bans (group_id, user_id, until_ms, by_id, reason, created_ms) VALUES (?, ?, ?, ?, ?, ?)",
		b.group, int64(b.user), b.untilMs, int64(b.by), b.reason, b.createdMs)
	if err != nil {
		return fmt.Errorf("insert a ban: %w", err)
	}
	return nil
}
