package group_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/group"
)

func banningUntil(id int64, u im.UserID, untilMs int64) *grouppb.BanFromGroupRequest {
	return &grouppb.BanFromGroupRequest{GroupId: id, UserId: int64(u), UntilMs: untilMs, Reason: "spam"}
}

// addBans files bans of users from 1000 on, until some time.
func addBans(t *testing.T, w *world, id int64, first, n int, untilMs int64) {
	t.Helper()
	for ; n > 0; first, n = first+500, n-500 {
		var rows []string
		for u := first; u < first+min(n, 500); u++ {
			rows = append(rows, fmt.Sprintf("(%d, %d, %d, %d, '', 1)", id, u, untilMs, alice))
		}
		_, err := w.DB().ExecContext(t.Context(), "INSERT INTO group_bans (group_id, user_id, until_ms, by_id, reason, created_ms) VALUES "+strings.Join(rows, ", "))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestBansInPages has pages that end before, at and behind the last ban, without those that are over.
func TestBansInPages(t *testing.T) {
	w := start(t)
	id, other := create(t, w), createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY))
	now := w.Now().UnixMilli()
	addBans(t, w, id, 1000, 200, -1)
	addBans(t, w, id, 1200, 1, now+1)
	addBans(t, w, id, 1201, 5, now) // over
	addBans(t, w, other, 1000, 3, -1)
	for _, limit := range []int32{0, 1, 67, 100, 200} {
		got := map[int64]int{}
		req := &grouppb.GroupBansRequest{GroupId: id, Limit: limit}
		pages := 0
		for more := true; more; pages++ {
			rep := ask[grouppb.GroupBansReply](t, w, alice, idl.ActionGroupBans, req)
			if len(rep.Bans) == 0 {
				t.Fatalf("limit %d: page %d is empty", limit, pages)
			}
			for _, b := range rep.Bans {
				if got[b.UserId]++; b.UserId <= req.AfterUserId {
					t.Fatalf("limit %d: %d behind %d", limit, b.UserId, req.AfterUserId)
				}
			}
			more, req.AfterUserId = rep.HasMore, rep.Bans[len(rep.Bans)-1].UserId
		}
		each := 100
		if limit > 0 {
			each = int(limit)
		}
		if want := (201 + each - 1) / each; len(got) != 201 || pages != want {
			t.Errorf("limit %d: %d people in %d pages, want 201 in %d", limit, len(got), pages, want)
		}
	}
	addBans(t, w, other, 2000, 97, -1)
	for after, want := range map[int64]int{0: 100, 1001: 98, 2096: 0} { // as many as there are: no page is behind it
		rep := ask[grouppb.GroupBansReply](t, w, alice, idl.ActionGroupBans, &grouppb.GroupBansRequest{GroupId: other, AfterUserId: after, Limit: 100})
		if len(rep.Bans) != want || rep.HasMore {
			t.Errorf("behind %d: %d bans, more: %t, want %d", after, len(rep.Bans), rep.HasMore, want)
		}
	}
}

func TestBansRefuses(t *testing.T) {
	w := start(t)
	id, hidden := create(t, w, bob, carol), createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_INVITE_ONLY))
	setRole(t, w, id, carol, grouppb.GroupRole_GROUP_ROLE_ADMIN, int32(grouppb.GroupPermission_GROUP_PERMISSION_MUTE))
	for _, test := range []struct {
		name  string
		by    im.UserID
		req   *grouppb.GroupBansRequest
		code  idl.Code
		field string
	}{
		{"a stranger", dave, &grouppb.GroupBansRequest{GroupId: id}, idl.CodePermissionDenied, ""},
		{"a member", bob, &grouppb.GroupBansRequest{GroupId: id}, idl.CodePermissionDenied, ""},
		{"an admin who may not ban", carol, &grouppb.GroupBansRequest{GroupId: id}, idl.CodePermissionDenied, ""},
		{"a stranger to what is not there for him", dave, &grouppb.GroupBansRequest{GroupId: hidden}, idl.CodeNotFound, "group_id"},
		{"no such group", alice, &grouppb.GroupBansRequest{GroupId: 999}, idl.CodeNotFound, "group_id"},
		{"too many", alice, &grouppb.GroupBansRequest{GroupId: id, Limit: 201}, idl.CodeInvalidArgument, "limit"},
		{"fewer than none", alice, &grouppb.GroupBansRequest{GroupId: id, Limit: -1}, idl.CodeInvalidArgument, "limit"},
		{"behind nobody", alice, &grouppb.GroupBansRequest{GroupId: id, AfterUserId: -1}, idl.CodeInvalidArgument, "after_user_id"},
	} {
		t.Run(test.name, func(t *testing.T) { refuse(t, w, test.by, idl.ActionGroupBans, test.req, test.code, test.field) })
	}
	ask[grouppb.DissolveGroupReply](t, w, alice, idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: id})
	refuse(t, w, alice, idl.ActionGroupBans, &grouppb.GroupBansRequest{GroupId: id}, idl.CodeNotFound, "group_id")
}

