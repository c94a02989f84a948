package social_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
	"freeim/plugins/social"
)

func TestApplyAndAccept(t *testing.T) {
	w := start(t)
	rep := &socialpb.ApplyReply{}
	req := &socialpb.ApplyRequest{UserId: int64(bob), Remark: "it's me 👋🏽 שלום <b>"}
	for range 2 { // the second is a resend
		w.call(alice, idl.ActionApply, req, rep)
		if rep.Friends || rep.ExpiresMs != w.Now().Add(7*24*time.Hour).UnixMilli() {
			t.Errorf("got %+v", rep)
		}
	}
	wantRefusal(t, w.as(alice).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob), Remark: "another"}, nil), idl.CodeAlreadyExists, "user_id")
	events := w.messages.Filed(t)
	if len(events) != 1 || events[0].Name != "social.applied" || events[0].Actor != alice || len(events[0].Users) != 2 ||
		!strings.Contains(events[0].Data, `"from":100001,"to":100002`) {
		t.Errorf("told %+v", events)
	}
	var list socialpb.ApplicationsReply
	w.call(bob, idl.ActionApplications, &socialpb.ApplicationsRequest{}, &list)
	if len(list.Applications) != 1 || list.Applications[0].Remark != req.Remark || list.Applications[0].Outgoing || list.Applications[0].Person.Nickname != "User 100001" {
		t.Errorf("bob sees %+v", list.Applications)
	}
	if w.pending(alice, true) != "bob" || w.friends(alice) != "" {
		t.Error("alice's own application is not listed, or she has a friend")
	}
	var relation socialpb.RelationReply
	w.call(bob, idl.ActionRelation, &socialpb.RelationRequest{UserId: int64(alice)}, &relation)
	if relation.Friend != nil || relation.Incoming == nil || relation.Outgoing != nil {
		t.Errorf("got %+v", &relation)
	}
	for range 2 {
		var done socialpb.AcceptReply
		w.call(bob, idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(alice)}, &done)
		if done.Friend.GetPerson().GetUserId() != int64(alice) || done.Friend.SinceMs != w.Now().UnixMilli() {
			t.Errorf("got %+v", &done)
		}
	}
	w.wantFiled("social.accepted by bob to bob alice")
	if w.friends(alice) != "bob" || w.friends(bob) != "alice" || w.pending(alice, true) != "" || w.pending(bob, false) != "" {
		t.Errorf("alice has %q, bob %q", w.friends(alice), w.friends(bob))
	}
}

// An application that cannot be ended, as its row cannot be written, holds up no other.
func TestOneExpiryHoldsUpNoOther(t *testing.T) {
	w := start(t)
	w.apply(alice, bob)
	w.Advance(time.Second)
	w.apply(carol, dave)
	w.filed()
	trigger := "BEGIN SELECT RAISE(ABORT, 'no'); END"
	if plugintest.Production() {
		trigger = "FOR EACH ROW BEGIN IF OLD.from_id = 100001 THEN SIGNAL SQLSTATE '45000'; END IF; END"
	} else {
		trigger = "WHEN OLD.from_id = 100001 " + trigger
	}
	if _, err := w.DB().ExecContext(t.Context(), "CREATE TRIGGER stuck BEFORE UPDATE ON social_applications "+trigger); err != nil {
		t.Fatal(err)
	}
	w.Advance(8 * 24 * time.Hour)
	if err := w.social.Expire(t.Context()); err == nil || !strings.Contains(err.Error(), "100001") {
		t.Errorf("got %v, want the error of alice's", err)
	}
	w.wantFiled("social.expired by server to carol dave")
}

