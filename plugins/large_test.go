package plugins_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	"freeim/idl/kitex_gen/grouppb"
	"freeim/plugins/chat"
	"freeim/plugins/group"
)

// These tests have the plugins chat and group work together: groups that become so large that their
// members follow the log.

const owner im.UserID = 100001

// counted counts what a timeline store is asked to commit, and with how many inboxes.
type counted struct {
	timeline.Store
	appends, inboxes atomic.Int64
	before           atomic.Pointer[func(timeline.Draft)] // is called once, before a person's message is committed; nil: nothing
}

func (c *counted) Append(ctx context.Context, d timeline.Draft) (timeline.Committed, error) {
	if d.Version != 0 {
		if before := c.before.Swap(nil); before != nil {
			(*before)(d)
		}
	}
	c.appends.Add(1)
	c.inboxes.Add(int64(len(d.Inboxes)))
	return c.Store.Append(ctx, d)
}

func (c *counted) AppendAll(ctx context.Context, all []timeline.Draft) []error {
	c.appends.Add(int64(len(all)))
	for _, d := range all {
		c.inboxes.Add(int64(len(d.Inboxes)))
	}
	return c.Store.AppendAll(ctx, all)
}

// site is a core, or several on the same stores.
type site struct {
	t     testing.TB
	cores []*plugintest.Host
	store *counted
	keeps *plugintest.Host // whose store it is, by whose clock messages are written
	apart bool             // each core has a store of its own, over the same servers
	group int64
	dir   string // the directory's
}

// newSite starts cores whose groups are large with more than line members, and makes an open group.
func newSite(t testing.TB, cores, line, people int) *site {
	t.Helper()
	return found(t, &site{t: t}, cores, line, people)
}

// newSiteApart is newSite with a store for each core, as cores have it in production; embedded there is one.
func newSiteApart(t testing.TB, cores, line, people int) *site {
	t.Helper()
	return found(t, &site{t: t, apart: plugintest.Production()}, cores, line, people)
}

func found(t testing.TB, s *site, cores, line, people int) *site {
	t.Helper()
	s.dir = t.TempDir()
	first := plugintest.New(t, plugintest.Options{Dir: s.dir})
	s.store, s.keeps = &counted{Store: first.Timelines()}, first
	s.start(cores, line, people)
	var rep grouppb.CreateGroupReply
	s.must(s.as(0, owner), idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "one", Name: "Town", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN}, &rep)
	s.group = rep.Group.GroupId
	return s
}

// start starts cores on the site's directory and store.
func (s *site) start(cores, line, people int) {
	s.t.Helper()
	users := make([]im.UserID, people)
	for i := range users {
		users[i] = owner + im.UserID(i)
	}
	s.cores = nil
	store := timeline.Store(s.store)
	if s.apart {
		store = nil
	}
	for range cores {
		g := group.New()
		c := g.Config().(*group.Config)
		c.WriteDiffusion, c.MaxMembers, c.ChangesPerMinute = line, 200_000, 0
		s.cores = append(s.cores, plugintest.New(s.t, plugintest.Options{Dir: s.dir, Timelines: store,
			Plugins: []plugin.Plugin{chat.New(), g}, Stubs: plugintest.NewPeople(users...).Stubs()}))
	}
}

// posted waits until all events are in the log: one that took too long to post is posted later.
func (s *site) posted() {
	s.t.Helper()
	s.none("SELECT COUNT(*) FROM group_outbox")
}

// none waits until a query counts nothing.
func (s *site) none(query string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		var left int
		if err := s.cores[0].DB().QueryRow(query).Scan(&left); err != nil {
			s.t.Fatal(err)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: still %d", query, left)
		}
	}
}

func (s *site) conversation() im.ConversationID {
	return im.ConversationID(fmt.Sprint("g_", s.group))
}

func (s *site) as(core int, u im.UserID) *plugintest.Session {
	return s.cores[core].As(u, "device", idl.CodecProtobuf)
}

func (s *site) must(from *plugintest.Session, action idl.Action, req, rep idl.Message) {
	s.t.Helper()
	if err := from.Call(action, req, rep); err != nil {
		s.t.Fatalf("%v: %v", action, err)
	}
}