// TestBansAreBounded: of as many as there may be one may still be changed, and one that is over makes room.
func TestBansAreBounded(t *testing.T) {
	w := start(t)
	id := create(t, w)
	w.people.Add(personOf(1000))
	now := w.Now().UnixMilli()
	addBans(t, w, id, 1000, 9999, -1)
	addBans(t, w, id, 20_000, 1, now+1)
	refuse(t, w, alice, idl.ActionBanFromGroup, banningUntil(id, dave, -1), idl.CodeLimitExceeded, "user_id")
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, 1000, now+5000))
	w.Advance(time.Millisecond)
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, dave, -1))
	refuse(t, w, alice, idl.ActionBanFromGroup, banningUntil(id, erin, -1), idl.CodeLimitExceeded, "user_id")
}

// TestBanAgain is told once: who asks again, as for a lost answer, is answered as before.
func TestBanAgain(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	w.filed(t)
	n := len(w.messages.Posts())
	for range 2 {
		ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, bob, -1))
	}
	wantEqual(t, "told", w.told(n), []string{"group.banned"})
	wantEqual(t, "he is told", w.filed(t)["group.banned"], []im.UserID{bob})
	for _, again := range []*grouppb.BanFromGroupRequest{banningUntil(id, bob, w.Now().Add(time.Hour).UnixMilli()), {GroupId: id, UserId: int64(bob), UntilMs: -1, Reason: "ham"}} {
		ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, again)
		all := ask[grouppb.GroupBansReply](t, w, alice, idl.ActionGroupBans, &grouppb.GroupBansRequest{GroupId: id}).Bans
		if len(all) != 1 || all[0].UntilMs != again.UntilMs || all[0].Reason != again.Reason {
			t.Errorf("got %v, want %v", all, again)
		}
	}
	wantEqual(t, "told", w.told(n), []string{"group.banned", "group.banned", "group.banned"})
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, dave, 0))
	wantEqual(t, "told of who was not banned", w.told(n+3), nil)
}

// TestBansTellNoStrangers: a ban carries a text, and is no way to write to whom one may not. erin blocks alice.
func TestBansTellNoStrangers(t *testing.T) {
	w := start(t)
	id := createBy(t, w, withPolicy(grouppb.GroupPolicy_GROUP_POLICY_APPROVAL))
	w.filed(t)
	for _, u := range []im.UserID{erin, dave} {
		ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, u, -1))
	}
	wantEqual(t, "strangers who are told", w.filed(t)["group.banned"], nil)
	for _, u := range []im.UserID{erin, dave} {
		ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, u, 0))
	}
	wantEqual(t, "told of the end, but for her who blocks", w.filed(t)["group.unbanned"], []im.UserID{dave})
	ask[grouppb.JoinGroupReply](t, w, dave, idl.ActionJoinGroup, joining(id))
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, dave, -1))
	wantEqual(t, "told, since he waits to come in", w.filed(t)["group.banned"], []im.UserID{dave})
}

// TestBanOfWhoIsInvited takes his invitation from him, and brings him no text of one whom he may block. erin blocks alice.
func TestBanOfWhoIsInvited(t *testing.T) {
	w := start(t)
	id := create(t, w, bob)
	ask[grouppb.InviteToGroupReply](t, w, bob, idl.ActionInviteToGroup, inviting(id, erin))
	w.filed(t)
	ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, erin, -1))
	all := w.messages.Filed(t)
	if len(all) != 1 || all[0].Name != "group.banned" || !slices.Equal(all[0].Users, []im.UserID{erin}) || strings.Contains(all[0].Data, "spam") {
		t.Errorf("got %v", all)
	}
}

// TestEndOfABanAmongFriends: where only friends are invited, no stranger gets a group's name by a ban and its end.
func TestEndOfABanAmongFriends(t *testing.T) {
	w := start(t, func(c *group.Config) { c.Invite = "friends" })
	id := create(t, w)
	for _, untilMs := range []int64{-1, 0} {
		for _, u := range []im.UserID{bob, dave} {
			ask[grouppb.BanFromGroupReply](t, w, alice, idl.ActionBanFromGroup, banningUntil(id, u, untilMs))
		}
	}
	wantEqual(t, "told, who is a friend", w.filed(t)["group.unbanned"], []im.UserID{bob})
}
