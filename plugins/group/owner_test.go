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
