package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/plugins/chat"
)

// diverting are rules that go by what a text begins with.
const diverting = `local im = require("im")
im.on_message(function(c)
	if c.text:sub(1, 4) == "spam" then
		c.text = c.text:upper()
		return im.shadow()
	elseif c.text:sub(1, 4) == "help" then
		return im.reroute(c.text == "help nobody" and "nobody" or "support")
	end
end, {name = "divert", on_error = "closed"})
im.before("chat.history", function(c) if c.req.limit == 77 then return im.shadow() end end, {name = "never", on_error = "closed"}) -- lint: allow impossible-verdict`

func diverted(t *testing.T, change ...func(*chat.Config)) *plugintest.Host {
	t.Helper()
	p := chat.New()
	for _, set := range change {
		set(p.Config().(*chat.Config))
	}
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Stubs: []plugintest.Stub{directory},
		Scripts: map[string]string{"a.lua": diverting},
		Targets: []plugin.Target{{Name: "support", User: carol}, {Name: "nobody", User: 5}}})
}

func history(t *testing.T, s *plugintest.Session, req *chatpb.HistoryRequest) (*chatpb.HistoryReply, string) {
	t.Helper()
	var rep chatpb.HistoryReply
	if err := s.Call(idl.ActionHistory, req, &rep); err != nil {
		t.Fatal(err)
	}
	return &rep, texts(rep.Messages)
}

// texts are the messages as "seq text, …".
func texts(all []*chatpb.Message) string {
	var out []string
	for _, m := range all {
		out = append(out, fmt.Sprint(m.Seq, " ", m.Text))
	}
	return strings.Join(out, ", ")
}

func inbox(t *testing.T, s *plugintest.Session) string {
	t.Helper()
	var out []*chatpb.Message
	for i, e := range synced(t, s, &chatpb.SyncRequest{}).Entries {
		if e.InboxSeq != int64(i+1) {
			t.Errorf("entry %d has inbox_seq %d", i, e.InboxSeq)
		}
		out = append(out, e.Message)
	}
	return texts(out)
}

// What is shadowed is there for its sender, everywhere, and for nobody else, ever.
func TestShadow(t *testing.T) {
	h := diverted(t)
	phone, desk := h.As(alice, "phone", idl.CodecProtobuf), h.As(alice, "desk", idl.CodecJSON)
	bobs := h.As(bob, "tab", idl.CodecJSON)
	send(t, phone, bob, "m1", "one")
	desk.Pushes()
	rep := send(t, phone, bob, "m2", "spam")
	if rep.Seq != 2 || rep.InboxSeq != 2 || rep.ConversationId != "c_100001_100002" || rep.Duplicate || rep.MessageId == "" || rep.TimeMs == 0 || !rep.Rewritten || rep.Text != "SPAM" {
		t.Errorf("got %+v", rep)
	}
	if id, err := im.ParseMessageID(rep.MessageId); err != nil || id.Type() != im.Chat {
		t.Errorf("got the ID %s, %v", rep.MessageId, err)
	}
	if got := entries(t, desk); len(got) != 1 || got[0].InboxSeq != 2 || got[0].Message.Text != "SPAM" || got[0].Message.Seq != 2 ||
		got[0].Message.ConversationId != rep.ConversationId || got[0].Message.ClientId != "m2" {
		t.Errorf("the other device got %+v", got)
	}
	send(t, bobs, alice, "m1", "two")
	send(t, phone, bob, "m3", "three")
	send(t, phone, bob, "m4", "spam again")
	send(t, phone, bob, "m5", "spam and again")

	const all, seen = "1 one, 2 SPAM, 2 two, 3 three, 4 SPAM AGAIN, 4 SPAM AND AGAIN", "1 one, 2 two, 3 three"
	if got := inbox(t, desk); got != all {
		t.Errorf("the sender's inbox has %q", got)
	}
	if got := inbox(t, bobs); got != seen {
		t.Errorf("the peer's inbox has %q", got)
	}
	for _, row := range []struct {
		name         string
		req          *chatpb.HistoryRequest
		alices, bobs string
	}{
		{"from the end", &chatpb.HistoryRequest{}, reversed(all), reversed(seen)},
		{"below 3", &chatpb.HistoryRequest{BeforeSeq: 3}, "2 two, 2 SPAM, 1 one", "2 two, 1 one"},
		{"the last", &chatpb.HistoryRequest{Limit: 1}, "4 SPAM AND AGAIN, 4 SPAM AGAIN, 3 three", "3 three"},
		{"above 1", &chatpb.HistoryRequest{AfterSeq: 1}, "2 SPAM, 2 two, 3 three", "2 two, 3 three"},
		{"above 1, one", &chatpb.HistoryRequest{AfterSeq: 1, Limit: 1}, "2 SPAM, 2 two", "2 two"},
		{"above 3", &chatpb.HistoryRequest{AfterSeq: 3}, "", ""}, // a cursor moved to 4 would miss the next
	} {
		row.req.ConversationId = rep.ConversationId
		if _, got := history(t, desk, row.req); got != row.alices {
			t.Errorf("%s: the sender's history is %q, want %q", row.name, got, row.alices)
		}
		if _, got := history(t, bobs, row.req); got != row.bobs {
			t.Errorf("%s: the peer's history is %q, want %q", row.name, got, row.bobs)
		}
	}
	for _, p := range entries(t, bobs) {
		if strings.Contains(p.Message.Text, "SPAM") {
			t.Errorf("the peer was pushed %+v", p)
		}
	}
	// Nobody names the log where it lies, not even its sender.
	shadow := string(im.ConversationID(rep.ConversationId).Shadow(alice))
	for _, s := range []*plugintest.Session{phone, bobs} {
		wantRefusal(t, s.Call(idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: shadow}, nil), idl.CodePermissionDenied, "conversation_id")
	}
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "x", ConversationId: shadow, Text: "x"}, nil), idl.CodePermissionDenied, "conversation_id")
}

