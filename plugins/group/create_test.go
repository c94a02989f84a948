package group_test

import (
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

func TestCreate(t *testing.T) {
	w := start(t)
	req := &grouppb.CreateGroupRequest{ClientId: "one", Name: " Climbing ", UserIds: ids(bob, dave, erin, 7)}
	rep := ask[grouppb.CreateGroupReply](t, w, alice, idl.ActionCreateGroup, req)
	g := rep.Group
	if g.GroupId != 100001 || g.ConversationId != "g_100001" || g.Name != "Climbing" || g.OwnerId != int64(alice) || g.Members != 2 ||
		g.Me.GetRole() != grouppb.GroupRole_GROUP_ROLE_OWNER {
		t.Errorf("got %v", g)
	}
	var outcomes []grouppb.InviteOutcome
	for _, one := range rep.Invited {
		outcomes = append(outcomes, one.Outcome)
	}
	wantEqual(t, "friend, stranger, one who blocks, nobody", outcomes, []grouppb.InviteOutcome{1, 2, 5, 4})
	wantEqual(t, "members", w.members(t, alice, g.GroupId), []im.UserID{alice, bob})
	wantEqual(t, "events", w.told(0), []string{"group.created", "group.joined"})
	post, facts := w.lastPost(t)
	if post.Conversation != "g_100001" || post.Actor != alice || len(facts["user_ids"].([]any)) != 1 || !strings.HasPrefix(post.ClientID, "~") {
		t.Errorf("got %+v", post)
	}
	wantEqual(t, "inboxes of the event", post.Audience, []im.UserID{alice, bob})
	wantEqual(t, "who is asked", w.filed(t)["group.invited"], []im.UserID{dave})
	if w.messages.Delivered() == 0 {
		t.Error("nobody has notices told")
	}
}

// TestCreateAgain asks again with the same client ID, as after an answer that was lost.
func TestCreateAgain(t *testing.T) {
	w := start(t)
	first := create(t, w, bob)
	if again := create(t, w, bob); again != first {
		t.Errorf("got group %d and then %d", first, again)
	}
	other := createBy(t, w, &grouppb.CreateGroupRequest{ClientId: "two", Name: "Climbing"})
	if other != first+1 {
		t.Errorf("got group %d after %d", other, first)
	}
	wantEqual(t, "events", w.told(0), []string{"group.created", "group.joined", "group.created"})
	by := &grouppb.CreateGroupReply{}
	if err := w.as(bob).Call(idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Mine"}, by); err != nil || by.Group.GroupId != other+1 {
		t.Errorf("another's with the same client ID: got %v, %v", by, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	w := start(t, func(c *group.Config) { c.MaxMembers = 2; c.CreationsPerHour = 3; c.MaxGroups = 1 })
	full := func(change func(*grouppb.CreateGroupRequest)) *grouppb.CreateGroupRequest {
		req := &grouppb.CreateGroupRequest{ClientId: "x", Name: "Name"}
		change(req)
		return req
	}
	for _, test := range []struct {
		name   string
		change func(*grouppb.CreateGroupRequest)
		field  string
	}{
		{"no client ID", func(r *grouppb.CreateGroupRequest) { r.ClientId = "" }, "client_id"},
		{"no name", func(r *grouppb.CreateGroupRequest) { r.Name = "" }, "name"},
		{"a blank name", func(r *grouppb.CreateGroupRequest) { r.Name = "  " }, "name"},
		{"a name of control characters", func(r *grouppb.CreateGroupRequest) { r.Name = "a\x07b" }, "name"},
		{"a name of two lines", func(r *grouppb.CreateGroupRequest) { r.Name = "a\nb" }, "name"},
		{"a long name", func(r *grouppb.CreateGroupRequest) { r.Name = strings.Repeat("n", 65) }, "name"},
		{"a huge name", func(r *grouppb.CreateGroupRequest) { r.Name = strings.Repeat("n", 60_000) }, "name"},
		{"an avatar that runs", func(r *grouppb.CreateGroupRequest) { r.Avatar = "javascript:alert(1)" }, "avatar"},
		{"a long description", func(r *grouppb.CreateGroupRequest) { r.Description = strings.Repeat("d", 501) }, "description"},
		{"a policy that nobody knows", func(r *grouppb.CreateGroupRequest) { r.Policy = 9 }, "policy"},
		{"no question", func(r *grouppb.CreateGroupRequest) { r.Policy = grouppb.GroupPolicy_GROUP_POLICY_QUESTION }, "question"},
		{"no answer", func(r *grouppb.CreateGroupRequest) { r.Policy, r.Question = 2, "why?" }, "answer"},
		{"oneself", func(r *grouppb.CreateGroupRequest) { r.UserIds = ids(alice) }, "user_ids"},
		{"somebody twice", func(r *grouppb.CreateGroupRequest) { r.UserIds = ids(bob, bob) }, "user_ids"},
		{"no user", func(r *grouppb.CreateGroupRequest) { r.UserIds = ids(-1) }, "user_ids"},
		{"a crowd", func(r *grouppb.CreateGroupRequest) { r.UserIds = make([]int64, 101) }, "user_ids"},
	} {
		t.Run(test.name, func(t *testing.T) {
			refuse(t, w, alice, idl.ActionCreateGroup, full(test.change), idl.CodeInvalidArgument, test.field)
		})
	}
	refuse(t, w, alice, idl.ActionCreateGroup, full(func(r *grouppb.CreateGroupRequest) { r.UserIds = ids(bob, carol) }), idl.CodeLimitExceeded, "group_id")
	create(t, w)
	refuse(t, w, alice, idl.ActionCreateGroup, full(func(r *grouppb.CreateGroupRequest) { r.ClientId = "y" }), idl.CodeLimitExceeded, "user_id")
	refuse(t, w, alice, idl.ActionCreateGroup, full(func(r *grouppb.CreateGroupRequest) { r.ClientId = "z" }), idl.CodeRateLimited, "")
	w.Advance(time.Hour)
	create(t, w) // the same again is no new one
	if n := len(w.messages.Posts()); n != 1 {
		t.Errorf("%d events, want 1: what is refused leaves nothing", n)
	}
}
