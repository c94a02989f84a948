package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// settle says after how long messages of a conversation disappear.
func settle(s *plugintest.Session, c im.ConversationID, after time.Duration) (*chatpb.LifetimeReply, error) {
	var rep chatpb.LifetimeReply
	err := s.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: string(c), LifetimeMs: new(after.Milliseconds())}, &rep)
	return &rep, err
}

// settled is what the server says about that.
func settled(t *testing.T, s *plugintest.Session, c im.ConversationID) string {
	t.Helper()
	var rep chatpb.LifetimeReply
	if err := s.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: string(c)}, &rep); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(rep.LifetimeMs, " ", rep.SetBy)
}

// events are the names and data of the events among pushed messages.
func events(t *testing.T, s *plugintest.Session) (out []string) {
	t.Helper()
	for _, e := range entries(t, s) {
		if e.Message.Event != "" {
			out = append(out, e.Message.Event+" "+e.Message.Data)
		}
	}
	return out
}

// What is sent while a conversation has a lifetime is gone when that is over, wherever anybody looks: its place is left. What was
// sent before, and afterwards, stays.
func TestLifetime(t *testing.T) {
	h, of := changingHost(t, nil)
	phone, desk, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(alice, "desk", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	ab := im.ChatOf(alice, bob)
	send(t, phone, bob, "m1", "stays")
	if got := settled(t, bobs, ab); got != "0 0" {
		t.Errorf("got %s", got)
	}
	for range 2 { // again: nothing is told
		if rep, err := settle(bobs, ab, time.Hour); err != nil || rep.LifetimeMs != 3600_000 || rep.SetBy != int64(bob) || rep.SetMs != h.Now().UnixMilli() {
			t.Fatalf("got %+v, %v", rep, err)
		}
	}
	toldAll(t, h)
	for _, s := range []*plugintest.Session{phone, desk, bobs} {
		if got := events(t, s); !slices.Equal(got, []string{`chat.lifetime {"lifetime_ms":3600000}`}) {
			t.Errorf("got %q", got)
		}
	}
	req := &chatpb.SendRequest{ClientId: "m2", ToUserId: int64(bob), Text: "the secret", Mentions: []int64{int64(bob)}}
	gone := sends(t, phone, req)
	if gone.ExpiresMs != gone.TimeMs+3600_000 {
		t.Errorf("got %v", gone)
	}
	if got := entries(t, bobs); len(got) != 1 || got[0].Message.ExpiresMs != got[0].Message.TimeMs+3600_000 {
		t.Errorf("got %v", got)
	}
	if _, err := edit(phone, gone, "another secret", 0); err != nil {
		t.Fatal(err)
	}
	for _, reaction := range []string{"👍", "secretword"} {
		if _, err := react(bobs, gone, reaction, false); err != nil {
			t.Fatal(err)
		}
	}
	sends(t, bobs, &chatpb.SendRequest{ClientId: "r", ToUserId: int64(alice), Text: "what?", ReplyTo: &chatpb.Reply{Seq: gone.Seq, MessageId: gone.MessageId}})
	toldAll(t, h)
	for _, c := range conversations(t, bobs, &chatpb.ListConversationsRequest{}).Conversations {
		if c.LifetimeMs != 3600_000 {
			t.Errorf("got %v", c)
		}
	}
	if kept, err := of.Export(t.Context(), bob); err != nil {
		t.Fatal(err)
	} else if text, err := json.Marshal(kept); err != nil || !strings.Contains(string(text), `"lifetime_ms":3600000`) {
		t.Errorf("got %s, %v", text, err)
	}
	h.Advance(time.Hour - time.Millisecond)
	if got := everything(t, of, bobs, ab); !strings.Contains(got, "another secret") {
		t.Errorf("too early: %s", got)
	}
	if got := hits(t, bobs, &chatpb.SearchMessagesRequest{Text: "secret"}); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	if rep, err := settle(phone, ab, 0); err != nil || rep.LifetimeMs != 0 || rep.SetBy != int64(alice) {
		t.Fatalf("got %+v, %v", rep, err)
	}
	toldAll(t, h)
	send(t, phone, bob, "m3", "stays too")
	h.Advance(time.Millisecond)
	for _, s := range []*plugintest.Session{phone, bobs} {
		got, _, _ := strings.Cut(everything(t, of, s, ab), `"reactions":[{"conversation_id"`) // his own are kept until the sweep
		if strings.Contains(got, "secret") || !strings.Contains(got, "stays too") {
			t.Errorf("%d has %s", s.Identity().User, got)
		}
		page, _ := history(t, s, &chatpb.HistoryRequest{ConversationId: string(ab), AfterSeq: gone.Seq - 1, Limit: 1})
		m := page.Messages[0]
		if m.Seq != gone.Seq || m.Id != gone.MessageId || !m.Became.GetRecalled() || !m.Became.Expired || m.Became.RecalledBy != 0 || m.Became.RecalledMs != m.ExpiresMs ||
			m.Became.Revision != 4 || len(m.Became.Reactions) > 0 || len(m.Mentions) > 0 {
			t.Errorf("got %v", m)
		}
	}
	if got := hits(t, bobs, &chatpb.SearchMessagesRequest{Text: "secret"}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	h.Advance(400 * 24 * time.Hour)
	if got := everything(t, of, bobs, ab); !strings.Contains(got, "stays too") {
		t.Errorf("got %s", got)
	}

	// Nothing can be made of it any more; who sends it again hears what he heard.
	_, err := recall(phone, gone)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	_, err = edit(phone, gone, "x", 0)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	_, err = react(bobs, gone, "👍", false)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	_, err = versions(bobs, gone, 0, 0)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	copied := &chatpb.SendRequest{ClientId: "f", ToUserId: int64(carol), Forward: &chatpb.Source{ConversationId: string(ab), Seq: gone.Seq, MessageId: gone.MessageId}}
	wantRefusal(t, bobs.Call(idl.ActionMessage, copied, nil), idl.CodeNotFound, "forward")
	if again := sends(t, phone, req); again.MessageId != gone.MessageId || again.Seq != gone.Seq || !again.Duplicate {
		t.Errorf("got %v, want %v", again, gone)
	}
}

// Who may settle it is asked; nobody else learns anything.
func TestLifetimeRefusals(t *testing.T) {
	h, c := found(t, nil)
	a, carols := h.As(alice, "phone", idl.CodecJSON), h.As(carol, "phone", idl.CodecProtobuf)
	ab := im.ChatOf(alice, bob)
	for _, ms := range []int64{-1, 1, 9_999, 366*24*3600_000 + 1} {
		wantRefusal(t, a.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: string(ab), LifetimeMs: &ms}, nil), idl.CodeInvalidArgument, "lifetime_ms")
	}
	wantRefusal(t, a.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: string(ab), ToUserId: int64(bob)}, nil), idl.CodeInvalidArgument, "to_user_id")
	wantRefusal(t, a.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{}, nil), idl.CodeInvalidArgument, "to_user_id")
	wantRefusal(t, a.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ToUserId: 999, LifetimeMs: new(int64(60_000))}, nil), idl.CodeNotFound, "to_user_id")
	for _, other := range []im.ConversationID{ab, "g_1"} {
		_, err := settle(carols, other, time.Minute)
		wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
		wantRefusal(t, carols.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: string(other)}, nil), idl.CodePermissionDenied, "conversation_id")
	}
	_, err := settle(a, im.NoticesOf(alice), time.Minute)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	_, err = settle(a, "g_1", time.Minute)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	c.set(func() { c.admin = alice })
	if _, err = settle(a, "g_1", time.Minute); err != nil {
		t.Error(err)
	}
	if got := settled(t, h.As(bob, "phone", idl.CodecJSON), "g_1"); got != "60000 100001" {
		t.Errorf("got %s", got)
	}
	// Whom the other one blocks settles nothing, and does not learn that.
	c.set(func() { c.guard = func(_, _ im.UserID) error { return plugin.ErrUnseen } })
	if rep, err := settle(a, ab, time.Minute); err != nil || rep.LifetimeMs != 60_000 {
		t.Errorf("got %v, %v", rep, err)
	}
	if got := settled(t, h.As(bob, "phone", idl.CodecJSON), ab); got != "0 0" {
		t.Errorf("got %s", got)
	}
}

