package group_test

import (
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

func joining(id int64) *grouppb.JoinGroupRequest { return &grouppb.JoinGroupRequest{GroupId: id} }

func withPolicy(p grouppb.GroupPolicy) *grouppb.CreateGroupRequest {
	req := &grouppb.CreateGroupRequest{ClientId: "policy" + p.String(), Name: "Climbing", Policy: p}
	if p == grouppb.GroupPolicy_GROUP_POLICY_QUESTION {
		req.Question, req.Answer = "Which knot?", "Bowline"
	}
	return req
}

func TestJoinOpen(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN))
	rep := ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id))
	if !rep.Joined || rep.Group.Me.GetRole() != grouppb.GroupRole_GROUP_ROLE_MEMBER {
		t.Errorf("got %v", rep)
	}
	if _, err := w.send(dave, id); err != nil {
		t.Errorf("a member sends: %v", err)
	}
	n := len(w.messages.Posts())
	if again := ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id)); !again.Joined {
		t.Errorf("joined again: got %v", again)
	}
	wantEqual(t, "events of joining again", w.told(n), nil)
}

func TestApplication(t *testing.T) {
	for _, test := range []struct {
		name    string
		approve bool
	}{{"approved", true}, {"refused", false}} {
		t.Run(test.name, func(t *testing.T) {
			w := start(t)
			id := create(t, w, bob, carol)
			ask[grouppb.SetGroupRoleReply](t, w, alice, idl.ActionSetGroupRole,
				&grouppb.SetGroupRoleRequest{GroupId: id, UserId: int64(bob), Role: grouppb.GroupRole_GROUP_ROLE_ADMIN})
			w.filed(t)
			rep := ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: id, Remark: "hello"})
			if rep.Joined || rep.ExpiresMs != w.Now().Add(7*24*time.Hour).UnixMilli() || rep.Group.Announcement != "" {
				t.Errorf("got %v", rep)
			}
			wantEqual(t, "who is told", w.filed(t)["group.applied"], []im.UserID{alice, bob, dave})
			refuse(t, w, carol, idl.ActionGroupRequests, &grouppb.GroupRequestsRequest{GroupId: id}, idl.CodePermissionDenied, "")
			all := ask[grouppb.GroupRequestsReply](t, w, bob, idl.ActionGroupRequests, &grouppb.GroupRequestsRequest{GroupId: id}).Requests
			if len(all) != 1 || all[0].UserId != int64(dave) || all[0].Remark != "hello" || all[0].Nickname == "" || all[0].GroupName != "Climbing" {
				t.Errorf("got %v", all)
			}
			decision := &grouppb.DecideApplicationRequest{GroupId: id, UserId: int64(dave), Approve: test.approve, Reason: "full"}
			refuse(t, w, carol, idl.ActionDecideApplication, decision, idl.CodePermissionDenied, "")
			refuse(t, w, dave, idl.ActionDecideApplication, decision, idl.CodePermissionDenied, "group_id")
			ask[grouppb.DecideApplicationReply](t, w, bob, idl.ActionDecideApplication, decision)
			refuse(t, w, alice, idl.ActionDecideApplication, decision, idl.CodeNotFound, "user_id")
			_, err := w.send(dave, id)
			if (err == nil) != test.approve {
				t.Errorf("sending afterwards: %v", err)
			}
			if told := w.filed(t)["group.refused"]; (len(told) == 1) == test.approve {
				t.Errorf("told of a refusal: %v", told)
			}
		})
	}
}

func TestApplicationIsWithdrawn(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id))
	w.filed(t)
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id))
	if all := w.filed(t); len(all) != 0 {
		t.Errorf("applied again: told %v", all)
	}
	refuse(t, w, bob, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: id, UserId: int64(dave)}, idl.CodeNotFound, "user_id")
	ask[grouppb.WithdrawReply](t, w, dave, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: id})
	wantEqual(t, "who is told", w.filed(t)["group.withdrawn"], []im.UserID{dave, alice})
	refuse(t, w, alice, idl.ActionDecideApplication, &grouppb.DecideApplicationRequest{GroupId: id, UserId: int64(dave), Approve: true}, idl.CodeNotFound, "user_id")
	refuse(t, w, dave, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: id}, idl.CodeNotFound, "user_id")
}

func TestInvitationIsWithdrawn(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	ask[grouppb.InviteToGroupReply](t, w, bob, idl.ActionInviteToGroup, inviting(id, dave))
	refuse(t, w, dave, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: id, UserId: int64(dave)}, idl.CodeNotFound, "user_id")
	ask[grouppb.WithdrawReply](t, w, alice, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: id, UserId: int64(dave)})
	refuse(t, w, dave, idl.ActionAnswerInvitation, accepting(id, true), idl.CodeNotFound, "group_id")
}

func TestJoinByQuestion(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_QUESTION))
	if g := ask[grouppb.GroupInfoReply](t, w, dave, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}).Group; g.Question != "Which knot?" || g.Answer != "" {
		t.Errorf("got %v", g)
	}
	refuse(t, w, dave, idl.ActionJoinGroup, joining(id), idl.CodeInvalidArgument, "answer")
	wrong := &grouppb.JoinGroupRequest{GroupId: id, Answer: "granny"}
	for range 5 {
		refuse(t, w, dave, idl.ActionJoinGroup, wrong, idl.CodePermissionDenied, "answer")
	}
	refuse(t, w, dave, idl.ActionJoinGroup, wrong, idl.CodeRateLimited, "")
	w.Advance(time.Hour)
	if rep := ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: id, Answer: " bowline "}); !rep.Joined {
		t.Errorf("got %v", rep)
	}
}

