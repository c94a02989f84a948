package moment_test

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
	"freeim/plugins/moment"
)

func (w *world) unlike(u im.UserID, id string) (int64, error) {
	rep := new(momentpb.UnlikeReply)
	err := w.as(u).Call(idl.ActionUnlikeMoment, &momentpb.UnlikeRequest{MomentId: id}, rep)
	return rep.Likes, err
}

// likers are all whom u sees like a moment.
func (w *world) likers(u im.UserID, id string, limit int32) (all []im.UserID) {
	w.t.Helper()
	for cursor := ""; ; {
		rep := new(momentpb.LikesReply)
		if err := w.as(u).Call(idl.ActionMomentLikes, &momentpb.LikesRequest{MomentId: id, Cursor: cursor, Limit: limit}, rep); err != nil {
			w.t.Fatal(err)
		}
		for _, l := range rep.Likes {
			all = append(all, im.UserID(l.UserId))
		}
		if cursor = rep.Cursor; !rep.HasMore {
			return all
		}
	}
}

// said are all comments on a moment that u sees.
func (w *world) said(u im.UserID, id string, limit int32) (all []*momentpb.MomentComment) {
	w.t.Helper()
	for cursor := ""; ; {
		rep := new(momentpb.CommentsReply)
		if err := w.as(u).Call(idl.ActionMomentComments, &momentpb.CommentsRequest{MomentId: id, Cursor: cursor, Limit: limit}, rep); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, rep.Comments...)
		if cursor = rep.Cursor; !rep.HasMore {
			return all
		}
	}
}

func (w *world) deleteComment(u im.UserID, id string) error {
	return w.as(u).Call(idl.ActionDeleteComment, &momentpb.DeleteCommentRequest{CommentId: id}, nil)
}

// TestCountsOfManyBlocks are the same each time: of more blocks than are looked at, the first count.
func TestCountsOfManyBlocks(t *testing.T) {
	w := start(t)
	id := w.post(alice, toAll)
	w.like(eve, id)
	w.relations.blocks(bob, eve, true)
	for u := range im.UserID(2_000) {
		w.relations.blocks(bob, 300_000+u, true)
	}
	for range 5 {
		if got := w.get(bob, id); got.Likes != 0 {
			t.Fatalf("%d likes of somebody who is blocked", got.Likes)
		}
	}
}

func TestLikes(t *testing.T) {
	w := start(t)
	id := w.post(alice, toAll)
	for range 2 { // the second time it is known
		if n := w.like(bob, id); n != 1 {
			t.Errorf("%d likes", n)
		}
	}
	if n := w.like(alice, id); n != 2 {
		t.Errorf("%d likes", n)
	}
	want := []plugin.Event{{Users: []im.UserID{alice}, Actor: bob, Name: "moment.liked", Data: `{"moment_id":"` + id + `"}`}}
	if got := w.messages.Filed(t); !reflect.DeepEqual(got, want) {
		t.Errorf("told %v", got)
	}
	if got := w.likers(carol, id, 1); !slices.Equal(got, []im.UserID{bob, alice}) {
		t.Errorf("got %v", got)
	}
	if bobs, carols := w.get(bob, id), w.get(carol, id); !bobs.Liked || carols.Liked || bobs.Likes != 2 {
		t.Errorf("got %+v and %+v", bobs, carols)
	}
	for range 2 {
		if n, err := w.unlike(bob, id); err != nil || n != 1 {
			t.Errorf("%d likes, %v", n, err)
		}
	}
	if n, err := w.unlike(carol, id); err != nil || n != 1 { // who never liked it
		t.Errorf("%d likes, %v", n, err)
	}
	if w.like(bob, id) != 2 || len(w.messages.Filed(t)) != 0 {
		t.Error("the author was told again")
	}
	if got := w.likers(carol, id, 0); !slices.Equal(got, []im.UserID{alice, bob}) {
		t.Errorf("got %v", got)
	}
}

