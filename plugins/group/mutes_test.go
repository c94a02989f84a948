package group_test

import (
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func muting(id int64, u im.UserID, untilMs int64) *grouppb.MuteInGroupRequest {
	return &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(u), UntilMs: untilMs, Reason: "calm"}
}

// TestMuteOfWhoIsAwayIsLifted by those who may mute, whoever had muted him: he comes back and writes.
func TestMuteOfWhoIsAwayIsLifted(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN))
	for _, u := range []im.UserID{bob, carol, dave} {
		w.join(t, u, id)
	}
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, dave, -1))
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, carol, -1))
	ask[grouppb.LeaveGroupReply](t, w, dave, idl.ActionLeaveGroup, leaving(id))
	ask[grouppb.LeaveGroupReply](t, w, carol, idl.ActionLeaveGroup, leaving(id))
	w.filed(t)

	// Nobody else lifts it, and nobody is muted who is away.
	w.join(t, erin, id)
	refuse(t, w, erin, idl.ActionMuteInGroup, muting(id, dave, 0), idl.CodePermissionDenied, "")
	refuse(t, w, dave, idl.ActionMuteInGroup, muting(id, dave, 0), idl.CodePermissionDenied, "group_id")
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, int32(grouppb.GroupPermission_GROUP_PERMISSION_BAN))
	refuse(t, w, bob, idl.ActionMuteInGroup, muting(id, dave, 0), idl.CodePermissionDenied, "")
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	refuse(t, w, bob, idl.ActionMuteInGroup, muting(id, dave, w.Now().Add(time.Hour).UnixMilli()), idl.CodeNotFound, "user_id")
	refuse(t, w, bob, idl.ActionMuteInGroup, muting(id, 4242, -1), idl.CodeNotFound, "user_id")

	n := len(w.messages.Posts())
	for range 2 {
		ask[grouppb.MuteInGroupReply](t, w, bob, idl.ActionMuteInGroup, muting(id, dave, 0))
	}
	ask[grouppb.MuteInGroupReply](t, w, bob, idl.ActionMuteInGroup, muting(id, 4242, 0))
	wantEqual(t, "told of what was lifted once", w.told(n), []string{"group.muted"})
	if p, f := w.lastPost(t); p.Actor != bob || f["user_id"] != float64(dave) || f["until_ms"] != 0.0 || f["reason"] != "calm" {
		t.Errorf("got %+v", p)
	}
	w.join(t, dave, id)
	if _, err := w.send(dave, id); err != nil {
		t.Errorf("he is back, and his mute is lifted: %v", err)
	}
	w.join(t, carol, id)
	_, err := w.send(carol, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	ask[grouppb.MuteInGroupReply](t, w, bob, idl.ActionMuteInGroup, muting(id, carol, 0))
	if _, err := w.send(carol, id); err != nil {
		t.Errorf("hers is lifted when she is in: %v", err)
	}
}

// TestMuteOfWhoIsAwayIsOver has nobody told that one is lifted whose time is over.
func TestMuteOfWhoIsAwayIsOver(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, bob, w.Now().Add(time.Minute).UnixMilli()))
	ask[grouppb.LeaveGroupReply](t, w, bob, idl.ActionLeaveGroup, leaving(id))
	w.Advance(time.Minute)
	n := len(w.messages.Posts())
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, bob, 0))
	wantEqual(t, "told", w.told(n), nil)
}

// TestMuteThatIsOver is shown to nobody: not to who was muted, not in the list of members, not of all; and lifting it tells nobody.
func TestMuteThatIsOver(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	until := w.Now().Add(time.Minute).UnixMilli()
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, bob, until))
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, 0, until))
	shown := func(want int64) {
		t.Helper()
		info := ask[grouppb.GroupInfoReply](t, w, bob, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}).Group
		wantEqual(t, "all, and he himself", []int64{info.MutedUntilMs, info.Me.MutedUntilMs}, []int64{want, want})
		members := ask[grouppb.GroupMembersReply](t, w, alice, idl.ActionGroupMembers, &grouppb.GroupMembersRequest{GroupId: id}).Members
		wantEqual(t, "in the list", []int64{members[0].MutedUntilMs, members[1].MutedUntilMs}, []int64{0, want})
	}
	shown(until)
	w.Advance(time.Minute)
	shown(0)
	n := len(w.messages.Posts())
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, bob, 0))
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, 0, 0))
	wantEqual(t, "told", w.told(n), nil)
}

// TestAdminStaysMuted when his permissions change, or are set to what they are; who becomes an admin is muted no more.
func TestAdminStaysMuted(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, bob, -1))
	n := len(w.messages.Posts())
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	wantEqual(t, "told of nothing", w.told(n), nil)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, int32(grouppb.GroupPermission_GROUP_PERMISSION_SEND))
	_, err := w.send(bob, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_MEMBER, 0)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	if _, err := w.send(bob, id); err != nil {
		t.Errorf("a new admin sends: %v", err)
	}
}

// TestTheMutedWriteNoOtherWay: an alias, or a text of the group's, is told to all as a message is.
func TestTheMutedWriteNoOtherWay(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"member_permissions"}, MemberPermissions: 1 | 8})
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(id, bob, w.Now().Add(time.Hour).UnixMilli()))
	alias := &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"alias", "notify"}, Alias: "you all", Notify: grouppb.NotifyLevel_NOTIFY_LEVEL_SILENT}
	texts := &grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"name", "announcement"}, Name: "you", Announcement: "all"}
	n := len(w.messages.Posts())
	refuse(t, w, bob, idl.ActionSetGroupSelf, alias, idl.CodePermissionDenied, "alias")
	refuse(t, w, bob, idl.ActionUpdateGroup, texts, idl.CodePermissionDenied, "name")
	ask[grouppb.SetGroupSelfReply](t, w, bob, idl.ActionSetGroupSelf, &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{"notify"}, Notify: grouppb.NotifyLevel_NOTIFY_LEVEL_SILENT})
	if told := w.told(n); len(told) > 0 {
		t.Errorf("the group is told %v", told)
	}
	w.Advance(time.Hour)
	ask[grouppb.SetGroupSelfReply](t, w, bob, idl.ActionSetGroupSelf, alias)
	ask[grouppb.UpdateGroupReply](t, w, bob, idl.ActionUpdateGroup, texts)
	wantEqual(t, "events", w.told(n), []string{"group.alias", "group.renamed", "group.announced"})
}
