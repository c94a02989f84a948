package chat_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// company owns groups and guards chats: what tests have it say.
type company struct {
	mu       sync.Mutex // guards the fields below
	members  []im.UserID
	reach    map[im.UserID]plugin.Reach
	guard    func(from, to im.UserID) error
	asked    int // Send
	sent     plugin.Outgoing
	admin    im.UserID // may recall
	log      bool      // messages are in the log alone
	calm     bool      // nobody may name all
	messages plugin.Messages
}

func (c *company) Info() plugin.Info {
	return plugin.Info{Name: "company", Version: "1", Needs: []string{plugin.ServiceMessages}}
}

func (c *company) Register(*plugin.Registrar) {}

func (c *company) Provision(_ context.Context, h plugin.Host) (err error) {
	if c.messages, err = plugin.Need[plugin.Messages](h, plugin.ServiceMessages); err != nil {
		return err
	}
	c.messages.Own(im.Group, c)
	c.messages.Guard(c)
	return nil
}

var errOut = &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "not a member"}

func (c *company) Send(_ context.Context, id im.ConversationID, user im.UserID, m plugin.Outgoing) (plugin.Audience, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	c.sent = m
	if id == "g_fault" {
		return plugin.Audience{}, errors.New("planted fault")
	}
	if !slices.Contains(c.members, user) && m.Kind != "event" {
		return plugin.Audience{}, errOut
	}
	if c.calm && m.MentionsAll {
		return plugin.Audience{}, &im.Error{Code: idl.CodePermissionDenied, Field: "mentions_all", Reason: "nobody names all"}
	}
	return c.audience(), nil
}

func (c *company) audience() plugin.Audience {
	if c.log {
		return plugin.Audience{Log: true}
	}
	return plugin.Audience{Inboxes: c.members}
}

func (c *company) Read(_ context.Context, _ im.ConversationID, user im.UserID) (plugin.Reach, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, may := c.reach[user]
	if !may && !slices.Contains(c.members, user) {
		return plugin.Reach{}, errOut
	}
	return r, nil
}

func (c *company) Recall(_ context.Context, _ im.ConversationID, by, _ im.UserID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if by != c.admin {
		return &im.Error{Code: idl.CodePermissionDenied, Field: "message_id", Reason: "no admin"}
	}
	return nil
}

func (c *company) Settle(_ context.Context, _ im.ConversationID, user im.UserID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if user != c.admin {
		return &im.Error{Code: idl.CodePermissionDenied, Field: "conversation_id", Reason: "no admin"}
	}
	return nil
}

func (c *company) Members(context.Context, im.ConversationID) (plugin.Audience, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.audience(), nil
}

func (c *company) Readers(_ context.Context, _ im.ConversationID, user im.UserID, _ int64, most int) ([]im.UserID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.members, user) {
		return nil, errOut
	}
	if len(c.members) > most {
		return nil, &im.Error{Code: idl.CodeLimitExceeded, Field: "conversation_id", Reason: "too many"}
	}
	return slices.Sorted(slices.Values(c.members)), nil
}

func (c *company) Chat(_ context.Context, from, to im.UserID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guard == nil {
		return nil
	}
	return c.guard(from, to)
}

// last is what it was asked about last.
func (c *company) last() plugin.Outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// set changes what the company says.
func (c *company) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// found is a host with a company of alice and bob.
func found(t *testing.T, scripts map[string]string) (*plugintest.Host, *company) {
	t.Helper()
	c := &company{members: []im.UserID{bob, alice}, reach: map[im.UserID]plugin.Reach{}}
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New(), c}, Stubs: []plugintest.Stub{directory}, Scripts: scripts}), c
}

func sendTo(s *plugintest.Session, c im.ConversationID, clientID, text string) (*chatpb.SendReply, error) {
	var rep chatpb.SendReply
	err := s.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: clientID, ConversationId: string(c), Text: text}, &rep)
	return &rep, err
}

