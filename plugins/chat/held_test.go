package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// holding are rules that hold what begins so.
const holding = `local im = require("im")
im.on_message(function(c)
	if c.text:sub(1, 4) == "wait" then return im.hold("newcomers", {deadline = "1h", otherwise = "deny"}) end
	if c.text:sub(1, 4) == "late" then return im.hold("others", {deadline = "2h", otherwise = "allow"}) end
	if c.text:sub(1, 4) == "spam" then return im.shadow() end
	if c.text:sub(1, 4) == "less" then c.text = c.text:sub(6) return im.hold("newcomers") end
end, {name = "hold", on_error = "closed"})`

// review is a host with the plugin, and its reviewers' page.
type review struct {
	*plugintest.Host
	chat  *chat.Chat
	pages []plugin.Page
}

func reviewed(t *testing.T, dir string, change ...func(*chat.Config)) review {
	t.Helper()
	p := chat.New()
	for _, set := range change {
		set(p.Config().(*chat.Config))
	}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory},
		Scripts: map[string]string{"a.lua": holding}, Dir: dir, Presence: presence.NewMemory()})
	return review{h, p, p.Pages()}
}

type shownMessage struct{ ID, Conversation, Queue, Rule, Text, State, Otherwise, Reason, By string }

// ask asks the page of that number.
func (r review) ask(t *testing.T, page int, values url.Values, into any) int {
	t.Helper()
	method, _, _ := strings.Cut(r.pages[page].Pattern, " ")
	w := httptest.NewRecorder()
	r.pages[page].Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/held?"+values.Encode(), nil))
	if into != nil && w.Code < 500 && w.Code != http.StatusBadRequest && w.Code != http.StatusNotFound {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("got %s: %v", w.Body, err)
		}
	}
	return w.Code
}

// waits are the texts that wait for reviewers.
func (r review) waits(t *testing.T, values url.Values) (texts []string, next string) {
	t.Helper()
	var page struct {
		Held []shownMessage
		Next string
	}
	if code := r.ask(t, 0, values, &page); code != http.StatusOK {
		t.Fatalf("the page answers %d", code)
	}
	for _, m := range page.Held {
		texts = append(texts, m.Text)
	}
	return texts, page.Next
}

func (r review) decide(t *testing.T, id, verdict, reason string) (m shownMessage, code int) {
	t.Helper()
	code = r.ask(t, 1, url.Values{"id": {id}, "verdict": {verdict}, "reason": {reason}, "by": {"rita"}}, &m)
	return m, code
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen", what)
		}
		pause, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		<-pause.Done()
		cancel()
	}
}

// told are the pushes about held messages, as "client_id state reason".
func told(t *testing.T, pushes []plugintest.Received) (out []string) {
	t.Helper()
	for _, p := range pushes {
		if p.Action != idl.ActionHeld {
			continue
		}
		m := new(chatpb.Held)
		if err := p.Decode(m); err != nil {
			t.Fatal(err)
		}
		if (m.MessageId != "") != (m.State == chatpb.HeldState_HELD_STATE_APPROVED) || m.HeldId == "" || m.ConversationId == "" {
			t.Errorf("got %+v", m)
		}
		out = append(out, strings.TrimSpace(fmt.Sprint(m.ClientId, " ", strings.ToLower(strings.TrimPrefix(m.State.String(), "HELD_STATE_")), " ", m.Reason)))
	}
	return out
}

// listed asks for a person's own held messages.
func listed(t *testing.T, s *plugintest.Session, req *chatpb.HeldRequest) *chatpb.HeldReply {
	t.Helper()
	rep := new(chatpb.HeldReply)
	if err := s.Call(idl.ActionHeld, req, rep); err != nil {
		t.Fatal(err)
	}
	return rep
}

// nothingHeld reports whether nothing of a person's waits, or is remembered.
func nothingHeld(t *testing.T, s *plugintest.Session) func() bool {
	return func() bool { return len(listed(t, s, &chatpb.HeldRequest{}).Held) == 0 }
}