func TestRefuseWithdrawExpire(t *testing.T) {
	w := start(t)
	w.apply(alice, bob)
	w.filed()
	for range 2 {
		w.call(bob, idl.ActionRefuse, &socialpb.RefuseRequest{UserId: int64(alice)}, nil)
	}
	w.wantFiled("social.refused by bob to bob alice")
	wantRefusal(t, w.as(bob).Call(idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(alice)}, nil), idl.CodeNotFound, "user_id")
	wantRefusal(t, w.as(alice).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob)}, nil), idl.CodeRateLimited, "user_id")
	w.Advance(24 * time.Hour)
	w.apply(alice, bob)
	w.filed()
	for range 2 {
		w.call(alice, idl.ActionWithdraw, &socialpb.WithdrawRequest{UserId: int64(bob)}, nil)
	}
	w.wantFiled("social.withdrawn by alice to alice bob")
	wantRefusal(t, w.as(bob).Call(idl.ActionRefuse, &socialpb.RefuseRequest{UserId: int64(alice)}, nil), idl.CodeNotFound, "user_id")

	w.apply(alice, bob)
	w.filed()
	w.Advance(7 * 24 * time.Hour)
	if got := w.pending(alice, true); got != "" {
		t.Errorf("%q are pending beyond their time", got)
	}
	wantRefusal(t, w.as(bob).Call(idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(alice)}, nil), idl.CodeNotFound, "user_id")
	for range 2 {
		if err := w.social.Expire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.wantFiled("social.expired by server to alice bob")
	w.Advance(30 * 24 * time.Hour)
	if err := w.social.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list socialpb.ApplicationsReply
	w.call(alice, idl.ActionApplications, &socialpb.ApplicationsRequest{Outgoing: true}, &list)
	if len(list.Applications) != 0 {
		t.Errorf("remembered: %+v", list.Applications)
	}
}

func TestCrossingApplications(t *testing.T) {
	w := start(t)
	w.apply(alice, bob)
	if !w.apply(bob, alice).Friends {
		t.Error("both have applied, and are no friends")
	}
	w.wantFiled("social.applied by alice to alice bob", "social.accepted by bob to bob alice")
	if w.friends(alice) != "bob" || w.friends(bob) != "alice" || w.pending(alice, true)+w.pending(bob, false) != "" {
		t.Errorf("alice has %q, bob %q", w.friends(alice), w.friends(bob))
	}
}

func TestDeleteOnBothSides(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.filed()
	w.call(alice, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: int64(bob)}, nil)
	w.wantFiled("social.deleted by alice to alice bob")
	if w.friends(alice)+w.friends(bob) != "" {
		t.Error("somebody is a friend still")
	}
	if w.apply(alice, bob).Friends {
		t.Error("a friendship that both have ended is there again")
	}
}

func TestDeleteOnOneSide(t *testing.T) {
	w := start(t, func(c *social.Config) { c.DeleteBoth = false })
	w.befriend(alice, bob)
	w.filed()
	w.call(alice, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: int64(bob)}, nil)
	w.wantFiled("social.deleted by alice to alice")
	if w.friends(alice) != "" || w.friends(bob) != "alice" {
		t.Errorf("alice has %q, bob %q", w.friends(alice), w.friends(bob))
	}
	if friends, err := w.relations().Friend(t.Context(), bob, alice); friends || err != nil {
		t.Errorf("friends: %v, %v", friends, err)
	}
	if w.apply(bob, alice).Friends {
		t.Error("alice has not agreed")
	}
	w.call(alice, idl.ActionRefuse, &socialpb.RefuseRequest{UserId: int64(bob)}, nil)
	if !w.apply(alice, bob).Friends {
		t.Error("bob has never ended it")
	}
	if w.friends(alice) != "bob" || w.friends(bob) != "alice" {
		t.Errorf("alice has %q, bob %q", w.friends(alice), w.friends(bob))
	}
}

func TestWhoMayApply(t *testing.T) {
	w := start(t)
	set := func(who socialpb.WhoMayApply, question string) {
		w.call(bob, idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"apply", "question"}, Apply: who, Question: question}, nil)
	}
	set(socialpb.WhoMayApply_WHO_MAY_APPLY_NOBODY, "")
	w.wantFiled("social.settings by bob to bob")
	wantRefusal(t, w.as(alice).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob)}, nil), idl.CodePermissionDenied, "user_id")
	set(socialpb.WhoMayApply_WHO_MAY_APPLY_WITH_ANSWER, "Where did we meet?")
	wantRefusal(t, w.as(alice).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob)}, nil), idl.CodeInvalidArgument, "answer")
	var relation socialpb.RelationReply
	w.call(alice, idl.ActionRelation, &socialpb.RelationRequest{UserId: int64(bob)}, &relation)
	if relation.Question != "Where did we meet?" || relation.Apply != socialpb.WhoMayApply_WHO_MAY_APPLY_WITH_ANSWER {
		t.Errorf("got %+v", &relation)
	}
	w.call(alice, idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(bob), Answer: "Rome"}, nil)
	set(socialpb.WhoMayApply_WHO_MAY_APPLY_EVERYBODY, "")
	var list socialpb.ApplicationsReply
	w.call(bob, idl.ActionApplications, &socialpb.ApplicationsRequest{}, &list)
	if len(list.Applications) != 1 || list.Applications[0].Question != "Where did we meet?" || list.Applications[0].Answer != "Rome" {
		t.Errorf("bob sees %+v", list.Applications)
	}
	set(socialpb.WhoMayApply_WHO_MAY_APPLY_NOBODY, "")
	w.apply(bob, carol)
	if !w.apply(carol, bob).Friends {
		t.Error("bob takes no applications, but has applied himself")
	}
}

