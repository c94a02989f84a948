package client

import (
	"context"

	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// This file is the actions of groups. Their messages are sent, read and acknowledged as those of
// chats, by the group's conversation_id.

// CreateGroup makes a group of this user's. With the same client ID again it gives the same group.
func (a Actions) CreateGroup(ctx context.Context, req *grouppb.CreateGroupRequest) (*grouppb.CreateGroupReply, error) {
	return ask[grouppb.CreateGroupReply](ctx, a.call, idl.ActionCreateGroup, req)
}

// Group finds a group by its ID.
func (a Actions) Group(ctx context.Context, group int64) (*grouppb.GroupInfoReply, error) {
	return ask[grouppb.GroupInfoReply](ctx, a.call, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: group})
}

// Groups lists the groups in which this user is, by ID.
func (a Actions) Groups(ctx context.Context, req *grouppb.ListGroupsRequest) (*grouppb.ListGroupsReply, error) {
	return ask[grouppb.ListGroupsReply](ctx, a.call, idl.ActionListGroups, req)
}

// GroupMembers lists the members of a group, those with a role first, or those whose names hold
// a text: then a page may be short, or empty, while there are more.
func (a Actions) GroupMembers(ctx context.Context, req *grouppb.GroupMembersRequest) (*grouppb.GroupMembersReply, error) {
	return ask[grouppb.GroupMembersReply](ctx, a.call, idl.ActionGroupMembers, req)
}

// UpdateGroup sets a group's texts and settings: the fields that the request names.
func (a Actions) UpdateGroup(ctx context.Context, req *grouppb.UpdateGroupRequest) (*grouppb.GroupInfo, error) {
	rep, err := ask[grouppb.UpdateGroupReply](ctx, a.call, idl.ActionUpdateGroup, req)
	return rep.GetGroup(), err
}

// DissolveGroup ends a group, by its owner.
func (a Actions) DissolveGroup(ctx context.Context, group int64) error {
	_, err := ask[grouppb.DissolveGroupReply](ctx, a.call, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: group})
	return err
}

// InviteToGroup brings people into a group, or asks them to come; it says what became of each.
func (a Actions) InviteToGroup(ctx context.Context, group int64, users ...int64) ([]*grouppb.Invited, error) {
	rep, err := ask[grouppb.InviteToGroupReply](ctx, a.call, idl.ActionInviteToGroup, &grouppb.InviteToGroupRequest{GroupId: group, UserIds: users})
	return rep.GetInvited(), err
}

// AnswerInvitation accepts an invitation into a group, or declines it.
func (a Actions) AnswerInvitation(ctx context.Context, group int64, accept bool) (*grouppb.GroupInfo, error) {
	rep, err := ask[grouppb.AnswerInvitationReply](ctx, a.call, idl.ActionAnswerInvitation, &grouppb.AnswerInvitationRequest{GroupId: group, Accept: accept})
	return rep.GetGroup(), err
}

// JoinGroup comes into a group, or applies to, by its policy.
func (a Actions) JoinGroup(ctx context.Context, req *grouppb.JoinGroupRequest) (*grouppb.JoinGroupReply, error) {
	return ask[grouppb.JoinGroupReply](ctx, a.call, idl.ActionJoinGroup, req)
}

// DecideApplication approves somebody's application, or refuses it.
func (a Actions) DecideApplication(ctx context.Context, req *grouppb.DecideApplicationRequest) error {
	_, err := ask[grouppb.DecideApplicationReply](ctx, a.call, idl.ActionDecideApplication, req)
	return err
}

// GroupRequests lists the invitations and applications that wait: this user's, or a group's.
func (a Actions) GroupRequests(ctx context.Context, req *grouppb.GroupRequestsRequest) (*grouppb.GroupRequestsReply, error) {
	return ask[grouppb.GroupRequestsReply](ctx, a.call, idl.ActionGroupRequests, req)
}

// LeaveGroup takes this user out of a group that he does not own.
func (a Actions) LeaveGroup(ctx context.Context, group int64) error {
	_, err := ask[grouppb.LeaveGroupReply](ctx, a.call, idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: group})
	return err
}

// RemoveFromGroup puts members out, all or none; it says who was one.
func (a Actions) RemoveFromGroup(ctx context.Context, req *grouppb.RemoveFromGroupRequest) ([]int64, error) {
	rep, err := ask[grouppb.RemoveFromGroupReply](ctx, a.call, idl.ActionRemoveFromGroup, req)
	return rep.GetUserIds(), err
}

// TransferGroup makes a member the owner of this user's group.
func (a Actions) TransferGroup(ctx context.Context, group, user int64) error {
	_, err := ask[grouppb.TransferGroupReply](ctx, a.call, idl.ActionTransferGroup, &grouppb.TransferGroupRequest{GroupId: group, UserId: user})
	return err
}

// SetGroupRole makes a member an admin, or an admin a member.
func (a Actions) SetGroupRole(ctx context.Context, req *grouppb.SetGroupRoleRequest) error {
	_, err := ask[grouppb.SetGroupRoleReply](ctx, a.call, idl.ActionSetGroupRole, req)
	return err
}

// MuteInGroup has a member, or all, write nothing until some time.
func (a Actions) MuteInGroup(ctx context.Context, req *grouppb.MuteInGroupRequest) error {
	_, err := ask[grouppb.MuteInGroupReply](ctx, a.call, idl.ActionMuteInGroup, req)
	return err
}

// BanFromGroup keeps somebody out of a group until some time, or lets him again.
func (a Actions) BanFromGroup(ctx context.Context, req *grouppb.BanFromGroupRequest) error {
	_, err := ask[grouppb.BanFromGroupReply](ctx, a.call, idl.ActionBanFromGroup, req)
	return err
}

// GroupBans lists those who are kept out of a group.
func (a Actions) GroupBans(ctx context.Context, req *grouppb.GroupBansRequest) (*grouppb.GroupBansReply, error) {
	return ask[grouppb.GroupBansReply](ctx, a.call, idl.ActionGroupBans, req)
}

// WithdrawRequest takes back this user's application (user 0), or an invitation.
func (a Actions) WithdrawRequest(ctx context.Context, group, user int64) error {
	_, err := ask[grouppb.WithdrawReply](ctx, a.call, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: group, UserId: user})
	return err
}

// SetGroupSelf sets this user's alias and notification level in a group.
func (a Actions) SetGroupSelf(ctx context.Context, req *grouppb.SetGroupSelfRequest) (*grouppb.GroupMember, error) {
	rep, err := ask[grouppb.SetGroupSelfReply](ctx, a.call, idl.ActionSetGroupSelf, req)
	return rep.GetMe(), err
}