// fill makes people members, as if they had come in one after the other.
func (s *site) fill(from, to int) {
	s.t.Helper()
	g, host := s.group, s.cores[0]
	messages, _ := host.Service(plugin.ServiceMessages)
	for i := from; i < to; i += 500 {
		err := s.tx(host, func(ctx context.Context, tx *stdsql.Tx) error {
			var users []im.UserID
			var args []any
			for j := i; j < min(i+500, to); j++ {
				u := owner + im.UserID(j)
				users, args = append(users, u), append(args, g, int64(u))
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO group_members (group_id, user_id, role, permissions, alias, notify, muted_until_ms, joined_ms, after_seq, invited_by) VALUES "+
				strings.TrimSuffix(strings.Repeat("(?, ?, 3, 0, '', 0, 0, 1, 0, 0), ", len(users)), ", "), args...)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE group_groups SET members = members + ?, version = version + 1 WHERE id = ?", len(users), g); err != nil {
				return err
			}
			var large int
			if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM group_logs WHERE group_id = ?", g).Scan(&large); err != nil || large == 0 {
				return err
			}
			return messages.(plugin.Messages).Follow(ctx, tx, s.conversation(), 0, users...)
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) tx(h *plugintest.Host, fn func(ctx context.Context, tx *stdsql.Tx) error) error {
	tx, err := h.DB().BeginTx(s.t.Context(), nil)
	if err != nil {
		return err
	}
	if err := fn(s.t.Context(), tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (s *site) join(core int, u im.UserID) error {
	return s.as(core, u).Call(idl.ActionJoinGroup, &grouppb.JoinGroupRequest{GroupId: s.group}, nil)
}

func (s *site) say(core int, u im.UserID, text string) (*chatpb.SendReply, error) {
	rep := new(chatpb.SendReply)
	err := s.as(core, u).Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: strings.ReplaceAll(text, " ", "-"), ConversationId: string(s.conversation()), Text: text}, rep)
	return rep, err
}

// device is one of somebody's, that keeps what it got.
type device struct {
	session *plugintest.Session
	cursor  int64
	got     []*chatpb.InboxEntry
}

// sync reads the inbox to its end.
func (d *device) sync(limit int32) error {
	for {
		var rep chatpb.SyncReply
		if err := d.session.Call(idl.ActionSync, &chatpb.SyncRequest{AfterSeq: d.cursor, Limit: limit}, &rep); err != nil {
			return err
		}
		if rep.Restarted {
			return fmt.Errorf("restarted behind %d of %d", d.cursor, rep.Head)
		}
		for _, e := range rep.Entries {
			if e.InboxSeq != d.cursor+1 {
				return fmt.Errorf("entry %d comes after %d", e.InboxSeq, d.cursor)
			}
			d.cursor = e.InboxSeq
			d.got = append(d.got, e)
		}
		switch {
		case !rep.HasMore:
			return nil
		case len(rep.Entries) == 0:
			return errors.New("there is more, and nothing came")
		}
	}
}

// texts are those that came, of the group.
func (d *device) texts(c im.ConversationID) (texts []string) {
	for _, e := range d.got {
		if e.Message.ConversationId == string(c) && e.Message.Text != "" {
			texts = append(texts, e.Message.Text)
		}
	}
	return texts
}

func (d *device) events(c im.ConversationID) (names []string) {
	for _, e := range d.got {
		if e.Message.ConversationId == string(c) && e.Message.Event != "" {
			names = append(names, e.Message.Event)
		}
	}
	return names
}

func (s *site) wantTexts(who string, d *device, limit int32, want ...string) {
	s.t.Helper()
	if err := d.sync(limit); err != nil {
		s.t.Errorf("%s: %v", who, err)
	}
	if got := d.texts(s.conversation()); !slices.Equal(got, want) {
		s.t.Errorf("%s: got %q, want %q", who, got, want)
	}
}

// listed is the group in somebody's list of conversations.
func (s *site) listed(core int, u im.UserID) *chatpb.Conversation {
	s.t.Helper()
	var rep chatpb.ListConversationsReply
	s.must(s.as(core, u), idl.ActionListConversations, &chatpb.ListConversationsRequest{}, &rep)
	for _, c := range rep.Conversations {
		if c.ConversationId == string(s.conversation()) {
			return c
		}
	}
	return &chatpb.Conversation{}
}

// TestOneWayOrTheOther has groups of several sizes be the same to their members.
func TestOneWayOrTheOther(t *testing.T) {
	for _, size := range []int{2, 500, 501, 5000} { // and TestHundredThousand
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newSite(t, 1, 500, size)
			s.fill(1, min(size, 500)) // the one that is the first too many comes by himself
			if size > 500 {
				if err := s.join(0, owner+500); err != nil {
					t.Fatal(err)
				}
				s.fill(501, size)
			}
			member, last := &device{session: s.as(0, owner+1)}, &device{session: s.as(0, owner+im.UserID(size-1))}
			for _, d := range []*device{member, last} {
				if err := d.sync(0); err != nil {
					t.Fatal(err)
				}
			}
			commits, inboxes := s.store.appends.Load(), s.store.inboxes.Load()
			wakes := len(s.cores[0].Wakes())
			first, err := s.say(0, owner, "one")
			if err != nil {
				t.Fatal(err)
			}
			large := int64(0)
			if size > 500 {
				large = 1
			}
			commits, inboxes, wakes = s.store.appends.Load()-commits, s.store.inboxes.Load()-inboxes, len(s.cores[0].Wakes())-wakes
			if want := int64(size) * (1 - large); commits != 1 || inboxes != want || int64(wakes) != large {
				t.Errorf("a message: %d commits to %d inboxes, %d wakes; want 1 to %d and %d", commits, inboxes, wakes, want, large)
			}
			if _, err := s.say(0, owner+1, "two"); err != nil {
				t.Fatal(err)
			}
			again, err := s.say(0, owner, "one")
			if err != nil || !again.Duplicate || again.Seq != first.Seq {
				t.Errorf("sent again: %v, %v", again, err)
			}
			for _, p := range last.session.Pushes() {
				if large > 0 && p.Action != idl.ActionSync {
					t.Errorf("a push of action %v", p.Action)
				}
			}
			s.wantTexts("a member", member, 1, "one", "two")
			s.wantTexts("the last member", last, 0, "one", "two")
			s.wantTexts("another device of his", &device{session: s.as(0, owner+im.UserID(size-1))}, 3, "one", "two")
			c := s.listed(0, last.session.Identity().User)
			if size > 2 && (c.Unread != 2 || c.Last.GetText() != "two") {
				t.Errorf("his list: %+v", c)
			}
		})
	}
}

