package group

import (
	"context"
	"errors"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func validateJoin(_ *plugin.Call, req *grouppb.JoinGroupRequest) error {
	if err := prose("remark", &req.Remark, maxRemark); err != nil {
		return err
	}
	return line("answer", &req.Answer, 0, maxAnswer)
}

// join takes somebody in as the group's policy says, or files his application. Who is invited
// comes in by any.
func (p *Group) join(ctx context.Context, call *plugin.Call, req *grouppb.JoinGroupRequest) (*grouppb.JoinGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	if err := p.rules.OnJoin(ctx, call, conversation(req.GroupId)); err != nil {
		return nil, err
	}
	tries := call.User.String() + " " + string(conversation(req.GroupId))
	if req.Answer != "" { // counted before it is compared, and forgotten when it is right
		if wait := p.answers.Take(ctx, tries); wait > 0 {
			return nil, limited(wait, "too many answers")
		}
	}
	rep, uncounted, err := p.enter(ctx, call.User, req, false)
	if uncounted { // outside of the transaction, which holds the group and may be run again
		if wait := p.applied.Take(ctx, tries); wait > 0 {
			return nil, limited(wait, "too many applications to this group")
		}
		rep, _, err = p.enter(ctx, call.User, req, true)
	}
	if err != nil {
		return nil, err
	}
	if req.Answer != "" {
		p.answers.GiveBack(ctx, tries)
	}
	rep.Group, err = p.shownTo(ctx, req.GroupId, call.User)
	return rep, err
}

// errUncounted ends the filing of an application that is not counted yet.
var errUncounted = errors.New("the application is not counted yet")

// enter takes somebody in or files his application. One whose turn is not taken yet it does not file: then
// uncounted is true.
func (p *Group) enter(ctx context.Context, u im.UserID, req *grouppb.JoinGroupRequest, taken bool) (rep *grouppb.JoinGroupReply, uncounted bool, err error) {
	rep = &grouppb.JoinGroupReply{}
	err = p.change(ctx, req.GroupId, func(c *change) error {
		rep.Joined, rep.ExpiresMs, uncounted = false, 0, false
		me, err := c.member(u)
		if err != nil {
			return err
		}
		if me.role != grouppb.GroupRole_GROUP_ROLE_NONE {
			rep.Joined = true
			return errSame
		}
		r, _, err := readRequest(ctx, c.tx, c.group.id, u, c.nowMs)
		if err != nil {
			return err
		}
		stands, err := c.stands(r)
		if err != nil {
			return err
		}
		if stands {
			rep.Joined = true
			return c.accept(r)
		}
		err = c.come(u, req, rep, taken)
		if uncounted = errors.Is(err, errUncounted); uncounted {
			return errSame
		}
		return err
	})
	return rep, uncounted, err
}

// come takes somebody in, or files his application, by the group's policy.
func (c *change) come(u im.UserID, req *grouppb.JoinGroupRequest, rep *grouppb.JoinGroupReply, taken bool) error {
	switch c.group.policy {
	case grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY:
		return errUnknown // to those who are not invited it is not there
	case grouppb.GroupPolicy_GROUP_POLICY_QUESTION:
		switch {
		case req.Answer == "":
			return im.Invalid("answer", "the group asks a question")
		case !strings.EqualFold(req.Answer, c.group.answer):
			return denied("answer", "that is not the answer")
		}
	}
	if err := c.joinable(u); err != nil {
		return err
	}
	if c.group.policy == grouppb.GroupPolicy_GROUP_POLICY_APPROVAL {
		return c.apply(u, req.Remark, rep, taken)
	}
	rep.Joined = true
	c.event(u, "joined", facts{"user_ids": []im.UserID{u}})
	return c.add([]im.UserID{u}, 0)
}

// apply files an application; one that waits stays, with its time.
func (c *change) apply(u im.UserID, remark string, rep *grouppb.JoinGroupReply, taken bool) error {
	r, waits, err := readRequest(c.ctx, c.tx, c.group.id, u, c.nowMs)
	switch {
	case err != nil:
		return err
	case waits && r.invitedBy == 0 && r.remark == remark:
		rep.ExpiresMs = r.expiresMs
		return errSame
	}
	if err := c.pending(1); err != nil {
		return err
	}
	in, err := counted(c.ctx, c.tx, "group_requests", []im.UserID{u})
	if err != nil {
		return err
	}
	if in[u] >= c.config.PendingOfUser {
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "user_id", Reason: "too many invitations and applications of yours wait"}
	}
	who, err := c.deciders()
	if err != nil {
		return err
	}
	if !taken {
		return errUncounted
	}
	rep.ExpiresMs = c.nowMs + c.config.RequestLife.Milliseconds()
	c.notice(u, "applied", facts{"user_id": u, "remark": remark, "expires_ms": rep.ExpiresMs}, append(who, u)...)
	return putRequest(c.ctx, c.tx, request{group: c.group.id, user: u, remark: remark, createdMs: c.nowMs, expiresMs: rep.ExpiresMs})
}
