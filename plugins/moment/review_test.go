package moment_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/momentpb"
	"freeim/plugins/moment"
)

// ask calls one of the plugin's pages.
func (w *world) ask(method string, values url.Values, into any) int {
	w.t.Helper()
	mux := http.NewServeMux()
	for _, page := range w.plugin.Pages() {
		mux.Handle(page.Pattern, page.Handler)
	}
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequestWithContext(w.t.Context(), method, "/moments?"+values.Encode(), nil))
	if into != nil {
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			w.t.Errorf("%s: %v", rec.Body, err)
		}
	}
	return rec.Code
}

type listed struct {
	Moments []struct {
		ID, Text, State, Visibility, Reason string
		Author                              int64
	}
	Next string
}

func TestReviewBefore(t *testing.T) {
	w := start(t, func(c *moment.Config) { c.Review = "before" })
	rep := w.publish(alice, &momentpb.PublishMomentRequest{Text: "x", Visibility: toAll})
	other := w.publish(alice, &momentpb.PublishMomentRequest{Text: "y", Visibility: toAll})
	if rep.Review != momentpb.MomentReview_MOMENT_REVIEW_WAITING {
		t.Errorf("got %v", rep)
	}
	hidden := func(when string) {
		t.Helper()
		for _, u := range everybody[1:] {
			if w.sees(u, rep.MomentId) || len(w.feed(u, 0)) > 0 || len(w.square(u, 0)) > 0 || len(w.list(u, alice, 0)) > 0 {
				t.Errorf("%s: %d sees it", when, u)
			}
		}
		if !w.sees(alice, rep.MomentId) || len(w.feed(alice, 0)) != 2 || len(w.square(alice, 0)) != 0 {
			t.Errorf("%s: the author does not see it as she should", when)
		}
	}
	hidden("before")
	err := w.as(alice).Call(idl.ActionSetMomentVisibility, &momentpb.SetMomentVisibilityRequest{MomentId: rep.MomentId, Visibility: toAll}, nil)
	if err != nil {
		t.Fatal(err)
	}
	hidden("after a change of its visibility")
	var page listed
	if code := w.ask("GET", url.Values{"limit": {"1"}}, &page); code != 200 || len(page.Moments) != 1 || page.Moments[0].ID != rep.MomentId ||
		page.Moments[0].State != "waiting" || page.Moments[0].Visibility != "public" || page.Next != rep.MomentId {
		t.Errorf("got %d, %+v", code, page)
	}
	page = listed{}
	if w.ask("GET", url.Values{"after": {rep.MomentId}}, &page); len(page.Moments) != 1 || page.Moments[0].ID != other.MomentId || page.Next != "" {
		t.Errorf("got %+v", page)
	}
	if code := w.ask("POST", url.Values{"id": {rep.MomentId}, "verdict": {"deny"}, "reason": {"not here"}, "by": {"rita"}}, nil); code != 200 {
		t.Errorf("deny: %d", code)
	}
	hidden("denied")
	if got := w.get(alice, rep.MomentId); got.Review != momentpb.MomentReview_MOMENT_REVIEW_REFUSED || got.ReviewReason != "not here" {
		t.Errorf("got %+v", got)
	}
	page = listed{}
	if w.ask("GET", url.Values{"state": {"refused"}}, &page); len(page.Moments) != 1 || page.Moments[0].Reason != "not here" {
		t.Errorf("got %+v", page)
	}
	approve := url.Values{"id": {rep.MomentId}, "verdict": {"approve"}}
	if code := w.ask("POST", approve, nil); code != 200 || !w.sees(dave, rep.MomentId) || len(w.feed(bob, 0)) != 1 || len(w.square(dave, 0)) != 1 {
		t.Errorf("approve: %d", code)
	}
	if code := w.ask("POST", approve, nil); code != 409 {
		t.Errorf("approve again: %d", code)
	}
	id := `{"moment_id":"` + rep.MomentId + `",`
	want := []plugin.Event{
		{Users: []im.UserID{alice}, Name: "moment.reviewed", Data: id + `"approved":false,"reason":"not here"}`},
		{Users: []im.UserID{alice}, Name: "moment.reviewed", Data: id + `"approved":true}`},
	}
	if got := w.messages.Filed(t); !reflect.DeepEqual(got, want) {
		t.Errorf("told %+v", got)
	}
	if code := w.ask("POST", url.Values{"id": {rep.MomentId}, "verdict": {"deny"}}, nil); code != 200 || w.sees(dave, rep.MomentId) { // taken down
		t.Errorf("deny later: %d", code)
	}
	for name, values := range map[string]url.Values{
		"no verdict": {"id": {rep.MomentId}}, "long reason": {"verdict": {"deny"}, "reason": {strings.Repeat("x", 201)}},
		"two lines": {"verdict": {"deny"}, "reason": {"a\nb"}}, "no UTF-8": {"verdict": {"deny"}, "by": {"\xff"}},
	} {
		if code := w.ask("POST", values, nil); code != 400 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code := w.ask("POST", url.Values{"id": {"2222222222222222"}, "verdict": {"deny"}}, nil); code != 404 {
		t.Errorf("nothing: %d", code)
	}
	for _, values := range []url.Values{{"limit": {"x"}}, {"limit": {"501"}}, {"state": {"x"}}} {
		if code := w.ask("GET", values, nil); code != 400 {
			t.Errorf("%v: %d", values, code)
		}
	}
}

// TestRules: hooks in Lua see moments and comments, refuse them and change their texts.
func TestRules(t *testing.T) {
	w := startWith(t, plugintest.Options{Scripts: map[string]string{"a.lua": `local im = require("im")
im.before("moment.publish", function(c)
	if c.req.text == "spam" then return im.deny("rejected", "no spam") end
	if c.req.text ~= "" then c.req.text = string.gsub(c.req.text, "damn", "****") end
end, {name = "moments", on_error = "closed"})
im.before("moment.comment", function(c)
	if c.req.text == "spam" then return im.deny("rejected", "no spam") end
	c.req.text = string.gsub(c.req.text, "damn", "****")
end, {name = "comments", on_error = "closed"})`}})
	req := &momentpb.PublishMomentRequest{ClientId: "a", Text: "spam"}
	wantRefusal(t, w.as(alice).Call(idl.ActionPublishMoment, req, nil), idl.CodeRejected, "")
	req.Text = "damn!"
	id := w.publish(alice, req).MomentId
	if got := w.get(bob, id); got.Text != "****!" {
		t.Errorf("got %q", got.Text)
	}
	if again := w.publish(alice, req); !again.Duplicate { // what was asked for, not what was stored
		t.Errorf("got %v", again)
	}
	if pictures := w.publish(alice, &momentpb.PublishMomentRequest{Images: manyImages(1)}); !w.sees(bob, pictures.MomentId) {
		t.Error("rules need a text")
	}
	comment := &momentpb.CommentRequest{ClientId: "a", MomentId: id, Text: "spam"}
	wantRefusal(t, w.as(bob).Call(idl.ActionCommentMoment, comment, nil), idl.CodeRejected, "")
	comment.Text = "damn."
	rep := new(momentpb.CommentReply)
	if err := w.as(bob).Call(idl.ActionCommentMoment, comment, rep); err != nil || rep.Text != "****." {
		t.Errorf("got %v, %v", rep, err)
	}
	if got := w.said(alice, id, 0); len(got) != 1 || got[0].Text != "****." {
		t.Errorf("got %v", got)
	}
}