// A message to a conversation that is owned goes to whom the owner says, each with his own
// inbox seq, and nobody who may not send or read does.
func TestOwnedConversation(t *testing.T) {
	h, _ := found(t, nil)
	alices, desk := h.As(alice, "phone", idl.CodecJSON), h.As(alice, "desk", idl.CodecProtobuf)
	bobs, carols := h.As(bob, "phone", idl.CodecProtobuf), h.As(carol, "phone", idl.CodecJSON)
	send(t, alices, alice, "note", "a note") // so that alice's inbox is ahead of bob's
	desk.Pushes()
	rep, err := sendTo(alices, "g_1", "m1", "hi all")
	if err != nil || rep.Seq != 1 || rep.InboxSeq != 2 || rep.ConversationId != "g_1" {
		t.Fatalf("got %+v, %v", rep, err)
	}
	again, err := sendTo(desk, "g_1", "m1", "hi all")
	if err != nil || again.MessageId != rep.MessageId || again.InboxSeq != 2 || !again.Duplicate {
		t.Errorf("a resend got %+v, %v", again, err)
	}
	for name, row := range map[string]struct {
		s   *plugintest.Session
		seq int64
	}{"the sender's other device": {desk, 2}, "a member": {bobs, 1}} {
		if got := entries(t, row.s); len(got) != 1 || got[0].InboxSeq != row.seq || got[0].Message.ConversationId != "g_1" || got[0].Message.Text != "hi all" {
			t.Errorf("%s got %v", name, got)
		}
	}
	if got := entries(t, carols); len(got) != 0 {
		t.Errorf("who is no member got %v", got)
	}
	if _, got := history(t, bobs, &chatpb.HistoryRequest{ConversationId: "g_1"}); got != "1 hi all" {
		t.Errorf("history is %s", got)
	}
	_, err = sendTo(carols, "g_1", "m1", "me too")
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, carols.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: "g_1"}, nil), idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, carols.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: "g_1", Seq: 1}, nil), idl.CodePermissionDenied, "conversation_id")
	_, err = sendTo(alices, "g_fault", "m2", "hi")
	wantRefusal(t, err, idl.CodeUnavailable, "")
	_, err = sendTo(alices, "g_ 1", "m3", "hi")
	wantRefusal(t, err, idl.CodePermissionDenied, "conversation_id")
	wantRefusal(t, alices.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m4", ConversationId: "g_1", Kind: chatpb.MessageKind_MESSAGE_KIND_EVENT, Text: "x"}, nil), idl.CodeInvalidArgument, "kind")
}

// The owner of a conversation hears whether a message names all, and refuses it then: also one that was held, when
// it is released.
func TestOwnerRefusesMentionsOfAll(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": holding})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	naming := func(clientID, text string, all bool) *chatpb.SendRequest {
		return &chatpb.SendRequest{ClientId: clientID, ConversationId: "g_1", Text: text, MentionsAll: all}
	}
	sends(t, alices, naming("m1", "late @all", true))
	c.set(func() { c.calm = true })
	for _, s := range []*plugintest.Session{alices, bobs} {
		wantRefusal(t, s.Call(idl.ActionMessage, naming("m2", "@all", true), nil), idl.CodePermissionDenied, "mentions_all")
	}
	h.Advance(3 * 60 * 60 * 1e9)
	eventually(t, "what was held is denied", func() bool {
		var held chatpb.HeldReply
		err := alices.Call(idl.ActionHeld, nil, &held)
		return err == nil && len(held.Held) == 1 && held.Held[0].State == chatpb.HeldState_HELD_STATE_DENIED && held.Held[0].Reason == "nobody names all"
	})
	if got := entries(t, bobs); len(got) != 0 {
		t.Errorf("a member got %v", got)
	}
	sends(t, alices, naming("m3", "@nobody", false))
	c.set(func() { c.calm = false })
	sends(t, alices, naming("m4", "@all", true))
	if _, got := history(t, bobs, &chatpb.HistoryRequest{ConversationId: "g_1"}); got != "2 @all, 1 @nobody" {
		t.Errorf("history is %s", got)
	}
}

// Acknowledgements in a group are told nobody, and stay within what one may read.
func TestOwnedAck(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	for i := range 3 {
		if _, err := sendTo(alices, "g_1", fmt.Sprint("m", i), "hi"); err != nil {
			t.Fatal(err)
		}
	}
	alices.Pushes()
	if err := bobs.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: "g_1", Seq: 3}, nil); err != nil {
		t.Fatal(err)
	}
	if got := alices.Pushes(); len(got) != 0 {
		t.Errorf("an ack pushed %v", got)
	}
	moved, _, _, err := h.Timelines().Receipts(t.Context(), alice, 0, 10_000)
	if err != nil || len(moved) != 0 {
		t.Errorf("an ack filed %v, %v", moved, err)
	}
	c.set(func() { c.reach[bob] = plugin.Reach{Through: 2} })
	for seq, code := range map[int64]idl.Code{0: idl.CodeInvalidArgument, 3: idl.CodeInvalidArgument} {
		wantRefusal(t, bobs.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: "g_1", Seq: seq}, nil), code, "seq")
	}
	wantRefusal(t, alices.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: "g_1", Seq: 4}, nil), idl.CodeInvalidArgument, "seq")
}

