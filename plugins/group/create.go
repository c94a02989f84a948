package group

import (
	"context"
	"database/sql"
	"slices"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

func validateCreate(call *plugin.Call, req *grouppb.CreateGroupRequest) error {
	if err := plugin.ValidateClientID(req.ClientId); err != nil {
		return err
	}
	if err := line("name", &req.Name, 1, maxName); err != nil {
		return err
	}
	if err := checkAvatar(&req.Avatar); err != nil {
		return err
	}
	if err := prose("description", &req.Description, maxDescription); err != nil {
		return err
	}
	if err := line("question", &req.Question, 0, maxQuestion); err != nil {
		return err
	}
	if err := line("answer", &req.Answer, 0, maxAnswer); err != nil {
		return err
	}
	if err := checkPolicy(req.Policy, req.Question, req.Answer); err != nil {
		return err
	}
	if err := checkUsers(req.UserIds, 0); err != nil {
		return err
	}
	if slices.Contains(req.UserIds, int64(call.User)) {
		return im.Invalid("user_ids", "you are a member anyway")
	}
	return nil
}

// create makes a group that the caller owns, with those members who may be brought in.
func (p *Group) create(ctx context.Context, call *plugin.Call, req *grouppb.CreateGroupRequest) (*grouppb.CreateGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	if wait := p.creations.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "too many new groups")
	}
	wanted, err := p.wanted(ctx, call.User, usersOf(req.UserIds))
	if err != nil {
		return nil, err
	}
	now := p.host.Now().UnixMilli()
	g := group{creator: call.User, clientID: req.ClientId, name: req.Name, avatar: req.Avatar, description: req.Description, owner: call.User,
		policy: req.Policy, question: req.Question, answer: req.Answer, memberPermissions: usualMember, members: 1, createdMs: now, version: 1}
	rep := &grouppb.CreateGroupReply{}
	err = p.host.Tx(ctx, func(tx *sql.Tx) error {
		rep.Invited = nil
		made, there, err := addGroup(ctx, tx, g)
		if err != nil {
			return err
		}
		if g.id = made.id; there {
			return errSame
		}
		if _, err := enterLife(ctx, tx, made.id, p.host.Timelines().Epoch()); err != nil {
			return err
		}
		c := &change{Group: p, ctx: ctx, tx: tx, group: made, nowMs: now}
		if err := c.joinable(call.User); err != nil {
			return err
		}
		me := member{group: made.id, user: call.User, role: grouppb.GroupRole_GROUP_ROLE_OWNER, joinedMs: now}
		if err := addMembers(ctx, tx, []member{me}); err != nil {
			return err
		}
		c.event(call.User, "created", facts{"name": made.name})
		if rep.Invited, err = c.bring(me, wanted); err != nil {
			return err
		}
		return c.end()
	})
	if err != nil && err != errSame {
		return nil, refusal(ctx, err)
	}
	p.tell(ctx, g.id)
	rep.Group, err = p.shownTo(ctx, g.id, call.User)
	return rep, err
}
