package social_test

import (
	"strings"
	"testing"

	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

// groups are the names of alice's groups, in their order.
func (w *world) groups() string {
	w.t.Helper()
	var rep socialpb.GroupsReply
	w.call(alice, idl.ActionFriendGroups, nil, &rep)
	var names []string
	for _, g := range rep.Groups {
		names = append(names, g.Name)
	}
	return strings.Join(names, " ")
}

func (w *world) newGroup(name string) int64 {
	w.t.Helper()
	var rep socialpb.CreateGroupReply
	w.call(alice, idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: name}, &rep)
	return rep.Group.GroupId
}

// groupOf is the group of a friend of alice's.
func (w *world) groupOf(friend int64) int64 {
	w.t.Helper()
	var rep socialpb.RelationReply
	w.call(alice, idl.ActionRelation, &socialpb.RelationRequest{UserId: friend}, &rep)
	return rep.Friend.GetGroupId()
}

func TestGroups(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.befriend(alice, carol)
	w.filed()
	family, work, cafe := w.newGroup("family"), w.newGroup(" work "), w.newGroup("Cafe\u0301")
	if got := w.groups(); got != "family work Café" {
		t.Errorf("got %q", got)
	}
	wantRefusal(t, w.as(alice).Call(idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: "Café"}, nil), idl.CodeAlreadyExists, "name")
	wantRefusal(t, w.as(alice).Call(idl.ActionRenameFriendGroup, &socialpb.RenameGroupRequest{GroupId: work, Name: "family"}, nil), idl.CodeAlreadyExists, "name")
	wantRefusal(t, w.as(bob).Call(idl.ActionRenameFriendGroup, &socialpb.RenameGroupRequest{GroupId: work, Name: "mine"}, nil), idl.CodeNotFound, "group_id")
	w.call(alice, idl.ActionRenameFriendGroup, &socialpb.RenameGroupRequest{GroupId: work, Name: "Work"}, nil)
	for _, ids := range [][]int64{{family, work}, {family, work, work}, {family, work, cafe, cafe}, {family, work, 99}} {
		wantRefusal(t, w.as(alice).Call(idl.ActionOrderFriendGroups, &socialpb.OrderGroupsRequest{GroupIds: ids}, nil), idl.CodeInvalidArgument, "group_ids")
	}
	for range 2 {
		w.call(alice, idl.ActionOrderFriendGroups, &socialpb.OrderGroupsRequest{GroupIds: []int64{cafe, work, family}}, nil)
	}
	if got := w.groups(); got != "Café Work family" {
		t.Errorf("got %q", got)
	}
	w.wantFiled("social.group_created by alice to alice", "social.group_created by alice to alice", "social.group_created by alice to alice",
		"social.group_renamed by alice to alice", "social.groups_ordered by alice to alice")

	var before socialpb.FriendsReply
	w.call(alice, idl.ActionFriends, nil, &before)
	both := []int64{int64(carol), int64(bob), int64(bob)}
	w.call(alice, idl.ActionMoveFriends, &socialpb.MoveFriendsRequest{GroupId: work, UserIds: both}, nil)
	wantRefusal(t, w.as(alice).Call(idl.ActionMoveFriends, &socialpb.MoveFriendsRequest{GroupId: cafe, UserIds: []int64{int64(bob), int64(dave)}}, nil), idl.CodeNotFound, "user_ids")
	if w.groupOf(int64(bob)) != work || w.groupOf(int64(carol)) != work {
		t.Error("a friend is not where he was moved to, or half of a move was done")
	}
	w.wantFiled("social.friends_moved by alice to alice")
	w.call(alice, idl.ActionDeleteFriendGroup, &socialpb.DeleteGroupRequest{GroupId: work}, nil)
	w.wantFiled("social.group_deleted by alice to alice")
	if w.groupOf(int64(bob)) != 0 || w.groups() != "Café family" {
		t.Errorf("bob is in %d of %q", w.groupOf(int64(bob)), w.groups())
	}
	var rep socialpb.FriendsReply
	w.call(alice, idl.ActionFriends, &socialpb.FriendsRequest{Since: before.Since}, &rep)
	if len(rep.Friends) != 2 {
		t.Errorf("changed: %+v", rep.Friends)
	}
	if again := w.newGroup("new"); again <= cafe {
		t.Errorf("a group has the ID %d of one before", again)
	}
}

func TestAliases(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.filed()
	for range 2 {
		w.call(alice, idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: int64(bob), Alias: "بوب 🦊"}, nil)
	}
	w.wantFiled("social.alias by alice to alice")
	var mine, his socialpb.FriendsReply
	w.call(alice, idl.ActionFriends, nil, &mine)
	w.call(bob, idl.ActionFriends, nil, &his)
	if mine.Friends[0].Alias != "بوب 🦊" || his.Friends[0].Alias != "" {
		t.Errorf("alice has %+v, bob %+v", mine.Friends, his.Friends)
	}
	w.call(alice, idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: int64(bob)}, nil)
	mine = socialpb.FriendsReply{}
	w.call(alice, idl.ActionFriends, nil, &mine)
	if mine.Friends[0].Alias != "" {
		t.Errorf("alice has %+v", mine.Friends)
	}
}
