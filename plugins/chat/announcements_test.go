package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// station is an installation whose operator announces.
type station struct {
	*testing.T
	*plugintest.Host
	chat   *chat.Chat
	people *plugintest.People
}

func newStation(t *testing.T, change func(*chat.Config), users ...im.UserID) *station {
	t.Helper()
	s := &station{T: t, chat: chat.New(), people: plugintest.NewPeople(users...)}
	if change != nil {
		change(s.chat.Config().(*chat.Config))
	}
	s.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{s.chat}, Stubs: s.people.Stubs()})
	return s
}

// page calls a page of the administrative port.
func (s *station) page(pattern, query string, form url.Values, into any) (status int) {
	s.Helper()
	for _, page := range s.chat.Pages() {
		if page.Pattern != pattern {
			continue
		}
		method, path, _ := strings.Cut(pattern, " ")
		r := httptest.NewRequest(method, path+query, strings.NewReader(form.Encode()))
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		rec := httptest.NewRecorder()
		page.Handler.ServeHTTP(rec, r)
		if err := json.Unmarshal(rec.Body.Bytes(), into); err != nil {
			s.Fatalf("%s: %s: %v", pattern, rec.Body, err)
		}
		return rec.Code
	}
	s.Fatalf("there is no page %s", pattern)
	return 0
}

// posted is what a page answers, that says what came of an announcement.
type posted struct {
	Seq          int64
	MessageID    string `json:"message_id"`
	Duplicate    bool
	Code, Field  string
	Text         string
	Version      int32
	RecalledAt   time.Time `json:"recalled_at"`
	RetryAfterMs int64     `json:"retry_after_ms"`
}

func (s *station) announce(clientID, text string) (p posted) {
	s.Helper()
	if status := s.page("POST /announcements", "", url.Values{"from": {alice.String()}, "client_id": {clientID}, "text": {text}, "by": {"tests"}}, &p); status != http.StatusOK {
		s.Fatalf("announce %q: %d, %+v", text, status, p)
	}
	return p
}

// sync gives a device what is behind its cursor.
func (s *station) sync(d *plugintest.Session, after int64, limit int32) *chatpb.SyncReply {
	s.Helper()
	var rep chatpb.SyncReply
	if err := d.Call(idl.ActionSync, &chatpb.SyncRequest{AfterSeq: after, Limit: limit}, &rep); err != nil {
		s.Fatal(err)
	}
	return &rep
}

func entryTexts(all []*chatpb.InboxEntry) (out []string) {
	for _, e := range all {
		out = append(out, fmt.Sprint(e.InboxSeq, " ", e.Message.ConversationId, " ", e.Message.Seq, " ", e.Message.Event, e.Message.Text))
	}
	return out
}

func (s *station) want(what string, got any, want string) {
	s.Helper()
	if fmt.Sprint(got) != want {
		s.Errorf("%s: got %v, want %s", what, got, want)
	}
}

// conversation is one of somebody's list.
func (s *station) conversation(d *plugintest.Session, c im.ConversationID) *chatpb.Conversation {
	s.Helper()
	var rep chatpb.ListConversationsReply
	if err := d.Call(idl.ActionListConversations, &chatpb.ListConversationsRequest{}, &rep); err != nil {
		s.Fatal(err)
	}
	for _, one := range rep.Conversations {
		if one.ConversationId == string(c) {
			return one
		}
	}
	return &chatpb.Conversation{}
}