// Messages disappear where they are in the log alone, in a group, and where nobody but their sender sees them.
func TestLifetimeOfLogsAndShadows(t *testing.T) {
	for _, row := range []struct {
		name string
		log  bool
	}{{"inboxes", false}, {"log", true}} {
		t.Run(row.name, func(t *testing.T) {
			h, c := found(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if c.text == "spam" then return im.shadow() end end, {name = "x", on_error = "closed"})`})
			a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
			c.set(func() { c.admin, c.log = alice, row.log })
			if _, err := settle(a, "g_1", time.Minute); err != nil {
				t.Fatal(err)
			}
			toldAll(t, h)
			for _, text := range []string{"spam", "hello"} {
				if _, err := sendTo(a, "g_1", text, text); err != nil {
					t.Fatal(err)
				}
			}
			if _, got := history(t, a, &chatpb.HistoryRequest{ConversationId: "g_1"}); !strings.Contains(got, "spam") || !strings.Contains(got, "hello") {
				t.Errorf("got %s", got)
			}
			h.Advance(time.Minute)
			if _, got := history(t, a, &chatpb.HistoryRequest{ConversationId: "g_1"}); strings.Contains(got, "spam") || strings.Contains(got, "hello") {
				t.Errorf("got %s", got)
			}
			page, got := history(t, b, &chatpb.HistoryRequest{ConversationId: "g_1"})
			if strings.Contains(got, "hello") || len(page.Messages) != 2 || !page.Messages[0].Became.GetExpired() {
				t.Errorf("got %v", page)
			}
		})
	}
}

// What is kept beside a message that has disappeared goes too, on whichever core; and nothing of what stays, or of others.
func TestLifetimeSweeps(t *testing.T) {
	files, c := new(plugintest.Files), &company{members: []im.UserID{bob, alice}, reach: map[im.UserID]plugin.Reach{}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c}, Stubs: []plugintest.Stub{directory, files.Stub()}, Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if c.text == "spam" then return im.shadow() end end, {name = "x", on_error = "closed"})`}})
	a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	ab := im.ChatOf(alice, bob)
	picture := func(clientID, text string) *chatpb.SendReply {
		t.Helper()
		file := "file:" + files.Add(alice, "image/png")
		m := sends(t, a, &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(bob), Kind: kindImage, Text: text, Media: &chatpb.Media{File: file}})
		if _, err := edit(a, m, text+", edited", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := react(a, m, "👍", false); err != nil {
			t.Fatal(err)
		}
		return m
	}
	picture("before", "stays")
	for _, after := range []time.Duration{time.Hour, 24 * time.Hour} { // both are swept, the shorter one first
		if _, err := settle(a, ab, after); err != nil {
			t.Fatal(err)
		}
		picture(fmt.Sprint("m", after.Hours()), "goes")
		picture(fmt.Sprint("s", after.Hours()), "spam")
		for i := range 3 {
			send(t, a, bob, fmt.Sprint("t", after.Hours(), ".", i), "spam")
		}
	}
	if got := rows(t, h, "SELECT COUNT(*) FROM chat_sweeps WHERE conversation = ?", string(ab.Shadow(alice))); got != 2 {
		t.Errorf("what only alice sees is in %d parts, want one for each lifetime", got)
	}
	for i := range 250 { // more than a step looks at
		send(t, b, alice, fmt.Sprint("b", i), "goes")
	}
	last := picture("last", "goes")
	if _, err := settle(b, ab, 0); err != nil {
		t.Fatal(err)
	}
	picture("after", "stays")
	kept := func() string {
		return fmt.Sprint(len(files.References(t)), rows(t, h, "SELECT COUNT(*) FROM chat_versions"), rows(t, h, "SELECT COUNT(*) FROM chat_reactions"),
			rows(t, h, "SELECT COUNT(*) FROM chat_changes WHERE content <> ''"), rows(t, h, "SELECT COUNT(*) FROM chat_changes"))
	}
	if got := kept(); got != "7 7 7 7 7" {
		t.Fatalf("got %s", got)
	}
	h.Advance(2 * time.Hour)
	eventually(t, "those of an hour are swept", func() bool { return kept() == "5 5 5 5 7" })
	h.Advance(24 * time.Hour)
	eventually(t, "all are swept", func() bool { return kept() == "2 2 2 2 7" })
	eventually(t, "no part is left", func() bool {
		h.Advance(time.Minute)
		return rows(t, h, "SELECT COUNT(*) FROM chat_sweeps") == 0
	})
	if got := files.References(t); len(got["chat:100001:before"]) != 1 || len(got["chat:100001:after"]) != 1 {
		t.Errorf("got %v", got)
	}
	if got := inStore(t, h, ab); strings.Contains(got, "goes") || strings.Count(got, "stays") != 2 || strings.Count(got, "👍") != 2 {
		t.Errorf("the store has %q", got)
	}
	if got := inStore(t, h, ab.Shadow(alice)); strings.Contains(got, "spam") {
		t.Errorf("the store has %q of what only alice saw", got)
	}
	if page, _ := history(t, b, &chatpb.HistoryRequest{ConversationId: string(ab), BeforeSeq: last.Seq + 1, Limit: 1}); !page.Messages[0].Became.GetExpired() {
		t.Errorf("got %v", page)
	}
}