// byID syncs from the beginning by the ID of the last message that came, and gives the texts, each message's once.
func (s *site) byID(u im.UserID, limit int32) (texts []string) {
	s.t.Helper()
	had, after := map[string]bool{}, ""
	for {
		var rep chatpb.SyncReply
		s.must(s.as(0, u), idl.ActionSync, &chatpb.SyncRequest{AfterMessageId: after, Limit: limit}, &rep)
		fresh := 0
		for _, e := range rep.Entries {
			if after = e.Message.Id; had[after] {
				continue
			}
			had[after] = true
			fresh++
			if e.Message.Text != "" {
				texts = append(texts, e.Message.Text)
			}
		}
		switch {
		case !rep.HasMore:
			return texts
		case fresh == 0:
			s.t.Fatalf("a page of %d entries behind %s has nothing new, and there is more", len(rep.Entries), after)
		}
	}
}

// TestSyncByID has members of a large group sync by message IDs: each page has something new, until all is there.
func TestSyncByID(t *testing.T) {
	s := newSite(t, 1, 3, 10)
	const bob, carol, dave = owner + 1, owner + 2, owner + 3
	for _, u := range []im.UserID{bob, carol, dave} {
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	say := func(n int) {
		t.Helper()
		for range n {
			want = append(want, fmt.Sprint("message ", len(want)))
			if _, err := s.say(0, owner, want[len(want)-1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(40)
	for _, limit := range []int32{1, 2, 7, 100} {
		if got := s.byID(bob, limit); !slices.Equal(got, want) {
			t.Errorf("limit %d: got %q", limit, got)
		}
	}
	// What came to his inbox in between is older than the places of what he gathers then.
	chats := func(n int) {
		t.Helper()
		for i := range n {
			req := &chatpb.SendRequest{ClientId: fmt.Sprint("chat-", len(want), "-", i), ToUserId: int64(bob), Text: "chat"}
			s.must(s.as(0, carol), idl.ActionMessage, req, nil)
		}
	}
	say(5)
	chats(30)
	say(20)
	for _, limit := range []int32{1, 3, 50} {
		got := slices.DeleteFunc(s.byID(bob, limit), func(text string) bool { return text == "chat" })
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: got %q", limit, got)
		}
	}
	// Who has gone has the rest of his part, and then nobody knows any more what its places are called.
	s.must(s.as(0, dave), idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil)
	for range 2 {
		if got := s.byID(dave, 4); !slices.Equal(got, want) {
			t.Errorf("who has gone: got %q", got)
		}
	}
}

// behind syncs from a message ID to the end, and gives the texts of groups that come.
func (s *site) behind(u im.UserID, id string) (texts []string) {
	s.t.Helper()
	var rep chatpb.SyncReply
	req := &chatpb.SyncRequest{AfterMessageId: id, Limit: 100}
	for {
		rep = chatpb.SyncReply{}
		s.must(s.as(0, u), idl.ActionSync, req, &rep)
		for _, e := range rep.Entries {
			if e.Message.ConversationId == string(s.conversation()) && e.Message.Text != "" {
				texts = append(texts, e.Message.Text)
			}
		}
		if !rep.HasMore {
			return texts
		}
		req = &chatpb.SyncRequest{AfterSeq: rep.Entries[len(rep.Entries)-1].InboxSeq, Limit: 100}
	}
}

// TestSyncByIDWhoLeft has people who left a large group ask by IDs of its messages: of those that are theirs they have all, however
// much lies between and whichever part it was, of what was written before they came or behind their leaving nothing, and no history.
func TestSyncByIDWhoLeft(t *testing.T) {
	s := newSite(t, 1, 2, 10)
	const bob, carol, dave = owner + 1, owner + 2, owner + 3
	s.joins(bob, carol)
	ids := map[string]string{}
	say := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			rep, err := s.say(0, owner, text)
			if err != nil {
				t.Fatal(err)
			}
			ids[text] = rep.MessageId
		}
	}
	say("before 1", "before 2")
	s.joins(dave)
	say("his 1", "his 2")
	s.leave(dave)
	say("between 1", "between 2")
	s.joins(dave)
	say("his 3", "his 4")
	for i := range 600 { // which are in his inbox before what he asks for late
		req := &chatpb.SendRequest{ClientId: fmt.Sprint("chat-", i), ToUserId: int64(dave), Text: "chat"}
		s.must(s.as(0, carol), idl.ActionMessage, req, nil)
	}
	s.leave(dave)
	say("behind 1", "behind 2")
	want := []string{"his 1", "his 2", "his 3", "his 4"}
	if got := s.behind(dave, ids["behind 2"]); !slices.Equal(got, want) {
		t.Errorf("he has asked for nothing yet: got %q", got)
	}
	s.syncs(dave, dave) // whose parts are whole then
	for text, id := range ids {
		var has []string // what he has not, who has that
		switch n := slices.Index(want, text); {
		case n >= 0:
			has = want[n+1:]
		default:
			has = want // that all came into his inbox later is all that is known
		}
		if got := s.behind(dave, id); !slices.Equal(got, has) {
			t.Errorf("behind %q: got %q, want %q", text, got, has)
		}
	}
	for _, limit := range []int32{3, 100} {
		if got := slices.DeleteFunc(s.byID(dave, limit), func(text string) bool { return text == "chat" }); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: got %q", limit, got)
		}
	}
	for _, req := range []*chatpb.HistoryRequest{{}, {BeforeSeq: 4}, {AfterSeq: 1}, {AfterSeq: 1000}} {
		req.ConversationId = string(s.conversation())
		var rep chatpb.HistoryReply
		if err := s.as(0, dave).Call(idl.ActionHistory, req, &rep); im.CodeOf(err) != idl.CodePermissionDenied {
			t.Errorf("history %v: got %v, %v", req, &rep, err)
		}
	}
}

// order is the list of somebody, the names of conversations from the first to the last, in pages of limit.
func (s *site) order(u im.UserID, limit int32, hidden bool) (names []string) {
	s.t.Helper()
	for cursor := ""; ; {
		var rep chatpb.ListConversationsReply
		s.must(s.as(0, u), idl.ActionListConversations, &chatpb.ListConversationsRequest{Cursor: cursor, Limit: limit, Hidden: hidden}, &rep)
		for _, c := range rep.Conversations {
			names = append(names, c.ConversationId)
		}
		if cursor = rep.Cursor; !rep.HasMore {
			return names
		}
	}
}

// TestNewestFirst: a large group stands in a list where its newest message belongs, whenever its person asked for it.
func TestNewestFirst(t *testing.T) {
	s := newSite(t, 1, 2, 10)
	const bob, carol, dave, erin = owner + 1, owner + 2, owner + 3, owner + 4
	first := s.conversation()
	s.joins(bob, carol, dave)
	var rep grouppb.CreateGroupReply
	s.must(s.as(0, owner), idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "two", Name: "Town", Policy: grouppb.GroupPolicy_GROUP_POLICY_OPEN}, &rep)
	s.group = rep.Group.GroupId
	second := s.conversation()
	s.joins(bob, carol, dave)
	n := 0
	send := func(to im.ConversationID) {
		t.Helper()
		n++
		s.cores[0].Advance(time.Second)
		s.must(s.as(0, carol), idl.ActionMessage, &chatpb.SendRequest{ClientId: fmt.Sprint(n), ConversationId: string(to), Text: fmt.Sprint(n)}, nil)
	}
	chat := func(from im.UserID) im.ConversationID {
		t.Helper()
		n++
		s.cores[0].Advance(time.Second)
		s.must(s.as(0, from), idl.ActionMessage, &chatpb.SendRequest{ClientId: fmt.Sprint(n), ToUserId: int64(bob), Text: fmt.Sprint(n)}, nil)
		return im.ChatOf(from, bob)
	}
	want := func(all ...im.ConversationID) {
		t.Helper()
		names := make([]string, len(all))
		for i, c := range all {
			names[i] = string(c)
		}
		for _, limit := range []int32{1, 2, 3, 50} {
			if got := s.order(bob, limit, false); !slices.Equal(got, names) {
				t.Errorf("in pages of %d: %q, want %q", limit, got, names)
			}
		}
	}
	send(first)
	a := chat(carol)
	send(second)
	b := chat(dave)
	c := chat(erin)
	want(c, b, second, a, first)
	send(first)
	want(first, c, b, second, a)
	chat(carol)
	send(second)
	chat(carol)
	want(a, second, first, c, b)
	s.must(s.as(0, bob), idl.ActionUpdateConversation, &chatpb.UpdateConversationRequest{ConversationId: string(first), Pinned: new(true)}, nil)
	s.must(s.as(0, bob), idl.ActionUpdateConversation, &chatpb.UpdateConversationRequest{ConversationId: string(b), Pinned: new(true)}, nil)
	s.must(s.as(0, bob), idl.ActionUpdateConversation, &chatpb.UpdateConversationRequest{ConversationId: string(c), Hidden: new(true)}, nil)
	want(first, b, a, second)
	if got, all := s.order(bob, 2, true), []string{string(first), string(b), string(a), string(second), string(c)}; !slices.Equal(got, all) {
		t.Errorf("with what is hidden: %q, want %q", got, all)
	}
}

