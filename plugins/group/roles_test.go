package group_test

import (
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func transferring(id int64, to im.UserID) *grouppb.TransferGroupRequest {
	return &grouppb.TransferGroupRequest{GroupId: id, UserId: int64(to)}
}

func TestTransfer(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	refuse(t, w, bob, idl.ActionTransferGroup, transferring(id, bob), idl.CodePermissionDenied, "")
	refuse(t, w, dave, idl.ActionTransferGroup, transferring(id, dave), idl.CodePermissionDenied, "group_id")
	refuse(t, w, alice, idl.ActionTransferGroup, transferring(id, dave), idl.CodeNotFound, "user_id")
	refuse(t, w, alice, idl.ActionTransferGroup, transferring(id, alice), idl.CodePermissionDenied, "user_id")
	refuse(t, w, alice, idl.ActionTransferGroup, transferring(id, 0), idl.CodeInvalidArgument, "user_id")
	ask[grouppb.TransferGroupReply](t, w, alice, idl.ActionTransferGroup, transferring(id, bob))
	g := ask[grouppb.GroupInfoReply](t, w, alice, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}).Group
	if g.OwnerId != int64(bob) || g.Me.Role != grouppb.GroupRole_GROUP_ROLE_ADMIN {
		t.Errorf("got owner %d, and the old one as %v", g.OwnerId, g.Me.Role)
	}
	wantEqual(t, "members, roles first", w.members(t, alice, id), []im.UserID{bob, alice, carol})
	refuse(t, w, alice, idl.ActionTransferGroup, transferring(id, carol), idl.CodePermissionDenied, "")
	ask[grouppb.LeaveGroupReply](t, w, alice, idl.ActionLeaveGroup, leaving(id))
}

func TestSetRole(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	setting := func(u im.UserID, role grouppb.GroupRole, bits int32) *grouppb.SetGroupRoleRequest {
		return &grouppb.SetGroupRoleRequest{GroupId: id, UserId: int64(u), Role: role, Permissions: bits}
	}
	const admin, plain = grouppb.GroupRole_GROUP_ROLE_ADMIN, grouppb.GroupRole_GROUP_ROLE_MEMBER
	refuse(t, w, bob, idl.ActionSetGroupRole, setting(bob, admin, 0), idl.CodePermissionDenied, "")
	refuse(t, w, alice, idl.ActionSetGroupRole, setting(alice, plain, 0), idl.CodePermissionDenied, "user_id")
	refuse(t, w, alice, idl.ActionSetGroupRole, setting(bob, grouppb.GroupRole_GROUP_ROLE_OWNER, 0), idl.CodeInvalidArgument, "role")
	refuse(t, w, alice, idl.ActionSetGroupRole, setting(bob, admin, 1<<20), idl.CodeInvalidArgument, "permissions")
	refuse(t, w, alice, idl.ActionSetGroupRole, setting(dave, admin, 0), idl.CodeNotFound, "user_id")
	mute := &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(carol), UntilMs: -1}
	refuse(t, w, bob, idl.ActionMuteInGroup, mute, idl.CodePermissionDenied, "")
	setRole(t, w, id, bob, admin, int32(grouppb.GroupPermission_GROUP_PERMISSION_SEND|grouppb.GroupPermission_GROUP_PERMISSION_MUTE))
	ask[grouppb.MuteInGroupReply](t, w, bob, idl.ActionMuteInGroup, mute)
	refuse(t, w, bob, idl.ActionRemoveFromGroup, removing(id, carol), idl.CodePermissionDenied, "")
	n := len(w.messages.Posts())
	setRole(t, w, id, bob, plain, 0)
	setRole(t, w, id, bob, plain, 0)
	wantEqual(t, "events", w.told(n), []string{"group.role"})
	refuse(t, w, bob, idl.ActionMuteInGroup, mute, idl.CodePermissionDenied, "")
}

// TestAdminsAreBelowTheOwner has admins do nothing to each other, nor to the owner.
func TestAdminsAreBelowTheOwner(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	setRole(t, w, id, carol, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	for _, u := range []im.UserID{alice, carol, bob} {
		refuse(t, w, bob, idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(u), UntilMs: -1}, idl.CodePermissionDenied, "user_id")
		refuse(t, w, bob, idl.ActionBanFromGroup, &grouppb.BanFromGroupRequest{GroupId: id, UserId: int64(u), UntilMs: -1}, idl.CodePermissionDenied, "user_id")
	}
	refuse(t, w, bob, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"policy"}, Policy: 1}, idl.CodePermissionDenied, "policy")
}

// TestTransferKeepsTheBoundOfAdmins: who was the owner becomes an admin, so groups do not get more of them by changing hands.
func TestTransferKeepsTheBoundOfAdmins(t *testing.T) {
	w := start(t, never)
	id, all := crowded(t, w, 102)
	for _, u := range all[:100] {
		setRole(t, w, id, u, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	}
	refuse(t, w, alice, idl.ActionTransferGroup, transferring(id, all[100]), idl.CodeLimitExceeded, "role")
	ask[grouppb.TransferGroupReply](t, w, alice, idl.ActionTransferGroup, transferring(id, all[0])) // an admin: his place is free
	refuse(t, w, all[0], idl.ActionTransferGroup, transferring(id, all[100]), idl.CodeLimitExceeded, "role")
	demote := &grouppb.SetGroupRoleRequest{GroupId: id, UserId: int64(alice), Role: grouppb.GroupRole_GROUP_ROLE_MEMBER}
	ask[grouppb.SetGroupRoleReply](t, w, all[0], idl.ActionSetGroupRole, demote)
	ask[grouppb.TransferGroupReply](t, w, all[0], idl.ActionTransferGroup, transferring(id, all[100]))
}
