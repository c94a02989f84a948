package moment_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
	"freeim/plugins/moment"
)

// everybody are alice and those to whom she is something.
var everybody = []im.UserID{alice, bob, carol, dave, eve}

// TestWhoSees puts every visibility to everybody, in every list: by get, feed, one person's
// list and the square.
func TestWhoSees(t *testing.T) {
	for _, test := range []struct {
		name       string
		visibility momentpb.MomentVisibility
		listed     []int64
		change     func(w *world)
		sees       []im.UserID
	}{
		{"friends", toFriends, nil, nil, []im.UserID{alice, bob, carol, eve}},
		{"public", toAll, nil, nil, everybody},
		{"private", toNobody, nil, nil, []im.UserID{alice}},
		{"only these", only, []int64{int64(bob), int64(dave)}, nil, []im.UserID{alice, bob}}, // dave is no friend
		{"not these", except, []int64{int64(bob), int64(dave)}, nil, []im.UserID{alice, carol, eve}},
		{"she blocks eve", toAll, nil, func(w *world) { w.relations.blocks(alice, eve, true) }, []im.UserID{alice, bob, carol, dave}},
		{"eve blocks her", toAll, nil, func(w *world) { w.relations.blocks(eve, alice, true) }, []im.UserID{alice, bob, carol, dave}},
		{"block of one who is listed", only, []int64{int64(eve)}, func(w *world) { w.relations.blocks(eve, alice, true) }, []im.UserID{alice}},
		{"bob is a friend no more", toFriends, nil, func(w *world) { w.relations.befriend(alice, bob, false) }, []im.UserID{alice, carol, eve}},
		{"nor if he is listed", only, []int64{int64(bob)}, func(w *world) { w.relations.befriend(alice, bob, false) }, []im.UserID{alice}},
		{"she has left", toAll, nil, func(w *world) { w.people.Remove(alice) }, []im.UserID{alice}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := start(t)
			id := w.post(alice, test.visibility, test.listed...)
			if test.change != nil {
				test.change(w)
			}
			for _, u := range everybody {
				want := slices.Contains(test.sees, u)
				if got := w.sees(u, id); got != want {
					t.Errorf("%d gets it: %v", u, got)
				}
				friend := u == alice || u != dave && !(test.visibility == toFriends && u == bob && test.change != nil)
				for list, got := range map[string][]string{"feed": w.feed(u, 0), "list": w.list(u, alice, 0), "square": w.square(u, 0)} {
					should := want && (list != "feed" || friend) && (list != "square" || test.visibility == toAll)
					if (len(got) == 1 && got[0] == id) != should || len(got) > 1 {
						t.Errorf("%s of %d: got %v, want it there: %v", list, u, got, should)
					}
				}
			}
		})
	}
}

// TestOnlyTheAuthorSeesToWhom: lists, review and client IDs are for no other eyes.
func TestOnlyTheAuthorSeesToWhom(t *testing.T) {
	w := start(t)
	id := w.post(alice, except, int64(carol), int64(bob), int64(carol))
	if got := w.get(alice, id); got.Visibility != except || !slices.Equal(got.UserIds, []int64{int64(bob), int64(carol)}) || got.ClientId == "" {
		t.Errorf("the author got %+v", got)
	}
	if got := w.get(eve, id); got.Visibility != 0 || len(got.UserIds) > 0 || got.ClientId != "" {
		t.Errorf("a friend got %+v", got)
	}
}