func reversed(list string) string {
	all := strings.Split(list, ", ")
	slices.Reverse(all)
	return strings.Join(all, ", ")
}

// A resend gets the answer of the send, from whichever device; another text is a conflict.
func TestShadowResent(t *testing.T) {
	h := diverted(t)
	phone, desk, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(alice, "desk", idl.CodecJSON), h.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "spam")
	if first.Seq != 1 || first.InboxSeq != 1 {
		t.Errorf("got %+v", first)
	}
	send(t, bobs, alice, "b1", "hello") // the seq moves on, the answer does not
	desk.Pushes()
	for _, again := range []*chatpb.SendReply{send(t, phone, bob, "m1", "spam"), send(t, desk, bob, "m1", "spam")} {
		want := *first
		want.Duplicate = true
		if *again != want {
			t.Errorf("got %+v, first %+v", again, first)
		}
	}
	if got := entries(t, desk); len(got) != 0 {
		t.Errorf("pushed again: %+v", got)
	}
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Text: "hi"}, nil), idl.CodeConflict, "client_id")
}

// An ack of one's own shadow is none of the other's business, and never runs ahead.
func TestShadowAcknowledged(t *testing.T) {
	h := diverted(t)
	phone, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	ack := func(s *plugintest.Session, seq int64) error {
		return s.Call(idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: "c_100001_100002", Seq: seq}, nil)
	}
	wantRefusal(t, ack(phone, 1), idl.CodeInvalidArgument, "seq")
	send(t, phone, bob, "m1", "spam")
	if err := ack(phone, 1); err != nil {
		t.Error(err)
	}
	wantRefusal(t, ack(phone, 2), idl.CodeInvalidArgument, "seq")
	wantRefusal(t, ack(bobs, 1), idl.CodeInvalidArgument, "seq")
	send(t, bobs, alice, "b1", "one")
	send(t, phone, bob, "m2", "spam")
	bobs.Pushes()
	if err := ack(phone, 2); err != nil {
		t.Error(err)
	}
	var got []*chatpb.Receipt
	for _, p := range bobs.Pushes() {
		r := new(chatpb.Receipt)
		if p.Action == idl.ActionMessageAck && p.Decode(r) == nil {
			got = append(got, r)
		}
	}
	if len(got) != 1 || got[0].Seq != 1 {
		t.Errorf("the peer heard of %+v", got)
	}
}

// However much is shadowed, a page of history stays within its size, and shows all that
// is not shadowed.
func TestShadowsInBoundedPages(t *testing.T) {
	h := diverted(t, func(c *chat.Config) { c.PageBytes = 4096 })
	phone, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(bob, "tab", idl.CodecJSON)
	for i := range 120 {
		send(t, phone, bob, fmt.Sprint("s", i), "spam "+strings.Repeat("x", 100))
		if i%10 == 0 {
			send(t, bobs, alice, fmt.Sprint("b", i), strings.Repeat("y", 600))
		}
	}
	for name, forward := range map[string]bool{"forward": true, "backward": false} {
		t.Run(name, func(t *testing.T) {
			req, real := &chatpb.HistoryRequest{WithUserId: int64(bob), Limit: 500, AfterSeq: 1}, 1
			if !forward {
				req.AfterSeq, real = 0, 0
			}
			shadows := 0
			for range 100 {
				rep, _ := history(t, phone, req)
				body, err := idl.Append(nil, idl.CodecProtobuf, rep)
				if err != nil || len(body) > 4096 {
					t.Fatalf("a page has %d octets, %v", len(body), err)
				}
				for _, m := range rep.Messages {
					if strings.HasPrefix(m.Text, "y") {
						real++
					} else {
						shadows++
					}
				}
				if !rep.HasMore {
					break
				}
				last := rep.Messages[len(rep.Messages)-1].Seq
				if req.BeforeSeq = last; forward {
					req.BeforeSeq, req.AfterSeq = 0, last
				}
			}
			if real != 12 || shadows == 0 && !forward {
				t.Errorf("history shows %d messages and %d shadows", real, shadows)
			}
		})
	}
}

