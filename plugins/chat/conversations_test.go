package chat_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

func conversations(t *testing.T, s *plugintest.Session, req *chatpb.ListConversationsRequest) *chatpb.ListConversationsReply {
	t.Helper()
	var rep chatpb.ListConversationsReply
	if err := s.Call(idl.ActionListConversations, req, &rep); err != nil {
		t.Fatal(err)
	}
	return &rep
}

// list is all that a person's list shows, as "conversation unread last".
func list(t *testing.T, s *plugintest.Session) (out []string) {
	t.Helper()
	for _, c := range conversations(t, s, &chatpb.ListConversationsRequest{}).Conversations {
		last := c.Last.GetText()
		if c.Last.GetKind() == chatpb.MessageKind_MESSAGE_KIND_EVENT {
			last = c.Last.Event
		}
		out = append(out, fmt.Sprint(c.ConversationId, " ", c.Unread, " ", last))
	}
	return out
}

func wantList(t *testing.T, s *plugintest.Session, want ...string) {
	t.Helper()
	if got := list(t, s); !slices.Equal(got, want) {
		t.Errorf("the list of %d is\n%s\nwant\n%s", s.Identity().User, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func update(s *plugintest.Session, req *chatpb.UpdateConversationRequest) (*chatpb.Conversation, error) {
	var rep chatpb.UpdateConversationReply
	err := s.Call(idl.ActionUpdateConversation, req, &rep)
	return rep.Conversation, err
}

// A list has every conversation with its newest message, and counts what is behind what the person
// read, and behind what he wrote himself.
func TestListConversations(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": holding})
	alices, bobs, carols := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecJSON)
	wantList(t, bobs)
	for i := range 3 {
		send(t, alices, bob, fmt.Sprint("m", i), fmt.Sprint("hi ", i))
	}
	send(t, carols, bob, "m", "and I")
	ab, bc := im.ChatOf(alice, bob), im.ChatOf(bob, carol)
	wantList(t, bobs, "c_100002_100003 1 and I", "c_100001_100002 3 hi 2")
	wantList(t, alices, "c_100001_100002 0 hi 2")
	if _, err := read(bobs, ab, 2); err != nil {
		t.Fatal(err)
	}
	wantList(t, bobs, "c_100002_100003 1 and I", "c_100001_100002 1 hi 2")
	send(t, bobs, alice, "m", "hello")
	wantList(t, bobs, "c_100001_100002 0 hello", "c_100002_100003 1 and I")
	wantList(t, alices, "c_100001_100002 1 hello")

	// A group: who comes later counts from there, and what happened alone is not unread.
	post := func(id, name string) {
		if _, err := c.messages.Post(t.Context(), plugin.Post{Conversation: "g_1", Actor: alice, ClientID: id, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sendTo(alices, "g_1", "g1", "one"); err != nil {
		t.Fatal(err)
	}
	if _, err := sendTo(alices, "g_1", "g2", "two"); err != nil {
		t.Fatal(err)
	}
	c.set(func() { c.members = []im.UserID{alice, bob, carol} })
	post("~1", "group.joined")
	wantList(t, carols, "g_1 0 group.joined", "c_100002_100003 0 and I")
	wantList(t, bobs, "g_1 2 group.joined", "c_100001_100002 0 hello", "c_100002_100003 1 and I")
	if _, err := sendTo(alices, "g_1", "g3", "three"); err != nil {
		t.Fatal(err)
	}
	wantList(t, carols, "g_1 1 three", "c_100002_100003 0 and I")
	if _, err := read(carols, "g_1", 4); err != nil {
		t.Fatal(err)
	}
	post("~2", "group.renamed")
	wantList(t, carols, "g_1 0 group.renamed", "c_100002_100003 0 and I")
	c.set(func() { c.members = []im.UserID{alice, bob} })
	if _, err := sendTo(alices, "g_1", "g4", "without carol"); err != nil {
		t.Fatal(err)
	}
	c.set(func() { c.members = []im.UserID{alice, bob, carol} })
	if _, err := sendTo(alices, "g_1", "g5", "with her again"); err != nil {
		t.Fatal(err)
	}
	wantList(t, carols, "g_1 1 with her again", "c_100002_100003 0 and I")

	// What somebody has happen himself is nothing that he read.
	if _, err := sendTo(bobs, "g_1", "g6", "for all"); err != nil {
		t.Fatal(err)
	}
	post("~3", "group.renamed")
	wantList(t, alices, "g_1 1 group.renamed", "c_100001_100002 1 hello")
	wantList(t, carols, "g_1 2 group.renamed", "c_100002_100003 0 and I")
	if _, err := sendTo(carols, "g_1", "g7", "seen"); err != nil {
		t.Fatal(err)
	}

	// What nobody else sees counts for nobody else.
	if rep := send(t, carols, bob, "s", "spam"); rep.Seq != 2 {
		t.Errorf("got %+v", rep)
	}
	wantList(t, carols, "c_100002_100003 0 spam", "g_1 0 seen")
	send(t, bobs, carol, "n", "now")
	wantList(t, carols, "c_100002_100003 1 now", "g_1 0 seen")
	if _, err := read(carols, bc, 2); err != nil {
		t.Fatal(err)
	}
	wantList(t, carols, "c_100002_100003 0 now", "g_1 0 seen")

	// What the server tells is no conversation.
	file(t, h, nil, plugin.Event{Users: []im.UserID{carol}, Name: "test.told"})
	messagesOf(h).Deliver()
	eventually(t, "it is told", func() bool { return left(t, h) == 0 })
	wantList(t, carols, "c_100002_100003 0 now", "g_1 0 seen")
}

// The whole list comes in pages, pinned ones first, also beyond what one step takes from the inbox.
func TestListConversationsPages(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: plugintest.NewPeople(people(1250)...).Stubs()})
	me := h.As(alice, "phone", idl.CodecProtobuf)
	for i, u := range people(1250)[1:] {
		send(t, h.As(u, "phone", idl.CodecProtobuf), alice, "m", fmt.Sprint("from ", i+1))
	}
	for _, u := range []im.UserID{alice + 7, alice + 3} {
		if _, err := update(me, &chatpb.UpdateConversationRequest{ConversationId: string(im.ChatOf(alice, u)), Pinned: new(true)}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"from 7", "from 3"}
	for i := 1249; i > 0; i-- {
		if i != 7 && i != 3 {
			want = append(want, fmt.Sprint("from ", i))
		}
	}
	for _, limit := range []int32{0, 1, 2, 3, 100} {
		var got []string
		req := &chatpb.ListConversationsRequest{Limit: limit}
		for {
			rep := conversations(t, me, req)
			for _, c := range rep.Conversations {
				got = append(got, c.Last.Text)
			}
			if !rep.HasMore || limit > 0 && limit < 100 && len(got) > 10 {
				break
			}
			req.Cursor = rep.Cursor
		}
		if !slices.Equal(got, want[:len(got)]) || (limit == 0 || limit == 100) && len(got) != len(want) {
			t.Errorf("pages of %d: got %d, beginning with %q", limit, len(got), got[:min(5, len(got))])
		}
	}
	for _, cursor := range []string{"x", "p", "p0", "n-1", "p1x", "p01", "q5", "n99999999999999999999", "ü5"} {
		err := me.Call(idl.ActionListConversations, &chatpb.ListConversationsRequest{Cursor: cursor}, nil)
		wantRefusal(t, err, idl.CodeInvalidArgument, "cursor")
	}
	wantRefusal(t, me.Call(idl.ActionListConversations, &chatpb.ListConversationsRequest{Limit: 101}, nil), idl.CodeInvalidArgument, "limit")
}

// people are so many users, alice first.
func people(n int) (all []im.UserID) {
	for i := range n {
		all = append(all, alice+im.UserID(i))
	}
	return all
}

// Devices of one person that ask at once all see the whole list.
func TestListConversationsAtOnce(t *testing.T) {
	h := start(t, nil)
	alices := h.As(alice, "phone", idl.CodecProtobuf)
	for round := range 20 {
		send(t, alices, bob, fmt.Sprint("m", round), "hi")
		var asking sync.WaitGroup
		for i := range 4 {
			s := h.As(bob, im.DeviceID(fmt.Sprint("d", i)), idl.CodecJSON)
			asking.Go(func() {
				var rep chatpb.ListConversationsReply
				if err := s.Call(idl.ActionListConversations, nil, &rep); err != nil || len(rep.Conversations) != 1 || rep.Conversations[0].Unread != int64(round)+1 {
					t.Errorf("got %v, %v", &rep, err)
				}
			})
		}
		asking.Wait()
	}
}

// What a person says of a conversation is his own, and his devices learn of it.
func TestUpdateConversation(t *testing.T) {
	h := start(t, nil)
	alices, bobs, desk := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(bob, "desk", idl.CodecJSON)
	send(t, alices, bob, "m1", "hi")
	send(t, alices, bob, "m2", "there")
	id := string(im.ChatOf(alice, bob))
	for _, row := range []struct {
		name  string
		req   *chatpb.UpdateConversationRequest
		code  idl.Code
		field string
	}{
		{"of nobody's", &chatpb.UpdateConversationRequest{ConversationId: string(im.ChatOf(bob, carol)), Pinned: new(true)}, idl.CodeNotFound, "conversation_id"},
		{"of others'", &chatpb.UpdateConversationRequest{ConversationId: string(im.ChatOf(alice, carol)), Pinned: new(true)}, idl.CodePermissionDenied, "conversation_id"},
		{"of the notices", &chatpb.UpdateConversationRequest{ConversationId: string(im.NoticesOf(bob)), Pinned: new(true)}, idl.CodeNotFound, "conversation_id"},
		{"of none", &chatpb.UpdateConversationRequest{Pinned: new(true)}, idl.CodeInvalidArgument, "conversation_id"},
		{"an unknown mute", &chatpb.UpdateConversationRequest{ConversationId: id, Mute: new(chatpb.Mute(9))}, idl.CodeInvalidArgument, "mute"},
		{"a long draft", &chatpb.UpdateConversationRequest{ConversationId: id, Draft: new(strings.Repeat("界", 501))}, idl.CodeInvalidArgument, "draft"},
		{"an escape", &chatpb.UpdateConversationRequest{ConversationId: id, Draft: new("\x1b")}, idl.CodeInvalidArgument, "draft"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := update(bobs, row.req)
			wantRefusal(t, err, row.code, row.field)
		})
	}
	draft := strings.Repeat("<\u2028\"", 166)
	for _, row := range []struct {
		req  *chatpb.UpdateConversationRequest
		want string // pinned, mute, length of the draft, hidden, floor, unread
		told string // what is different
	}{
		{&chatpb.UpdateConversationRequest{Pinned: new(true)}, "true 0 0 false 0 2", `"pinned":true`},
		{&chatpb.UpdateConversationRequest{Mute: new(chatpb.Mute_MUTE_SILENT)}, "true 1 0 false 0 2", `"mute":1`},
		{&chatpb.UpdateConversationRequest{Draft: new("so <far>")}, "true 1 8 false 0 2", `"draft":"so <far>"`},
		{&chatpb.UpdateConversationRequest{Draft: &draft}, "true 1 830 false 0 2", `"draft":"<\u2028\"<`},
		{&chatpb.UpdateConversationRequest{}, "true 1 830 false 0 2", ""},
		{&chatpb.UpdateConversationRequest{Hidden: new(true), Pinned: new(false), Draft: new("")}, "false 1 0 true 0 2", `"pinned":false,"draft":"","hidden":true`},
		{&chatpb.UpdateConversationRequest{Hidden: new(false)}, "false 1 0 false 0 2", `"hidden":false`},
		{&chatpb.UpdateConversationRequest{Pinned: new(true)}, "true 1 0 false 0 2", `"pinned":true`},
		{&chatpb.UpdateConversationRequest{Delete: true}, "false 1 0 true 2 0", `"pinned":false,"hidden":true,"floor":2`},
	} {
		row.req.ConversationId = id
		c, err := update(bobs, row.req)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(c.Pinned, " ", int32(c.Mute), " ", len(c.Draft), " ", c.Hidden, " ", c.Floor, " ", c.Unread); got != row.want {
			t.Errorf("%v: got %s, want %s", row.req, got, row.want)
		}
		eventually(t, "it is told", func() bool { return left(t, h) == 0 })
		pushed := entries(t, desk)
		switch n := len(pushed); {
		case row.told == "" && n == 0:
		case row.told == "" || n == 0 || !strings.Contains(pushed[n-1].Message.Data, row.told) || pushed[n-1].Message.Event != "chat.conversation":
			t.Errorf("%v: the other device got %v", row.req, pushed)
		}
	}
	if got := entries(t, alices); len(got) != 0 {
		t.Errorf("the peer got %v", got)
	}
	wantList(t, bobs)
	if _, got := history(t, bobs, &chatpb.HistoryRequest{ConversationId: id}); got != "" {
		t.Errorf("history has %s", got)
	}
	if _, got := history(t, alices, &chatpb.HistoryRequest{ConversationId: id}); got != "2 there, 1 hi" {
		t.Errorf("the peer's history has %s", got)
	}
	if rep := conversations(t, bobs, &chatpb.ListConversationsRequest{Hidden: true}); len(rep.Conversations) != 1 || rep.Conversations[0].Last != nil || !rep.Conversations[0].Hidden {
		t.Errorf("with the hidden ones the list is %v", rep)
	}
	send(t, alices, bob, "m3", "again")
	wantList(t, bobs, "c_100001_100002 1 again")
	rep, got := history(t, bobs, &chatpb.HistoryRequest{ConversationId: id})
	if got != "3 again" || rep.Floor != 3 || rep.HasMore {
		t.Errorf("history has %s, floor %d", got, rep.Floor)
	}
}

// More than a hundred cannot be pinned.
func TestPinned(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: plugintest.NewPeople(people(102)...).Stubs()})
	me := h.As(alice, "phone", idl.CodecProtobuf)
	for i, u := range people(102)[1:] {
		send(t, me, u, fmt.Sprint("m", i), "hi")
		_, err := update(me, &chatpb.UpdateConversationRequest{ConversationId: string(im.ChatOf(alice, u)), Pinned: new(true)})
		if i < 100 && err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			wantRefusal(t, err, idl.CodeLimitExceeded, "pinned")
		}
	}
}

