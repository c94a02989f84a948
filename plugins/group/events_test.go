package group_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
)

// TestChangesAreToldInTheLog goes through the life of a group: what each change has told in its log, by whom, and
// whom the notices tell. Requests that wait are nothing that the members read about.
func TestChangesAreToldInTheLog(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	until := w.Now().UnixMilli() + 60_000
	update := func(set func(*grouppb.UpdateGroupRequest), fields ...string) idl.Message {
		req := updating(id, fields...)
		set(req)
		return req
	}
	role := func(role grouppb.GroupRole, bits int32) idl.Message {
		return &grouppb.SetGroupRoleRequest{GroupId: id, UserId: int64(bob), Role: role, Permissions: bits}
	}
	mute := func(u im.UserID, untilMs int64, reason string) idl.Message {
		return &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(u), UntilMs: untilMs, Reason: reason}
	}
	ban := func(u im.UserID, untilMs int64, reason string) idl.Message {
		return &grouppb.BanFromGroupRequest{GroupId: id, UserId: int64(u), UntilMs: untilMs, Reason: reason}
	}
	decide := func(approve bool) idl.Message {
		return &grouppb.DecideApplicationRequest{GroupId: id, UserId: int64(erin), Approve: approve}
	}
	self := func(field string) idl.Message {
		return &grouppb.SetGroupSelfRequest{GroupId: id, Fields: []string{field}, Alias: "Bobby", Notify: grouppb.NotifyLevel_NOTIFY_LEVEL_SILENT}
	}
	lasts := fmt.Sprint(until)
	type noted = map[string][]im.UserID
	for _, test := range []struct {
		name    string
		by      im.UserID
		action  idl.Action
		req     idl.Message // nil: it is done already
		told    []string    // of the log: name, data
		notices noted
	}{
		{"create", alice, 0, nil, []string{`group.created {"name":"Climbing"}`, `group.joined {"user_ids":[100002,100003]}`}, noted{}},
		{"invite", alice, idl.ActionInviteToGroup, inviting(id, dave), nil, noted{"group.invited": {dave}}},
		{"decline", dave, idl.ActionAnswerInvitation, accepting(id, false), nil, noted{"group.declined": {alice, dave}}},
		{"invite again", alice, idl.ActionInviteToGroup, inviting(id, dave), nil, noted{"group.invited": {dave}}},
		{"withdraw", alice, idl.ActionWithdrawRequest, &grouppb.WithdrawRequest{GroupId: id, UserId: int64(dave)}, nil, noted{"group.withdrawn": {dave}}},
		{"invite once more", alice, idl.ActionInviteToGroup, inviting(id, dave), nil, noted{"group.invited": {dave}}},
		{"accept", dave, idl.ActionAnswerInvitation, accepting(id, true), []string{`group.joined {"invited_by":100001,"user_ids":[100004]}`}, noted{}},
		{"apply", erin, idl.ActionJoinGroup, joining(id), nil, noted{"group.applied": {alice, erin}}},
		{"refuse", alice, idl.ActionDecideApplication, decide(false), nil, noted{"group.refused": {erin}}},
		{"apply again", erin, idl.ActionJoinGroup, joining(id), nil, noted{"group.applied": {alice, erin}}},
		{"approve", alice, idl.ActionDecideApplication, decide(true), []string{`group.joined {"approved":true,"user_ids":[100005]}`}, noted{}},

		{"name", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) { r.Name = "Bouldering" }, "name"), []string{`group.renamed {"name":"Bouldering"}`}, noted{}},
		{"avatar", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) { r.Avatar = "https://example.org/a.png" }, "avatar"), []string{`group.avatar {"avatar":"https://example.org/a.png"}`}, noted{}},
		{"description", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) { r.Description = "ropes" }, "description"), []string{`group.described {"description":"ropes"}`}, noted{}},
		{"announcement", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) { r.Announcement = "at 7" }, "announcement"), []string{`group.announced {"announcement":"at 7"}`}, noted{}},
		{"policy", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) { r.Policy = grouppb.GroupPolicy_GROUP_POLICY_OPEN }, "policy"),
			[]string{`group.settings {"fields":["policy"],"history":0,"history_last":0,"member_permissions":3,"policy":1,"slow_mode_ms":0}`}, noted{}},
		{"slow mode", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) { r.SlowModeMs = 1000 }, "slow_mode_ms"),
			[]string{`group.settings {"fields":["slow_mode_ms"],"history":0,"history_last":0,"member_permissions":3,"policy":1,"slow_mode_ms":1000}`}, noted{}},
		{"what members may", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) { r.MemberPermissions = 9 }, "member_permissions"),
			[]string{`group.settings {"fields":["member_permissions"],"history":0,"history_last":0,"member_permissions":9,"policy":1,"slow_mode_ms":1000}`}, noted{}},
		{"history", alice, idl.ActionUpdateGroup, update(func(r *grouppb.UpdateGroupRequest) {
			r.History, r.HistoryLast = grouppb.GroupHistory_GROUP_HISTORY_LAST, 5
		}, "history", "history_last"),
			[]string{`group.settings {"fields":["history","history_last"],"history":2,"history_last":5,"member_permissions":9,"policy":1,"slow_mode_ms":1000}`}, noted{}},

		{"alias", bob, idl.ActionSetGroupSelf, self("alias"), []string{`group.alias {"alias":"Bobby","user_id":100002}`}, noted{}},
		{"how much one hears", bob, idl.ActionSetGroupSelf, self("notify"), nil, noted{"group.notify": {bob}}},
		{"mute", alice, idl.ActionMuteInGroup, mute(carol, until, "loud"), []string{`group.muted {"reason":"loud","until_ms":` + lasts + `,"user_id":100003}`}, noted{}},
		{"unmute", alice, idl.ActionMuteInGroup, mute(carol, 0, ""), []string{`group.muted {"reason":"","until_ms":0,"user_id":100003}`}, noted{}},
		{"mute all", alice, idl.ActionMuteInGroup, mute(0, -1, "night"), []string{`group.muted_all {"reason":"night","until_ms":-1}`}, noted{}},
		{"unmute all", alice, idl.ActionMuteInGroup, mute(0, 0, ""), []string{`group.muted_all {"reason":"","until_ms":0}`}, noted{}},
		{"make an admin", alice, idl.ActionSetGroupRole, role(grouppb.GroupRole_GROUP_ROLE_ADMIN, 1|64|128|256), []string{`group.role {"permissions":449,"role":2,"user_id":100002}`}, noted{}},

		{"ban, by an admin", bob, idl.ActionBanFromGroup, ban(dave, until, "spam"), []string{`group.banned {"reason":"spam","until_ms":` + lasts + `,"user_id":100004}`}, noted{"group.banned": {dave}}},
		{"unban", bob, idl.ActionBanFromGroup, ban(dave, 0, ""), []string{`group.unbanned {"user_id":100004}`}, noted{"group.unbanned": {dave}}},
		{"join", dave, idl.ActionJoinGroup, joining(id), []string{`group.joined {"user_ids":[100004]}`}, noted{}},
		{"remove", bob, idl.ActionRemoveFromGroup, removing(id, dave, erin), []string{`group.removed {"reason":"bye","user_ids":[100004,100005]}`}, noted{"group.removed": {dave, erin}}},
		{"leave", carol, idl.ActionLeaveGroup, leaving(id), []string{`group.left {"user_id":100003}`}, noted{"group.left": {carol}}},
		{"make a member", alice, idl.ActionSetGroupRole, role(grouppb.GroupRole_GROUP_ROLE_MEMBER, 0), []string{`group.role {"permissions":9,"role":3,"user_id":100002}`}, noted{}},
		{"transfer", alice, idl.ActionTransferGroup, transferring(id, bob), []string{`group.transferred {"user_id":100002}`}, noted{}},
		{"dissolve", bob, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id}, []string{`group.dissolved {"name":"Bouldering"}`}, noted{}},
	} {
		n, first := len(w.messages.Posts()), test.req == nil
		members := w.inboxes(id) // of a group that is dissolved: who was in
		if first {
			n = 0
		} else if err := w.as(test.by).Call(test.action, test.req, nil); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if test.action != idl.ActionDissolveGroup {
			members = w.inboxes(id)
		}
		var told []string
		for _, p := range w.messages.Posts()[n:] {
			told = append(told, p.Name+" "+p.Data)
			if p.Conversation != conv(id) || p.Actor != test.by {
				t.Errorf("%s: told in %s by %d", test.name, p.Conversation, p.Actor)
			}
			wantEqual(t, test.name+": inboxes of the event", p.Audience, members)
		}
		if !slices.Equal(told, test.told) {
			t.Errorf("%s: the log was told %q, want %q", test.name, told, test.told)
		}
		if got := w.filed(t); !maps.EqualFunc(got, test.notices, slices.Equal) {
			t.Errorf("%s: notices %v, want %v", test.name, got, test.notices)
		}
	}
	if err := w.as(dave).Call(idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id}, nil); im.CodeOf(err) != idl.CodeNotFound {
		t.Errorf("in the end: %v", err)
	}
}

// inboxes are those of a group's members; none when it is dissolved.
func (w *world) inboxes(id int64) []im.UserID {
	all, _ := w.messages.Owner(im.Group).(plugin.Keeper).Members(context.Background(), conv(id))
	return all.Inboxes
}
