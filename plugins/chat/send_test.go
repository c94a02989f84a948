package chat_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

func TestSendFields(t *testing.T) {
	good := func(change func(*chatpb.SendRequest)) *chatpb.SendRequest {
		req := &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Text: "hi"}
		change(req)
		return req
	}
	for _, row := range []struct {
		name  string
		req   *chatpb.SendRequest
		code  idl.Code // 0: accepted
		field string
	}{
		{"good", good(func(*chatpb.SendRequest) {}), 0, ""},
		{"to a conversation", good(func(r *chatpb.SendRequest) { r.ToUserId = 0; r.ConversationId = "c_100001_100002" }), 0, ""},
		{"to oneself", good(func(r *chatpb.SendRequest) { r.ToUserId = int64(alice) }), 0, ""},
		{"longest client ID", good(func(r *chatpb.SendRequest) { r.ClientId = strings.Repeat("x", 64) }), 0, ""},
		{"longest text", good(func(r *chatpb.SendRequest) { r.Text = strings.Repeat("界", 5000) }), 0, ""},
		{"two lines and a tab", good(func(r *chatpb.SendRequest) { r.Text = "a\r\n\tb\n" }), 0, ""},
		{"an escape", good(func(r *chatpb.SendRequest) { r.Text = "\x1b[2J" }), idl.CodeInvalidArgument, "text"},
		{"right to left and emoji", good(func(r *chatpb.SendRequest) { r.Text = "שלום 👩‍👩‍👧" }), 0, ""},
		{"no client ID", good(func(r *chatpb.SendRequest) { r.ClientId = "" }), idl.CodeInvalidArgument, "client_id"},
		{"long client ID", good(func(r *chatpb.SendRequest) { r.ClientId = strings.Repeat("x", 65) }), idl.CodeInvalidArgument, "client_id"},
		{"client ID with a blank", good(func(r *chatpb.SendRequest) { r.ClientId = "a b" }), idl.CodeInvalidArgument, "client_id"},
		{"client ID with a zero", good(func(r *chatpb.SendRequest) { r.ClientId = "a\x00b" }), idl.CodeInvalidArgument, "client_id"},
		{"to nobody", good(func(r *chatpb.SendRequest) { r.ToUserId = 0 }), idl.CodeInvalidArgument, "to_user_id"},
		{"to a negative user", good(func(r *chatpb.SendRequest) { r.ToUserId = -5 }), idl.CodeInvalidArgument, "to_user_id"},
		{"to both", good(func(r *chatpb.SendRequest) { r.ConversationId = "c_100001_100002" }), idl.CodeInvalidArgument, "to_user_id"},
		{"to one who does not exist", good(func(r *chatpb.SendRequest) { r.ToUserId = 5 }), idl.CodeNotFound, "to_user_id"},
		{"into another's chat", good(func(r *chatpb.SendRequest) { r.ToUserId = 0; r.ConversationId = "c_100002_100003" }), idl.CodePermissionDenied, "conversation_id"},
		{"into a chat spelt otherwise", good(func(r *chatpb.SendRequest) { r.ToUserId = 0; r.ConversationId = "c_100002_100001" }), idl.CodePermissionDenied, "conversation_id"},
		{"into a group", good(func(r *chatpb.SendRequest) { r.ToUserId = 0; r.ConversationId = "g_1" }), idl.CodePermissionDenied, "conversation_id"},
		{"no text", good(func(r *chatpb.SendRequest) { r.Text = "" }), idl.CodeInvalidArgument, "text"},
		{"long text", good(func(r *chatpb.SendRequest) { r.Text = strings.Repeat("界", 5001) }), idl.CodeInvalidArgument, "text"},
		{"unknown kind", good(func(r *chatpb.SendRequest) { r.Kind = 99 }), idl.CodeInvalidArgument, "kind"},
	} {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			t.Run(row.name+" in "+codec.String(), func(t *testing.T) {
				h := start(t, nil)
				err := h.As(alice, "phone", codec).Call(idl.ActionMessage, row.req, nil)
				if row.code != 0 {
					wantRefusal(t, err, row.code, row.field)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A message reaches every device of both but the one that sent it, with each
// person's own inbox seq.
func TestSendPushesToTheOtherDevices(t *testing.T) {
	h := start(t, nil)
	phone, desk := h.As(alice, "phone", idl.CodecProtobuf), h.As(alice, "desk", idl.CodecJSON)
	bobs, carols := h.As(bob, "tab", idl.CodecJSON), h.As(carol, "tab", idl.CodecJSON)
	send(t, phone, alice, "note", "to myself")
	desk.Pushes()
	rep := send(t, phone, bob, "m1", "hi")
	if rep.Seq != 1 || rep.InboxSeq != 2 || rep.ConversationId != "c_100001_100002" || rep.Duplicate || rep.Rewritten {
		t.Errorf("got %+v", rep)
	}
	for name, row := range map[string]struct {
		got      []*chatpb.InboxEntry
		inboxSeq int64
	}{"the sender's other device": {entries(t, desk), 2}, "the peer": {entries(t, bobs), 1}} {
		if len(row.got) != 1 || row.got[0].InboxSeq != row.inboxSeq || row.got[0].Message.Id != rep.MessageId ||
			row.got[0].Message.Text != "hi" || row.got[0].Message.SenderId != int64(alice) || row.got[0].Message.ClientId != "m1" {
			t.Errorf("%s got %+v", name, row.got)
		}
	}
	if got := entries(t, phone); len(got) != 0 {
		t.Errorf("the sending session got %+v", got)
	}
	if got := entries(t, carols); len(got) != 0 {
		t.Errorf("a stranger got %+v", got)
	}
}

func TestResend(t *testing.T) {
	h := start(t, nil)
	phone, desk, bobs := h.As(alice, "phone", idl.CodecProtobuf), h.As(alice, "desk", idl.CodecJSON), h.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "hi")
	for _, again := range []*chatpb.SendReply{send(t, phone, bob, "m1", "hi"), send(t, desk, bob, "m1", "hi")} {
		if again.MessageId != first.MessageId || again.Seq != first.Seq || again.InboxSeq != first.InboxSeq || !again.Duplicate {
			t.Errorf("got %+v, first %+v", again, first)
		}
	}
	for name, req := range map[string]*chatpb.SendRequest{
		"another text":   {ClientId: "m1", ToUserId: int64(bob), Text: "ho"},
		"another person": {ClientId: "m1", ToUserId: int64(carol), Text: "hi"},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, phone.Call(idl.ActionMessage, req, nil), idl.CodeConflict, "client_id")
		})
	}
	if got := entries(t, bobs); len(got) != 1 {
		t.Errorf("the peer got %d pushes, want 1", len(got))
	}
	if other := send(t, bobs, alice, "m1", "hi"); other.Duplicate {
		t.Error("another sender's client ID counted as the same")
	}
}