func TestSetVisibility(t *testing.T) {
	w := start(t)
	id := w.post(alice, toFriends)
	set := func(u im.UserID, id string, visibility momentpb.MomentVisibility, listed ...int64) error {
		rep := new(momentpb.SetMomentVisibilityReply)
		err := w.as(u).Call(idl.ActionSetMomentVisibility, &momentpb.SetMomentVisibilityRequest{MomentId: id, Visibility: visibility, UserIds: listed}, rep)
		if err == nil && (rep.Moment.Visibility != visibility || len(rep.Moment.UserIds) != len(listed)) {
			t.Errorf("got %+v", rep.Moment)
		}
		return err
	}
	for _, test := range []struct {
		visibility momentpb.MomentVisibility
		listed     []int64
		bob, dave  bool
	}{
		{toAll, nil, true, true},
		{only, []int64{int64(carol)}, false, false},
		{only, []int64{int64(bob)}, true, false}, // the list is another
		{except, []int64{int64(carol)}, true, false},
		{toNobody, nil, false, false},
		{toFriends, nil, true, false},
	} {
		if err := set(alice, id, test.visibility, test.listed...); err != nil {
			t.Fatal(err)
		}
		if bobs, daves := w.sees(bob, id), w.sees(dave, id); bobs != test.bob || daves != test.dave {
			t.Errorf("%v: bob sees it: %v, dave: %v", test.visibility, bobs, daves)
		}
		if inFeed, inSquare := len(w.feed(bob, 0)) == 1, len(w.square(dave, 0)) == 1; inFeed != test.bob || inSquare != test.dave {
			t.Errorf("%v: in the feed: %v, in the square: %v", test.visibility, inFeed, inSquare)
		}
	}
	wantRefusal(t, set(bob, id, toAll), idl.CodeNotFound, "moment_id")
	wantRefusal(t, set(alice, "2222222222222222", toAll), idl.CodeNotFound, "moment_id")
	wantRefusal(t, set(alice, "x", toAll), idl.CodeInvalidArgument, "moment_id")
	wantRefusal(t, set(alice, id, only), idl.CodeInvalidArgument, "user_ids")
	wantRefusal(t, set(alice, id, 9), idl.CodeInvalidArgument, "visibility")
}