// TestApplicationsAreBounded: who decides is told of each, so nobody has them told again and again, by another remark or by
// withdrawing.
func TestApplicationsAreBounded(t *testing.T) {
	w := start(t, func(c *group.Config) { c.ApplicationsPerHour = 3 })
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_APPROVAL))
	again := withPolicy(grouppb.GroupPolicy_GROUP_POLICY_APPROVAL)
	again.ClientId = "another"
	other := createBy(t, w, again)
	apply := func(remark string) *grouppb.JoinGroupRequest {
		return &grouppb.JoinGroupRequest{GroupId: id, Remark: remark}
	}
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, apply("one"))
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, apply("two"))
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, apply("two")) // the same again tells nobody
	ask[grouppb.WithdrawReply](t, w, dave, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: id, UserId: int64(dave)})
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, apply("three"))
	refuse(t, w, dave, idl.ActionJoinGroup, apply("four"), idl.CodeRateLimited, "")
	ask[grouppb.JoinGroupReply](t, w, carol, idl.ActionJoinGroup, apply("mine"))
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(other))
	w.Advance(time.Hour)
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, apply("four"))
}

// TestJoinInviteOnly has a group that is there for nobody but members and those invited.
func TestJoinInviteOnly(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY))
	refuse(t, w, dave, idl.ActionJoinGroup, joining(id), idl.CodeNotFound, "group_id")
	refuse(t, w, dave, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}, idl.CodeNotFound, "group_id")
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave))
	if rep := ask[grouppb.GroupInfoReply](t, w, dave, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}); !rep.Invited || rep.Applied {
		t.Errorf("got %v", rep)
	}
	if rep := ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id)); !rep.Joined || rep.Group.Me.InvitedBy != int64(alice) {
		t.Errorf("got %v", rep)
	}
}

func TestJoinRefuses(t *testing.T) {
	w := start(t, func(c *group.Config) { c.MaxMembers = 2; c.PendingOfUser = 1 })
	open := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN))
	refuse(t, w, dave, idl.ActionJoinGroup, joining(999), idl.CodeNotFound, "group_id")
	refuse(t, w, dave, idl.ActionJoinGroup, joining(-1), idl.CodeNotFound, "group_id")
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(open))
	refuse(t, w, carol, idl.ActionJoinGroup, joining(open), idl.CodeLimitExceeded, "group_id")
	first, second := create(t, w), createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_APPROVAL))
	ask[grouppb.JoinGroupReply](t, w, carol, idl.ActionJoinGroup, joining(first))
	refuse(t, w, carol, idl.ActionJoinGroup, joining(second), idl.CodeLimitExceeded, "user_id")
	refuse(t, w, carol, idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: second, Remark: "a\x00"}, idl.CodeInvalidArgument, "remark")
}

// TestRulesOnJoin has scripts judge those who come in by themselves, and only them, and a group's texts.
func TestRulesOnJoin(t *testing.T) {
	w := startIn(t, plugintest.Options{Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_join(function(c)
	if c.user == "` + dave.String() + `" and c.conversation_type == "group" then return im.deny("rejected", c.conversation) end
end, {name = "join", on_error = "closed"})
im.before("group.create", function(c)
	if c.req.name == "Bad" then return im.deny("rejected") end
	c.req.name = c.req.name .. "!"
end, {name = "names", on_error = "closed"})
im.before("group.update", function(c)
	if c.req.name == "Bad" then return im.deny("rejected") end
	for _, text in ipairs{"name", "description", "announcement"} do
		if c.req[text] ~= "" then c.req[text] = c.req[text] .. "?" end
	end
end, {name = "texts", on_error = "closed"})`}})
	refuse(t, w, alice, idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "bad", Name: "Bad"}, idl.CodeRejected, "")
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN))
	if g := ask[grouppb.GroupInfoReply](t, w, alice, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}).Group; g.Name != "Climbing!" {
		t.Errorf("got the name %q", g.Name)
	}
	refuse(t, w, alice, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"name"}, Name: "Bad"}, idl.CodeRejected, "")
	g := ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup,
		&grouppb.UpdateGroupRequest{GroupId: id, Fields: []string{"name", "description", "announcement"}, Name: "Walking", Description: "Slowly", Announcement: "Now"}).Group
	if g.Name != "Walking?" || g.Description != "Slowly?" || g.Announcement != "Now?" {
		t.Errorf("got %q, %q, %q", g.Name, g.Description, g.Announcement)
	}
	refuse(t, w, dave, idl.ActionJoinGroup, joining(id), idl.CodeRejected, "")
	ask[grouppb.JoinGroupReply](t, w, carol, idl.ActionJoinGroup, joining(id))
	ask[grouppb.InviteToGroupReply](t, w, alice, idl.ActionInviteToGroup, inviting(id, dave))
	refuse(t, w, dave, idl.ActionAnswerInvitation, accepting(id, true), idl.CodeRejected, "")
}