// What is held is seen by its sender only, what he sends after it waits behind it, and both
// are committed in their order when it is approved.
func TestHoldApproved(t *testing.T) {
	r := reviewed(t, "")
	phone, desk := r.As(alice, "phone", idl.CodecProtobuf), r.As(alice, "desk", idl.CodecJSON)
	bobs, carols := r.As(bob, "tab", idl.CodecJSON), r.As(carol, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "wait one")
	if first.HeldId == "" || first.MessageId != "" || first.Seq != 0 || first.InboxSeq != 0 || first.ConversationId != "c_100001_100002" || first.Duplicate || first.TimeMs == 0 {
		t.Errorf("got %+v", first)
	}
	second := send(t, desk, bob, "m2", "two")
	if second.HeldId <= first.HeldId || second.MessageId != "" {
		t.Errorf("what comes behind got %+v", second)
	}
	if got := told(t, desk.Pushes()); !slices.Equal(got, []string{"m1 waiting"}) {
		t.Errorf("the other device was told %q", got)
	}
	if got := told(t, phone.Pushes()); !slices.Equal(got, []string{"m2 waiting"}) {
		t.Errorf("the other device was told %q", got)
	}
	if got := send(t, phone, carol, "m3", "hi"); got.HeldId != "" || got.Seq != 1 {
		t.Errorf("another conversation got %+v", got)
	}
	if got := send(t, bobs, alice, "b1", "hello"); got.HeldId != "" || got.Seq != 1 {
		t.Errorf("the peer got %+v", got)
	}
	if again := send(t, desk, bob, "m1", "wait one"); again.HeldId != first.HeldId || !again.Duplicate {
		t.Errorf("a resend got %+v", again)
	}
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Text: "x"}, nil), idl.CodeConflict, "client_id")
	if list := listed(t, phone, &chatpb.HeldRequest{Limit: 1}); len(list.Held) != 1 || !list.HasMore || list.Held[0].Text != "wait one" {
		t.Errorf("the list is %+v", list)
	}
	if list := listed(t, desk, &chatpb.HeldRequest{AfterHeldId: first.HeldId}); len(list.Held) != 1 || list.HasMore || list.Held[0].HeldId != second.HeldId {
		t.Errorf("the list is %+v", list)
	}
	if list := listed(t, bobs, &chatpb.HeldRequest{}); len(list.Held) != 0 {
		t.Errorf("the peer's list is %+v", list)
	}
	for name, req := range map[string]*chatpb.HeldRequest{"limit": {Limit: 101}, "after_held_id": {AfterHeldId: "x"}} {
		wantRefusal(t, phone.Call(idl.ActionHeld, req, nil), idl.CodeInvalidArgument, name)
	}
	if got, _ := r.waits(t, nil); !slices.Equal(got, []string{"wait one"}) {
		t.Errorf("reviewers see %q", got)
	}
	desk.Pushes()
	phone.Pushes()
	if got := entries(t, bobs); len(got) != 0 || inbox(t, bobs) != "1 hello" {
		t.Errorf("the peer got %+v", got)
	}

	if m, code := r.decide(t, first.HeldId, "approve", ""); code != http.StatusOK || m.State != "approved" || m.By != "rita" || m.Queue != "newcomers" || !strings.HasPrefix(m.Rule, "hold@a.lua:") {
		t.Errorf("got %d %+v", code, m)
	}
	eventually(t, "both are committed", func() bool { return inbox(t, bobs) == "1 hello, 2 wait one, 3 two" })
	eventually(t, "nothing is held", nothingHeld(t, phone))
	if got := entries(t, bobs); len(got) != 2 || got[0].Message.Text != "wait one" || got[0].InboxSeq != 2 || got[1].Message.ClientId != "m2" {
		t.Errorf("the peer was pushed %+v", got)
	}
	var pushes []plugintest.Received
	var outcomes []string
	eventually(t, "the sender is told", func() bool {
		more := phone.Pushes()
		pushes, outcomes = append(pushes, more...), append(outcomes, told(t, more)...)
		return len(outcomes) == 2
	})
	if !slices.Equal(outcomes, []string{"m1 approved", "m2 approved"}) || len(entries(t, desk)) != 2 {
		t.Errorf("the sender was told %q", outcomes)
	}
	if again := send(t, phone, bob, "m1", "wait one"); again.HeldId != "" || again.Seq != 2 || !again.Duplicate {
		t.Errorf("a resend got %+v", again)
	}
	if m, code := r.decide(t, first.HeldId, "deny", ""); code != http.StatusNotFound {
		t.Errorf("deciding again got %d %+v", code, m)
	}
	if got := send(t, phone, bob, "m4", "four"); got.HeldId != "" || got.Seq != 4 {
		t.Errorf("got %+v", got)
	}
	if got := entries(t, carols); len(got) != 1 {
		t.Errorf("carol got %+v", got)
	}
}

