package group

import (
	"context"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func validateInvite(_ *plugin.Call, req *grouppb.InviteToGroupRequest) error {
	return checkUsers(req.UserIds, 1)
}

// invite brings people into a group, or asks them whether they want to come.
func (p *Group) invite(ctx context.Context, call *plugin.Call, req *grouppb.InviteToGroupRequest) (*grouppb.InviteToGroupReply, error) {
	if err := p.mayChange(ctx, call.User); err != nil {
		return nil, err
	}
	wanted, err := p.wanted(ctx, call.User, usersOf(req.UserIds))
	if err != nil {
		return nil, err
	}
	rep := &grouppb.InviteToGroupReply{}
	err = p.change(ctx, req.GroupId, func(c *change) error {
		me, err := c.actor(call.User, grouppb.GroupPermission_GROUP_PERMISSION_INVITE)
		if err != nil {
			return err
		}
		if rep.Invited, err = c.bring(me, wanted); err != nil {
			return err
		}
		if len(c.events) == 0 && len(c.notices) == 0 {
			return errSame
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rep, nil
}

// guest is somebody whom a member wants in a group, and what becomes of it as far as
// that is not the group's to say.
type guest struct {
	user    im.UserID
	outcome grouppb.InviteOutcome // JOINED, INVITED, NOBODY or REFUSED
}

const (
	joined    = grouppb.InviteOutcome_INVITE_OUTCOME_JOINED
	invited   = grouppb.InviteOutcome_INVITE_OUTCOME_INVITED
	wasMember = grouppb.InviteOutcome_INVITE_OUTCOME_MEMBER
	nobody    = grouppb.InviteOutcome_INVITE_OUTCOME_NOBODY
	refused   = grouppb.InviteOutcome_INVITE_OUTCOME_REFUSED
)

// wanted asks about people whom somebody wants in a group: who exists, and what his relation to
// each allows.
func (p *Group) wanted(ctx context.Context, by im.UserID, users []im.UserID) ([]guest, error) {
	if len(users) == 0 {
		return nil, nil
	}
	known, err := p.people.People(ctx, users)
	if err != nil {
		return nil, plugin.Stored(ctx, err)
	}
	all := make([]guest, len(users))
	for i, u := range users {
		all[i] = guest{u, nobody}
		if _, exists := known[u]; !exists {
			continue
		}
		if all[i].outcome, err = p.relation(ctx, by, u); err != nil {
			return nil, refusal(ctx, err)
		}
	}
	return all, nil
}

// relation says how somebody may bring another in.
func (p *Group) relation(ctx context.Context, by, u im.UserID) (grouppb.InviteOutcome, error) {
	if u == by {
		return invited, nil // a member anyway
	}
	blocks, err := p.relations.Blocks(ctx, u, by)
	if err != nil {
		return refused, fmt.Errorf("ask about blocks: %w", err)
	}
	friends, err := p.relations.Friend(ctx, by, u)
	switch {
	case err != nil:
		return refused, fmt.Errorf("ask about friends: %w", err)
	case blocks, p.config.Invite == inviteFriends && !friends:
		return refused, nil
	case p.config.Confirm == confirmNever, p.config.Confirm == confirmStrangers && friends:
		return joined, nil
	}
	return invited, nil
}

// bring makes members of those who come in at once, and files invitations for those who have
// to accept. Who has applied has said already that he wants to.
func (c *change) bring(by member, guests []guest) (all []*grouppb.Invited, err error) {
	if len(guests) == 0 {
		return nil, nil
	}
	place, err := c.places(guests)
	if err != nil {
		return nil, err
	}
	var in, asked []im.UserID
	for _, one := range guests {
		outcome, files := place.outcome(one)
		all = append(all, &grouppb.Invited{UserId: int64(one.user), Outcome: outcome})
		switch {
		case outcome == joined:
			in = append(in, one.user)
		case outcome == invited && files:
			asked = append(asked, one.user)
		}
	}
	if err := c.add(in, by.user); err != nil {
		return nil, err
	}
	if len(in) > 0 {
		c.event(by.user, "joined", facts{"user_ids": in})
	}
	return all, c.ask(by.user, asked)
}

// ask files invitations.
func (c *change) ask(by im.UserID, users []im.UserID) error {
	if len(users) == 0 {
		return nil
	}
	if err := c.pending(len(users)); err != nil {
		return err
	}
	until := c.nowMs + c.config.RequestLife.Milliseconds()
	for _, u := range users {
		if err := putRequest(c.ctx, c.tx, request{group: c.group.id, user: u, invitedBy: by, createdMs: c.nowMs, expiresMs: until}); err != nil {
			return err
		}
	}
	c.notice(by, "invited", facts{"expires_ms": until}, users...)
	return nil
}

// pending refuses more requests than a group may have, with n more.
func (c *change) pending(n int) error {
	var there int
	if err := c.tx.QueryRowContext(c.ctx, "SELECT COUNT(*) FROM group_requests WHERE group_id = ?", c.group.id).Scan(&there); err != nil {
		return fmt.Errorf("count requests: %w", err)
	}
	if there+n > c.config.PendingOfGroup {
		return &im.Error{Code: idl.CodeLimitExceeded, Field: "group_id", Reason: "too many invitations and applications wait"}
	}
	return nil
}

// places are what a group, and other groups, say of some people.
type places struct {
	config   *Config
	members  map[im.UserID]bool
	bans     map[im.UserID]ban
	requests map[im.UserID]request
	groups   map[im.UserID]int
	pending  map[im.UserID]int
}

func (c *change) places(guests []guest) (p places, err error) {
	users := make([]im.UserID, len(guests))
	for i, one := range guests {
		users[i] = one.user
	}
	p = places{config: &c.config, members: map[im.UserID]bool{}, requests: map[im.UserID]request{}}
	args := withUsers([]any{c.group.id}, users)
	in, err := members(c.ctx, c.tx, "WHERE m.group_id = ? AND m.user_id IN "+plugin.Marks(len(users)), args...)
	if err != nil {
		return p, err
	}
	for _, m := range in {
		p.members[m.user] = true
	}
	waiting, err := requests(c.ctx, c.tx, "WHERE r.group_id = ? AND r.user_id IN "+plugin.Marks(len(users)), args...)
	if err != nil {
		return p, err
	}
	for _, r := range waiting {
		stands, err := c.stands(r)
		if err != nil {
			return p, err
		}
		if r.expiresMs > c.nowMs && (stands || r.invitedBy == 0) { // in the place of a void invitation comes another
			p.requests[r.user] = r
		}
	}
	if p.bans, err = banned(c.ctx, c.tx, c.group.id, users, c.nowMs); err != nil {
		return p, err
	}
	if p.groups, err = counted(c.ctx, c.tx, "group_members", users); err != nil {
		return p, err
	}
	p.pending, err = counted(c.ctx, c.tx, "group_requests", users)
	return p, err
}

// outcome is what becomes of a guest; files: it takes a new invitation.
func (p *places) outcome(one guest) (outcome grouppb.InviteOutcome, files bool) {
	r, waits := p.requests[one.user]
	_, kept := p.bans[one.user]
	switch {
	case p.members[one.user]:
		return wasMember, false
	case one.outcome == nobody, one.outcome == refused:
		return one.outcome, false
	case kept, p.groups[one.user] >= p.config.MaxGroups:
		return refused, false
	case one.outcome == joined, waits && r.invitedBy == 0:
		return joined, false
	case waits:
		return invited, false
	case p.pending[one.user] >= p.config.PendingOfUser:
		return refused, false
	}
	return invited, true
}