// A message goes to the target's chat, the answer says so, and stays the same.
func TestReroute(t *testing.T) {
	h := diverted(t)
	phone, desk := h.As(alice, "phone", idl.CodecProtobuf), h.As(alice, "desk", idl.CodecJSON)
	bobs, carols := h.As(bob, "tab", idl.CodecJSON), h.As(carol, "tab", idl.CodecJSON)
	rep := send(t, phone, bob, "m1", "help me")
	if rep.ConversationId != "c_100001_100003" || rep.Seq != 1 || rep.InboxSeq != 1 {
		t.Errorf("got %+v", rep)
	}
	for name, s := range map[string]*plugintest.Session{"the sender's other device": desk, "the target": carols} {
		if got := entries(t, s); len(got) != 1 || got[0].Message.Text != "help me" || got[0].Message.ConversationId != rep.ConversationId || got[0].Message.SenderId != int64(alice) {
			t.Errorf("%s got %+v", name, got)
		}
	}
	if got := entries(t, bobs); len(got) != 0 || inbox(t, bobs) != "" {
		t.Errorf("whom it was sent to got %+v", got)
	}
	again := send(t, desk, bob, "m1", "help me")
	if again.MessageId != rep.MessageId || again.ConversationId != rep.ConversationId || !again.Duplicate {
		t.Errorf("got %+v", again)
	}
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(carol), Text: "help me"}, nil), idl.CodeConflict, "client_id")
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m2", ToUserId: int64(bob), Text: "help nobody"}, nil), idl.CodeInternal, "")
	if !strings.Contains(h.Logs(), "the target nobody: there is no user 5") {
		t.Error("the operator is not told of a target that does not exist")
	}
	wantRefusal(t, phone.Call(idl.ActionHistory, &chatpb.HistoryRequest{WithUserId: int64(bob), Limit: 77}, nil), idl.CodeUnavailable, "") // im.shadow raises
}

// What a target sends stays where it was sent: rules that catch a question may catch its answer.
func TestTargetAnswers(t *testing.T) {
	h := diverted(t)
	phone, carols := h.As(alice, "phone", idl.CodecProtobuf), h.As(carol, "tab", idl.CodecJSON)
	if rep := send(t, carols, alice, "m1", "help is here"); rep.ConversationId != "c_100001_100003" || rep.Seq != 1 {
		t.Errorf("got %+v", rep)
	}
	if got := entries(t, phone); len(got) != 1 || got[0].Message.Text != "help is here" || got[0].Message.SenderId != int64(carol) {
		t.Errorf("whom the target answers got %+v", got)
	}
	wantRefusal(t, carols.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m2", ToUserId: 5, Text: "help"}, nil), idl.CodeNotFound, "to_user_id")
}

// A reply to what nobody else sees is seen by nobody else, and its sender learns nothing of that.
func TestReplyToAShadow(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{chat.New()}, Stubs: []plugintest.Stub{directory},
		Scripts: map[string]string{"a.lua": diverting}, Targets: []plugin.Target{{Name: "support", User: carol}, {Name: "nobody", User: 5}}})
	alices, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "phone", idl.CodecProtobuf)
	send(t, alices, bob, "1", "hello")
	hidden := send(t, alices, bob, "2", "spam")
	reply := sends(t, alices, &chatpb.SendRequest{ClientId: "3", ToUserId: int64(bob), Text: "I mean it", ReplyTo: &chatpb.Reply{Seq: hidden.Seq, MessageId: hidden.MessageId}})
	if reply.MessageId == "" || reply.HeldId != "" {
		t.Errorf("got %+v", reply)
	}
	send(t, alices, bob, "4", "well")
	if _, got := history(t, bobs, &chatpb.HistoryRequest{WithUserId: int64(alice)}); got != "2 well, 1 hello" {
		t.Errorf("bob has %q", got)
	}
	if page, _ := history(t, alices, &chatpb.HistoryRequest{WithUserId: int64(bob)}); len(page.Messages) != 4 {
		t.Errorf("alice has %v", page.Messages)
	}
}
