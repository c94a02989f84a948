package moment_test

import (
	"encoding/json"
	"strings"
	"testing"

	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
)

func TestHoldings(t *testing.T) {
	w := start(t)
	mine, gone := w.post(bob, only, int64(alice)), w.post(bob, toAll)
	theirs := w.post(alice, except, int64(carol))
	w.post(alice, only, int64(bob), int64(carol))
	w.like(bob, theirs)
	w.like(alice, mine)
	first := w.comment(bob, theirs, "")
	w.comment(alice, theirs, first)
	w.comment(alice, mine, "")
	if err := w.as(bob).Call(idl.ActionDeleteMoment, &momentpb.DeleteMomentRequest{MomentId: gone}, nil); err != nil {
		t.Fatal(err)
	}
	holdings := w.people.Holdings()["moment"]
	copied := func() string {
		t.Helper()
		all, err := holdings.Export(t.Context(), bob)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := copied()
	for _, want := range []string{`"id":"` + mine + `"`, `"user_ids":[100001]`, `"likes":[{"moment_id":"` + theirs, `"comments":[{"id":"` + first} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	if strings.Contains(text, gone) {
		t.Errorf("%s has what was deleted", text)
	}
	for range 2 {
		if err := holdings.Erase(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		if text := copied(); text != `{"moments":[],"likes":[],"comments":[]}` {
			t.Errorf("left: %s", text)
		}
	}
	for _, query := range []string{
		"moment_moments WHERE author = ?", "moment_likes WHERE user_id = ?", "moment_comments WHERE author = ?", "moment_lists WHERE user_id = ?",
		"moment_authors WHERE user_id = ?", "moment_gone WHERE author = ?",
	} {
		if n := w.count("SELECT COUNT(*) FROM "+query, int64(bob)); n != 0 {
			t.Errorf("%s: %d rows", query, n)
		}
	}
	if n := w.count("SELECT COUNT(*) FROM moment_comments"); n != 1 {
		t.Errorf("%d comments are left, want the reply", n)
	}
	if got := w.get(alice, theirs); got.Likes != 0 || got.Comments != 1 {
		t.Errorf("got %+v", got)
	}
}