func TestLimits(t *testing.T) {
	w := start(t, func(c *social.Config) {
		c.MaxFriends, c.MaxSent, c.MaxReceived, c.MaxBlocks, c.MaxGroups = 1, 1, 1, 1, 1
	})
	apply := func(u, to im.UserID) error {
		return w.as(u).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(to)}, nil)
	}
	w.apply(alice, bob)
	wantRefusal(t, apply(alice, carol), idl.CodeLimitExceeded, "")
	wantRefusal(t, apply(carol, bob), idl.CodeLimitExceeded, "user_id")
	w.apply(dave, alice)
	w.call(bob, idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(alice)}, nil)
	wantRefusal(t, w.as(alice).Call(idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(dave)}, nil), idl.CodeLimitExceeded, "")
	wantRefusal(t, apply(alice, carol), idl.CodeLimitExceeded, "")
	w.apply(carol, bob)
	wantRefusal(t, apply(bob, carol), idl.CodeLimitExceeded, "")
	if w.friends(alice) != "bob" || w.friends(dave)+w.friends(carol) != "" || w.pending(dave, true) != "alice" {
		t.Error("something is half done")
	}
	w.call(alice, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: int64(bob)}, nil)
	w.call(alice, idl.ActionAccept, &socialpb.AcceptRequest{UserId: int64(dave)}, nil)
	w.call(alice, idl.ActionBlock, &socialpb.BlockRequest{UserId: int64(bob)}, nil)
	wantRefusal(t, w.as(alice).Call(idl.ActionBlock, &socialpb.BlockRequest{UserId: int64(carol)}, nil), idl.CodeLimitExceeded, "")
	w.call(alice, idl.ActionUnblock, &socialpb.UnblockRequest{UserId: int64(bob)}, nil)
	w.call(alice, idl.ActionBlock, &socialpb.BlockRequest{UserId: int64(carol)}, nil)
	w.call(alice, idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: "a"}, nil)
	wantRefusal(t, w.as(alice).Call(idl.ActionCreateFriendGroup, &socialpb.CreateGroupRequest{Name: "b"}, nil), idl.CodeLimitExceeded, "")
}

func TestApplicationsAreLimitedInTime(t *testing.T) {
	w := start(t, func(c *social.Config) { c.ApplicationsPerHour = 2 })
	w.apply(alice, bob)
	w.apply(alice, carol)
	err := w.as(alice).Call(idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(dave)}, nil)
	wantRefusal(t, err, idl.CodeRateLimited, "")
	w.Advance(time.Hour)
	w.apply(alice, dave)
}