// TestAnnouncements: what is announced comes into the one inbox of everybody when he asks, and is listed, read, searched and
// acknowledged as all else.
func TestAnnouncements(t *testing.T) {
	s := newStation(t, nil, alice, bob)
	phone, desk := s.As(bob, "phone", idl.CodecProtobuf), s.As(bob, "desk", idl.CodecJSON)
	send(t, s.As(alice, "phone", idl.CodecJSON), bob, "m1", "before")
	one := s.announce("a1", "first light")
	if again := s.announce("a1", "first light"); again.MessageID != one.MessageID || !again.Duplicate || again.Seq != 1 {
		t.Errorf("again: %+v, want %+v", again, one)
	}
	if n := len(s.Wakes()); n != 2 { // the core that sent it first may have ended before it said so
		t.Errorf("edges hear %d times, want twice", n)
	}
	for _, d := range []*plugintest.Session{phone, desk} {
		if p := d.Pushes(); len(p) == 0 || p[len(p)-1].Action != idl.ActionSync {
			t.Errorf("a device hears %+v", p)
		}
	}
	if ok, err := s.chat.Follows(t.Context(), bob); err != nil || !ok {
		t.Errorf("something waits for him: %v, %v", ok, err)
	}
	s.want("bob", entryTexts(s.sync(phone, 0, 0).Entries), "[1 c_100001_100002 1 before 2 a_all 1 first light]")
	if ok, err := s.chat.Follows(t.Context(), bob); err != nil || ok {
		t.Errorf("nothing waits for him: %v, %v", ok, err)
	}
	if f := phone.Follows(); len(f) != 0 {
		t.Errorf("an edge keeps %+v of him", f)
	}
	s.announce("a2", "second light")
	s.want("the other device", entryTexts(s.sync(desk, 1, 0).Entries), "[2 a_all 1 first light 3 a_all 2 second light]")
	s.want("unread", s.conversation(desk, im.ToAll).Unread, "2")
	if err := desk.Call(idl.ActionRead, &chatpb.ReadRequest{ConversationId: string(im.ToAll), Seq: 1}, &chatpb.ReadReply{}); err != nil {
		t.Error(err)
	}
	if err := phone.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: string(im.ToAll), Seq: 2}, &chatpb.AckReply{}); err != nil {
		t.Error(err)
	}
	s.want("unread then", s.conversation(phone, im.ToAll).Unread, "1")
	var updated chatpb.UpdateConversationReply
	err := phone.Call(idl.ActionUpdateConversation, &chatpb.UpdateConversationRequest{ConversationId: string(im.ToAll), Mute: new(chatpb.Mute_MUTE_SILENT), Pinned: new(true), Hidden: new(true)}, &updated)
	if c := updated.Conversation; err != nil || c.Mute != chatpb.Mute_MUTE_SILENT || !c.Pinned || !c.Hidden {
		t.Errorf("updated: %+v, %v", c, err)
	}
	s.announce("a3", "third light")
	if c := s.conversation(phone, im.ToAll); c.Hidden || c.Mute != chatpb.Mute_MUTE_SILENT || c.Unread != 2 {
		t.Errorf("a third has it be %+v", c)
	}
	var history chatpb.HistoryReply
	if err := phone.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(im.ToAll), AfterSeq: 1, Limit: 1}, &history); err != nil || len(history.Messages) != 1 || history.Messages[0].Text != "second light" {
		t.Errorf("history: %+v, %v", &history, err)
	}
	var found chatpb.SearchMessagesReply
	if err := desk.Call(idl.ActionSearchMessages, &chatpb.SearchMessagesRequest{Text: "LIGHT"}, &found); err != nil || len(found.Messages) != 3 {
		t.Errorf("search: %+v, %v", &found, err)
	}
	for _, row := range s.chatRows(im.ToAll) {
		t.Errorf("somebody follows by a row: %v", row)
	}
}

// chatRows are those who follow a log by a row.
func (s *station) chatRows(c im.ConversationID) (users []int64) {
	s.Helper()
	rows, err := s.DB().QueryContext(s.Context(), "SELECT user_id FROM chat_follows WHERE conversation = ?", string(c))
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var u int64
		if err := rows.Scan(&u); err != nil {
			s.Fatal(err)
		}
		users = append(users, u)
	}
	return users
}