func TestDelete(t *testing.T) {
	w := start(t)
	id := w.post(alice, toAll)
	w.like(bob, id)
	w.comment(bob, id, "")
	remove := func(u im.UserID, id string) error {
		return w.as(u).Call(idl.ActionDeleteMoment, &momentpb.DeleteMomentRequest{MomentId: id}, nil)
	}
	wantRefusal(t, remove(bob, id), idl.CodeNotFound, "moment_id")
	wantRefusal(t, remove(alice, "?"), idl.CodeInvalidArgument, "moment_id")
	if err := remove(alice, id); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, remove(alice, id), idl.CodeNotFound, "moment_id")
	for _, u := range everybody {
		if w.sees(u, id) || len(w.feed(u, 0)) > 0 || len(w.square(u, 0)) > 0 {
			t.Errorf("%d sees it still", u)
		}
	}
	if err := w.plugin.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"moment_moments", "moment_likes", "moment_comments", "moment_lists", "moment_gone WHERE swept = 0"} {
		if n := w.count("SELECT COUNT(*) FROM " + table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}

// TestFeedPages: pages of any size give all that there is, in order, each once, whichever
// way they are found; a cursor is a place and nothing else.
func TestFeedPages(t *testing.T) {
	w := start(t)
	var people []im.UserID
	for u := range im.UserID(150) { // more than are merged at once
		w.relations.befriend(bob, 200_001+u, true)
		w.people.Add(plugin.Person{User: 200_001 + u})
		people = append(people, 200_001+u)
	}
	w.relations.blocks(200_003, bob, true)
	fill(t, w.Host, 200, 6) // 50 of whom are no friends
	w.Advance(time.Hour)
	own := w.post(bob, toNobody)
	old := w.post(alice, except, int64(carol))
	var want []string
	rows, err := w.DB().QueryContext(t.Context(), "SELECT m.id FROM moment_moments m WHERE m.author = ? OR m.author = ? OR "+
		"m.author BETWEEN 200001 AND 200150 AND m.author <> 200003 AND m.feed = 1 AND m.visibility <> 3 ORDER BY m.id DESC", int64(bob), int64(alice))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	if len(want) < 700 || !slices.Contains(want[:2], own) || !slices.Contains(want[:2], old) {
		t.Fatalf("there are %d", len(want))
	}
	for _, limit := range []int32{7, 50} {
		if got := w.feed(bob, limit); !slices.Equal(got, want) {
			t.Errorf("pages of %d: got %d, want %d", limit, len(got), len(want))
		}
	}
	authors := slices.DeleteFunc(slices.Clone(append(people, alice)), func(u im.UserID) bool { return u == 200_003 })
	friends := slices.DeleteFunc(slices.Clone(want), func(id string) bool { return id == own })
	for _, way := range []string{"walk", "merge", "IN", "as it is"} {
		for _, at := range []int{0, 1, 300, len(friends) - 5} {
			before := ""
			if at > 0 {
				before = friends[at-1]
			}
			got, err := w.plugin.FeedBy(t.Context(), way, bob, authors, before, 21)
			if err != nil || !slices.Equal(got, friends[at:min(at+21, len(friends))]) {
				t.Errorf("%s at %d: got %v, %v", way, at, got, err)
			}
		}
	}
	rep := new(momentpb.MomentsReply) // with a cursor of bob's, dave sees what is dave's
	if err := w.as(dave).Call(idl.ActionMomentFeed, &momentpb.FeedRequest{Cursor: want[10]}, rep); err != nil || len(rep.Moments) > 0 || rep.HasMore {
		t.Errorf("got %v, %v", rep, err)
	}
}

// TestPagesFit: a page that would be too long for a session's queue is cut, and goes on behind.
func TestPagesFit(t *testing.T) {
	w := start(t, func(c *moment.Config) { c.PageBytes = 1024 })
	var want []string
	for range 9 {
		want = append(want, w.post(alice, toAll))
	}
	slices.Reverse(want)
	ids, pages := w.pages(bob, idl.ActionMomentFeed, func(c string) idl.Message { return &momentpb.FeedRequest{Cursor: c} })
	if !slices.Equal(ids, want) || pages != 3 {
		t.Errorf("got %v in %d pages", ids, pages)
	}
}

// TestSquareReadsOn instead of what is blocked, for a while.
func TestSquareReadsOn(t *testing.T) {
	w := start(t)
	first := w.post(carol, toAll)
	for range 60 {
		w.post(eve, toAll)
	}
	last := w.post(dave, toAll)
	w.relations.blocks(bob, eve, true)
	for _, limit := range []int32{1, 5, 50} {
		if got := w.square(bob, limit); !slices.Equal(got, []string{last, first}) {
			t.Errorf("pages of %d: got %v", limit, got)
		}
	}
}

func TestListRefusals(t *testing.T) {
	w := start(t)
	for field, req := range map[string]*momentpb.ListMomentsRequest{
		"limit": {Limit: 51}, "limit ": {Limit: -1}, "cursor": {Cursor: "x"}, "cursor ": {Cursor: "' OR 1=1 -- ....."}, "user_id": {UserId: -1},
	} {
		if field[len(field)-1] == ' ' {
			field = field[:len(field)-1]
		}
		wantRefusal(t, w.as(bob).Call(idl.ActionListMoments, req, nil), idl.CodeInvalidArgument, field)
		if field == "user_id" {
			continue
		}
		wantRefusal(t, w.as(bob).Call(idl.ActionMomentFeed, &momentpb.FeedRequest{Cursor: req.Cursor, Limit: req.Limit}, nil), idl.CodeInvalidArgument, field)
		wantRefusal(t, w.as(bob).Call(idl.ActionMomentSquare, &momentpb.SquareRequest{Cursor: req.Cursor, Limit: req.Limit}, nil), idl.CodeInvalidArgument, field)
	}
	if got := w.list(bob, 999_999, 0); len(got) > 0 {
		t.Errorf("of nobody: got %v", got)
	}
	for i := range 3 {
		w.post(bob, momentpb.MomentVisibility(i))
	}
	if got := w.list(bob, 0, 1); len(got) != 3 {
		t.Errorf("one's own: got %v", fmt.Sprint(got))
	}
}

// Somebody else's cursor is a place and nothing more: it shows what one may see anyhow.
func TestCursorsOfOthers(t *testing.T) {
	w := start(t)
	public := w.post(alice, toAll)
	for range 4 {
		w.post(alice, toFriends)
		w.Advance(time.Second)
	}
	page := new(momentpb.MomentsReply)
	if err := w.as(bob).Call(idl.ActionMomentFeed, &momentpb.FeedRequest{Limit: 2}, page); err != nil || len(page.Moments) != 2 || page.Cursor == "" {
		t.Fatalf("got %v, %v", page, err)
	}
	for action, req := range map[idl.Action]idl.Message{
		idl.ActionMomentFeed:   &momentpb.FeedRequest{Cursor: page.Cursor},
		idl.ActionListMoments:  &momentpb.ListMomentsRequest{UserId: int64(alice), Cursor: page.Cursor},
		idl.ActionMomentSquare: &momentpb.SquareRequest{Cursor: page.Cursor},
	} {
		rep := new(momentpb.MomentsReply)
		if err := w.as(dave).Call(action, req, rep); err != nil {
			t.Fatal(err)
		}
		want := 1
		if action == idl.ActionMomentFeed {
			want = 0
		}
		if len(rep.Moments) != want || want == 1 && rep.Moments[0].Id != public {
			t.Errorf("%v: got %v", action, rep.Moments)
		}
	}
}
