package group_test

import (
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// TestInviteOnlyIsNotThere: whatever a stranger asks of a group by invitation only, he hears what he hears
// of one that is not there.
func TestInviteOnlyIsNotThere(t *testing.T) {
	w := start(t)
	there := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY))
	none := there + 1
	for name, test := range map[string]struct {
		action idl.Action
		req    func(id int64) idl.Message
	}{
		"info":    {idl.ActionGroupInfo, func(id int64) idl.Message { return &grouppb.GroupInfoRequest{GroupId: id} }},
		"members": {idl.ActionGroupMembers, func(id int64) idl.Message { return &grouppb.GroupMembersRequest{GroupId: id} }},
		"update": {idl.ActionUpdateGroup, func(id int64) idl.Message {
			return &grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"avatar"}}
		}},
		"dissolve": {idl.ActionDissolveGroup, func(id int64) idl.Message { return &grouppb.DissolveGroupRequest{GroupId: id} }},
		"invite":   {idl.ActionInviteToGroup, func(id int64) idl.Message { return inviting(id, carol) }},
		"answer":   {idl.ActionAnswerInvitation, func(id int64) idl.Message { return accepting(id, true) }},
		"decline":  {idl.ActionAnswerInvitation, func(id int64) idl.Message { return accepting(id, false) }},
		"join":     {idl.ActionJoinGroup, func(id int64) idl.Message { return joining(id) }},
		"decide":   {idl.ActionDecideApplication, func(id int64) idl.Message { return &grouppb.DecideApplicationRequest{GroupId: id, UserId: int64(bob)} }},
		"requests": {idl.ActionGroupRequests, func(id int64) idl.Message { return &grouppb.GroupRequestsRequest{GroupId: id} }},
		"leave":    {idl.ActionLeaveGroup, func(id int64) idl.Message { return &grouppb.LeaveGroupRequest{GroupId: id} }},
		"remove":   {idl.ActionRemoveFromGroup, func(id int64) idl.Message { return removing(id, bob) }},
		"transfer": {idl.ActionTransferGroup, func(id int64) idl.Message { return transferring(id, bob) }},
		"set_role": {idl.ActionSetGroupRole, func(id int64) idl.Message {
			return &grouppb.SetGroupRoleRequest{GroupId: id, UserId: int64(bob), Role: grouppb.GroupRole_GROUP_ROLE_MEMBER}
		}},
		"mute":             {idl.ActionMuteInGroup, func(id int64) idl.Message { return &grouppb.MuteInGroupRequest{GroupId: id} }},
		"ban":              {idl.ActionBanFromGroup, func(id int64) idl.Message { return &grouppb.BanFromGroupRequest{GroupId: id, UserId: int64(bob)} }},
		"bans":             {idl.ActionGroupBans, func(id int64) idl.Message { return &grouppb.GroupBansRequest{GroupId: id} }},
		"withdraw":         {idl.ActionWithdrawRequest, func(id int64) idl.Message { return &grouppb.WithdrawRequest{GroupId: id} }},
		"withdraw another": {idl.ActionWithdrawRequest, func(id int64) idl.Message { return &grouppb.WithdrawRequest{GroupId: id, UserId: int64(bob)} }},
		"set_self": {idl.ActionSetGroupSelf, func(id int64) idl.Message {
			return &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"alias"}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := w.as(dave).Call(test.action, test.req(there), nil), w.as(dave).Call(test.action, test.req(none), nil)
			if im.CodeOf(want) != idl.CodeNotFound || got == nil || got.Error() != want.Error() {
				t.Errorf("got %v, want as of one that is not there %v", got, want)
			}
		})
	}
}

// TestHiddenFromWhoseInvitationIsVoid: an invitation of one who has gone lets nobody in, and shows nobody the group.
func TestHiddenFromWhoseInvitationIsVoid(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY))
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, carol))
	ask[grouppb.InviteToGroupReply](t, w, carol, idl.ActionInviteToGroup, inviting(id, dave))
	look := &grouppb.GroupInfoRequest{GroupId: id}
	if rep := ask[grouppb.GroupInfoReply](t, w, dave, idl.ActionGroupInfo, look); !rep.Invited || rep.Group.Members != 2 {
		t.Errorf("invited, got %v", rep)
	}
	ask[grouppb.LeaveGroupReply](t, w, carol, idl.ActionLeaveGroup, leaving(id))
	refuse(t, w, dave, idl.ActionJoinGroup, joining(id), idl.CodeNotFound, "group_id")
	refuse(t, w, dave, idl.ActionGroupInfo, look, idl.CodeNotFound, "group_id")
	// Another invitation takes its place.
	if rep := ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave)); rep.Invited[0].Outcome != grouppb.InviteOutcome_INVITE_OUTCOME_INVITED {
		t.Errorf("invited again: %v", rep)
	}
	if rep := ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id)); !rep.Joined {
		t.Errorf("invited again, got %v", rep)
	}
}