// TestAnnouncementsSince: who registers sees those from then on, in his inbox, in history both ways, in a search and in
// the number of unread ones; nobody sees those of before, or somebody who is not there.
func TestAnnouncementsSince(t *testing.T) {
	s := newStation(t, nil, alice, bob)
	s.announce("a1", "one")
	s.announce("a2", "two")
	s.Advance(time.Second)
	s.people.Register(carol, s.Now())
	device := s.As(carol, "phone", idl.CodecProtobuf)
	s.want("at first", entryTexts(s.sync(device, 0, 0).Entries), "[]")
	s.want("at first", s.conversation(device, im.ToAll), fmt.Sprint(&chatpb.Conversation{}))
	s.Advance(time.Second)
	s.announce("a3", "three")
	s.announce("a4", "four")
	s.want("then", entryTexts(s.sync(device, 0, 0).Entries), "[1 a_all 3 three 2 a_all 4 four]")
	s.want("unread", s.conversation(device, im.ToAll).Unread, "2")
	for name, req := range map[string]*chatpb.HistoryRequest{"backward": {}, "forward": {AfterSeq: 1}} {
		req.ConversationId = string(im.ToAll)
		var history chatpb.HistoryReply
		if err := device.Call(idl.ActionHistory, req, &history); err != nil || len(history.Messages) != 2 || history.Floor != 3 {
			t.Errorf("%s: %+v, %v", name, &history, err)
		}
	}
	s.people.Remove(carol)
	s.announce("a5", "five")
	s.want("who is gone", entryTexts(s.sync(device, 2, 0).Entries), "[]")
}

// TestAnnouncementsInPages: who was away for many gets them in pages, each once and in order, whichever device asks.
func TestAnnouncementsInPages(t *testing.T) {
	s := newStation(t, func(c *chat.Config) { c.AnnouncementsPerHour = 10_000 }, alice, bob)
	const many = 700
	for i := range many {
		s.announce(fmt.Sprint("a", i), fmt.Sprint(i))
	}
	devices := []*plugintest.Session{s.As(bob, "phone", idl.CodecProtobuf), s.As(bob, "desk", idl.CodecJSON)}
	for _, d := range devices {
		after, n := int64(0), 0
		for more := true; more; {
			rep := s.sync(d, after, 90)
			if len(rep.Entries) > 90 {
				t.Fatalf("a page has %d", len(rep.Entries))
			}
			for _, e := range rep.Entries {
				if e.InboxSeq != after+1 || e.Message.Text != fmt.Sprint(n) {
					t.Fatalf("entry %d: %+v", n, e)
				}
				after, n = e.InboxSeq, n+1
			}
			more = rep.HasMore
		}
		s.want("entries", n, fmt.Sprint(many))
	}
}

