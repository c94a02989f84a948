package plugins_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/grouppb"
)

// TestBadInput has people ask for what they may not, in a group of each kind: each hears the code that is his, nothing is
// committed by it, and the group goes on.
func TestBadInput(t *testing.T) {
	for name, line := range map[string]int{"small": 500, "large": 2} {
		t.Run(name, func(t *testing.T) {
			const alice, bob, carol, stranger = owner, owner + 1, owner + 2, owner + 3
			s := newSite(t, 2, line, 4)
			for _, u := range []im.UserID{bob, carol} {
				if err := s.join(0, u); err != nil {
					t.Fatal(err)
				}
			}
			group := string(s.conversation())
			first, err := s.say(0, alice, "first")
			if err != nil {
				t.Fatal(err)
			}
			gone, err := s.say(0, bob, "gone")
			if err != nil {
				t.Fatal(err)
			}
			recall := func(of *chatpb.SendReply) idl.Message {
				return &chatpb.RecallRequest{ConversationId: group, Seq: of.Seq, MessageId: of.MessageId}
			}
			s.must(s.as(0, bob), idl.ActionRecall, recall(gone), nil)
			s.posted()
			var elsewhere chatpb.SendReply
			s.must(s.as(0, bob), idl.ActionMessage, &chatpb.SendRequest{ClientId: "chat", ToUserId: int64(stranger), Text: "to one"}, &elsewhere)
			crowd := make([]int64, 10_000)
			for i := range crowd {
				crowd[i] = int64(owner) + int64(i)
			}
			s.settled()
			for _, bad := range []struct {
				name   string
				who    im.UserID
				action idl.Action
				req    idl.Message
				code   idl.Code
				field  string
			}{
				{"a stranger sends", stranger, idl.ActionMessage, &chatpb.SendRequest{ClientId: "s", ConversationId: group, Text: "let me"}, idl.CodePermissionDenied, "conversation_id"},
				{"a stranger reads", stranger, idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: group}, idl.CodePermissionDenied, "conversation_id"},
				{"a stranger in a chat of two others", stranger, idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(im.ChatOf(alice, bob))}, idl.CodePermissionDenied, "conversation_id"},
				{"a cursor beyond the end", bob, idl.ActionRead, &chatpb.ReadRequest{ConversationId: group, Seq: 1000}, idl.CodeInvalidArgument, "seq"},
				{"an acknowledgement beyond the end", bob, idl.ActionMessageAck, &chatpb.AckRequest{ConversationId: group, Seq: 1000}, idl.CodeInvalidArgument, "seq"},
				{"a recall of another's", bob, idl.ActionRecall, recall(first), idl.CodePermissionDenied, "message_id"},
				{"an edit of another's", bob, idl.ActionEdit, &chatpb.EditRequest{ConversationId: group, Seq: first.Seq, MessageId: first.MessageId, Text: "mine"}, idl.CodePermissionDenied, "message_id"},
				{"an edit after the recall", bob, idl.ActionEdit, &chatpb.EditRequest{ConversationId: group, Seq: gone.Seq, MessageId: gone.MessageId, Text: "back"}, idl.CodeNotFound, "message_id"},
				{"10,000 who are named", alice, idl.ActionMessage, &chatpb.SendRequest{ClientId: "m", ConversationId: group, Text: "all", Mentions: crowd}, idl.CodeInvalidArgument, "mentions"},
				{"a stranger who is named", alice, idl.ActionMessage, &chatpb.SendRequest{ClientId: "n", ConversationId: group, Text: "you", Mentions: []int64{int64(stranger)}}, idl.CodeInvalidArgument, "mentions"},
				{"all are named by who may not", bob, idl.ActionMessage, &chatpb.SendRequest{ClientId: "a", ConversationId: group, Text: "all", MentionsAll: true}, idl.CodePermissionDenied, "mentions_all"},
				{"a reply to what is elsewhere", bob, idl.ActionMessage, &chatpb.SendRequest{ClientId: "r", ConversationId: group, Text: "yes",
					ReplyTo: &chatpb.Reply{Seq: elsewhere.Seq, MessageId: elsewhere.MessageId}}, idl.CodeNotFound, "reply_to"},
				{"a client ID of the server's", bob, idl.ActionMessage, &chatpb.SendRequest{ClientId: "~g1.1", ConversationId: group, Text: "joined"}, idl.CodeInvalidArgument, "client_id"},
				{"a name of control characters", alice, idl.ActionUpdateGroup, &grouppb.UpdateGroupRequest{GroupId: s.group, Fields: []string{"name"}, Name: "a\x1b[2J"}, idl.CodeInvalidArgument, "name"},
				{"a group with such a name", alice, idl.ActionCreateGroup, &grouppb.CreateGroupRequest{ClientId: "c", Name: "\x00"}, idl.CodeInvalidArgument, "name"},
				{"a negative seq", bob, idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: group, BeforeSeq: -1}, idl.CodeInvalidArgument, "before_seq"},
				{"a transfer by who is no owner", bob, idl.ActionTransferGroup, &grouppb.TransferGroupRequest{GroupId: s.group, UserId: int64(carol)}, idl.CodePermissionDenied, ""},
			} {
				end := s.head()
				err := s.as(1, bad.who).Call(bad.action, bad.req, nil)
				refused, ok := errors.AsType[*im.Error](err)
				if !ok || refused.Code != bad.code || refused.Field != bad.field {
					t.Errorf("%s: got %v, want %v of %q", bad.name, err, bad.code, bad.field)
				}
				s.settled()
				if now := s.head(); now != end {
					t.Errorf("%s: %d messages more", bad.name, now-end)
				}
			}
			s.forged(bob, alice)
			s.belowFloor(bob, first.Seq)
			s.twoOwners(alice, bob, carol)
			s.posted()
			if _, err := s.say(0, carol, "and on"); err != nil {
				t.Errorf("the group does not go on: %v", err)
			}
		})
	}
}