// What is denied never comes, its sender hears why, and what waited behind it goes on.
func TestHoldDenied(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "less lies")
	if !first.Rewritten || first.Text != "lies" {
		t.Errorf("got %+v", first)
	}
	send(t, phone, bob, "m2", "wait too")
	send(t, phone, bob, "m3", "three")
	if m, code := r.decide(t, first.HeldId, "deny", "not nice"); code != http.StatusOK || m.State != "denied" || m.Reason != "not nice" || m.Text != "lies" {
		t.Errorf("got %d %+v", code, m)
	}
	if m, code := r.decide(t, first.HeldId, "approve", ""); code != http.StatusConflict || m.State != "denied" {
		t.Errorf("deciding again got %d %+v", code, m)
	}
	err := phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Text: "less lies"}, nil)
	wantRefusal(t, err, idl.CodeRejected, "")
	if refused, _ := errors.AsType[*im.Error](err); refused == nil || refused.Reason != "not nice" {
		t.Errorf("a resend got %v", err)
	}
	if got := told(t, phone.Pushes()); !slices.Equal(got, []string{"m1 denied not nice"}) {
		t.Errorf("the sender was told %q", got)
	}
	texts, _ := r.waits(t, url.Values{"queue": {"newcomers"}})
	if !slices.Equal(texts, []string{"wait too"}) || inbox(t, bobs) != "" {
		t.Errorf("reviewers see %q", texts)
	}
	list := listed(t, phone, &chatpb.HeldRequest{})
	if len(list.Held) != 3 || list.Held[0].State != chatpb.HeldState_HELD_STATE_DENIED || list.Held[0].Reason != "not nice" {
		t.Fatalf("the list is %+v", list)
	}
	r.decide(t, list.Held[1].HeldId, "approve", "")
	eventually(t, "the others are committed", func() bool { return inbox(t, bobs) == "1 wait too, 2 three" })
	// A day later nothing is known of it, and the rules are asked again.
	r.Advance(25 * time.Hour)
	eventually(t, "it is forgotten", nothingHeld(t, phone))
	if again := send(t, phone, bob, "m1", "less lies"); again.HeldId == "" || again.HeldId == first.HeldId {
		t.Errorf("got %+v", again)
	}
}

// Nobody decides: the deadline does, as the rule said; a later one behind an earlier one
// keeps its place.
func TestHoldDeadline(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	send(t, phone, bob, "m1", "late one")
	send(t, phone, bob, "m2", "wait two")
	send(t, phone, bob, "m3", "three")
	phone.Pushes()
	r.Advance(61 * time.Minute)
	eventually(t, "the first deadline", func() bool {
		return slices.Equal(told(t, phone.Pushes()), []string{"m2 denied nobody decided in time"})
	})
	if got := inbox(t, bobs); got != "" {
		t.Errorf("the peer has %q", got)
	}
	r.Advance(60 * time.Minute)
	eventually(t, "the second deadline", func() bool { return inbox(t, bobs) == "1 late one, 2 three" })
}