// crowd makes friends of alice's by the fastest way there is: straight into the tables.
func crowd(t testing.TB, w *world, n int) {
	t.Helper()
	tx, err := w.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	run := func(query string, args ...any) {
		if _, err := tx.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	run("INSERT INTO social_people (user_id, version, floor, friends, gone, sent, received, blocks, groups_made, strangers, applying, question, hide_seen) VALUES (?, ?, 0, ?, 0, 0, 0, 0, 0, 0, 0, '', 0)", int64(alice), n, n)
	for i := range n {
		u := 200_000 + i
		w.people.Add(person(im.UserID(u)))
		run("INSERT INTO social_friends (user_id, friend_id, state, alias, group_id, since_ms, version) VALUES (?, ?, 1, '', 0, 1, ?)", int64(alice), u, i+1)
		run("INSERT INTO social_friends (user_id, friend_id, state, alias, group_id, since_ms, version) VALUES (?, ?, 1, '', 0, 1, 1)", u, int64(alice))
		run("INSERT INTO social_people (user_id, version, floor, friends, gone, sent, received, blocks, groups_made, strangers, applying, question, hide_seen) VALUES (?, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, '', 0)", u)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestPagesOfFriends(t *testing.T) {
	w := start(t)
	crowd(t, w, 250)
	var seen []int64
	req, first := &socialpb.FriendsRequest{Limit: 100}, ""
	for {
		var rep socialpb.FriendsReply
		w.call(alice, idl.ActionFriends, req, &rep)
		if first == "" {
			first = rep.Since
		}
		for _, f := range rep.Friends {
			seen = append(seen, f.Person.UserId)
		}
		if !rep.HasMore {
			break
		}
		// Friends who go and come meanwhile move no other.
		w.call(alice, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: seen[len(seen)-1]}, nil)
		w.call(alice, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: seen[0] + int64(len(seen)) + 1}, nil)
		req.Cursor = rep.Next
	}
	if len(seen) != 248 { // one of each two that went was listed
		t.Errorf("got %d, want 248", len(seen))
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] <= seen[i-1] {
			t.Fatalf("%d behind %d", seen[i], seen[i-1])
		}
	}
	removed, since := 0, first
	for {
		var rep socialpb.FriendsReply
		w.call(alice, idl.ActionFriends, &socialpb.FriendsRequest{Since: since, Limit: 3}, &rep)
		for _, f := range rep.Friends {
			if f.Removed {
				removed++
			}
		}
		since = rep.Since
		if !rep.HasMore {
			break
		}
	}
	if removed != 4 {
		t.Errorf("%d were removed since the first page, want 4", removed)
	}
	w.call(alice, idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: 200_000, Alias: "  Zoë "}, nil)
	var rep socialpb.FriendsReply
	w.call(alice, idl.ActionFriends, &socialpb.FriendsRequest{Since: since}, &rep)
	if len(rep.Friends) != 1 || rep.Friends[0].Alias != "Zoë" || rep.Restarted {
		t.Errorf("got %+v", &rep)
	}
}

// What was forgotten is said to be.
func TestChangesThatAreForgotten(t *testing.T) {
	w := start(t)
	crowd(t, w, social.MaxGone+1)
	var first socialpb.FriendsReply
	w.call(alice, idl.ActionFriends, &socialpb.FriendsRequest{}, &first)
	for i := range social.MaxGone + 1 {
		w.call(alice, idl.ActionDeleteFriend, &socialpb.DeleteRequest{UserId: int64(200_000 + i)}, nil)
	}
	var rep socialpb.FriendsReply
	w.call(alice, idl.ActionFriends, &socialpb.FriendsRequest{Since: first.Since}, &rep)
	if !rep.Restarted || len(rep.Friends) != 0 {
		t.Errorf("got %d friends, restarted %v", len(rep.Friends), rep.Restarted)
	}
	var left int
	if err := w.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM social_friends WHERE user_id = ?", int64(alice)).Scan(&left); err != nil || left != social.MaxGone/2 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}

func TestPagesOfApplications(t *testing.T) {
	w := start(t)
	for i := range 5 {
		u := im.UserID(300_000 + i)
		w.people.Add(person(u))
		w.apply(u, alice)
		if i%2 == 0 { // some at the same time
			w.Advance(time.Second)
		}
	}
	var seen []string
	req := &socialpb.ApplicationsRequest{Limit: 2}
	for {
		var rep socialpb.ApplicationsReply
		w.call(alice, idl.ActionApplications, req, &rep)
		for _, a := range rep.Applications {
			seen = append(seen, fmt.Sprint(a.Person.UserId))
		}
		if !rep.HasMore {
			break
		}
		req.Cursor = rep.Next
	}
	if got := strings.Join(seen, " "); got != "300004 300003 300002 300001 300000" {
		t.Errorf("got %s", got)
	}
}

func TestSettings(t *testing.T) {
	w := start(t, func(c *social.Config) { c.Strangers = false })
	var rep socialpb.SettingsReply
	w.call(alice, idl.ActionSocialSettings, nil, &rep)
	if rep.Settings.GetStrangers() || rep.Settings.GetHideLastSeen() {
		t.Errorf("got %+v", &rep)
	}
	var set socialpb.UpdateSettingsReply
	for range 2 {
		w.call(alice, idl.ActionUpdateSocialSettings, &socialpb.UpdateSettingsRequest{Fields: []string{"strangers", "hide_last_seen"}, Strangers: true, HideLastSeen: true, Question: "ignored"}, &set)
	}
	w.wantFiled("social.settings by alice to alice")
	if !set.Settings.Strangers || !set.Settings.HideLastSeen || set.Settings.Question != "" {
		t.Errorf("got %+v", set.Settings)
	}
}
