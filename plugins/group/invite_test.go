package group_test

import (
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

func inviting(id int64, users ...im.UserID) *grouppb.InviteToGroupRequest {
	return &grouppb.InviteToGroupRequest{GroupId: id, UserIds: ids(users...)}
}

func accepting(id int64, accept bool) *grouppb.AnswerInvitationRequest {
	return &grouppb.AnswerInvitationRequest{GroupId: id, Accept: accept}
}

func TestInvite(t *testing.T) {
	w := start(t)
	id := create(t, w)
	rep := ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, bob, dave, alice))
	if o := rep.Invited; o[0].Outcome != 1 || o[1].Outcome != 2 || o[2].Outcome != 3 {
		t.Errorf("friend, stranger, oneself: got %v", o)
	}
	wantEqual(t, "who is asked", w.filed(t)["group.invited"], []im.UserID{dave})
	if _, err := w.send(dave, id); im.CodeOf(err) != idl.CodePermissionDenied {
		t.Errorf("one who is only invited sends: %v", err)
	}
	again := ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave))
	if again.Invited[0].Outcome != 2 || len(w.filed(t)) != 0 {
		t.Errorf("invited again: got %v, want the same and no notice", again.Invited)
	}
	got := ask[grouppb.AnswerInvitationReply](t, w, dave, idl.ActionAnswerInvitation, accepting(id, true))
	if got.Group.Members != 3 || got.Group.Me.InvitedBy != int64(alice) {
		t.Errorf("got %v", got.Group)
	}
	wantEqual(t, "members", w.members(t, dave, id), []im.UserID{alice, bob, dave})
	post, facts := w.lastPost(t)
	if post.Actor != dave || post.Name != "group.joined" || facts["invited_by"] != float64(alice) {
		t.Errorf("got %+v", post)
	}
	refuse(t, w, dave, idl.ActionAnswerInvitation, accepting(id, true), idl.CodeNotFound, "group_id")
}

func TestInvitationIsDeclined(t *testing.T) {
	w := start(t)
	id := create(t, w)
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave))
	w.filed(t)
	ask[grouppb.AnswerInvitationReply](t, w, dave, idl.ActionAnswerInvitation, accepting(id, false))
	wantEqual(t, "who is told", w.filed(t)["group.declined"], []im.UserID{alice, dave})
	refuse(t, w, dave, idl.ActionAnswerInvitation, accepting(id, true), idl.CodeNotFound, "group_id")
}

func TestInvitationExpires(t *testing.T) {
	w := start(t)
	id := create(t, w)
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave))
	w.Advance(7 * 24 * time.Hour)
	refuse(t, w, dave, idl.ActionAnswerInvitation, accepting(id, true), idl.CodeNotFound, "group_id")
	if all := ask[grouppb.GroupRequestsReply](t, w, dave, idl.ActionGroupRequests, &grouppb.GroupRequestsRequest{}); len(all.Requests) != 0 {
		t.Errorf("got %v", all)
	}
	eventually(t, "it is forgotten", func() bool {
		var n int
		if err := w.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM group_requests").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

// TestInvitationOfOneWhoMayNot is void: who made it was put out meanwhile.
func TestInvitationOfOneWhoMayNot(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	ask[grouppb.InviteToGroupReply](t, w, bob, idl.ActionInviteToGroup, inviting(id, dave))
	ask[grouppb.RemoveFromGroupReply](t, w, alice, idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: id, UserIds: ids(bob)})
	refuse(t, w, dave, idl.ActionAnswerInvitation, accepting(id, true), idl.CodeNotFound, "group_id")
}

func TestInviteByConfiguration(t *testing.T) {
	for _, test := range []struct {
		name             string
		change           func(*group.Config)
		friend, stranger grouppb.InviteOutcome
	}{
		{"always asked", func(c *group.Config) { c.Confirm = "always" }, 2, 2},
		{"strangers asked", func(*group.Config) {}, 1, 2},
		{"never asked", func(c *group.Config) { c.Confirm = "never" }, 1, 1},
		{"friends only", func(c *group.Config) { c.Invite = "friends" }, 1, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := start(t, test.change)
			rep := ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(create(t, w), bob, dave))
			if rep.Invited[0].Outcome != test.friend || rep.Invited[1].Outcome != test.stranger {
				t.Errorf("got %v", rep.Invited)
			}
		})
	}
}

func TestInviteRefuses(t *testing.T) {
	w := start(t, func(c *group.Config) { c.PendingOfGroup = 1 })
	id := create(t, w, bob)
	refuse(t, w, dave, idl.ActionInviteToGroup, inviting(id, carol), idl.CodePermissionDenied, "group_id")
	refuse(t, w, alice, idl.ActionInviteToGroup, inviting(id+1, carol), idl.CodeNotFound, "group_id")
	refuse(t, w, alice, idl.ActionInviteToGroup, inviting(id), idl.CodeInvalidArgument, "user_ids")
	w.people.Add(personOf(6))
	refuse(t, w, alice, idl.ActionInviteToGroup, inviting(id, dave, 6), idl.CodeLimitExceeded, "group_id")
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup,
		&grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"member_permissions"}, MemberPermissions: 1})
	refuse(t, w, bob, idl.ActionInviteToGroup, inviting(id, carol), idl.CodePermissionDenied, "")
}

// TestInviteWhoApplied takes him in: both have said that they want to.
func TestInviteWhoApplied(t *testing.T) {
	w := start(t)
	id := create(t, w)
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: id})
	rep := ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave))
	if rep.Invited[0].Outcome != 1 {
		t.Errorf("got %v", rep.Invited)
	}
	wantEqual(t, "members", w.members(t, dave, id), []im.UserID{alice, dave})
}
