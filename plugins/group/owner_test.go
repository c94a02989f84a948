package group_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

func TestSend(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	audience, err := w.send(bob, id)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "inboxes", audience.Inboxes, []im.UserID{alice, bob})
	owner := w.messages.Owner(im.Group)
	for _, c := range []im.ConversationID{"g_", "g_0", "g_-1", "g_0100001", "g_+100001", "g_100001 ", "g_9007199254740993", "g_99999999999999999999", "g_999", "c_1_2"} {
		_, err := owner.Send(t.Context(), c, alice, plugin.Outgoing{})
		wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
		_, err = owner.Read(t.Context(), c, alice)
		wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	}
	_, err = w.send(dave, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	_, err = owner.Send(t.Context(), conv(id), bob, plugin.Outgoing{MentionsAll: true})
	wantRefusal(t, err, idl.CodePermissionDenied, "mentions_all")
	if _, err := owner.Send(t.Context(), conv(id), alice, plugin.Outgoing{MentionsAll: true}); err != nil {
		t.Errorf("the owner mentions all: %v", err)
	}
	if _, err := owner.Send(t.Context(), conv(id), bob, plugin.Outgoing{Mentions: []im.UserID{alice, bob}}); err != nil {
		t.Errorf("a member mentions members: %v", err)
	}
	_, err = owner.Send(t.Context(), conv(id), bob, plugin.Outgoing{Mentions: []im.UserID{alice, dave}})
	wantRefusal(t, err, idl.CodeInvalidArgument, "mentions")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := owner.Send(ended, conv(id), bob, plugin.Outgoing{}); !errors.Is(err, context.Canceled) {
		t.Errorf("of a caller who is gone: %v", err)
	}
}

// TestAnnouncements is a group in which members only read.
func TestAnnouncements(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, updating(id, "member_permissions"))
	_, err := w.send(bob, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	if _, err := w.read(bob, id); err != nil {
		t.Errorf("he reads: %v", err)
	}
}

func TestMute(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	muting := func(u im.UserID, until int64) *grouppb.MuteInGroupRequest {
		return &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(u), UntilMs: until}
	}
	refuse(t, w, bob, idl.ActionMuteInGroup, muting(carol, -1), idl.CodePermissionDenied, "")
	refuse(t, w, alice, idl.ActionMuteInGroup, muting(alice, -1), idl.CodePermissionDenied, "user_id")
	refuse(t, w, alice, idl.ActionMuteInGroup, muting(dave, -1), idl.CodeNotFound, "user_id")
	refuse(t, w, alice, idl.ActionMuteInGroup, muting(bob, 5), idl.CodeInvalidArgument, "until_ms")
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(bob, w.Now().Add(time.Minute).UnixMilli()))
	_, err := w.send(bob, id)
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.Code != idl.CodePermissionDenied || refused.RetryAfter != time.Minute {
		t.Errorf("got %v, want a refusal for a minute", err)
	}
	if _, err := w.read(bob, id); err != nil {
		t.Errorf("he reads: %v", err)
	}
	w.Advance(time.Minute)
	if _, err := w.send(bob, id); err != nil {
		t.Errorf("afterwards: %v", err)
	}

	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(0, -1))
	for u, may := range map[im.UserID]bool{alice: true, bob: false, carol: false} {
		if _, err := w.send(u, id); (err == nil) != may {
			t.Errorf("%d while all are muted: %v", u, err)
		}
	}
	n := len(w.messages.Posts())
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(0, 0))
	ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, muting(0, 0))
	wantEqual(t, "events", w.told(n), []string{"group.muted_all"})
	if _, err := w.send(bob, id); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestSlowMode(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	req := updating(id, "slow_mode_ms")
	req.SlowModeMs = 10_000
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req)
	send := func(u im.UserID) error { _, err := w.send(u, id); return err }
	if err := errors.Join(send(bob), send(carol), send(alice), send(alice)); err != nil {
		t.Fatal(err)
	}
	refused, ok := errors.AsType[*im.Error](send(bob))
	if !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter != 10*time.Second {
		t.Errorf("got %v, want a refusal for 10 s", refused)
	}
	w.Advance(10 * time.Second)
	if err := send(bob); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	// Who waits when the wait is made shorter waits for that, and may write then.
	req.SlowModeMs = 2_000
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req)
	if refused, ok = errors.AsType[*im.Error](send(bob)); !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter != 2*time.Second {
		t.Errorf("got %v, want a refusal for 2 s", refused)
	}
	w.Advance(2 * time.Second)
	if err := send(bob); err != nil {
		t.Errorf("after as long as he was told: %v", err)
	}
}