func TestLikesOfWhatIsNotSeen(t *testing.T) {
	w := start(t)
	id := w.post(alice, toFriends)
	w.like(bob, id)
	for _, hidden := range []string{id, "2222222222222222"} { // the same for both
		wantRefusal(t, w.as(dave).Call(idl.ActionLikeMoment, &momentpb.LikeRequest{MomentId: hidden}, nil), idl.CodeNotFound, "moment_id")
		_, err := w.unlike(dave, hidden)
		wantRefusal(t, err, idl.CodeNotFound, "moment_id")
		wantRefusal(t, w.as(dave).Call(idl.ActionMomentLikes, &momentpb.LikesRequest{MomentId: hidden}, nil), idl.CodeNotFound, "moment_id")
		wantRefusal(t, w.as(dave).Call(idl.ActionMomentComments, &momentpb.CommentsRequest{MomentId: hidden}, nil), idl.CodeNotFound, "moment_id")
		wantRefusal(t, w.as(dave).Call(idl.ActionCommentMoment, &momentpb.CommentRequest{ClientId: "a", MomentId: hidden, Text: "x"}, nil), idl.CodeNotFound, "moment_id")
	}
	w.relations.befriend(alice, bob, false) // he may still take his like back, and learns no more
	if n, err := w.unlike(bob, id); err != nil || n != 0 || w.get(alice, id).Likes != 0 {
		t.Errorf("%d likes, %v", n, err)
	}
	for field, req := range map[string]*momentpb.LikesRequest{"limit": {MomentId: id, Limit: 101}, "cursor": {MomentId: id, Cursor: "x"}, "moment_id": {}} {
		wantRefusal(t, w.as(alice).Call(idl.ActionMomentLikes, req, nil), idl.CodeInvalidArgument, field)
	}
}

// TestBlocksHideOpinions: of people between whom there is a block neither sees what the other
// said, and no number tells of it; all others do.
func TestBlocksHideOpinions(t *testing.T) {
	w := start(t)
	id := w.post(alice, toAll)
	for _, u := range []im.UserID{bob, carol, eve} {
		w.like(u, id)
	}
	eves := w.comment(eve, id, "")
	reply := w.comment(carol, id, eves)
	w.relations.blocks(eve, bob, true)
	w.people.Remove(carol)
	w.messages.Filed(t)
	for u, want := range map[im.UserID][]im.UserID{bob: {bob}, eve: {eve}, alice: {bob, eve}, carol: {bob, carol, eve}} {
		if got := w.likers(u, id, 1); !slices.Equal(got, want) {
			t.Errorf("%d sees likes of %v", u, got)
		}
	}
	if got := w.get(bob, id); got.Likes != 2 || got.Comments != 1 {
		t.Errorf("bob counts %d likes and %d comments", got.Likes, got.Comments)
	}
	if got := w.get(alice, id); got.Likes != 3 || got.Comments != 2 {
		t.Errorf("alice counts %d likes and %d comments", got.Likes, got.Comments)
	}
	w.people.Add(plugin.Person{User: carol})
	if got := w.said(bob, id, 1); len(got) != 1 || got[0].Id != reply || got[0].ReplyTo != "" || got[0].ReplyToUserId != 0 {
		t.Errorf("bob sees %v", got)
	}
	if got := w.said(alice, id, 1); len(got) != 2 || got[1].ReplyTo != eves || got[1].ReplyToUserId != int64(eve) {
		t.Errorf("alice sees %v", got)
	}
	err := w.as(bob).Call(idl.ActionCommentMoment, &momentpb.CommentRequest{ClientId: "a", MomentId: id, Text: "x", ReplyTo: eves}, nil)
	wantRefusal(t, err, idl.CodeNotFound, "reply_to")
}