// TestSpans has members go and come: what they may have comes, and nothing else.
func TestSpans(t *testing.T) {
	s := newSite(t, 1, 3, 10)
	const bob, carol, dave, erin = owner + 1, owner + 2, owner + 3, owner + 4
	say := func(text string) {
		t.Helper()
		if _, err := s.say(0, owner, text); err != nil {
			t.Fatal(err)
		}
	}
	join := func(u im.UserID) {
		t.Helper()
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	leave := func(u im.UserID) {
		t.Helper()
		s.must(s.as(0, u), idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil)
	}
	for _, u := range []im.UserID{bob, carol} {
		join(u)
	}
	say("to inboxes")
	join(dave) // the group is large now
	say("one")
	s.must(s.as(0, owner), idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: s.group, UserIds: []int64{int64(bob)}}, nil)
	leave(carol)
	say("two")
	join(erin)
	join(carol)
	say("three")
	leave(carol)
	join(carol)
	leave(carol) // nothing came meanwhile
	say("four")
	join(carol)
	say("five")
	s.wantTexts("who was removed", &device{session: s.as(0, bob)}, 2, "to inboxes", "one")
	s.wantTexts("who went and came", &device{session: s.as(0, carol)}, 2, "to inboxes", "one", "three", "five")
	s.wantTexts("who made it large", &device{session: s.as(0, dave)}, 2, "one", "two", "three", "four", "five")
	s.wantTexts("who came late", &device{session: s.as(0, erin)}, 2, "three", "four", "five")
	s.wantTexts("the owner", &device{session: s.as(0, owner)}, 2, "to inboxes", "one", "two", "three", "four", "five")
	gone := s.as(0, bob)
	var rep chatpb.SyncReply
	s.must(gone, idl.ActionSync, &chatpb.SyncRequest{AfterSeq: 0}, &rep)
	if f := gone.Follows(); len(f) != 0 {
		t.Errorf("who was removed follows %v", f)
	}
	if c := s.listed(0, dave); c.Unread != 5 || c.Last.GetText() != "five" {
		t.Errorf("list: %+v", c)
	}
	s.must(s.as(0, dave), idl.ActionRead, &chatpb.ReadRequest{ConversationId: string(s.conversation()), Seq: s.listed(0, dave).LastSeq}, nil)
	say("six")
	if c := s.listed(0, dave); c.Unread != 1 {
		t.Errorf("list after a read: %+v", c)
	}
	s.must(s.as(0, owner), idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: s.group}, nil)
	end := &device{session: s.as(0, erin)}
	s.wantTexts("after the end", end, 0, "three", "four", "five", "six")
	if events := end.events(s.conversation()); events[len(events)-1] != "group.dissolved" {
		t.Errorf("events: %v", events)
	}
	var left, follows int
	row := s.cores[0].DB().QueryRow("SELECT (SELECT COUNT(*) FROM group_members), (SELECT COUNT(*) FROM chat_follows WHERE through_seq = 0)")
	if err := row.Scan(&left, &follows); err != nil || left+follows > 0 {
		t.Errorf("%d members and %d followers are left, %v", left, follows, err)
	}
}

