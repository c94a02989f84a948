package chat_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// small has groups of more than two be too large to be told who reads and types.
func small(t *testing.T) (*plugintest.Host, *company) {
	t.Helper()
	p := chat.New()
	p.Config().(*chat.Config).ReadersMembers, p.Config().(*chat.Config).TypingMembers = 3, 2
	c := &company{members: []im.UserID{carol, bob, alice}, reach: map[im.UserID]plugin.Reach{}}
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p, c}, Stubs: []plugintest.Stub{directory}}), c
}

func TestReaders(t *testing.T) {
	h, c := small(t)
	a, b, cc := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecProtobuf)
	for _, text := range []string{"1", "2"} {
		if _, err := sendTo(a, "g_1", text, text); err != nil {
			t.Fatal(err)
		}
	}
	readers := func(s *plugintest.Session, seq int64) (*chatpb.ReadersReply, error) {
		var rep chatpb.ReadersReply
		err := s.Call(idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: "g_1", Seq: seq}, &rep)
		return &rep, err
	}
	want := func(seq int64, users ...int64) {
		t.Helper()
		for _, s := range []*plugintest.Session{a, b} {
			if rep, err := readers(s, seq); err != nil || !slices.Equal(rep.UserIds, users) || rep.Of != 2 {
				t.Errorf("of %d: got %v, %v, want %v", seq, rep, err, users)
			}
		}
	}
	read := func(s *plugintest.Session, seq int64) {
		t.Helper()
		if err := s.Call(idl.ActionRead, &chatpb.ReadRequest{ConversationId: "g_1", Seq: seq}, nil); err != nil {
			t.Fatal(err)
		}
	}
	want(1)
	read(b, 1)
	read(a, 2)
	want(1, int64(bob))
	want(2)
	read(cc, 2)
	want(1, int64(bob), int64(carol))
	want(2, int64(carol))
	off := false
	if err := cc.Call(idl.ActionChatSettings, &chatpb.ChatSettingsRequest{ReadReceipts: &off}, nil); err != nil {
		t.Fatal(err)
	}
	want(1, int64(bob))
	for _, seq := range []int64{0, -1} {
		_, err := readers(a, seq)
		wantRefusal(t, err, idl.CodeInvalidArgument, "seq")
	}
	_, err := readers(a, 3)
	wantRefusal(t, err, idl.CodeNotFound, "seq")
	c.set(func() { c.reach[bob] = plugin.Reach{After: 1} })
	_, err = readers(b, 1)
	wantRefusal(t, err, idl.CodeNotFound, "seq")
	c.set(func() { c.members = append(c.members, 100004) })
	_, err = readers(a, 1)
	wantRefusal(t, err, idl.CodeLimitExceeded, "conversation_id")
	c.set(func() { c.members = []im.UserID{alice} })
	_, err = readers(b, 1)
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, a.Call(idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: string(im.ChatOf(alice, bob)), Seq: 1}, nil), idl.CodePermissionDenied, "conversation_id")
}

// TestReadersOfWhatNobodySees: whoever asks about his own message that nobody else sees hears what he would of one
// that nobody has read yet, also when others have written since.
func TestReadersOfWhatNobodySees(t *testing.T) {
	h, _ := found(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if c.text == "spam" then return im.shadow() end end, {name = "x", on_error = "closed"})`})
	a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	plain, err := sendTo(a, "g_1", "1", "hello")
	if err != nil {
		t.Fatal(err)
	}
	spam, err := sendTo(a, "g_1", "2", "spam")
	if err != nil {
		t.Fatal(err)
	}
	want := func(when string) {
		t.Helper()
		for _, seq := range []int64{plain.Seq, spam.Seq} {
			var rep chatpb.ReadersReply
			if err := a.Call(idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: "g_1", Seq: seq}, &rep); err != nil || rep.Of != 1 || len(rep.UserIds) != 0 {
				t.Errorf("%s, of %d: got %v, %v, want nobody of one", when, seq, &rep, err)
			}
		}
	}
	want("at once")
	if _, err := sendTo(b, "g_1", "3", "hi"); err != nil {
		t.Fatal(err)
	}
	want("when others wrote")
}

// TestReadersOfTheNextOne: who wrote one that nobody else sees, and behind it one that all see, which has the same seq, hears who
// has read that.
func TestReadersOfTheNextOne(t *testing.T) {
	h, _ := found(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if c.text == "spam" then return im.shadow() end end, {name = "x", on_error = "closed"})`})
	a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	spam, err := sendTo(a, "g_1", "1", "spam")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := sendTo(a, "g_1", "2", "hello")
	if err != nil || plain.Seq != spam.Seq {
		t.Fatalf("the next has seq %d, that before %d: %v", plain.Seq, spam.Seq, err)
	}
	if _, err := read(b, "g_1", plain.Seq); err != nil {
		t.Fatal(err)
	}
	var rep chatpb.ReadersReply
	if err := a.Call(idl.ActionReaders, &chatpb.ReadersRequest{ConversationId: "g_1", Seq: plain.Seq}, &rep); err != nil || rep.Of != 1 || !slices.Equal(rep.UserIds, []int64{int64(bob)}) {
		t.Errorf("got %v, %v, want bob", &rep, err)
	}
}