// TestMuteOfAllEnds has a mute of all hold until its time, for members, and never for the owner and admins.
func TestMuteOfAllEnds(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	mute := func(u im.UserID, untilMs int64) {
		t.Helper()
		ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(u), UntilMs: untilMs})
	}
	mute(0, w.Now().Add(time.Minute).UnixMilli())
	for _, test := range []struct {
		name string
		pass time.Duration // before
		left time.Duration // of the mute; 0: it is over
	}{
		{"at once", 0, time.Minute},
		{"just before its time", time.Minute - time.Millisecond, time.Millisecond},
		{"at its time", time.Millisecond, 0},
		{"long after it", time.Hour, 0},
	} {
		w.Advance(test.pass)
		for _, u := range []im.UserID{alice, bob} {
			if _, err := w.send(u, id); err != nil {
				t.Errorf("%s: %d, who is exempt: %v", test.name, u, err)
			}
		}
		_, err := w.send(carol, id)
		if test.left == 0 {
			if err != nil {
				t.Errorf("%s: a member: %v", test.name, err)
			}
			continue
		}
		wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
		if refused, ok := errors.AsType[*im.Error](err); !ok || refused.RetryAfter != test.left {
			t.Errorf("%s: got %v, want a refusal for %v", test.name, err, test.left)
		}
	}
	mute(0, -1)
	mute(bob, -1)
	_, err := w.send(bob, id) // of his own mute an admin is not exempt
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	setRole(t, w, id, carol, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	if _, err := w.send(carol, id); err != nil {
		t.Errorf("who became an admin: %v", err)
	}
	setRole(t, w, id, carol, grouppb.GroupRole_GROUP_ROLE_MEMBER, 0)
	_, err = w.send(carol, id)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
}

// TestMuteOutlivesAStay: who is muted, goes and comes back is muted until the same time, and no longer; of a dissolved group nothing is kept.
func TestMuteOutlivesAStay(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	opened := updating(id, "policy")
	opened.Policy = grouppb.GroupPolicy_GROUP_POLICY_OPEN
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, opened)
	mute := func(u im.UserID, untilMs int64) {
		t.Helper()
		ask[grouppb.MuteInGroupReply](t, w, alice, idl.ActionMuteInGroup, &grouppb.MuteInGroupRequest{GroupId: id, UserId: int64(u), UntilMs: untilMs})
	}
	leave := func() {
		ask[grouppb.LeaveGroupReply](t, w, bob, idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: id})
	}
	removed := func() { ask[grouppb.RemoveFromGroupReply](t, w, alice, idl.ActionRemoveFromGroup, removing(id, bob)) }
	for _, test := range []struct {
		name  string
		until time.Duration // of the mute; 0: there is none; -1: for good
		goes  func()
		away  time.Duration
		muted bool // when he is back
	}{
		{"leaves and comes", time.Minute, leave, time.Second, true},
		{"is removed and comes", -1, removed, time.Hour, true},
		{"comes when it is over", time.Minute, leave, time.Minute, false},
		{"was not muted", 0, leave, 0, false},
	} {
		until := int64(test.until)
		if test.until > 0 {
			until = w.Now().Add(test.until).UnixMilli()
		}
		mute(bob, until)
		test.goes()
		w.Advance(test.away)
		w.join(t, bob, id)
		_, err := w.send(bob, id)
		if test.muted {
			wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
		} else if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		info := ask[grouppb.GroupInfoReply](t, w, bob, idl.ActionGroupInfo, &grouppb.GroupInfoRequest{GroupId: id})
		if got := info.Group.Me.MutedUntilMs; (got != 0) != test.muted || test.muted && got != until {
			t.Errorf("%s: muted until %d, want %d, if at all: %t", test.name, got, until, test.muted)
		}
		if n := w.count(t, "SELECT COUNT(*) FROM group_mutes"); n != 0 {
			t.Errorf("%s: %d mutes are kept of who is in", test.name, n)
		}
	}
	mute(bob, -1)
	if _, err := w.DB().ExecContext(t.Context(), "INSERT INTO group_mutes (group_id, user_id, until_ms) VALUES (?, ?, 1), (?, ?, 1)", id, int64(bob), id, int64(dave)); err != nil {
		t.Fatal(err) // as a core of before leaves one, and one that is over
	}
	leave()
	if n := w.count(t, "SELECT COUNT(*) FROM group_mutes WHERE until_ms = -1"); n != 1 || w.count(t, "SELECT COUNT(*) FROM group_mutes") != 1 {
		t.Errorf("%d mutes are kept for good of one who went, and others", n)
	}
	ask[grouppb.DissolveGroupReply](t, w, alice, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id})
	if n := w.count(t, "SELECT (SELECT COUNT(*) FROM group_mutes) + (SELECT COUNT(*) FROM group_lives)"); n != 0 {
		t.Errorf("%d rows are kept of a dissolved group", n)
	}
}

