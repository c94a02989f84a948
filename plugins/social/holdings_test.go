package social_test

import (
	"encoding/json"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/socialpb"
)

func TestHoldings(t *testing.T) {
	w := start(t)
	w.befriend(alice, bob)
	w.call(bob, idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: int64(alice), Alias: "Al"}, nil)
	w.call(alice, idl.ActionSetAlias, &socialpb.SetAliasRequest{UserId: int64(bob), Alias: "Bobby"}, nil)
	w.newGroup("family")
	w.call(alice, idl.ActionApply, &socialpb.ApplyRequest{UserId: int64(carol), Remark: "hi carol"}, nil)
	w.apply(dave, alice)
	w.block(carol, alice) // hides alice's application
	w.people.Add(person(300_000))
	w.block(alice, 300_000)
	w.watch(alice)
	held := w.people.Holdings()["social"]
	all, err := held.Export(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"alias":"Bobby"`, `"name":"family"`, `"remark":"hi carol"`, `"from":100004`, `"user_id":300000`, `"state":"APPLICATION_STATE_PENDING"`, `"strangers":true`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the copy lacks %s: %s", part, text)
		}
	}
	if strings.Contains(string(text), `"Al"`) || strings.Contains(string(text), `"state":"5"`) {
		t.Errorf("the copy holds what is another's: %s", text)
	}
	w.filed()
	for range 2 {
		if err := held.Erase(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Join(w.filed(), "; ")
	if got != "social.deleted by server to bob; social.expired by server to dave" {
		t.Errorf("told %s", got)
	}
	if w.friends(bob) != "" || w.pending(dave, true) != "" {
		t.Error("others have her still")
	}
	for query, rows := range map[string]int{
		"SELECT count(*) FROM social_people WHERE user_id = ?": 0, "SELECT count(*) FROM social_friends WHERE user_id = ?": 0,
		"SELECT count(*) FROM social_friends WHERE state <> 0 AND friend_id = ?": 0, "SELECT count(*) FROM social_applications WHERE from_id = ?": 0,
		"SELECT count(*) FROM social_applications WHERE to_id = ?": 0, "SELECT count(*) FROM social_blocks WHERE user_id = ?": 0,
		"SELECT count(*) FROM social_blocks WHERE blocked_id = ?": 0, "SELECT count(*) FROM social_groups WHERE user_id = ?": 0, "SELECT count(*) FROM social_seen WHERE user_id = ?": 0,
	} {
		var n int
		if err := w.DB().QueryRowContext(t.Context(), query, int64(alice)).Scan(&n); err != nil || n != rows {
			t.Errorf("%s: got %d, %v", query, n, err)
		}
	}
	var blocks socialpb.BlocksReply
	w.call(carol, idl.ActionBlocks, nil, &blocks)
	if blocks.Total != 0 || len(blocks.Blocked) != 0 {
		t.Errorf("carol blocks %+v", &blocks)
	}
	var counts [2]int
	if err := w.DB().QueryRowContext(t.Context(), "SELECT sent, received FROM social_people WHERE user_id = ?", int64(dave)).Scan(&counts[0], &counts[1]); err != nil || counts != [2]int{} {
		t.Errorf("dave's counts are %v, %v", counts, err)
	}
}

// More people than one transaction takes.
func TestEraseOfMany(t *testing.T) {
	w := start(t)
	crowd(t, w, 120)
	const other im.UserID = 200_070
	if is, err := w.relations().Friend(t.Context(), alice, other); err != nil || !is {
		t.Errorf("a friend: %t, %v", is, err)
	}
	for range 2 {
		if err := w.people.Holdings()["social"].Erase(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.messages.Filed(t)); n != 120 {
		t.Errorf("%d were told", n)
	}
	if is, err := w.relations().Friend(t.Context(), alice, other); err != nil || is {
		t.Errorf("who was erased is a friend: %t, %v", is, err)
	}
	if w.friends(im.UserID(200_119)) != "" {
		t.Error("one has her still")
	}
}