// In a group of few those who are there see who types; who may not write shows nothing, and in a larger one nobody.
func TestTypingInGroups(t *testing.T) {
	h, c := small(t)
	c.set(func() { c.members = []im.UserID{bob, alice} })
	a, desk, b, stranger := h.As(alice, "phone", idl.CodecJSON), h.As(alice, "desk", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecProtobuf)
	typing := func(s *plugintest.Session) error {
		return s.Call(idl.ActionTyping, &chatpb.TypingRequest{ConversationId: "g_1"}, nil)
	}
	if err := typing(a); err != nil {
		t.Fatal(err)
	}
	got := b.Pushes()
	var m chatpb.Typing
	if len(got) != 1 || got[0].Action != idl.ActionTyping || got[0].Decode(&m) != nil || m.ConversationId != "g_1" || m.UserId != int64(alice) {
		t.Errorf("bob got %v", got)
	}
	if c.last().Kind != "typing" {
		t.Errorf("the owner was asked about %+v", c.last())
	}
	wantRefusal(t, typing(stranger), idl.CodePermissionDenied, "conversation_id")
	c.set(func() { c.members = append(c.members, carol) })
	if err := typing(a); err != nil {
		t.Fatal(err)
	}
	c.set(func() { c.log = true })
	if err := typing(a); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*plugintest.Session{a, desk, b, stranger} {
		if got := s.Pushes(); len(got) != 0 {
			t.Errorf("%d got %v", s.Identity().User, got)
		}
	}
}

// TestTypingIsNotStored: inboxes, logs, lists, positions and receipts are the same before and after somebody typed, in a chat, in
// a chat where nothing was said, with himself, and in a group.
func TestTypingIsNotStored(t *testing.T) {
	h, c := small(t)
	c.set(func() { c.members = []im.UserID{bob, alice} })
	a, b := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	said := send(t, a, bob, "m1", "hi")
	if err := b.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: said.ConversationId, Seq: said.Seq}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sendTo(b, "g_1", "m2", "hi all"); err != nil {
		t.Fatal(err)
	}
	send(t, b, alice, "m3", "unread")
	kept := func() []string {
		t.Helper()
		var all []string
		note := func(what any, err error) {
			t.Helper()
			text, fault := json.Marshal(what)
			if err := errors.Join(err, fault); err != nil {
				t.Fatal(err)
			}
			all = append(all, string(text))
		}
		for _, s := range []*plugintest.Session{a, b} {
			user := s.Identity().User
			note(h.Timelines().Inbox(t.Context(), user, 0, 100))
			rs, head, _, err := h.Timelines().Receipts(t.Context(), user, 0, 10_000)
			note([]any{rs, head}, err)
			var list chatpb.ListConversationsReply
			note(&list, s.Call(idl.ActionListConversations, &chatpb.ListConversationsRequest{Hidden: true}, &list))
			note(synced(t, s, &chatpb.SyncRequest{}), nil)
			for _, with := range []im.UserID{alice, bob, carol} {
				note(h.Timelines().Log(t.Context(), im.ChatOf(user, with), 0, 100))
				note(h.Timelines().Positions(t.Context(), im.ChatOf(user, with), []im.UserID{alice, bob, carol}))
			}
		}
		note(h.Timelines().Log(t.Context(), "g_1", 0, 100))
		note(h.Timelines().Positions(t.Context(), "g_1", []im.UserID{alice, bob, carol}))
		return all
	}
	before := kept()
	a.Pushes()
	b.Pushes()
	for _, req := range []*chatpb.TypingRequest{
		{ToUserId: int64(bob)}, {ToUserId: int64(bob), Stopped: true}, {ToUserId: int64(carol)}, {ToUserId: int64(alice)},
		{ConversationId: said.ConversationId}, {ConversationId: "g_1"}, {ConversationId: "g_1", Stopped: true},
	} {
		if err := a.Call(idl.ActionTyping, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Pushes(); len(got) != 5 {
		t.Errorf("bob saw %d, want 5", len(got))
	}
	for i, now := range kept() {
		if now != before[i] {
			t.Errorf("got %s\nwas %s", now, before[i])
		}
	}
}
