package group_test

import (
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func removing(id int64, users ...im.UserID) *grouppb.RemoveFromGroupRequest {
	return &grouppb.RemoveFromGroupRequest{GroupId: id, UserIds: ids(users...), Reason: "bye"}
}

func leaving(id int64) *grouppb.LeaveGroupRequest { return &grouppb.LeaveGroupRequest{GroupId: id} }

func setRole(t *testing.T, w *world, id int64, u im.UserID, role grouppb.GroupRole, bits int32) {
	t.Helper()
	ask[grouppb.SetGroupRoleReply](t, w, alice, idl.ActionSetGroupRole, &grouppb.SetGroupRoleRequest{GroupId: id, UserId: int64(u), Role: role, Permissions: bits})
}

// outside checks that somebody neither writes nor reads, nor does anything else.
func outside(t *testing.T, w *world, u im.UserID, id int64) {
	t.Helper()
	_, err := w.send(u, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	_, err = w.read(u, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	refuse(t, w, u, idl.ActionGroupMembers, &grouppb.GroupMembersRequest{GroupId: id}, idl.CodePermissionDenied, "group_id")
	if all := ask[grouppb.ListGroupsReply](t, w, u, idl.ActionListGroups, &grouppb.ListGroupsRequest{}).Groups; len(all) != 0 {
		t.Errorf("his list has %v", all)
	}
}

func TestLeave(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	w.filed(t)
	refuse(t, w, dave, idl.ActionLeaveGroup, leaving(id), idl.CodePermissionDenied, "group_id")
	refuse(t, w, alice, idl.ActionLeaveGroup, leaving(id), idl.CodePermissionDenied, "group_id")
	ask[grouppb.LeaveGroupReply](t, w, bob, idl.ActionLeaveGroup, leaving(id))
	outside(t, w, bob, id)
	post, _ := w.lastPost(t)
	if post.Name != "group.left" || post.Actor != bob {
		t.Errorf("got %+v", post)
	}
	wantEqual(t, "inboxes of the event", post.Audience, []im.UserID{alice, carol})
	wantEqual(t, "his own devices", w.filed(t)["group.left"], []im.UserID{bob})
	refuse(t, w, bob, idl.ActionLeaveGroup, leaving(id), idl.CodePermissionDenied, "group_id")
}

func TestRemove(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	w.filed(t)
	n := len(w.messages.Posts())
	for _, test := range []struct {
		name  string
		by    im.UserID
		who   []im.UserID
		field string
	}{
		{"by a stranger", dave, []im.UserID{carol}, "group_id"},
		{"by a member", carol, []im.UserID{bob}, ""},
		{"of the owner", bob, []im.UserID{carol, alice}, "user_ids"},
		{"of oneself", bob, []im.UserID{bob}, "user_ids"},
	} {
		t.Run(test.name, func(t *testing.T) {
			refuse(t, w, test.by, idl.ActionRemoveFromGroup, removing(id, test.who...), idl.CodePermissionDenied, test.field)
		})
	}
	wantEqual(t, "members", w.members(t, alice, id), []im.UserID{alice, bob, carol})
	rep := ask[grouppb.RemoveFromGroupReply](t, w, bob, idl.ActionRemoveFromGroup, removing(id, carol, dave))
	wantEqual(t, "removed", rep.UserIds, ids(carol))
	wantEqual(t, "events", w.told(n), []string{"group.removed"})
	post, _ := w.lastPost(t)
	wantEqual(t, "inboxes of the event", post.Audience, []im.UserID{alice, bob})
	wantEqual(t, "notices", w.filed(t)["group.removed"], []im.UserID{carol})
	outside(t, w, carol, id)
	if again := ask[grouppb.RemoveFromGroupReply](t, w, bob, idl.ActionRemoveFromGroup, removing(id, carol)); len(again.UserIds) != 0 {
		t.Errorf("removed again: %v", again)
	}
	if g := ask[grouppb.GroupInfoReply](t, w, alice, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}).Group; g.Members != 2 {
		t.Errorf("counts %d members", g.Members)
	}
}

func TestDissolve(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	refuse(t, w, bob, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id}, idl.CodePermissionDenied, "")
	ask[grouppb.DissolveGroupReply](t, w, alice, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id})
	post, _ := w.lastPost(t)
	if post.Name != "group.dissolved" {
		t.Errorf("got %+v", post)
	}
	wantEqual(t, "inboxes of the event", post.Audience, []im.UserID{alice, bob})
	for _, u := range []im.UserID{alice, bob} {
		if _, err := w.send(u, id); im.CodeOf(err) != idl.CodePermissionDenied {
			t.Errorf("sends: %v", err)
		}
		if _, err := w.read(u, id); im.CodeOf(err) != idl.CodePermissionDenied {
			t.Errorf("reads: %v", err)
		}
		refuse(t, w, u, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}, idl.CodeNotFound, "group_id")
	}
	refuse(t, w, alice, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id}, idl.CodeNotFound, "group_id")
}

func TestBan(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN))
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id))
	w.filed(t)
	until := w.Now().Add(time.Hour).UnixMilli()
	banning := func(u im.UserID, until int64) *grouppb.BanFromGroupRequest {
		return &grouppb.BanFromGroupRequest{GroupId: id, UserId: int64(u), UntilMs: until, Reason: "spam"}
	}
	refuse(t, w, dave, idl.ActionBanFromGroup, banning(alice, until), idl.CodePermissionDenied, "")
	refuse(t, w, alice, idl.ActionBanFromGroup, banning(alice, until), idl.CodePermissionDenied, "user_id")
	refuse(t, w, alice, idl.ActionBanFromGroup, banning(999, until), idl.CodeNotFound, "user_id")
	refuse(t, w, alice, idl.ActionBanFromGroup, banning(dave, w.Now().UnixMilli()), idl.CodeInvalidArgument, "until_ms")
	refuse(t, w, alice, idl.ActionBanFromGroup, banning(-4, until), idl.CodeInvalidArgument, "user_id")
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banning(dave, until))
	outside(t, w, dave, id)
	wantEqual(t, "notices", w.filed(t)["group.banned"], []im.UserID{dave})
	refuse(t, w, dave, idl.ActionJoinGroup, joining(id), idl.CodePermissionDenied, "group_id")
	if rep := ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave)); rep.Invited[0].Outcome != 5 {
		t.Errorf("a banned one is invited: %v", rep)
	}
	all := ask[grouppb.GroupBansReply](t, w, alice, idl.ActionGroupBans, &grouppb.GroupBansRequest{GroupId: id}).Bans
	if len(all) != 1 || all[0].UserId != int64(dave) || all[0].UntilMs != until || all[0].ByUserId != int64(alice) || all[0].Reason != "spam" {
		t.Errorf("got %v", all)
	}
	refuse(t, w, dave, idl.ActionGroupBans, &grouppb.GroupBansRequest{GroupId: id}, idl.CodePermissionDenied, "")
	w.Advance(time.Hour)
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id))

	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banning(dave, -1))
	refuse(t, w, dave, idl.ActionJoinGroup, joining(id), idl.CodePermissionDenied, "group_id")
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banning(dave, 0))
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banning(dave, 0))
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id))
}
