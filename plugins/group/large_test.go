package group_test

import (
	"fmt"
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

// town is an open group of alice's that is large with more than two members.
func town(t *testing.T) (*world, int64) {
	t.Helper()
	w := start(t, func(c *group.Config) { c.WriteDiffusion = 2 })
	return w, createBy(t, w, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Town", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN})
}

func (w *world) join(t *testing.T, u im.UserID, id int64) {
	t.Helper()
	ask[grouppb.JoinGroupReply](t, w, u, idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: id})
}

// A group that becomes too large for inboxes is followed: by all from where its log ends, and by who comes from there.
func TestLargeGroup(t *testing.T) {
	w, id := town(t)
	w.join(t, bob, id)
	if to, err := w.send(alice, id); err != nil || to.Log || !slices.Equal(to.Inboxes, []im.UserID{alice, bob}) {
		t.Errorf("of two: %+v, %v", to, err)
	}
	w.join(t, carol, id)
	if to, err := w.send(alice, id); err != nil || !to.Log || to.Inboxes != nil {
		t.Errorf("of three: %+v, %v", to, err)
	}
	// Posted so far: created, bob joined; then carol, in the log alone.
	wantEqual(t, "followers", w.messages.Followed(t, conv(id)), []plugintest.FollowedSpan{{User: alice, After: 2, Through: -1}, {User: bob, After: 2, Through: -1}, {User: carol, After: 2, Through: -1}})
	wantEqual(t, "reminded", w.messages.Reminded(), []im.UserID{alice, bob, carol})
	if p, _ := w.lastPost(t); !p.Log || p.Audience != nil || p.Name != "group.joined" {
		t.Errorf("posted %+v", p)
	}
	w.join(t, dave, id)
	wantEqual(t, "reminded", w.messages.Reminded(), []im.UserID{dave})

	// Who may write and read is as before.
	_, err := w.send(erin, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	if r, err := w.read(dave, id); err != nil || r != (plugin.Reach{}) {
		t.Errorf("dave reads %+v, %v", r, err)
	}
	_, err = w.messages.Owner(im.Group).Send(t.Context(), conv(id), alice, plugin.Outgoing{Kind: "text", Mentions: []im.UserID{bob, erin}})
	wantRefusal(t, err, idl.CodeInvalidArgument, "mentions")
	if _, err = w.messages.Owner(im.Group).Send(t.Context(), conv(id), alice, plugin.Outgoing{Kind: "text", Mentions: []im.UserID{bob, dave}}); err != nil {
		t.Error(err)
	}
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(bob), UntilMs: -1})
	_, err = w.send(bob, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	keeper := w.messages.Owner(im.Group).(plugin.Keeper)
	wantRefusal(t, keeper.Recall(t.Context(), conv(id), bob, carol), idl.CodePermissionDenied, "message_id")
	if err := keeper.Recall(t.Context(), conv(id), alice, carol); err != nil {
		t.Error(err)
	}
	if to, err := keeper.Members(t.Context(), conv(id)); err != nil || !to.Log {
		t.Errorf("members: %+v, %v", to, err)
	}
	// Who goes follows no more; it stays large.
	for _, u := range []im.UserID{carol, dave} {
		ask[grouppb.LeaveGroupReply](t, w, u, idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: id})
		_, err := w.send(u, id)
		wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	}
	for _, s := range w.messages.Followed(t, conv(id)) {
		if gone := s.User == carol || s.User == dave; gone != (s.Through > s.After) {
			t.Errorf("follows %+v", s)
		}
	}
	if to, err := w.send(alice, id); err != nil || !to.Log {
		t.Errorf("of two again: %+v, %v", to, err)
	}
}

// A large group is dissolved in pieces: its last event comes first, then the members go.
func TestLargeGroupIsDissolved(t *testing.T) {
	w, id := town(t)
	for _, u := range []im.UserID{bob, carol, dave} {
		w.join(t, u, id)
	}
	ask[grouppb.DissolveGroupReply](t, w, alice, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id})
	_, err := w.send(bob, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	last, _ := w.lastPost(t)
	if last.Name != "group.dissolved" || !last.Log {
		t.Errorf("posted %+v", last)
	}
	end, err := w.Timelines().Log(t.Context(), conv(id), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range w.messages.Followed(t, conv(id)) {
		if s.Through != end.Head {
			t.Errorf("follows %+v, the log ends at %d", s, end.Head)
		}
	}
	if rep := ask[grouppb.ListGroupsReply](t, w, bob, idl.ActionListGroups, &grouppb.ListGroupsRequest{}); len(rep.Groups) != 0 {
		t.Errorf("bob is in %v", rep.Groups)
	}
	var left int
	if err := w.DB().QueryRow("SELECT (SELECT COUNT(*) FROM group_members) + (SELECT COUNT(*) FROM group_outbox)").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}

// Who may know who has read a message: members who may read it, however the group is read.
func TestReadersOfGroup(t *testing.T) {
	for _, line := range []int{500, 2} {
		t.Run(fmt.Sprint("write diffusion to ", line), func(t *testing.T) { testReaders(t, line) })
	}
}

// Who the members are is told of those that have few, however large they were.
func TestFewMembers(t *testing.T) {
	w := start(t, func(c *group.Config) { c.WriteDiffusion = 2 })
	id := create(t, w, bob)
	owner := w.messages.Owner(im.Group).(plugin.Shrinking)
	want := func(few bool, users ...im.UserID) {
		t.Helper()
		got, are, err := owner.Few(t.Context(), conv(id))
		if err != nil || are != few || !slices.Equal(got, users) {
			t.Errorf("got %v, %t, %v, want %v, %t", got, are, err, users, few)
		}
	}
	want(true, alice, bob)
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, &grouppb.InviteToGroupRequest{GroupId: id, UserIds: ids(carol)})
	want(false)
	ask[grouppb.RemoveFromGroupReply](t, w, alice, idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: id, UserIds: ids(bob)})
	want(true, alice, carol)
}

func testReaders(t *testing.T, line int) {
	w := start(t, func(c *group.Config) { c.WriteDiffusion = line })
	id := create(t, w, bob)
	owner := w.messages.Owner(im.Group).(plugin.Watched)
	at := w.messages.Say(t, conv(id), alice, "x", "hi", alice, bob).Seq
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"history"}, History: grouppb.GroupHistory_GROUP_HISTORY_NONE})
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, &grouppb.InviteToGroupRequest{GroupId: id, UserIds: ids(carol)})
	if users, err := owner.Readers(t.Context(), conv(id), bob, at, 3); err != nil || !slices.Equal(users, []im.UserID{alice, bob}) {
		t.Errorf("got %v, %v", users, err)
	}
	_, err := owner.Readers(t.Context(), conv(id), bob, at, 2)
	wantRefusal(t, err, idl.CodeLimitExceeded, "conversation_id")
	_, err = owner.Readers(t.Context(), conv(id), carol, at, 3)
	wantRefusal(t, err, idl.CodeNotFound, "seq")
	_, err = owner.Readers(t.Context(), conv(id), erin, at, 3)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	// Typing takes no turn of slow mode.
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"slow_mode_ms"}, SlowModeMs: 60_000})
	for range 3 {
		if _, err := w.messages.Owner(im.Group).Send(t.Context(), conv(id), bob, plugin.Outgoing{Kind: "typing"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.send(bob, id); err != nil {
		t.Error(err)
	}
}