// However many devices send the same client ID at once, it is one message.
func TestResendRace(t *testing.T) {
	h := start(t, nil)
	bobs := h.As(bob, "tab", idl.CodecJSON)
	const rounds, racers = 50, 8
	for round := range rounds {
		clientID := fmt.Sprint("m", round)
		var wg sync.WaitGroup
		ids := make([]string, racers)
		for i := range racers {
			from := h.As(alice, im.DeviceID(fmt.Sprint("d", i)), idl.CodecProtobuf)
			wg.Go(func() {
				var rep chatpb.SendReply
				if err := from.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: clientID, ToUserId: int64(bob), Text: "hi"}, &rep); err != nil {
					t.Error(err)
				}
				ids[i] = rep.MessageId
			})
		}
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("round %d: IDs %v", round, ids)
			}
		}
	}
	if got := entries(t, bobs); len(got) != rounds {
		t.Errorf("the peer got %d pushes, want %d", len(got), rounds)
	}
}

// judge is rules in Go.
type judge func(m plugin.Reviewed) error

func (j judge) Wants(_ *plugin.Call, message bool) bool                           { return message }
func (judge) Bundle(*plugin.Call) string                                          { return "" }
func (judge) Answered(*plugin.Call, string)                                       {}
func (j judge) Review(_ context.Context, _ *plugin.Call, m plugin.Reviewed) error { return j(m) }