// TestAnnouncementsAreTheOperators: he gives them another text and takes them back; nobody else writes there, nor he whose name they have.
func TestAnnouncementsAreTheOperators(t *testing.T) {
	s := newStation(t, func(c *chat.Config) { c.AnnouncementsPerHour = 3 }, alice, bob)
	alices, bobs := s.As(alice, "phone", idl.CodecProtobuf), s.As(bob, "phone", idl.CodecProtobuf)
	one, two := s.announce("a1", "wrnog"), s.announce("a2", "too much")
	s.sync(bobs, 0, 0)
	of := func(p posted, values ...string) url.Values {
		f := url.Values{"seq": {fmt.Sprint(p.Seq)}, "message_id": {p.MessageID}}
		for i := 0; i < len(values); i += 2 {
			f.Set(values[i], values[i+1])
		}
		return f
	}
	var now posted
	if status := s.page("POST /announcements/edit", "", of(one, "text", "wrong"), &now); status != http.StatusOK || now.Text != "wrong" || now.Version != 2 {
		t.Errorf("edit: %d, %+v", status, now)
	}
	if status := s.page("POST /announcements/edit", "", of(one, "text", "right", "version", "1"), &now); status != http.StatusConflict || now.Field != "version" {
		t.Errorf("edit of another version: %d, %+v", status, now)
	}
	for range 2 {
		now = posted{}
		if status := s.page("POST /announcements/recall", "", of(two), &now); status != http.StatusOK || now.Text != "" || now.RecalledAt.IsZero() {
			t.Errorf("recall: %d, %+v", status, now)
		}
	}
	eventually(t, "both changes are told", func() bool {
		heads, _, err := s.Timelines().Heads(t.Context(), []im.ConversationID{im.ToAll}, nil)
		return err == nil && heads[0] == 4
	})
	s.want("bob is told", entryTexts(s.sync(bobs, 2, 0).Entries), "[3 a_all 3 chat.edited 4 a_all 4 chat.recalled]")
	s.want("and reads", entryTexts(s.sync(bobs, 0, 2).Entries), "[1 a_all 1 wrong 2 a_all 2 ]")
	s.want("unread", s.conversation(bobs, im.ToAll).Unread, "1")

	var all struct {
		Announcements []posted
		Next          int64
	}
	s.page("GET /announcements", "?limit=3", nil, &all)
	if got := all.Announcements; len(got) != 1 || got[0].RecalledAt.IsZero() || all.Next != 2 {
		t.Errorf("the newest three: %+v", all)
	}
	s.page("GET /announcements", "?before=2", nil, &all)
	if got := all.Announcements; len(got) != 1 || got[0].Text != "wrong" {
		t.Errorf("before: %+v", all)
	}

	for name, form := range map[string]url.Values{
		"no such":  of(posted{Seq: 9, MessageID: one.MessageID}),
		"an event": of(posted{Seq: 3, MessageID: s.sync(bobs, 2, 1).Entries[0].Message.Id}),
		"no seq":   {"message_id": {one.MessageID}},
	} {
		if status := s.page("POST /announcements/recall", "", form, &now); status/100 != 4 {
			t.Errorf("%s: %d, %+v", name, status, now)
		}
	}
	s.announce("a3", "last")
	form := url.Values{"from": {alice.String()}, "client_id": {"a4"}, "text": {"too often"}}
	if status := s.page("POST /announcements", "", form, &now); status != http.StatusTooManyRequests || now.RetryAfterMs == 0 {
		t.Errorf("one too many: %d, %+v", status, now)
	}
	if again := s.announce("a3", "last"); !again.Duplicate {
		t.Errorf("and one of them again: %+v", again)
	}
	for name, form := range map[string]url.Values{
		"from nobody":   {"from": {"5"}, "client_id": {"x"}, "text": {"hi"}},
		"to one person": {"from": {alice.String()}, "to": {bob.String()}, "client_id": {"x"}, "text": {"hi"}},
		"no text":       {"from": {alice.String()}, "client_id": {"x"}},
	} {
		if status := s.page("POST /announcements", "", form, &now); status/100 != 4 {
			t.Errorf("%s: %d, %+v", name, status, now)
		}
	}

	about := chatpb.RecallRequest{ConversationId: string(im.ToAll), Seq: one.Seq, MessageId: one.MessageID}
	for name, call := range map[string]func(*plugintest.Session) error{
		"send": func(d *plugintest.Session) error {
			return d.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "x", ConversationId: about.ConversationId, Text: "hi"}, &chatpb.SendReply{})
		},
		"elsewhere": func(d *plugintest.Session) error {
			return d.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "x", ConversationId: "a_1", Text: "hi"}, &chatpb.SendReply{})
		},
		"recall": func(d *plugintest.Session) error { return d.Call(idl.ActionRecall, &about, &chatpb.RecallReply{}) },
		"edit": func(d *plugintest.Session) error {
			return d.Call(idl.ActionEdit, &chatpb.EditRequest{ConversationId: about.ConversationId, Seq: one.Seq, MessageId: one.MessageID, Text: "mine"}, &chatpb.EditReply{})
		},
		"react": func(d *plugintest.Session) error {
			return d.Call(idl.ActionReact, &chatpb.ReactRequest{ConversationId: about.ConversationId, Seq: one.Seq, MessageId: one.MessageID, Reaction: "👍"}, &chatpb.ReactReply{})
		},
		"typing": func(d *plugintest.Session) error {
			return d.Call(idl.ActionTyping, &chatpb.TypingRequest{ConversationId: about.ConversationId}, &chatpb.TypingReply{})
		},
		"readers": func(d *plugintest.Session) error {
			return d.Call(idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: about.ConversationId, Seq: one.Seq}, &chatpb.ReadersReply{})
		},
		"lifetime": func(d *plugintest.Session) error {
			return d.Call(idl.ActionLifetime, &chatpb.LifetimeRequest{ConversationId: about.ConversationId, LifetimeMs: new(int64(60_000))}, &chatpb.LifetimeReply{})
		},
		"history elsewhere": func(d *plugintest.Session) error {
			return d.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: "a_1"}, &chatpb.HistoryReply{})
		},
	} {
		for _, d := range []*plugintest.Session{alices, bobs} {
			if code := im.CodeOf(call(d)); code != idl.CodePermissionDenied {
				t.Errorf("%s: %v, want PERMISSION_DENIED", name, code)
			}
		}
	}
	var versions chatpb.VersionsReply
	if err := bobs.Call(idl.ActionVersions, &chatpb.VersionsRequest{ConversationId: about.ConversationId, Seq: one.Seq, MessageId: one.MessageID}, &versions); err != nil || len(versions.Versions) != 2 || versions.Versions[0].Text != "wrnog" {
		t.Errorf("how it read before: %+v, %v", &versions, err)
	}
	if err := bobs.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "f", ToUserId: int64(alice), Forward: &chatpb.Source{ConversationId: about.ConversationId, Seq: one.Seq, MessageId: one.MessageID}}, &chatpb.SendReply{}); err != nil {
		t.Errorf("a copy to somebody: %v", err)
	}
}

