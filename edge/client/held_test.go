package client_test

import (
	"context"
	"testing"

	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// tellsHeld has the diary note what is told of held messages too.
func tellsHeld(d **diary) func(*client.Options) {
	return func(o *client.Options) {
		o.Handler.Held = func(_ context.Context, h *chatpb.Held) { (*d).note("held %s %v %s", h.ClientId, h.State, h.Reason) }
	}
}

func heldReply(id string) *chatpb.SendReply {
	return &chatpb.SendReply{HeldId: id, ConversationId: chat, TimeMs: 5}
}

func held(p *client.Pending, id string, state chatpb.HeldState, reason string) *chatpb.Held {
	return &chatpb.Held{HeldId: id, ClientId: p.ClientID(), ConversationId: chat, State: state, Reason: reason}
}

// own is the entry of a send, which the inbox shows.
func own(p *client.Pending, seq int64, text string) *chatpb.InboxEntry {
	return &chatpb.InboxEntry{InboxSeq: seq, Message: &chatpb.Message{
		Id: "M", ConversationId: chat, Seq: seq, SenderId: me, ClientId: p.ClientID(), Text: text}}
}

func expectRefused(t *testing.T, p *client.Pending, reason string) {
	t.Helper()
	expectState(t, p, client.Refused)
	rep, err := p.Result()
	if r, ok := err.(*client.Refusal); rep != nil || !ok || r.Code != idl.CodeRejected || r.Message != reason {
		t.Errorf("got %v, %v", rep, err)
	}
}

// A held send is settled, lets the next one go, and becomes what is decided.
func TestHeldSends(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		var d *diary
		s, _, peer, told := joined(t, f, tellsHeld(&d))
		d = told
		one, two := send(t, s, "one"), send(t, s, "two")
		r, _ := expectSend(t, peer, "one")
		peer.Answer(r, heldReply("H1"))
		<-one.Settled()
		expectState(t, one, client.Held)
		if rep, err := one.Result(); err != nil || rep.HeldId != "H1" {
			t.Errorf("got %v, %v", rep, err)
		}
		r, _ = expectSend(t, peer, "two")
		peer.Answer(r, heldReply("H2"))
		expectState(t, two, client.Held)
		peer.Push(idl.ActionHeld, held(two, "H2", chatpb.HeldState_HELD_STATE_DENIED, "no ads"))
		expectRefused(t, two, "no ads")
		peer.Push(idl.ActionMessage, own(one, 1, "one"))
		peer.Push(idl.ActionHeld, held(one, "H1", chatpb.HeldState_HELD_STATE_APPROVED, ""))
		expectState(t, one, client.Committed)
		if rep, err := one.Result(); err != nil || rep.MessageId != "M" || rep.Seq != 1 {
			t.Errorf("got %v, %v", rep, err)
		}
		peer.Push(idl.ActionMessageAck, &chatpb.Receipt{ConversationId: chat, UserId: bob, Seq: 1})
		<-one.Delivered()
		d.expect(t, "held "+two.ClientID()+" HELD_STATE_DENIED no ads", "message 1 one",
			"held "+one.ClientID()+" HELD_STATE_APPROVED ", "delivered c_1_2 1")
	})
}

// The decision may be faster than the answer.
func TestHeldAnswerComesLate(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		s, _, peer, _ := joined(t, f, nil)
		one := send(t, s, "one")
		r, _ := expectSend(t, peer, "one")
		peer.Push(idl.ActionHeld, held(one, "H1", chatpb.HeldState_HELD_STATE_DENIED, "no"))
		expectRefused(t, one, "no")
		peer.Answer(r, heldReply("H1"))
		expectRefused(t, one, "no")
		two := send(t, s, "two")
		r, _ = expectSend(t, peer, "two")
		peer.Push(idl.ActionMessage, own(two, 1, "two"))
		expectState(t, two, client.Committed)
		peer.Answer(r, heldReply("H2"))
		expectState(t, two, client.Committed)
	})
}

// What was denied without a connection is asked for with the next one.
func TestHeldWhileAway(t *testing.T) {
	inBubble(t, func(t *testing.T, f form) {
		var d *diary
		s, srv, peer, told := joined(t, f, tellsHeld(&d))
		d = told
		var all []*client.Pending
		for _, text := range []string{"one", "two", "three"} {
			p := send(t, s, text)
			r, _ := expectSend(t, peer, text)
			peer.Answer(r, heldReply("H-"+text))
			<-p.Settled()
			all = append(all, p)
		}
		peer.Cut()
		peer = srv.Accept()
		peer.Answer(peer.Expect(idl.ActionAuth, nil), auth("e1", 0))
		var req chatpb.HeldRequest
		r := peer.Expect(idl.ActionHeld, &req)
		if req.AfterHeldId != "" || req.Limit != 100 {
			t.Errorf("got %+v", &req)
		}
		peer.Answer(r, &chatpb.HeldReply{HasMore: true, Held: []*chatpb.Held{
			held(all[0], "H-one", chatpb.HeldState_HELD_STATE_WAITING, ""), held(all[1], "H-two", chatpb.HeldState_HELD_STATE_DENIED, "no")}})
		peer.AnswerSync("e1", new(chatpb.SyncReply))
		r = peer.Expect(idl.ActionHeld, &req)
		if req.AfterHeldId != "H-two" {
			t.Errorf("got %+v", &req)
		}
		peer.Answer(r, &chatpb.HeldReply{})
		expectRefused(t, all[1], "no")
		expectState(t, all[0], client.Held)
		expectState(t, all[2], client.Held)
		d.expect(t, "disconnected", "connected 1", "held "+all[1].ClientID()+" HELD_STATE_DENIED no")
	})
}