// What a person may read of a log bounds every page of its history.
func TestReachBoundsHistory(t *testing.T) {
	h, c := found(t, nil)
	alices := h.As(alice, "phone", idl.CodecJSON)
	for i := range 6 {
		if _, err := sendTo(alices, "g_1", fmt.Sprint("m", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		reach plugin.Reach
		req   chatpb.HistoryRequest
		want  string
		more  bool
		floor int64
	}{
		{"all", plugin.Reach{}, chatpb.HistoryRequest{}, "6 x, 5 x, 4 x, 3 x, 2 x, 1 x", false, 1},
		{"since it joined", plugin.Reach{After: 3}, chatpb.HistoryRequest{}, "6 x, 5 x, 4 x", false, 4},
		{"until it left", plugin.Reach{Through: 2}, chatpb.HistoryRequest{}, "2 x, 1 x", false, 1},
		{"between", plugin.Reach{After: 1, Through: 4}, chatpb.HistoryRequest{}, "4 x, 3 x, 2 x", false, 2},
		{"a page with more", plugin.Reach{After: 1, Through: 5}, chatpb.HistoryRequest{Limit: 2}, "5 x, 4 x", true, 2},
		{"a page that ends at the floor", plugin.Reach{After: 3}, chatpb.HistoryRequest{Limit: 3}, "6 x, 5 x, 4 x", false, 4},
		{"before a seq beyond", plugin.Reach{Through: 4}, chatpb.HistoryRequest{BeforeSeq: 6, Limit: 1}, "4 x", true, 1},
		{"before the floor", plugin.Reach{After: 3}, chatpb.HistoryRequest{BeforeSeq: 3}, "", false, 4},
		{"forward from below the floor", plugin.Reach{After: 3}, chatpb.HistoryRequest{AfterSeq: 1}, "4 x, 5 x, 6 x", false, 4},
		{"forward to the end", plugin.Reach{After: 1, Through: 4}, chatpb.HistoryRequest{AfterSeq: 2}, "3 x, 4 x", false, 2},
		{"forward, with more", plugin.Reach{Through: 4}, chatpb.HistoryRequest{AfterSeq: 1, Limit: 2}, "2 x, 3 x", true, 1},
		{"forward, a page that ends at the end", plugin.Reach{Through: 4}, chatpb.HistoryRequest{AfterSeq: 2, Limit: 2}, "3 x, 4 x", false, 1},
		{"nothing", plugin.Reach{After: 6}, chatpb.HistoryRequest{}, "", false, 7},
	} {
		t.Run(row.name, func(t *testing.T) {
			c.set(func() { c.reach[carol] = row.reach })
			row.req.ConversationId = "g_1"
			rep, got := history(t, h.As(carol, "phone", idl.CodecJSON), &row.req)
			if got != row.want || rep.HasMore != row.more || rep.Floor != row.floor {
				t.Errorf("got %q, more %v, floor %d; want %q, %v, %d", got, rep.HasMore, rep.Floor, row.want, row.more, row.floor)
			}
		})
	}
}

// What rules do with messages of chats, they do with those of groups.
func TestRulesInOwned(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": holding})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	rep, err := sendTo(alices, "g_1", "m1", "spam of mine")
	if err != nil || rep.Seq != 1 || rep.InboxSeq != 1 {
		t.Fatalf("got %+v, %v", rep, err)
	}
	if rep, err = sendTo(alices, "g_1", "m2", "late one"); err != nil || rep.HeldId == "" {
		t.Fatalf("got %+v, %v", rep, err)
	}
	if rep, err = sendTo(alices, "g_1", "m3", "behind it"); err != nil || rep.HeldId == "" {
		t.Fatalf("got %+v, %v", rep, err)
	}
	if got := entries(t, bobs); len(got) != 0 {
		t.Errorf("a member got %v", got)
	}
	if _, got := history(t, bobs, &chatpb.HistoryRequest{ConversationId: "g_1"}); got != "" {
		t.Errorf("a member reads %s", got)
	}
	if _, got := history(t, alices, &chatpb.HistoryRequest{ConversationId: "g_1"}); got != "1 spam of mine" {
		t.Errorf("the sender reads %s", got)
	}
	h.Advance(3 * 60 * 60 * 1e9)
	eventually(t, "a held message goes its way", func() bool {
		_, got := history(t, bobs, &chatpb.HistoryRequest{ConversationId: "g_1"})
		return got == "2 behind it, 1 late one"
	})
	if rep, err = sendTo(alices, "g_1", "m4", "late again"); err != nil || rep.HeldId == "" {
		t.Fatalf("got %+v, %v", rep, err)
	}
	c.set(func() { c.members = []im.UserID{bob} }) // who left meanwhile may not send any more
	h.Advance(3 * 60 * 60 * 1e9)
	eventually(t, "a held message goes its way", func() bool {
		var held chatpb.HeldReply
		err := alices.Call(idl.ActionHeld, nil, &held)
		return err == nil && len(held.Held) == 1 && held.Held[0].State == chatpb.HeldState_HELD_STATE_DENIED && held.Held[0].Reason == "not a member"
	})
}

// Every guard is asked about a message to another person, and what one of them says is done.
func TestGuards(t *testing.T) {
	h, c := found(t, nil)
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	c.messages.Guard(guardFunc(func(_, to im.UserID) error {
		if to == carol {
			return im.Errorf(idl.CodePermissionDenied, "carol wants none")
		}
		return nil
	}))
	c.set(func() { c.guard = func(_, _ im.UserID) error { return plugin.ErrUnseen } })
	rep := send(t, alices, bob, "m1", "unseen")
	if rep.Seq != 1 || rep.InboxSeq != 1 {
		t.Errorf("got %+v", rep)
	}
	if got := entries(t, bobs); len(got) != 0 {
		t.Errorf("bob got %v", got)
	}
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "" {
		t.Errorf("bob reads %s", got)
	}
	if again := send(t, alices, bob, "m1", "unseen"); again.MessageId != rep.MessageId || !again.Duplicate {
		t.Errorf("a resend got %+v", again)
	}
	wantRefusal(t, alices.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m2", ToUserId: int64(carol), Text: "hi"}, nil), idl.CodePermissionDenied, "")
	c.set(func() { c.guard = func(_, _ im.UserID) error { return errors.New("planted fault") } })
	wantRefusal(t, alices.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m3", ToUserId: int64(bob), Text: "hi"}, nil), idl.CodeUnavailable, "")
	send(t, alices, alice, "m4", "to myself: nobody is asked")
	c.set(func() { c.guard = nil })
	send(t, alices, bob, "m3", "hi")
	if got := entries(t, bobs); len(got) != 1 || got[0].Message.Seq != 1 {
		t.Errorf("bob got %v", got)
	}
}

type guardFunc func(from, to im.UserID) error

func (g guardFunc) Chat(_ context.Context, from, to im.UserID) error { return g(from, to) }

// A message that was held is put to the guards again when it is released.
func TestGuardsAtRelease(t *testing.T) {
	h, c := found(t, map[string]string{"a.lua": holding})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	for i, to := range []im.UserID{bob, carol} {
		if rep := send(t, alices, to, fmt.Sprint("m", i), "late one"); rep.HeldId == "" {
			t.Fatalf("got %+v", rep)
		}
	}
	c.set(func() {
		c.guard = func(_, to im.UserID) error {
			if to == bob {
				return plugin.ErrUnseen
			}
			return im.Errorf(idl.CodePermissionDenied, "blocked")
		}
	})
	h.Advance(3 * 60 * 60 * 1e9)
	eventually(t, "a held message goes its way", func() bool {
		var held chatpb.HeldReply
		err := alices.Call(idl.ActionHeld, nil, &held)
		return err == nil && len(held.Held) == 1 && held.Held[0].Reason == "blocked"
	})
	if _, got := history(t, alices, &chatpb.HistoryRequest{WithUserId: int64(bob)}); got != "1 late one" {
		t.Errorf("the sender reads %s", got)
	}
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "" {
		t.Errorf("bob reads %s", got)
	}
}

// A type has one owner.
func TestOwnTwice(t *testing.T) {
	_, c := found(t, nil)
	for _, taken := range []im.ConversationType{im.Group, im.Notices, im.Chat, 0} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("type %d was owned twice", taken)
				}
			}()
			c.messages.Own(taken, c)
		}()
	}
}