// settled waits until nothing is to be told, and told.
func (s *site) settled() {
	s.t.Helper()
	s.posted()
	s.none("SELECT COUNT(*) FROM chat_events")
}

// forged sends as somebody with another's number in every place that could name a sender.
func (s *site) forged(who, as im.UserID) {
	s.t.Helper()
	from := s.cores[1].As(who, "desk", idl.CodecJSON)
	body := fmt.Sprintf(`{"client_id":"forged","conversation_id":%q,"text":"from whom","sender_id":%d,"sender":%d,"user_id":%d,"from":%d}`, s.conversation(), as, as, as, as)
	reply, err := from.Raw(s.t.Context(), idl.ActionMessage, []byte(body))
	var rep struct{ Seq int64 }
	if err == nil {
		err = json.Unmarshal(reply.Body, &rep)
	}
	if err != nil || reply.Action != idl.ActionMessage {
		s.t.Fatalf("got %v %s, %v", reply.Action, reply.Body, err)
	}
	page, err := s.store.Log(s.t.Context(), s.conversation(), rep.Seq-1, 1)
	if err != nil || len(page.Items) != 1 || page.Items[0].Sender != who {
		s.t.Errorf("got %+v, %v: want it from %d", page.Items, err, who)
	}
}

// belowFloor reads forward from before what somebody deleted: from the floor on, which the page states.
func (s *site) belowFloor(who im.UserID, seq int64) {
	s.t.Helper()
	if err := (&device{session: s.as(0, who)}).sync(0); err != nil {
		s.t.Fatal(err)
	}
	s.must(s.as(0, who), idl.ActionUpdateConversation, &chatpb.UpdateConversationRequest{ConversationId: string(s.conversation()), Delete: true}, nil)
	after, err := s.say(1, owner, "behind the floor")
	if err != nil {
		s.t.Fatal(err)
	}
	var rep chatpb.HistoryReply
	s.must(s.as(1, who), idl.ActionHistory, &chatpb.HistoryRequest{ConversationId: string(s.conversation()), AfterSeq: seq}, &rep)
	if len(rep.Messages) != 1 || rep.Messages[0].Seq != after.Seq || rep.Floor != after.Seq || rep.HasMore {
		s.t.Errorf("got %v, floor %d, more %t; want %d alone, which is the floor", rep.Messages, rep.Floor, rep.HasMore, after.Seq)
	}
}

// twoOwners has a group be given to two at once, by two cores: one gets it, who gives it was refused the other.
func (s *site) twoOwners(now, one, other im.UserID) {
	s.t.Helper()
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, next := range []im.UserID{one, other} {
		both.Go(func() {
			errs[i] = s.as(i, now).Call(idl.ActionTransferGroup, &grouppb.TransferGroupRequest{GroupId: s.group, UserId: int64(next)}, nil)
		})
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || errs[0] != nil && im.CodeOf(errs[0]) != idl.CodePermissionDenied || errs[1] != nil && im.CodeOf(errs[1]) != idl.CodePermissionDenied {
		s.t.Errorf("both at once: %v, %v", errs[0], errs[1])
	}
	s.none("SELECT COUNT(*) - 1 FROM group_members WHERE role = 1")
}