// When the store of messages is another one, the list begins anew, and keeps what the person said.
func TestListConversationsOfAnotherStore(t *testing.T) {
	dir := t.TempDir()
	run := func() *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory}, Dir: dir})
	}
	h := run()
	alices, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecJSON)
	for i := range 5 {
		send(t, alices, bob, fmt.Sprint("m", i), "hi")
	}
	id := string(im.ChatOf(alice, bob))
	if _, err := update(bobs, &chatpb.UpdateConversationRequest{ConversationId: id, Pinned: new(true), Delete: true}); err != nil {
		t.Fatal(err)
	}
	epoch := h.Timelines().Epoch()
	eventually(t, "it is told", func() bool { return left(t, h) == 0 })
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	h = run() // the embedded store of a test ends with its host
	if h.Timelines().Epoch() == epoch {
		t.Skip("the store is the same")
	}
	alices, bobs = h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "phone", idl.CodecJSON)
	wantList(t, bobs)
	send(t, alices, bob, "m", "anew")
	wantList(t, bobs, "c_100001_100002 1 anew")
	if c := conversations(t, bobs, &chatpb.ListConversationsRequest{}).Conversations[0]; !c.Pinned || c.Floor != 0 {
		t.Errorf("got %v", c)
	}
}

// BenchmarkListConversations lists a person's 1,000 conversations: the first page, and all.
func BenchmarkListConversations(b *testing.B) {
	h, err := plugintest.Start(b, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: plugintest.NewPeople(people(1001)...).Stubs()})
	if err != nil {
		b.Fatal(err)
	}
	me := h.As(alice, "phone", idl.CodecProtobuf)
	for i, u := range people(1001)[1:] {
		if err := h.As(u, "phone", idl.CodecProtobuf).Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m", ToUserId: int64(alice), Text: fmt.Sprint("hi ", i)}, nil); err != nil {
			b.Fatal(err)
		}
	}
	for _, pages := range []int{1, 10} {
		b.Run(fmt.Sprint(100*pages), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req := &chatpb.ListConversationsRequest{Limit: 100}
				for range pages {
					var rep chatpb.ListConversationsReply
					if err := me.Call(idl.ActionListConversations, req, &rep); err != nil || len(rep.Conversations) != 100 {
						b.Fatal(len(rep.Conversations), err)
					}
					req.Cursor = rep.Cursor
				}
			}
		})
	}
}