// More than may wait are refused, and those that wait stay.
func TestHoldBounds(t *testing.T) {
	r := reviewed(t, "", func(c *chat.Config) { c.HeldOfOne, c.HeldOfAll = 2, 2 })
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	send(t, phone, bob, "m1", "wait one")
	send(t, phone, bob, "m2", "two")
	for text, code := range map[string]idl.Code{"wait three": idl.CodeLimitExceeded, "three": idl.CodeRateLimited} { // the second may come later
		wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m3", ToUserId: int64(bob), Text: text}, nil), code, "")
	}
	send(t, phone, carol, "m4", "another conversation")
	send(t, bobs, carol, "b1", "wait")
	wantRefusal(t, bobs.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "b2", ToUserId: int64(alice), Text: "wait"}, nil), idl.CodeLimitExceeded, "")
	if got, _ := r.waits(t, nil); len(got) != 2 {
		t.Errorf("reviewers see %q", got)
	}
	eventually(t, "all are counted", func() bool {
		waiting, behind := r.chat.Held()
		return waiting == 2 && behind == 1
	})
}

// What waits survives its core.
func TestHoldOutlivesTheCore(t *testing.T) {
	dir := t.TempDir()
	before := reviewed(t, dir)
	phone := before.As(alice, "phone", idl.CodecProtobuf)
	first := send(t, phone, bob, "m1", "wait one")
	send(t, phone, bob, "m2", "two")
	if err := before.Stop(); err != nil {
		t.Fatal(err)
	}
	r := reviewed(t, dir)
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	if again := send(t, phone, bob, "m1", "wait one"); again.HeldId != first.HeldId {
		t.Errorf("got %+v", again)
	}
	if third := send(t, phone, bob, "m3", "three"); third.HeldId == "" {
		t.Errorf("got %+v", third)
	}
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "all are committed", func() bool { return inbox(t, bobs) == "1 wait one, 2 two, 3 three" })
}