// A rewritten message is told so to its sender, at first and when resent; what
// counts as the same is what he sent, not what became of it.
func TestRulesRewrite(t *testing.T) {
	h := start(t, judge(func(m plugin.Reviewed) error {
		*m.Text = strings.ReplaceAll(*m.Text, "darn", "****")
		return nil
	}))
	phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecJSON)
	for range 2 {
		if rep := send(t, phone, bob, "m1", "darn it"); !rep.Rewritten || rep.Text != "**** it" {
			t.Errorf("got %+v", rep)
		}
	}
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m1", ToUserId: int64(bob), Text: "**** it"}, nil),
		idl.CodeConflict, "client_id")
	if got := entries(t, bobs); len(got) != 1 || got[0].Message.Text != "**** it" {
		t.Errorf("the peer got %+v", got)
	}
	if rep := send(t, phone, bob, "m2", "fine"); rep.Rewritten || rep.Text != "" {
		t.Errorf("got %+v", rep)
	}
}

// A rule that refuses leaves no trace; a message committed before it came is
// still answered.
func TestRulesRefuse(t *testing.T) {
	refuse := false
	h := start(t, judge(func(m plugin.Reviewed) error {
		if refuse {
			return im.Errorf(idl.CodeRejected, "no")
		}
		return nil
	}))
	phone, bobs := h.As(alice, "phone", idl.CodecJSON), h.As(bob, "tab", idl.CodecJSON)
	first := send(t, phone, bob, "m1", "hi")
	refuse = true
	wantRefusal(t, phone.Call(idl.ActionMessage, &chatpb.SendRequest{ClientId: "m2", ToUserId: int64(bob), Text: "hi"}, nil), idl.CodeRejected, "")
	if again := send(t, phone, bob, "m1", "hi"); again.MessageId != first.MessageId {
		t.Errorf("got %+v, first %+v", again, first)
	}
	if got := entries(t, bobs); len(got) != 1 {
		t.Errorf("the peer got %d pushes, want 1", len(got))
	}
	refuse = false
	if rep := send(t, phone, bob, "m2", "hi"); rep.Duplicate || rep.Seq != 2 {
		t.Errorf("got %+v, want seq 2", rep)
	}
}

// TestSendForged gives what a client may not say of a message: it is passed over, as what newer clients say. The sender is the session's.
func TestSendForged(t *testing.T) {
	h := start(t, nil)
	bobs := h.As(bob, "phone", idl.CodecProtobuf)
	const said = `{"client_id":"m","to_user_id":100002,"text":"hi","sender_id":100003,"message_id":"F45D77FC4BL9PZUM","seq":7,"time_ms":1,"event":"group.dissolved"}`
	reply, err := h.As(alice, "phone", idl.CodecJSON).Raw(t.Context(), idl.ActionMessage, []byte(said))
	if err != nil || reply.Action != idl.ActionMessage {
		t.Fatalf("got %v %s, %v", reply.Action, reply.Body, err)
	}
	got := entries(t, bobs)
	if len(got) != 1 {
		t.Fatalf("got %v", got)
	}
	if m := got[0].Message; m.SenderId != int64(alice) || m.Seq != 1 || m.Event != "" || m.Kind != chatpb.MessageKind_MESSAGE_KIND_TEXT || m.TimeMs == 1 || m.Id == "F45D77FC4BL9PZUM" {
		t.Errorf("got %+v", m)
	}
}
