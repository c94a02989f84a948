package group_test

import (
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

func updating(id int64, fields ...string) *grouppb.UpdateGroupRequest {
	return &grouppb.UpdateGroupRequest{GroupId: id, Fields: fields}
}

func TestUpdate(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	n := len(w.messages.Posts())
	req := updating(id, "name", "avatar", "description", "announcement", "policy", "question", "answer", "history", "history_last", "slow_mode_ms", "member_permissions")
	req.Name, req.Avatar, req.Description, req.Announcement = "Bouldering", "https://example.org/a.png", "what\nwe do", "meet \"at\" 7"
	req.Policy, req.Question, req.Answer = grouppb.GroupPolicy_GROUP_POLICY_QUESTION, "why?", "why not"
	req.History, req.HistoryLast, req.SlowModeMs, req.MemberPermissions = grouppb.GroupHistory_GROUP_HISTORY_LAST, 10, 1000, 9
	g := ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req).Group
	if g.Name != req.Name || g.Avatar != req.Avatar || g.Description != req.Description || g.Announcement != req.Announcement || g.Policy != req.Policy ||
		g.Question != req.Question || g.Answer != req.Answer || g.History != req.History || g.HistoryLast != 10 || g.SlowModeMs != 1000 || g.MemberPermissions != 9 {
		t.Errorf("got %v", g)
	}
	wantEqual(t, "events", w.told(n), []string{"group.renamed", "group.avatar", "group.described", "group.announced", "group.settings"})
	post, facts := w.lastPost(t)
	if strings.Contains(post.Data, "why not") || facts["slow_mode_ms"] != float64(1000) {
		t.Errorf("the settings that are told: %s", post.Data)
	}
	if g := ask[grouppb.GroupInfoReply](t, w, bob, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}).Group; g.Answer != "" || g.Announcement != req.Announcement {
		t.Errorf("a member sees %v", g)
	}
	n = len(w.messages.Posts())
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req)
	wantEqual(t, "events of the same again", w.told(n), nil)
	bobs := updating(id, "name")
	bobs.Name = "Bob's"
	ask[grouppb.UpdateGroupReply](t, w, bob, idl.ActionUpdateGroup, bobs) // members have EDIT now
}

// TestEventsFit has the longest texts told: data may have 4,096 octets.
func TestEventsFit(t *testing.T) {
	w := start(t)
	req := updating(create(t, w), "announcement", "description", "name")
	req.Announcement, req.Description, req.Name = strings.Repeat("\U0001f9d7", 500), strings.Repeat("\"", 500), strings.Repeat("<", 64)
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req)
	for _, p := range w.messages.Posts() {
		if len(p.Data) > 4096 {
			t.Errorf("%s has %d octets of data", p.Name, len(p.Data))
		}
	}
}

func TestUpdateRefuses(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	set := func(change func(*grouppb.UpdateGroupRequest), fields ...string) *grouppb.UpdateGroupRequest {
		req := updating(id, fields...)
		change(req)
		return req
	}
	for _, test := range []struct {
		name  string
		by    im.UserID
		req   *grouppb.UpdateGroupRequest
		code  idl.Code
		field string
	}{
		{"nothing", alice, updating(id), idl.CodeInvalidArgument, "fields"},
		{"an unknown field", alice, updating(id, "owner_id"), idl.CodeInvalidArgument, "fields"},
		{"a field twice", alice, set(func(r *grouppb.UpdateGroupRequest) { r.Name = "x" }, "name", "name"), idl.CodeInvalidArgument, "fields"},
		{"a name of control characters", alice, set(func(r *grouppb.UpdateGroupRequest) { r.Name = "\x00\x01" }, "name"), idl.CodeInvalidArgument, "name"},
		{"a name that reads backwards", alice, set(func(r *grouppb.UpdateGroupRequest) { r.Name = "a\u202eb" }, "name"), idl.CodeInvalidArgument, "name"},
		{"no name", alice, updating(id, "name"), idl.CodeInvalidArgument, "name"},
		{"a long announcement", alice, set(func(r *grouppb.UpdateGroupRequest) { r.Announcement = strings.Repeat("a", 501) }, "announcement"), idl.CodeInvalidArgument, "announcement"},
		{"a policy that nobody knows", alice, set(func(r *grouppb.UpdateGroupRequest) { r.Policy = 4 }, "policy"), idl.CodeInvalidArgument, "policy"},
		{"a question without an answer", alice, set(func(r *grouppb.UpdateGroupRequest) { r.Policy, r.Question = 2, "?" }, "policy", "question"), idl.CodeInvalidArgument, "answer"},
		{"a history that nobody knows", alice, set(func(r *grouppb.UpdateGroupRequest) { r.History = 3 }, "history"), idl.CodeInvalidArgument, "history"},
		{"the last none", alice, set(func(r *grouppb.UpdateGroupRequest) { r.History = 2 }, "history"), idl.CodeInvalidArgument, "history_last"},
		{"a slow mode of days", alice, set(func(r *grouppb.UpdateGroupRequest) { r.SlowModeMs = 3_600_001 }, "slow_mode_ms"), idl.CodeInvalidArgument, "slow_mode_ms"},
		{"members who ban", alice, set(func(r *grouppb.UpdateGroupRequest) { r.MemberPermissions = 256 }, "member_permissions"), idl.CodeInvalidArgument, "member_permissions"},
		{"by a member", bob, set(func(r *grouppb.UpdateGroupRequest) { r.Name = "x" }, "name"), idl.CodePermissionDenied, "name"},
		{"by a stranger", dave, set(func(r *grouppb.UpdateGroupRequest) { r.Name = "x" }, "name"), idl.CodePermissionDenied, "group_id"},
		{"no such group", alice, &grouppb.UpdateGroupRequest{GroupId: 5, Fields: []string{"name"}, Name: "x"}, idl.CodeNotFound, "group_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := len(w.messages.Posts())
			refuse(t, w, test.by, idl.ActionUpdateGroup, test.req, test.code, test.field)
			wantEqual(t, "events", w.told(n), nil)
		})
	}
}

// TestNobodyGivesWhatHeMayNot has an admin who may not mention all give that to nobody.
func TestNobodyGivesWhatHeMayNot(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 1|16)
	req := updating(id, "member_permissions")
	req.MemberPermissions = 1 | 4
	refuse(t, w, bob, idl.ActionUpdateGroup, req, idl.CodePermissionDenied, "member_permissions")
	req.MemberPermissions = 1
	ask[grouppb.UpdateGroupReply](t, w, bob, idl.ActionUpdateGroup, req)
}
