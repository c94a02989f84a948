package client_test

import (
	"context"
	"testing"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// What became of a message is applied in any order: the greatest revision holds, and of what events do not
// tell the message is read again.
func TestFollow(t *testing.T) {
	event := func(id string, b *chatpb.Became) *chatpb.Message {
		return &chatpb.Message{Kind: chatpb.MessageKind_MESSAGE_KIND_EVENT, ConversationId: "g_1", About: &chatpb.Subject{Seq: 1, MessageId: id}, Became: b}
	}
	edited := &chatpb.Message{Id: "m", Text: "three", Became: &chatpb.Became{Revision: 3, Version: 3, EditedMs: 1, Reactions: []*chatpb.Reaction{{Reaction: "x", Count: 1}}}}
	var there *chatpb.Message
	reads := 0
	actions := client.ActionsBy(func(_ context.Context, action idl.Action, req, rep idl.Message) error {
		if r := req.(*chatpb.HistoryRequest); action != idl.ActionHistory || r.ConversationId != "g_1" || r.BeforeSeq != 2 || r.Limit != 1 {
			t.Errorf("asked for %+v", r)
		}
		reads++
		rep.(*chatpb.HistoryReply).Messages = []*chatpb.Message{{Id: "another's"}, there}
		return nil
	})
	m := &chatpb.Message{Id: "m", Text: "one", Media: &chatpb.Media{}, Mentions: []int64{1}}
	for i, step := range []struct {
		event, there *chatpb.Message
		took         bool
		text         string
		reads        int
	}{
		{event("other", &chatpb.Became{Revision: 9, Recalled: true}), nil, false, "one", 0},
		{&chatpb.Message{Id: "m"}, nil, false, "one", 0},
		{event("m", &chatpb.Became{Revision: 1, Version: 2}), &chatpb.Message{Id: "m"}, false, "one", 1}, // it may not be read any more
		{event("m", &chatpb.Became{Revision: 2, Version: 3}), edited, true, "three", 2},
		{event("m", &chatpb.Became{Revision: 3, Version: 3}), edited, false, "three", 2},
		{event("m", &chatpb.Became{Revision: 4, Recalled: true, Version: 3}), nil, true, "", 2},
		{event("m", &chatpb.Became{Revision: 4, Recalled: true}), nil, false, "", 2},
	} {
		there = step.there
		if took, err := actions.Follow(t.Context(), m, step.event); err != nil || took != step.took || m.Text != step.text || reads != step.reads {
			t.Errorf("step %d: %v, %v, %q, %d reads", i, took, err, m.Text, reads)
		}
	}
	if m.Media != nil || m.Mentions != nil || !m.Became.Recalled {
		t.Errorf("left is %+v", m)
	}
	if to := client.ReplyTo(&chatpb.Message{Id: "a", Seq: 3, SenderId: 7, Kind: 1}); to.MessageId != "a" || to.Seq != 3 || to.SenderId != 7 || to.Kind != 1 {
		t.Errorf("got %+v", to)
	}
	if of := client.Forward(&chatpb.Message{Id: "a", Seq: 3, ConversationId: "c"}); of.MessageId != "a" || of.Seq != 3 || of.ConversationId != "c" {
		t.Errorf("got %+v", of)
	}
}
