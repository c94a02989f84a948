package chat_test

import (
	"fmt"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

func react(s *plugintest.Session, m *chatpb.SendReply, name string, remove bool) (string, error) {
	var rep chatpb.ReactReply
	err := s.Call(idl.ActionReact, &chatpb.ReactRequest{ConversationId: m.ConversationId, Seq: m.Seq, MessageId: m.MessageId, Reaction: name, Remove: remove}, &rep)
	return reactions(rep.Became), err
}

// reactions are those to a message, as text; * marks one's own.
func reactions(b *chatpb.Became) string {
	var out []string
	for _, r := range b.GetReactions() {
		mine := ""
		if r.Mine {
			mine = "*"
		}
		out = append(out, fmt.Sprint(r.Reaction, r.Count, mine))
	}
	return strings.Join(out, " ")
}

// Reactions are counted for all and marked for whose they are; all devices are told of each.
func TestReactions(t *testing.T) {
	people := plugintest.NewPeople(alice, bob, carol)
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: people.Stubs()})
	phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	m := send(t, phone, bob, "m", "hi")
	entries(t, bobs)
	for i, step := range []struct {
		s      *plugintest.Session
		name   string
		remove bool
		want   string
	}{
		{phone, "👍", false, "👍1*"},
		{bobs, "👍", false, "👍2*"},
		{bobs, "👍", false, "👍2*"}, // again
		{bobs, "👩‍👩‍👧‍👦", false, "👍2* 👩‍👩‍👧‍👦1*"},
		{phone, "👍", true, "👍1 👩‍👩‍👧‍👦1"},
		{phone, "👍", true, "👍1 👩‍👩‍👧‍👦1"},
		{bobs, "👍", true, "👩‍👩‍👧‍👦1*"},
		{phone, "ok", false, "👩‍👩‍👧‍👦1 ok1*"},
	} {
		if got, err := react(step.s, m, step.name, step.remove); err != nil || got != step.want {
			t.Errorf("step %d: %q, %v; want %q", i, got, err, step.want)
		}
	}
	toldAll(t, h)
	got := entries(t, bobs)
	if len(got) != 6 {
		t.Fatalf("bob got %d events, want 6", len(got))
	}
	if last := got[5].Message; last.Event != "chat.reacted" || last.Data != `{"reaction":"ok","removed":false}` || last.SenderId != int64(alice) || last.About.GetSeq() != 1 || reactions(last.Became) != "" || last.Became.GetRevision() == 0 {
		t.Errorf("got %+v", last)
	}
	if page, _ := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice), BeforeSeq: 2}); reactions(page.Messages[0].Became) != "👩‍👩‍👧‍👦1* ok1" || page.Messages[0].Text != "hi" {
		t.Errorf("got %+v", page.Messages[0])
	}
	wantList(t, bobs, "c_100001_100002 1 hi")
	who := func(s *plugintest.Session, req *chatpb.ReactionsRequest) string {
		t.Helper()
		req.ConversationId, req.Seq, req.MessageId = m.ConversationId, m.Seq, m.MessageId
		var rep chatpb.ReactionsReply
		if err := s.Call(idl.ActionReactions, req, &rep); err != nil {
			t.Fatal(err)
		}
		var out []any
		for _, one := range rep.Reacted {
			out = append(out, one.UserId)
		}
		return fmt.Sprint(append(out, rep.HasMore)...)
	}
	if _, err := react(bobs, m, "ok", false); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		req  *chatpb.ReactionsRequest
		want string
	}{
		{&chatpb.ReactionsRequest{Reaction: "ok"}, "100001 100002 false"},
		{&chatpb.ReactionsRequest{Reaction: "ok", Limit: 1}, "100001 true"},
		{&chatpb.ReactionsRequest{Reaction: "ok", AfterUserId: int64(alice)}, "100002 false"},
		{&chatpb.ReactionsRequest{Reaction: "no"}, "false"},
	} {
		if got := who(phone, row.req); got != row.want {
			t.Errorf("%+v: got %s, want %s", row.req, got, row.want)
		}
	}
	carols := h.As(carol, "tab", idl.CodecJSON)
	for name, row := range map[string]struct {
		s     *plugintest.Session
		m     *chatpb.SendReply
		r     string
		code  idl.Code
		field string
	}{
		"none":        {phone, m, "", idl.CodeInvalidArgument, "reaction"},
		"two words":   {phone, m, "a b", idl.CodeInvalidArgument, "reaction"},
		"a sentence":  {phone, m, strings.Repeat("x", 17), idl.CodeInvalidArgument, "reaction"},
		"a control":   {phone, m, "\x1b", idl.CodeInvalidArgument, "reaction"},
		"a stranger":  {carols, m, "x", idl.CodePermissionDenied, "conversation_id"},
		"to nothing":  {phone, &chatpb.SendReply{ConversationId: m.ConversationId, Seq: 99, MessageId: m.MessageId}, "x", idl.CodeNotFound, "message_id"},
		"to an event": {phone, &chatpb.SendReply{ConversationId: m.ConversationId, Seq: got[0].Message.Seq, MessageId: got[0].Message.Id}, "x", idl.CodeInvalidArgument, "message_id"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := react(row.s, row.m, row.r, false)
			wantRefusal(t, err, row.code, row.field)
		})
	}

	// Who is erased reacts to nothing; a recall takes all away.
	of := people.Holdings()["chat"]
	for range 2 {
		if err := of.Erase(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
	}
	if page, _ := history(t, phone, &chatpb.HistoryRequest{WithUserId: int64(bob), BeforeSeq: 2}); reactions(page.Messages[0].Became) != "ok1*" {
		t.Errorf("got %+v", page.Messages[0].Became)
	}
	if _, err := recall(phone, m); err != nil {
		t.Fatal(err)
	}
	_, err := react(phone, m, "ok", false)
	wantRefusal(t, err, idl.CodeNotFound, "message_id")
	if got := who(phone, &chatpb.ReactionsRequest{Reaction: "ok"}); got != "false" || rows(t, h, "SELECT COUNT(*) FROM chat_reactions") != 0 {
		t.Errorf("left are %s", got)
	}
}

// A message has so many kinds of reactions, and no more; those who are blocked are not heard.
func TestReactionsBounds(t *testing.T) {
	h, c := found(t, nil)
	phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecProtobuf)
	m := send(t, phone, bob, "m", "hi")
	for i := range 6 {
		_, err := react(phone, m, fmt.Sprint("r", i+5), false)
		if i < 5 && err != nil {
			t.Fatal(err)
		}
		if i == 5 {
			wantRefusal(t, err, idl.CodeLimitExceeded, "reaction")
		}
	}
	if _, err := react(bobs, m, "r7", false); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	c.set(func() { c.guard = func(_, _ im.UserID) error { return plugin.ErrUnseen } })
	if _, err := react(phone, m, "r7", true); err != nil {
		t.Error(err)
	}
	if page, _ := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice), BeforeSeq: 2}); !strings.Contains(reactions(page.Messages[0].Became), "r72*") {
		t.Errorf("got %s", reactions(page.Messages[0].Became))
	}
}