// stay is a time in which somebody was a member: for certain while seqs are above in.to and up to out.from, perhaps
// from in.from to out.to.
type stay struct{ in, out window }

// window is where the log's end was when something was asked and when it was answered.
type window struct{ from, to int64 }

// TestModel has people send, come, go and sync at random on two cores, while the group becomes large: everybody
// gets what was said while he was in, once, in order, on all his devices, and nothing else.
func TestModel(t *testing.T) {
	const people, line, rounds = 14, 5, 40
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newSite(t, 2, line, people)
	stays, devices := make([][]stay, people), make([][2]*device, people)
	for i := range people {
		devices[i] = s.both(i)
	}
	stays[0] = []stay{{}}
	var sent sync.Map // text -> who
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			u, in, open := owner+im.UserID(i), i == 0, window{}
			for n := range rounds {
				core := rng.IntN(2)
				switch what := rng.IntN(10); {
				case !in && n%3 == 0:
					open.from = s.head()
					if err := s.join(core, u); err != nil {
						t.Errorf("%d joins: %v", u, err)
						return
					}
					open.to = s.head()
					in = true
				case in && i > 0 && what == 0:
					out := window{from: s.head()}
					if err := s.as(core, u).Call(idl.ActionLeaveGroup, &grouppb.LeaveGroupRequest{GroupId: s.group}, nil); err != nil {
						t.Errorf("%d leaves: %v", u, err)
						return
					}
					out.to = s.head()
					stays[i] = append(stays[i], stay{open, out})
					in = false
				case in && what < 6:
					text := fmt.Sprint(u, "-", n)
					sent.Store(text, u)
					if _, err := s.say(core, u, text); err != nil {
						t.Errorf("%d sends: %v", u, err)
					}
				case what < 9:
					if err := devices[i][core].sync(int32(1 + rng.IntN(20))); err != nil {
						t.Errorf("%d syncs: %v", u, err)
						return
					}
				}
			}
			if i == 0 {
				stays[i] = nil
			}
			if in {
				const never = 1 << 40
				stays[i] = append(stays[i], stay{open, window{never, never}})
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	s.posted()
	log, err := s.store.Log(t.Context(), s.conversation(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	largest := 0
	if err := s.cores[0].DB().QueryRow("SELECT COUNT(*) FROM group_logs").Scan(&largest); err != nil || largest != 1 {
		t.Fatalf("the group did not become large: %v", err)
	}
	for i := range people {
		s.check(i, devices[i], stays[i], log.Items)
	}
}

// check compares what somebody got with the log and his stays. A message that is written to inboxes goes to those who were
// members when its sender asked who they are: who comes or goes before it is committed has it, or not.
func (s *site) check(i int, devices [2]*device, stays []stay, log []im.Message) {
	var seqs []int64
	for j, d := range devices {
		if err := d.sync(7); err != nil {
			s.t.Errorf("person %d: %v", i, err)
		}
		var got []int64
		for _, e := range d.got {
			if e.Message.ConversationId == string(s.conversation()) {
				got = append(got, e.Message.Seq)
			}
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			s.t.Errorf("person %d, device %d: seqs %v", i, j, got)
		}
		if j == 1 && !slices.Equal(got, seqs) {
			s.t.Errorf("person %d: his devices got %v and %v", i, seqs, got)
		}
		seqs = got
	}
	for _, m := range log {
		var content chatpb.Content
		if err := content.Unmarshal(m.Body); err != nil {
			s.t.Error(err)
		}
		must, may := false, false
		for _, stay := range stays {
			must = must || m.Seq > stay.in.to && m.Seq <= stay.out.from
			may = may || m.Seq > stay.in.from && m.Seq <= stay.out.to
		}
		_, has := slices.BinarySearch(seqs, m.Seq)
		if has && !may || must && !has {
			s.t.Errorf("person %d, message %d: has it %t, must %t, may %t, stays %v", i, m.Seq, has, must, may, stays)
		}
	}
}

// TestHundredThousand has the largest of groups be written to, read, left and dissolved.
func TestHundredThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 rows")
	}
	const size = 100_000
	s := newSite(t, 1, 2, 3)
	for _, u := range []im.UserID{owner + 1, owner + 2} { // so it is large
		if err := s.join(0, u); err != nil {
			t.Fatal(err)
		}
	}
	s.fill(3, size)
	last := &device{session: s.as(0, owner+size-1)}
	if err := last.sync(0); err != nil {
		t.Fatal(err)
	}
	had := len(last.events(s.conversation()))
	commits, wakes := s.store.appends.Load(), len(s.cores[0].Wakes())
	if _, err := s.say(0, owner, "one"); err != nil {
		t.Fatal(err)
	}
	if commits, wakes = s.store.appends.Load()-commits, len(s.cores[0].Wakes())-wakes; commits != 1 || wakes != 1 {
		t.Errorf("%d commits, %d wakes", commits, wakes)
	}
	s.wantTexts("the last", last, 0, "one")
	s.must(s.as(0, owner), idl.ActionRemoveFromGroup, &grouppb.RemoveFromGroupRequest{GroupId: s.group, UserIds: []int64{int64(owner + 5000)}}, nil)
	if _, err := s.say(0, owner, "two"); err != nil {
		t.Fatal(err)
	}
	s.wantTexts("who was removed", &device{session: s.as(0, owner+5000)}, 0, "one")
	s.must(s.as(0, owner), idl.ActionDissolveGroup, &grouppb.DissolveGroupRequest{GroupId: s.group}, nil)
	s.none("SELECT COUNT(*) FROM group_members") // of a group that is dissolved they go one after the other
	s.wantTexts("the last, after the end", last, 0, "one", "two")
	if events := last.events(s.conversation())[had:]; !slices.Equal(events, []string{"group.removed", "group.dissolved"}) {
		t.Errorf("events: %v", events)
	}
}

// BenchmarkLargeGroup is what a message to a large group costs its sender, and what a page of 100 of them costs who asks.
func BenchmarkLargeGroup(b *testing.B) {
	for _, size := range []int{501, 5000, 100_000} {
		s := newSite(b, 1, 2, 3)
		for _, u := range []im.UserID{owner + 1, owner + 2} {
			if err := s.join(0, u); err != nil {
				b.Fatal(err)
			}
		}
		s.fill(3, size)
		sender := s.as(0, owner)
		n := 0
		send := func() {
			n++
			req := &chatpb.SendRequest{ClientId: fmt.Sprint(n), ConversationId: string(s.conversation()), Text: "hello"}
			if err := sender.Call(idl.ActionMessage, req, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("send/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				send()
			}
		})
		reader := &device{session: s.as(0, owner+2)}
		b.Run(fmt.Sprintf("sync100/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				if err := reader.sync(500); err != nil {
					b.Fatal(err)
				}
				for range 100 {
					send()
				}
				b.StartTimer()
				if err := reader.sync(100); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