// counting is a store that counts what is written.
type counting struct {
	timeline.Store
	written *int
}

func (c counting) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	*c.written += 1 + len(d.Inboxes)
	return c.Store.Append(ctx, d)
}

func (c counting) AppendAll(ctx context.Context, drafts []timeline.Draft) []error {
	for _, d := range drafts {
		*c.written += 1 + len(d.Inboxes)
	}
	return c.Store.AppendAll(ctx, drafts)
}

// TestAnnouncementsCostTheSame: for ten accounts and for ten thousand.
func TestAnnouncementsCostTheSame(t *testing.T) {
	cost := func(accounts int) (written, rows int) {
		users := make([]im.UserID, accounts)
		for i := range users {
			users[i] = alice + im.UserID(i)
		}
		s := &station{T: t, chat: chat.New(), people: plugintest.NewPeople(users...)}
		store := plugintest.New(t, plugintest.Options{})
		s.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{s.chat}, Stubs: s.people.Stubs(), Timelines: counting{store.Timelines(), &written}})
		s.announce("a1", "one")
		s.announce("a2", "two")
		for _, table := range []string{"chat_follows", "chat_events", "chat_conversations", "chat_lists", "chat_log_lives", "chat_changes"} {
			var n int
			if err := s.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			rows += n
		}
		return written, rows
	}
	few, fewRows := cost(10)
	many, manyRows := cost(10_000)
	if few != many || fewRows != manyRows || few != 3 || fewRows > 1 { // the fence, and each
		t.Errorf("for 10 accounts %d entries and %d rows are written, for 10,000 %d and %d", few, fewRows, many, manyRows)
	}
}

