package group_test

import (
	"encoding/json"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func TestExport(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	other := createBy(t, w, &grouppb.CreateGroupRequest{ClientId: "two", Name: "Skiing"})
	ask[grouppb.JoinGroupReply](t, w, bob, idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: other, Remark: "me too"})
	left := createBy(t, w, &grouppb.CreateGroupRequest{ClientId: "three", Name: "Diving", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN})
	ask[grouppb.JoinGroupReply](t, w, bob, idl.ActionJoinGroup, joining(left))
	for _, group := range []int64{id, left} {
		ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: group, UserId: int64(bob), UntilMs: -1})
	}
	ask[grouppb.LeaveGroupReply](t, w, bob, idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: left})
	got, err := w.people.Holdings()["group"].Export(t.Context(), bob)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), `"until_ms":-1`); n != 2 {
		t.Errorf("%s has %d mutes, want that where he is in, and that where he is away", text, n)
	}
	for _, want := range []string{im.UserID(id).String(), `"Climbing"`, `"member"`, "me too"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
}

// TestErase has somebody leave all groups, whatever he is in them.
func TestErase(t *testing.T) {
	w := start(t)
	led := create(t, w, bob, carol)
	setRole(t, w, led, carol, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	alone := createBy(t, w, &grouppb.CreateGroupRequest{ClientId: "two", Name: "Alone"})
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(alone, dave))
	theirs := &grouppb.CreateGroupReply{}
	if err := w.as(bob).Call(idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "three", Name: "Bob's", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN}, theirs); err != nil {
		t.Fatal(err)
	}
	ask[grouppb.JoinGroupReply](t, w, alice, idl.ActionJoinGroup, joining(theirs.Group.GroupId))
	holdings := w.people.Holdings()["group"]
	for range 2 { // the second finds nothing
		if err := holdings.Erase(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	wantEqual(t, "the group that she led: its admin does", w.members(t, carol, led), []im.UserID{carol, bob})
	if g := ask[grouppb.GroupInfoReply](t, w, carol, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: led}).Group; g.OwnerId != int64(carol) || g.Members != 2 {
		t.Errorf("got %v", g)
	}
	wantEqual(t, "bob's", w.members(t, bob, theirs.Group.GroupId), []im.UserID{bob})
	refuse(t, w, dave, idl.ActionAnswerInvitation, accepting(alone, true), idl.CodeNotFound, "group_id")
	outside(t, w, alice, led)
	if err := holdings.Erase(t.Context(), carol); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "and then its oldest member", w.members(t, bob, led), []im.UserID{bob})
}