// cores are two on the same stores, where these can be shared, else one twice; alice and others are there.
func cores(t *testing.T, others ...im.UserID) (one, two *plugintest.Host) {
	t.Helper()
	dir := t.TempDir()
	run := func() *plugintest.Host {
		return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: plugintest.NewPeople(append(others, alice)...).Stubs(), Dir: dir})
	}
	one = run()
	if os.Getenv(plugintest.Stores) != "production" {
		return one, one
	}
	return one, run()
}

// Devices that ask for a person's list for the first time at once all see it.
func TestFirstListAtOnce(t *testing.T) {
	all := people(41)[1:]
	one, two := cores(t, all...)
	alices := one.As(alice, "phone", idl.CodecProtobuf)
	for i, u := range all {
		send(t, alices, u, fmt.Sprint("m", i), "hi")
		var asking sync.WaitGroup
		for n, h := range []*plugintest.Host{one, two, one, two} {
			s := h.As(u, im.DeviceID(fmt.Sprint("d", n)), idl.CodecProtobuf)
			asking.Go(func() {
				var rep chatpb.ListConversationsReply
				if err := s.Call(idl.ActionListConversations, nil, &rep); err != nil || len(rep.Conversations) != 1 {
					t.Errorf("%d got %v, %v", u, &rep, err)
				}
			})
		}
		asking.Wait()
	}
}

// Devices that say different things of one conversation at once, by two cores where the store has them,
// take nothing of each other back.
func TestUpdateConversationAtOnce(t *testing.T) {
	first, last := cores(t, bob)
	send(t, first.As(alice, "phone", idl.CodecProtobuf), bob, "m", "hi")
	phone, desk := first.As(bob, "phone", idl.CodecJSON), last.As(bob, "desk", idl.CodecProtobuf)
	id := string(im.ChatOf(alice, bob))
	for round := range 40 {
		pinned, draft := round%2 == 0, fmt.Sprint("draft ", round)
		var saying sync.WaitGroup
		for s, req := range map[*plugintest.Session]*chatpb.UpdateConversationRequest{phone: {Pinned: &pinned}, desk: {Draft: &draft}} {
			req.ConversationId = id
			saying.Go(func() {
				if _, err := update(s, req); err != nil {
					t.Error(err)
				}
			})
		}
		saying.Wait()
		if c := conversations(t, desk, &chatpb.ListConversationsRequest{}).Conversations[0]; c.Pinned != pinned || c.Draft != draft {
			t.Fatalf("round %d: got pinned %v and %q, want %v and %q", round, c.Pinned, c.Draft, pinned, draft)
		}
	}
}