// TestAnnouncementsOfTwoCores: both announce at once, and devices at both sync meanwhile: each has all, once, in the log's order.
func TestAnnouncementsOfTwoCores(t *testing.T) {
	dir, store := t.TempDir(), plugintest.New(t, plugintest.Options{})
	people := plugintest.NewPeople(alice, bob)
	cores := make([]*station, 2)
	for i := range cores {
		cores[i] = &station{T: t, chat: chat.New(), people: people}
		cores[i].chat.Config().(*chat.Config).AnnouncementsPerHour = 10_000
		cores[i].Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{cores[i].chat}, Stubs: people.Stubs(), Dir: dir, Timelines: store.Timelines()})
	}
	const each = 40
	var working sync.WaitGroup
	for i, s := range cores {
		device := s.As(bob, im.DeviceID(fmt.Sprint("device", i)), idl.CodecProtobuf)
		working.Go(func() {
			for n := range each {
				// The same by both, of which one is sent; and one by this core alone.
				s.announce(fmt.Sprint("both", n), fmt.Sprint("both ", n))
				s.announce(fmt.Sprint("one", i, ".", n), fmt.Sprint("one ", i, " ", n))
			}
		})
		working.Go(func() {
			for range each {
				var rep chatpb.SyncReply
				if err := device.Call(idl.ActionSync, &chatpb.SyncRequest{Limit: 7}, &rep); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	for i, s := range cores {
		device := s.As(bob, im.DeviceID(fmt.Sprint("device", i)), idl.CodecJSON)
		all := s.sync(device, 0, 500)
		if all.HasMore || len(all.Entries) != 3*each {
			t.Fatalf("core %d gives %d entries, more is %t", i, len(all.Entries), all.HasMore)
		}
		seen := map[string]bool{}
		for n, e := range all.Entries {
			if e.InboxSeq != int64(n)+1 || e.Message.Seq != int64(n)+1 || seen[e.Message.Text] {
				t.Fatalf("core %d: entry %d is %+v", i, n, e)
			}
			seen[e.Message.Text] = true
		}
	}
}

// TestAnnouncementsAfterRestore: who had more than is left goes on from what is there, and who had come behind it sees
// what is announced then.
func TestAnnouncementsAfterRestore(t *testing.T) {
	dir, people := t.TempDir(), plugintest.NewPeople(alice, bob)
	first, second := plugintest.New(t, plugintest.Options{}), plugintest.New(t, plugintest.Options{})
	begin := first.Now()
	run := func(store timeline.Store, at time.Duration) *station {
		s := &station{T: t, chat: chat.New(), people: people}
		s.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{s.chat}, Stubs: people.Stubs(), Dir: dir, Timelines: store, Start: begin.Add(at)})
		return s
	}
	s := run(life{first.Timelines(), "first"}, 0)
	for _, text := range []string{"one", "two", "three"} {
		s.announce(text, text)
	}
	s.want("before", entryTexts(s.sync(s.As(bob, "phone", idl.CodecProtobuf), 0, 0).Entries), "[1 a_all 1 one 2 a_all 2 two 3 a_all 3 three]")
	people.Register(carol, begin.Add(time.Minute))
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s = run(life{second.Timelines(), "first"}, 0)
	s.announce("one", "one") // what is restored
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}

	second.Advance(time.Hour) // whose store's IDs have its clock
	s = run(life{second.Timelines(), "second"}, time.Hour)
	bobs, carols := s.As(bob, "phone", idl.CodecProtobuf), s.As(carol, "phone", idl.CodecProtobuf)
	s.want("carol, at first", entryTexts(s.sync(carols, 0, 0).Entries), "[]")
	s.want("bob", entryTexts(s.sync(bobs, 0, 0).Entries), "[1 a_all 1 one]")
	s.announce("four", "four")
	s.want("bob", entryTexts(s.sync(bobs, 0, 0).Entries), "[1 a_all 1 one 2 a_all 2 four]")
	s.want("carol", entryTexts(s.sync(carols, 0, 0).Entries), "[1 a_all 2 four]")
}