func TestComments(t *testing.T) {
	w := start(t)
	id, other := w.post(alice, toAll), w.post(alice, toAll)
	elsewhere := w.comment(alice, other, "")
	w.messages.Filed(t)
	for _, test := range []struct {
		name  string
		req   *momentpb.CommentRequest
		code  idl.Code
		field string
	}{
		{"empty", &momentpb.CommentRequest{MomentId: id}, idl.CodeInvalidArgument, "text"},
		{"501 characters", &momentpb.CommentRequest{MomentId: id, Text: strings.Repeat("长", 501)}, idl.CodeInvalidArgument, "text"},
		{"control character", &momentpb.CommentRequest{MomentId: id, Text: "\x00"}, idl.CodeInvalidArgument, "text"},
		{"no moment", &momentpb.CommentRequest{Text: "x"}, idl.CodeInvalidArgument, "moment_id"},
		{"no such moment", &momentpb.CommentRequest{MomentId: "2222222222222222", Text: "x"}, idl.CodeNotFound, "moment_id"},
		{"no comment", &momentpb.CommentRequest{MomentId: id, Text: "x", ReplyTo: "x"}, idl.CodeInvalidArgument, "reply_to"},
		{"no such comment", &momentpb.CommentRequest{MomentId: id, Text: "x", ReplyTo: "2222222222222222"}, idl.CodeNotFound, "reply_to"},
		{"another moment's", &momentpb.CommentRequest{MomentId: id, Text: "x", ReplyTo: elsewhere}, idl.CodeNotFound, "reply_to"},
		{"client ID", &momentpb.CommentRequest{MomentId: id, Text: "x", ClientId: "a b"}, idl.CodeInvalidArgument, "client_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.req.ClientId == "" {
				test.req.ClientId = "a"
			}
			wantRefusal(t, w.as(bob).Call(idl.ActionCommentMoment, test.req, nil), test.code, test.field)
		})
	}
	req := &momentpb.CommentRequest{ClientId: "a", MomentId: id, Text: strings.Repeat("长", 500)}
	first, again := new(momentpb.CommentReply), new(momentpb.CommentReply)
	for _, rep := range []*momentpb.CommentReply{first, again} {
		if err := w.as(bob).Call(idl.ActionCommentMoment, req, rep); err != nil || rep.Text != req.Text {
			t.Fatal(rep, err)
		}
	}
	if first.Duplicate || !again.Duplicate || again.CommentId != first.CommentId || w.get(alice, id).Comments != 1 {
		t.Errorf("got %v and %v", first, again)
	}
	err := w.as(bob).Call(idl.ActionCommentMoment, &momentpb.CommentRequest{ClientId: "a", MomentId: other, Text: req.Text}, nil)
	wantRefusal(t, err, idl.CodeConflict, "client_id")
	if err := w.deleteComment(bob, first.CommentId); err != nil {
		t.Fatal(err)
	}
	if err := w.as(bob).Call(idl.ActionCommentMoment, req, again); err != nil || again.CommentId != first.CommentId || w.get(alice, id).Comments != 0 {
		t.Errorf("a resend of what was deleted: got %v, %v", again, err)
	}
}

// TestWhoIsTold of comments: the moment's author, and whose comment was replied to, if he still
// sees the moment; nobody of what he did himself.
func TestWhoIsTold(t *testing.T) {
	for _, test := range []struct {
		name   string
		by     im.UserID
		of     im.UserID // whose comment is replied to; 0: none
		change func(w *world)
		want   map[im.UserID]string
	}{
		{"a comment", bob, 0, nil, map[im.UserID]string{alice: "moment.commented"}},
		{"of the author", alice, 0, nil, nil},
		{"a reply", bob, carol, nil, map[im.UserID]string{alice: "moment.commented", carol: "moment.replied"}},
		{"to oneself", bob, bob, nil, map[im.UserID]string{alice: "moment.commented"}},
		{"to the author", bob, alice, nil, map[im.UserID]string{alice: "moment.replied"}},
		{"of the author to one", alice, carol, nil, map[im.UserID]string{carol: "moment.replied"}},
		{"to one who is a friend no more", bob, carol, func(w *world) { w.relations.befriend(alice, carol, false) }, map[im.UserID]string{alice: "moment.commented"}},
		{"to one who blocks the author", bob, carol, func(w *world) { w.relations.blocks(carol, alice, true) }, map[im.UserID]string{alice: "moment.commented"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := start(t)
			id, to := w.post(alice, toFriends), ""
			if test.of != 0 {
				to = w.comment(test.of, id, "")
			}
			if test.change != nil {
				test.change(w)
			}
			w.messages.Filed(t)
			w.comment(test.by, id, to)
			got := map[im.UserID]string{}
			for _, e := range w.messages.Filed(t) {
				if len(e.Users) != 1 || e.Actor != test.by || !strings.Contains(e.Data, `"moment_id":"`+id+`","comment_id":`) {
					t.Errorf("told %+v", e)
				}
				got[e.Users[0]] = e.Name
			}
			if len(got) != len(test.want) || len(got) > 0 && !reflect.DeepEqual(got, test.want) {
				t.Errorf("told %v", got)
			}
		})
	}
}

func TestDeleteComment(t *testing.T) {
	w := start(t)
	id := w.post(alice, toAll)
	for who, allowed := range map[im.UserID]bool{bob: true, alice: true, carol: false, dave: false} {
		comment := w.comment(bob, id, "")
		before := w.get(alice, id).Comments
		err := w.deleteComment(who, comment)
		if allowed && (err != nil || w.get(alice, id).Comments != before-1) {
			t.Errorf("by %d: %v", who, err)
		}
		if allowed {
			err = w.deleteComment(who, comment) // again
		}
		wantRefusal(t, err, idl.CodeNotFound, "comment_id")
	}
	wantRefusal(t, w.deleteComment(bob, ""), idl.CodeInvalidArgument, "comment_id")
	comment := w.comment(bob, id, "")
	w.relations.blocks(alice, bob, true) // one's own goes, wherever it is
	if err := w.deleteComment(bob, comment); err != nil {
		t.Error(err)
	}
}