// What has disappeared is unread no more, in nobody's list and on no badge, and names nobody; what stays is.
func TestWhatDisappearedIsNotUnread(t *testing.T) {
	h, c := found(t, nil)
	a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	c.set(func() { c.admin = alice })
	counts := func() string {
		t.Helper()
		for _, one := range conversations(t, b, &chatpb.ListConversationsRequest{}).Conversations {
			if one.ConversationId == "g_1" {
				return fmt.Sprint(one.Unread, " ", one.Mentions)
			}
		}
		return "none"
	}
	said := 0
	say := func(n int) {
		t.Helper()
		for range n {
			said++
			sends(t, a, &chatpb.SendRequest{ClientId: fmt.Sprint("m", said), ConversationId: "g_1", Text: "hi", Mentions: []int64{int64(bob)}})
		}
	}
	want := func(when, want string) {
		t.Helper()
		if got := counts(); got != want {
			t.Errorf("%s: got %s, want %s", when, got, want)
		}
	}
	say(2)
	if _, err := settle(a, "g_1", time.Hour); err != nil {
		t.Fatal(err)
	}
	toldAll(t, h)
	say(3)
	h.Advance(30 * time.Minute)
	want("while all are there", "5 5")
	say(4)
	want("with later ones", "9 9")
	h.Advance(31 * time.Minute)
	want("when the first have disappeared", "6 6")
	rep := sends(t, a, &chatpb.SendRequest{ClientId: "r", ConversationId: "g_1", Text: "hi", Mentions: []int64{int64(bob)}})
	want("with one more", "7 7")
	if _, err := recall(a, rep); err != nil {
		t.Fatal(err)
	}
	toldAll(t, h)
	want("when that is recalled", "6 6")
	h.Advance(2 * time.Hour)
	want("when all have disappeared, the recalled one among them", "2 2")
	say(3)
	h.Advance(2 * time.Hour)
	want("with some that disappeared before anybody counted", "2 2")
	if _, err := read(b, "g_1", 1); err != nil {
		t.Fatal(err)
	}
	want("when one is read", "1 1")
}