// TestAnnouncementsInFeeds: each is in its feed once, whoever reads it.
func TestAnnouncementsInFeeds(t *testing.T) {
	f := &feeder{}
	s := &station{T: t, chat: chat.New(), people: plugintest.NewPeople(alice, bob, carol)}
	s.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{s.chat, f}, Stubs: s.people.Stubs()})
	s.announce("a1", "one")
	s.announce("a1", "one")
	for _, u := range []im.UserID{bob, carol} {
		s.want("a reader", entryTexts(s.sync(s.As(u, "phone", idl.CodecProtobuf), 0, 0).Entries), "[1 a_all 1 one]")
	}
	s.want("the feed", f.fed(t, im.ToAll), "[one]")
}

// countedPhones are phones, and count of how many people they were asked.
type countedPhones struct {
	phones
	asked atomic.Int64
}

func (p *countedPhones) PushTokens(ctx context.Context, users []im.UserID, fn func(im.UserID, im.DeviceID, idl.DeviceType, string, string)) error {
	p.asked.Add(int64(len(users)))
	return p.phones.PushTokens(ctx, users, fn)
}

// An announcement alerts nobody who is offline, whomever it names, and nobody's devices are looked up for it: what it costs does not
// grow with those who are offline. A message of the operator's in a chat does.
func TestAnnouncementsAlertNobody(t *testing.T) {
	s := &station{T: t, chat: chat.New(), people: plugintest.NewPeople(alice, bob, carol)}
	f, tokens := &feeder{}, &countedPhones{phones: phones{alice, bob, carol}}
	s.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{s.chat, f}, Stubs: append(s.people.Stubs(), plugintest.Stub{Name: plugin.ServicePush, Service: tokens})})
	s.announce("one", "all of you")
	var p posted
	if status := s.page("POST /announcements", "", url.Values{"from": {alice.String()}, "client_id": {"two"}, "message": {`{"text": "really all", "mentions_all": true}`}}, &p); status != http.StatusOK {
		t.Fatalf("%d, %+v", status, p)
	}
	place := url.Values{"seq": {fmt.Sprint(p.Seq)}, "message_id": {p.MessageID}, "text": {"really all of you"}}
	if status := s.page("POST /announcements/edit", "", place, &p); status != http.StatusOK {
		t.Fatalf("%d, %+v", status, p)
	}
	toldAll(t, s.Host)
	page, err := f.outbox.Fed(t.Context(), im.FeedOf(im.ToAll), 0, 500)
	if err != nil || len(page.Items) != 3 {
		t.Fatalf("got %+v, %v", page.Items, err)
	}
	service, _ := s.Service(plugin.ServiceAlerts)
	alerts := func() []plugin.Alert {
		t.Helper()
		found, covered, err := service.(plugin.Alerts).Alerts(t.Context(), page.Items)
		if err != nil || covered != len(page.Items) {
			t.Fatalf("%d of %d items, %v", covered, len(page.Items), err)
		}
		return found
	}
	if found := alerts(); len(found) > 0 || tokens.asked.Load() > 0 {
		t.Errorf("got %+v; %d people's devices were looked up", found, tokens.asked.Load())
	}
	for _, item := range page.Items {
		item.Message.(*chatpb.Message).Mentions = []int64{int64(bob)}
	}
	if found := alerts(); len(found) > 0 || tokens.asked.Load() > 0 {
		t.Errorf("with somebody named: got %+v; %d people's devices were looked up", found, tokens.asked.Load())
	}
	var sent struct{ Sent []any }
	s.page("POST /messages", "", url.Values{"from": {alice.String()}, "client_id": {"three"}, "text": {"you"}, "to": {bob.String()}}, &sent)
	if page, err = f.outbox.Fed(t.Context(), im.FeedOf(im.ChatOf(alice, bob)), 0, 500); err != nil {
		t.Fatal(err)
	}
	if found := alerts(); len(found) != 1 || found[0].User != bob {
		t.Errorf("of a message: got %+v", found)
	}
}
