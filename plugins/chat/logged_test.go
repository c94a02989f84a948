package chat_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/timeline"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// follow has people follow a log from its end on, and the company say that messages are there alone.
func (c *company) follow(t *testing.T, h *plugintest.Host, log im.ConversationID, users ...im.UserID) {
	t.Helper()
	c.set(func() { c.log = true })
	end, err := h.Timelines().Log(t.Context(), log, 0, 0)
	if err == nil {
		err = inTx(t, h, func(tx *stdsql.Tx) error { return c.messages.Follow(t.Context(), tx, log, end.Head, users...) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

func inTx(t *testing.T, h *plugintest.Host, fn func(*stdsql.Tx) error) error {
	tx, err := h.DB().BeginTx(t.Context(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// inboxOf reads somebody's inbox from its beginning in pages of limit, as "seq text", and checks that it is dense.
func inboxOf(t *testing.T, s *plugintest.Session, limit int32) (all []string) {
	t.Helper()
	for cursor := int64(0); ; {
		var rep chatpb.SyncReply
		if err := s.Call(idl.ActionSync, &chatpb.SyncRequest{AfterSeq: cursor, Limit: limit}, &rep); err != nil {
			t.Fatal(err)
		}
		for _, e := range rep.Entries {
			if cursor++; e.InboxSeq != cursor {
				t.Fatalf("entry %d is in place %d", e.InboxSeq, cursor)
			}
			all = append(all, fmt.Sprint(e.Message.Seq, " ", e.Message.Text, e.Message.Event))
		}
		if !rep.HasMore {
			return all
		}
	}
}

func wantInbox(t *testing.T, s *plugintest.Session, limit int32, want ...string) {
	t.Helper()
	if got := inboxOf(t, s, limit); !slices.Equal(got, want) {
		t.Errorf("the inbox of %d is %q, want %q", s.Identity().User, got, want)
	}
}

// What is in the log alone comes into the inboxes of those who follow it: once, in order, and nobody is pushed
// anything but that there is something.
func TestFollow(t *testing.T) {
	h, c := found(t, nil)
	a, b, desk := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(bob, "desk", idl.CodecJSON)
	say := func(s *plugintest.Session, text string) *chatpb.SendReply {
		t.Helper()
		rep, err := sendTo(s, "g_1", strings.ReplaceAll(text, " ", "-"), text)
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	say(a, "to inboxes")
	c.follow(t, h, "g_1", alice, bob)
	inboxOf(t, b, 0)
	inboxOf(t, desk, 0)
	inboxOf(t, a, 0)
	b.Pushes()
	if got := b.Follows(); len(got) != 1 || got[0] != (plugin.Followed{Log: "g_1", Seq: 1}) {
		t.Errorf("bob's phone follows %v", got)
	}
	if rep := say(a, "one"); rep.Seq != 2 || rep.InboxSeq != 0 {
		t.Errorf("got %+v", rep)
	}
	if got := b.Pushes(); len(got) != 1 || got[0].Action != idl.ActionSync {
		t.Errorf("bob was pushed %v", got)
	}
	// Who asked the owner before sends to inboxes, and finds the fence.
	c.set(func() { c.log = false })
	say(b, "an old word")
	c.set(func() { c.log = true })
	send(t, a, bob, "chat", "a chat")
	wantInbox(t, b, 0, "1 to inboxes", "1 a chat", "2 one", "3 an old word")
	for limit := range int32(4) {
		wantInbox(t, desk, limit, "1 to inboxes", "1 a chat", "2 one", "3 an old word")
	}
	wantInbox(t, a, 1, "1 to inboxes", "1 a chat", "2 one", "3 an old word")
	wantList(t, b, "c_100001_100002 1 a chat", "g_1 0 an old word") // the chat is newer, however late he asked

	// What becomes of a message goes the same way; what was recalled nobody reads.
	if err := a.Call(idl.ActionRecall, &chatpb.RecallRequest{ConversationId: "g_1", Seq: 2, MessageId: idOf(t, h, "g_1", 2)}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the recall is told", func() bool {
		end, err := h.Timelines().Log(t.Context(), "g_1", 0, 0)
		return err == nil && end.Head == 4
	})
	wantInbox(t, b, 3, "1 to inboxes", "1 a chat", "2 ", "3 an old word", "4 chat.recalled")
	// A post, done twice.
	for range 2 {
		if _, err := c.messages.Post(t.Context(), plugin.Post{Conversation: "g_1", ClientID: "~1", Name: "company.renamed", Log: true}); err != nil {
			t.Fatal(err)
		}
	}
	wantInbox(t, desk, 2, "1 to inboxes", "1 a chat", "2 ", "3 an old word", "4 chat.recalled", "5 company.renamed")
	before := len(h.Wakes())
	if rep := say(b, "an old word"); !rep.Duplicate || rep.Seq != 3 {
		t.Errorf("a resend: %+v", rep)
	}
	if len(h.Wakes()) != before+1 { // the core that committed it may have ended at once
		t.Error("a resend wakes nobody")
	}
	c.messages.Remind(bob)
	if got := b.Pushes(); len(got) == 0 || got[len(got)-1].Action != idl.ActionSync {
		t.Errorf("bob is not reminded: %v", got)
	}
}

func idOf(t *testing.T, h *plugintest.Host, c im.ConversationID, seq int64) string {
	t.Helper()
	page, err := h.Timelines().Log(t.Context(), c, seq-1, 1)
	if err != nil || len(page.Items) != 1 {
		t.Fatal(page, err)
	}
	return page.Items[0].ID.String()
}

// Mentions and unread messages are counted as in inboxes; commands and events are none.
func TestFollowCounts(t *testing.T) {
	h, c := found(t, nil)
	a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	c.follow(t, h, "g_1", alice, bob)
	for i, req := range []*chatpb.SendRequest{{Text: "one"}, {Text: "two", Mentions: []int64{int64(bob)}}, {Text: "three", MentionsAll: true},
		{Kind: chatpb.MessageKind_MESSAGE_KIND_COMMAND, Payload: &chatpb.Payload{Name: "x"}}} {
		req.ConversationId, req.ClientId = "g_1", fmt.Sprint(i)
		if err := a.Call(idl.ActionMessage, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	got := conversations(t, b, &chatpb.ListConversationsRequest{}).Conversations
	if len(got) != 1 || got[0].Unread != 3 || got[0].Mentions != 2 || got[0].LastSeq != 4 {
		t.Errorf("got %+v", got)
	}
	if err := b.Call(idl.ActionRead, &chatpb.ReadRequest{ConversationId: "g_1", Seq: 2}, nil); err != nil {
		t.Fatal(err)
	}
	if got := conversations(t, b, &chatpb.ListConversationsRequest{}).Conversations; got[0].Unread != 1 || got[0].Mentions != 1 {
		t.Errorf("after a read: %+v", got)
	}
}

// Many logs are gathered in the order of time, in pages of any size, by many devices at once.
func TestFollowManyLogs(t *testing.T) {
	h, c := found(t, nil)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	const logs, each = 12, 9
	for i := range logs {
		c.follow(t, h, im.ConversationID(fmt.Sprint("g_", i)), bob)
	}
	var want []string
	for n := range each {
		for i := range logs {
			text := fmt.Sprint("m", i, ".", n)
			if _, err := sendTo(a, im.ConversationID(fmt.Sprint("g_", i)), text, text); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprint(n+1, " ", text))
		}
	}
	var syncing sync.WaitGroup
	for i := range 6 {
		syncing.Go(func() {
			s := h.As(bob, im.DeviceID(fmt.Sprint("d", i)), idl.CodecProtobuf)
			if got := inboxOf(t, s, int32(1+i*7)); !slices.Equal(got, want) {
				t.Errorf("device %d got %q, want %q", i, got, want)
			}
		})
	}
	syncing.Wait()
}

// One of many logs has most of what waits, and older than what the others have: a page is full all the same.
func TestFollowOneBusyLog(t *testing.T) {
	h, c := found(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf)
	const logs, older = 71, 600
	for i := range logs {
		c.follow(t, h, im.ConversationID(fmt.Sprint("g_", i)), bob)
	}
	var want []string
	say := func(log, n int) {
		text := fmt.Sprint("m", log, ".", n)
		rep, err := sendTo(a, im.ConversationID(fmt.Sprint("g_", log)), text, text)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(rep.Seq, " ", text))
	}
	for n := range older {
		say(0, n)
	}
	for n := range 2 {
		for log := range logs {
			say(log, n+older)
		}
	}
	var page chatpb.SyncReply
	if err := b.Call(idl.ActionSync, &chatpb.SyncRequest{Limit: 500}, &page); err != nil || len(page.Entries) != 500 || !page.HasMore {
		t.Fatalf("a page has %d of 500 entries, more is %t, %v", len(page.Entries), page.HasMore, err)
	}
	wantInbox(t, h.As(bob, "desk", idl.CodecJSON), 200, want...)
}

// life is a store of another life.
type life struct {
	timeline.Store
	epoch string
}

func (l life) Epoch() string { return l.epoch }

// After a restore nobody gets by a seq of before what he may not have.
func TestFollowAfterRestore(t *testing.T) {
	dir := t.TempDir()
	first, second := plugintest.New(t, plugintest.Options{}), plugintest.New(t, plugintest.Options{})
	run := func(store timeline.Store) (*plugintest.Host, *company) {
		c := &company{members: []im.UserID{alice, bob, carol}, reach: map[im.UserID]plugin.Reach{}, log: true}
		h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c}, Stubs: []plugintest.Stub{directory}, Dir: dir, Timelines: store})
		return h, c
	}
	say := func(h *plugintest.Host, from, to int) {
		for i := from; i < to; i++ {
			if _, err := sendTo(h.As(alice, "phone", idl.CodecProtobuf), "g_1", fmt.Sprint("m", i), fmt.Sprint("m", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	h, c := run(life{first.Timelines(), "first"})
	c.follow(t, h, "g_1", alice, carol)
	say(h, 1, 9)
	if err := inTx(t, h, func(tx *stdsql.Tx) error { return c.messages.Unfollow(t.Context(), tx, "g_1", 8, carol) }); err != nil {
		t.Fatal(err)
	}
	c.follow(t, h, "g_1", bob) // he has come late
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}

	h, _ = run(life{second.Timelines(), "first"})
	say(h, 1, 4) // what is restored
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}

	h, c = run(life{second.Timelines(), "second"})
	a, b, who := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecProtobuf)
	wantInbox(t, b, 0)
	say(h, 4, 6)
	wantInbox(t, b, 0, "4 m4", "5 m5")
	wantInbox(t, a, 0, "1 m1", "2 m2", "3 m3", "4 m4", "5 m5")
	wantInbox(t, who, 0, "1 m1", "2 m2", "3 m3") // as much of his part as is there
	c.follow(t, h, "g_1", carol, alice)
	say(h, 6, 7)
	wantInbox(t, who, 0, "1 m1", "2 m2", "3 m3", "6 m6")
	wantInbox(t, a, 2, "1 m1", "2 m2", "3 m3", "4 m4", "5 m5", "6 m6")
}

// Whoever comes and goes and asks has rows of the newest parts only, and all that was written while he was there.
func TestFollowAgainAndAgain(t *testing.T) {
	h, c := found(t, nil)
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf)
	const times, kept = 20, 16
	var want []string
	for i := range times {
		c.follow(t, h, "g_1", bob)
		rep, err := sendTo(a, "g_1", fmt.Sprint("in-", i), fmt.Sprint("in ", i))
		if err == nil {
			err = inTx(t, h, func(tx *stdsql.Tx) error { return c.messages.Unfollow(t.Context(), tx, "g_1", rep.Seq, bob) })
		}
		if err == nil {
			want = append(want, fmt.Sprint(rep.Seq, " in ", i))
			_, err = sendTo(a, "g_1", fmt.Sprint("out-", i), fmt.Sprint("out ", i))
		}
		if err != nil {
			t.Fatal(err)
		}
		wantInbox(t, b, 0, want...)
		inboxOf(t, b, 0) // which finds that the part is whole
		if follows, err := c.messages.Follows(t.Context(), bob); err != nil || follows {
			t.Errorf("he has left, and has all: follows %t, %v", follows, err)
		}
	}
	var rows int
	if err := h.DB().QueryRowContext(t.Context(), "SELECT COUNT(*) FROM chat_follows").Scan(&rows); err != nil || rows != kept {
		t.Errorf("%d rows are kept, want %d, %v", rows, kept, err)
	}
}

// late is a store whose logs grow, and whose follower is removed, right after their ends were looked up.
type late struct {
	timeline.Store
	then atomic.Pointer[func()]
}

func (l *late) Heads(ctx context.Context, logs []im.ConversationID, inboxes []im.UserID) ([]int64, []int64, error) {
	a, b, err := l.Store.Heads(ctx, logs, inboxes)
	if len(logs) > 1 {
		if then := l.then.Swap(nil); then != nil {
			(*then)()
			a, b, err = l.Store.Heads(ctx, logs, inboxes) // as if the look-up came late
		}
	}
	return a, b, err
}

// Who is removed while his logs are gathered gets nothing that came behind that.
func TestRemovedWhileGathering(t *testing.T) {
	store := &late{Store: plugintest.New(t, plugintest.Options{}).Timelines()}
	c := &company{members: []im.UserID{alice, bob}, reach: map[im.UserID]plugin.Reach{}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c}, Stubs: []plugintest.Stub{directory}, Timelines: store})
	a, b := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecProtobuf)
	c.follow(t, h, "g_1", alice, bob)
	if _, err := sendTo(a, "g_1", "1", "before"); err != nil {
		t.Fatal(err)
	}
	then := func() {
		if err := inTx(t, h, func(tx *stdsql.Tx) error { return c.messages.Unfollow(t.Context(), tx, "g_1", 1, bob) }); err != nil {
			t.Error(err)
		}
		if _, err := sendTo(a, "g_1", "2", "behind"); err != nil {
			t.Error(err)
		}
	}
	store.then.Store(&then)
	wantInbox(t, b, 0, "1 before")
	wantInbox(t, b, 0, "1 before")
	wantInbox(t, a, 0, "1 before", "2 behind")
}

// Everything that is in a log alone is in its feed once, and places are not.
func TestFollowedFeed(t *testing.T) {
	f, group := &feeder{}, &company{members: []im.UserID{alice, bob}}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), group, f}, Stubs: []plugintest.Stub{directory}})
	group.follow(t, h, "g_1", alice, bob)
	a := h.As(alice, "phone", idl.CodecProtobuf)
	for range 2 {
		for _, text := range []string{"one", "two"} {
			if rep, err := sendTo(a, "g_1", text, text); err != nil || rep.InboxSeq != 0 {
				t.Fatal(rep, err)
			}
		}
		wantInbox(t, a, 0, "1 one", "2 two")
	}
	// A resend is answered without a place in the inbox by a core, too, whose owner still says inboxes.
	group.set(func() { group.log = false })
	if rep, err := sendTo(a, "g_1", "one", "one"); err != nil || rep.InboxSeq != 0 || !rep.Duplicate {
		t.Errorf("a resend: %v, %v", rep, err)
	}
	if got, want := fmt.Sprint(f.fed(t, "g_1")), "[one two]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
