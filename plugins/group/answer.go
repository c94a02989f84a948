package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// answer is what somebody says to an invitation. One of somebody who may not invite any more
// is void.
func (p *Group) answer(ctx context.Context, call *plugin.Call, req *grouppb.AnswerInvitationRequest) (*grouppb.AnswerInvitationReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	if req.Accept {
		if err := p.rules.OnJoin(ctx, call, conversation(req.GroupId)); err != nil {
			return nil, err
		}
	}
	err := p.change(ctx, req.GroupId, func(c *change) error {
		r, waits, err := readRequest(ctx, c.tx, c.group.id, call.User, c.nowMs)
		switch {
		case err != nil:
			return err
		case !waits || r.invitedBy == 0:
			return c.noInvitation()
		case !req.Accept:
			c.notice(call.User, "declined", facts{"user_id": call.User}, r.invitedBy, call.User)
			return dropRequests(ctx, c.tx, c.group.id, call.User)
		}
		stands, err := c.stands(r)
		if err != nil {
			return err
		}
		if !stands {
			return c.noInvitation()
		}
		return c.accept(r)
	})
	if err != nil {
		return nil, err
	}
	rep := &grouppb.AnswerInvitationReply{}
	if req.Accept {
		rep.Group, err = p.shownTo(ctx, req.GroupId, call.User)
	}
	return rep, err
}

// stands reports whether an invitation is one: who made it may still invite.
func (c *change) stands(r request) (bool, error) { return stands(c.ctx, c.tx, &c.group, r) }

func stands(ctx context.Context, q querier, g *group, r request) (bool, error) {
	if r.invitedBy == 0 {
		return false, nil
	}
	by, err := readMember(ctx, q, g.id, r.invitedBy)
	return g.permissions(by)&bitInvite != 0, err
}

// accept makes a member of one who is invited.
func (c *change) accept(r request) error {
	if err := c.joinable(r.user); err != nil {
		return err
	}
	c.event(r.user, "joined", facts{"user_ids": []im.UserID{r.user}, "invited_by": r.invitedBy})
	return c.add([]im.UserID{r.user}, r.invitedBy)
}

func (c *change) noInvitation() error {
	if c.group.hidesFrom(member{}) {
		return noSuchGroup()
	}
	return &im.Error{Code: idl.CodeNotFound, Field: "group_id", Reason: "no invitation waits for you"}
}