// TestSlowModeIsForMessagesOfMembers has neither the owner nor admins wait, nor what is no new message.
func TestSlowModeIsForMessagesOfMembers(t *testing.T) {
	w := start(t)
	id := create(t, w, bob, carol)
	setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_ADMIN, 0)
	req := updating(id, "slow_mode_ms")
	req.SlowModeMs = 10_000
	ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req)
	owner := w.messages.Owner(im.Group)
	for _, test := range []struct {
		name  string
		user  im.UserID
		kind  string
		waits bool
	}{
		{"the owner", alice, "text", false},
		{"the owner again", alice, "text", false},
		{"an admin", bob, "text", false},
		{"an admin again", bob, "text", false},
		{"a member", carol, "text", false},
		{"a member again", carol, "text", true},
		{"his picture", carol, "image", true},
		{"his edit", carol, "edit", false},
		{"his reaction", carol, "reaction", false},
		{"his typing", carol, "typing", false},
		{"still", carol, "text", true},
	} {
		_, err := owner.Send(t.Context(), conv(id), test.user, plugin.Outgoing{Kind: test.kind})
		switch {
		case test.waits:
			wantRefusal(t, err, idl.CodeRateLimited, "")
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestRecall has those above who wrote a message take it back: of members, and of who is none any more, admins
// who may, of everybody the owner. It is the same in a group whose members are in no core's memory.
func TestRecall(t *testing.T) {
	const left im.UserID = 6
	for name, diffusion := range map[string]int{"small": 500, "large": 2} {
		t.Run(name, func(t *testing.T) {
			w := start(t, func(c *group.Config) { c.WriteDiffusion = diffusion })
			w.people.Add(personOf(left))
			req := withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN)
			req.UserIds = ids(bob, carol)
			id := createBy(t, w, req)
			for _, u := range []im.UserID{dave, erin, left} {
				ask[grouppb.JoinGroupReply](t, w, u, idl.ActionJoinGroup, joining(id))
			}
			const admin = grouppb.GroupRole_GROUP_ROLE_ADMIN
			const recall = int32(grouppb.GroupPermission_GROUP_PERMISSION_RECALL)
			setRole(t, w, id, bob, admin, recall)
			setRole(t, w, id, carol, admin, recall-1) // all but it
			ask[grouppb.LeaveGroupReply](t, w, left, idl.ActionLeaveGroup, leaving(id))
			keeper := w.messages.Owner(im.Group).(plugin.Keeper)
			try := func(name string, by, sender im.UserID, field string) {
				t.Helper()
				err := keeper.Recall(t.Context(), conv(id), by, sender)
				switch {
				case field != "":
					if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodePermissionDenied || refused.Field != field {
						t.Errorf("%s: got %v, want a refusal of %s", name, err, field)
					}
				case err != nil:
					t.Errorf("%s: %v", name, err)
				}
			}
			for _, test := range []struct {
				name       string
				by, sender im.UserID
				field      string // of the refusal; empty: he may
			}{
				{"an admin who may, a member's", bob, dave, ""},
				{"an admin who may, of who has left", bob, left, ""},
				{"an admin who may, his own", bob, bob, ""},
				{"an admin who may not, his own", carol, carol, "message_id"},
				{"an admin who may, another admin's", bob, carol, "message_id"},
				{"an admin who may, the owner's", bob, alice, "message_id"},
				{"an admin who may not, a member's", carol, dave, "message_id"},
				{"an admin who may not, of who has left", carol, left, "message_id"},
				{"an admin who may not, another admin's", carol, bob, "message_id"},
				{"an admin who may not, the owner's", carol, alice, "message_id"},
				{"the owner, a member's", alice, dave, ""},
				{"the owner, an admin's", alice, bob, ""},
				{"the owner, of who has left", alice, left, ""},
				{"the owner, his own", alice, alice, ""},
				{"a member, another member's", dave, erin, "message_id"},
				{"a member, an admin's", dave, bob, "message_id"},
				{"a member, the owner's", dave, alice, "message_id"},
				{"a member, of who has left", dave, left, "message_id"},
				{"who has left, a member's", left, dave, "conversation_id"},
				{"a stranger, a member's", 7, dave, "conversation_id"},
			} {
				try(test.name, test.by, test.sender, test.field)
			}
			setRole(t, w, id, bob, grouppb.GroupRole_GROUP_ROLE_MEMBER, 0)
			try("who is no admin any more, a member's", bob, dave, "message_id")
			try("an admin, of who is no admin any more", carol, bob, "message_id")
			setRole(t, w, id, carol, admin, recall)
			try("an admin who may by now, of who is no admin any more", carol, bob, "")
		})
	}
}

// TestHistoryOfJoiners has what somebody reads settled when he comes in.
func TestHistoryOfJoiners(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_OPEN)) // seq 1: created
	for i := range 9 {
		_, err := w.Timelines().Append(t.Context(), timeline.Draft{Conversation: conv(id), Sender: alice, ClientID: string(rune('a' + i)), Body: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
	}
	set := func(h grouppb.GroupHistory, last int32) {
		t.Helper()
		req := updating(id, "history", "history_last")
		req.History, req.HistoryLast = h, last
		ask[grouppb.UpdateGroupReply](t, w, alice, idl.ActionUpdateGroup, req)
	}
	come := func(u im.UserID) int64 {
		t.Helper()
		rep := ask[grouppb.JoinGroupReply](t, w, u, idl.ActionJoinGroup, joining(id))
		reach, err := w.read(u, id)
		if err != nil || rep.Group.Me.FirstSeq != reach.After+1 {
			t.Errorf("may read from %d, is told %d, %v", reach.After+1, rep.Group.Me.FirstSeq, err)
		}
		return reach.After
	}
	if after := come(bob); after != 0 {
		t.Errorf("all: reads after %d", after)
	}
	set(grouppb.GroupHistory_GROUP_HISTORY_NONE, 0) // seq 12, behind bob's
	if after := come(carol); after != 12 {
		t.Errorf("none: reads after %d", after)
	}
	set(grouppb.GroupHistory_GROUP_HISTORY_LAST, 4) // seq 14
	if after := come(dave); after != 10 {
		t.Errorf("the last 4: reads after %d", after)
	}
	if reach, err := w.read(bob, id); err != nil || reach.After != 0 {
		t.Errorf("who was in before reads after %d, %v", reach.After, err)
	}
}