// A core that ended between the commit and the directory's word of it: the next one
// commits nothing again, and goes on.
func TestHoldCommittedAlready(t *testing.T) {
	r := reviewed(t, "")
	phone, bobs := r.As(alice, "phone", idl.CodecProtobuf), r.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "wait one")
	other := send(t, phone, carol, "m9", "wait here") // keeps the core looking
	rows, err := r.DB().QueryContext(t.Context(), "SELECT digest FROM chat_held WHERE client_id = 'm1'")
	if err != nil {
		t.Fatal(err)
	}
	var digest string
	for rows.Next() {
		err = rows.Scan(&digest)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	r.decide(t, first.HeldId, "approve", "")
	eventually(t, "it is committed", func() bool { return inbox(t, bobs) == "1 wait one" })
	gone := func() bool {
		list := listed(t, phone, &chatpb.HeldRequest{})
		return len(list.Held) == 1 && list.Held[0].HeldId == other.HeldId
	}
	eventually(t, "it is out of its line", gone)
	for _, statement := range []string{
		"INSERT INTO chat_held (id, sender, conversation, place, client_id, digest, kind, content, rewritten, shadowed, state, queue, rule, allow, held_ms, until_ms, reason, decided_by) " +
			"VALUES ('" + first.HeldId + "', 100001, 'c_100001_100002', 1, 'm1', '" + digest + "', 0, 'wait one', 0, 0, 2, '', '', 0, 0, 0, '', '')",
		"INSERT INTO chat_held (id, sender, conversation, place, client_id, digest, kind, content, rewritten, shadowed, state, queue, rule, allow, held_ms, until_ms, reason, decided_by) " +
			"VALUES ('ZZZZZZZZZZZZZZZZ', 100001, 'c_100001_100002', 2, 'm2', '" + strings.Repeat("0", 64) + "', 0, 'two', 0, 0, 1, '', '', 0, 0, 1, '', '')",
		"INSERT INTO chat_held_lines (sender, conversation, begun, moving, idle, changes) VALUES (100001, 'c_100001_100002', '" + first.HeldId + "', 1, 0, 0)",
	} {
		if _, err := r.DB().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what was behind is committed", func() bool { return inbox(t, bobs) == "1 wait one, 2 two" })
	eventually(t, "nothing waits", gone)
	if got := entries(t, bobs); len(got) != 2 {
		t.Errorf("the peer was pushed %d messages", len(got))
	}
}

// Two cores see to the same messages at once: each is committed once, in order, and who
// sends by the one core after the other's answer waits behind.
func TestHoldBySeveralCores(t *testing.T) {
	if os.Getenv(plugintest.Stores) != "production" {
		t.Skip("SKIPPED: several cores need the production stores: " + plugintest.Stores + "=production")
	}
	dir := t.TempDir()
	one, two := reviewed(t, dir), reviewed(t, dir) // each with a presence of its own: pushes do not cross
	phone, desk, bobs := one.As(alice, "phone", idl.CodecProtobuf), two.As(alice, "desk", idl.CodecProtobuf), two.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m0", "wait 0")
	var want []string
	for i := range 20 {
		if i > 0 {
			from := phone
			if i%2 == 1 {
				from = desk
			}
			if rep := send(t, from, bob, fmt.Sprint("m", i), fmt.Sprint("text ", i)); rep.HeldId == "" {
				t.Fatalf("message %d got ahead: %+v", i, rep)
			}
			want = append(want, fmt.Sprint(i+1, " text ", i))
		} else {
			want = append(want, "1 wait 0")
		}
	}
	decided := 0
	for _, core := range []review{one, two} {
		if _, code := core.decide(t, first.HeldId, "approve", ""); code == http.StatusOK {
			decided++
		}
	}
	if decided != 1 {
		t.Errorf("%d decided", decided)
	}
	eventually(t, "all are committed", func() bool { return inbox(t, bobs) == strings.Join(want, ", ") })
	eventually(t, "nothing waits", nothingHeld(t, phone))
	if got := inbox(t, bobs); got != strings.Join(want, ", ") {
		t.Errorf("the peer has %q", got)
	}
}

func TestReviewersPage(t *testing.T) {
	r := reviewed(t, "")
	phone := r.As(alice, "phone", idl.CodecProtobuf)
	for i := range 5 {
		send(t, phone, im.UserID(int64(bob)+int64(i%2)), fmt.Sprint("m", i), fmt.Sprint("wait ", i))
	}
	send(t, phone, bob, "x", "late")
	var all []string
	for values := (url.Values{"limit": {"2"}, "queue": {"newcomers"}}); ; {
		texts, next := r.waits(t, values)
		if all = append(all, texts...); next == "" || len(texts) > 2 {
			break
		}
		values.Set("after", next)
	}
	if got := strings.Join(all, ", "); got != "wait 0, wait 1, wait 2, wait 3, wait 4" {
		t.Errorf("pages show %q", got)
	}
	for name, row := range map[string]struct {
		page   int
		values url.Values
		code   int
	}{
		"no limit":         {0, url.Values{"limit": {"0"}}, http.StatusBadRequest},
		"no verdict":       {1, url.Values{"id": {"x"}}, http.StatusBadRequest},
		"an odd verdict":   {1, url.Values{"id": {"x"}, "verdict": {"hold"}}, http.StatusBadRequest},
		"an odd reason":    {1, url.Values{"id": {"x"}, "verdict": {"deny"}, "reason": {"\x1b"}}, http.StatusBadRequest},
		"a long reason":    {1, url.Values{"id": {"x"}, "verdict": {"deny"}, "reason": {strings.Repeat("x", 201)}}, http.StatusBadRequest},
		"a long name":      {1, url.Values{"id": {"x"}, "verdict": {"deny"}, "by": {strings.Repeat("x", 65)}}, http.StatusBadRequest},
		"no such message":  {1, url.Values{"id": {"x"}, "verdict": {"deny"}}, http.StatusNotFound},
		"no message named": {1, url.Values{"verdict": {"approve"}}, http.StatusNotFound},
	} {
		if code := r.ask(t, row.page, row.values, nil); code != row.code {
			t.Errorf("%s: got %d, want %d", name, code, row.code)
		}
	}
}