func TestOpinionsAreLimited(t *testing.T) {
	w := start(t, func(c *moment.Config) { c.LikesPerMinute, c.CommentsPerMinute, c.ChangesPerMinute = 2, 2, 2 })
	id := w.post(alice, toAll)
	w.like(bob, id)
	if _, err := w.unlike(bob, id); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, w.as(bob).Call(idl.ActionLikeMoment, &momentpb.LikeRequest{MomentId: id}, nil), idl.CodeRateLimited, "")
	w.comment(bob, id, "")
	w.comment(bob, id, "")
	wantRefusal(t, w.as(bob).Call(idl.ActionCommentMoment, &momentpb.CommentRequest{ClientId: "z", MomentId: id, Text: "x"}, nil), idl.CodeRateLimited, "")
	change := &momentpb.SetMomentVisibilityRequest{MomentId: id, Visibility: toAll}
	for range 2 {
		if err := w.as(alice).Call(idl.ActionSetMomentVisibility, change, nil); err != nil {
			t.Fatal(err)
		}
	}
	wantRefusal(t, w.as(alice).Call(idl.ActionSetMomentVisibility, change, nil), idl.CodeRateLimited, "")
}

// TestLikeRace likes and takes back from many sessions at once: the counter tells what there is.
func TestLikeRace(t *testing.T) {
	w := start(t)
	id := w.post(alice, toAll)
	var wg sync.WaitGroup
	for i := range 8 {
		s := w.as([]im.UserID{bob, carol}[i%2])
		wg.Go(func() {
			for n := range 10 {
				action, req := idl.ActionLikeMoment, idl.Message(&momentpb.LikeRequest{MomentId: id})
				if (i+n)%3 == 0 {
					action, req = idl.ActionUnlikeMoment, &momentpb.UnlikeRequest{MomentId: id}
				}
				if err := s.Call(action, req, nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	w.like(bob, id)
	if likes, rows := w.get(alice, id).Likes, w.count("SELECT COUNT(*) FROM moment_likes WHERE gone = 0"); int(likes) != rows || len(w.likers(alice, id, 0)) != rows {
		t.Errorf("%d likes are counted, there are %d", likes, rows)
	}
	if told := w.messages.Filed(t); len(told) > 2 {
		t.Errorf("told %v", told)
	}
}

// TestDeleteWhileCommenting: a comment is on a moment that there is, or refused.
func TestDeleteWhileCommenting(t *testing.T) {
	w := start(t)
	for range 10 {
		id := w.post(alice, toAll)
		var wg sync.WaitGroup
		author := w.as(alice)
		var sessions [4]*plugintest.Session
		for i := range sessions {
			sessions[i] = w.as(bob)
			req := &momentpb.CommentRequest{ClientId: w.clientID(), MomentId: id, Text: "x"}
			wg.Go(func() {
				if err := sessions[i].Call(idl.ActionCommentMoment, req, nil); err != nil {
					wantRefusal(t, err, idl.CodeNotFound, "moment_id")
				}
			})
		}
		wg.Go(func() {
			if err := author.Call(idl.ActionDeleteMoment, &momentpb.DeleteMomentRequest{MomentId: id}, nil); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
	if err := w.plugin.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.count("SELECT COUNT(*) FROM moment_comments"); n != 0 {
		t.Errorf("%d comments are left", n)
	}
}

// TestVisibilityChangesMeanwhile: what is decided before a transaction is decided again in it.
func TestVisibilityChangesMeanwhile(t *testing.T) {
	w := start(t)
	id := w.post(alice, toAll)
	s := w.as(bob)
	w.plugin.BeforeChanges(func() {
		if _, err := w.DB().ExecContext(t.Context(), "UPDATE moment_moments SET visibility = 2, feed = 0, square = 0"); err != nil {
			t.Error(err)
		}
	})
	wantRefusal(t, s.Call(idl.ActionLikeMoment, &momentpb.LikeRequest{MomentId: id}, nil), idl.CodeNotFound, "moment_id")
	if _, err := w.DB().ExecContext(t.Context(), "UPDATE moment_moments SET visibility = 1, feed = 1, square = 1"); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, s.Call(idl.ActionCommentMoment, &momentpb.CommentRequest{ClientId: "a", MomentId: id, Text: "x"}, nil), idl.CodeNotFound, "moment_id")
	if n := w.count("SELECT COUNT(*) FROM moment_likes") + w.count("SELECT COUNT(*) FROM moment_comments"); n > 0 || len(w.messages.Filed(t)) > 0 {
		t.Errorf("%d were filed", n)
	}
}
