package group

import (
	"context"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/grouppb"
)

// info shows a group: to members, and, less of it, to whoever knows its ID. A group into which
// one comes by invitation only is there for members and those who are invited.
func (p *Group) info(ctx context.Context, call *plugin.Call, req *grouppb.GroupInfoRequest) (*grouppb.GroupInfoReply, error) {
	g, me, err := p.look(ctx, req.GroupId, call.User)
	if err != nil {
		return nil, err
	}
	rep := &grouppb.GroupInfoReply{Group: p.shown(g, me)}
	if me.role != grouppb.GroupRole_GROUP_ROLE_NONE {
		return rep, nil
	}
	if wait := p.looks.Take(ctx, call.User.String()); wait > 0 {
		return nil, limited(wait, "too many looks at groups")
	}
	r, waits, err := readRequest(ctx, p.host.DB(), g.id, call.User, p.host.Now().UnixMilli())
	if err != nil {
		return nil, refusal(ctx, err)
	}
	if rep.Invited, err = stands(ctx, p.host.DB(), &g, r); err != nil {
		return nil, refusal(ctx, err)
	}
	rep.Applied = waits && r.invitedBy == 0
	if g.policy == grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY && !rep.Invited {
		return nil, noSuchGroup()
	}
	return rep, nil
}

// look reads a group and somebody's place in it.
func (p *Group) look(ctx context.Context, id int64, u im.UserID) (group, member, error) {
	g, err := readGroup(ctx, p.host.DB(), id)
	if err != nil {
		return g, member{}, refusal(ctx, err)
	}
	me, err := readMember(ctx, p.host.DB(), id, u)
	if err != nil {
		return g, me, refusal(ctx, err)
	}
	return g, me, nil
}

// shownTo is a group as somebody sees it now.
func (p *Group) shownTo(ctx context.Context, id int64, u im.UserID) (*grouppb.GroupInfo, error) {
	g, me, err := p.look(ctx, id, u)
	if err != nil {
		return nil, err
	}
	return p.shown(g, me), nil
}

// shown is a group as a member sees it, or one who is none.
func (p *Group) shown(g group, me member) *grouppb.GroupInfo {
	info := &grouppb.GroupInfo{
		GroupId: g.id, ConversationId: string(conversation(g.id)), Name: g.name, Avatar: g.avatar, Description: g.description, OwnerId: int64(g.owner),
		Members: int32(g.members), MaxMembers: int32(p.config.MaxMembers), Policy: g.policy, CreatedMs: g.createdMs,
	}
	if g.policy == grouppb.GroupPolicy_GROUP_POLICY_QUESTION {
		info.Question = g.question
	}
	if me.role == grouppb.GroupRole_GROUP_ROLE_NONE {
		return info
	}
	info.Announcement, info.History, info.HistoryLast, info.SlowModeMs = g.announcement, g.history, g.historyLast, g.slowModeMs
	info.MutedUntilMs, info.MemberPermissions, info.Version = p.lasting(g.mutedUntilMs), g.memberPermissions, g.version
	info.Me = p.shownMember(&g, me)
	info.Me.Notify, info.Me.FirstSeq = me.notify, me.afterSeq+1
	if info.Me.Permissions&bitSettings != 0 {
		info.Question, info.Answer = g.question, g.answer
	}
	return info
}

// shownMember is a member as others see him.
func (p *Group) shownMember(g *group, m member) *grouppb.GroupMember {
	return &grouppb.GroupMember{UserId: int64(m.user), Role: m.role, Permissions: g.permissions(m), Alias: m.alias, MutedUntilMs: p.lasting(m.mutedUntilMs),
		JoinedMs: m.joinedMs, InvitedBy: int64(m.invitedBy)}
}

// lasting is until when a mute holds that is kept; 0: its time is over, or there is none.
func (p *Group) lasting(untilMs int64) int64 {
	if !holds(untilMs, p.host.Now().UnixMilli()) {
		return 0
	}
	return untilMs
}
