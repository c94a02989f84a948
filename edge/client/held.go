package client

import (
	"slices"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is what becomes of sends that the server keeps for somebody's decision.

// maxHeld is how many of them are known; the oldest are forgotten, and stay Held.
const maxHeld = 1024

// hold is the answer to a send that waits.
func (s *Session) hold(p *Pending, rep *chatpb.SendReply) {
	o := &s.outbox
	o.remove(p)
	o.pauses.tries = 0
	if len(o.held) == maxHeld {
		o.held = slices.Delete(o.held, 0, 1)
	}
	o.held = append(o.held, p)
	p.settle(Held, rep, nil)
}

// decided takes p out of those that wait.
func (o *outbox) decided(p *Pending) {
	o.held = slices.DeleteFunc(o.held, func(q *Pending) bool { return q == p })
}

// open is the send under a client ID that is not answered, or waits; nil: there is none.
func (o *outbox) open(clientID string) *Pending {
	is := func(p *Pending) bool { return p.req.ClientId == clientID }
	if i := slices.IndexFunc(o.queue, is); i >= 0 {
		return o.queue[i]
	}
	if i := slices.IndexFunc(o.held, is); i >= 0 {
		return o.held[i]
	}
	return nil
}

// heldPushed is word of a message of this person's that waits, or does not any more; it
// may be faster than the answer to the send. What was approved comes by the inbox.
func (s *Session) heldPushed(h *chatpb.Held) {
	if h.State == chatpb.HeldState_HELD_STATE_DENIED {
		if p := s.outbox.open(h.ClientId); p != nil {
			s.refused(p, &Refusal{Action: idl.ActionMessage, Code: idl.CodeRejected, Message: h.Reason})
		}
	}
	s.events.addHeld(h)
}

// askHeld asks, on a new connection, what was denied before it, if a send waits.
func (s *Session) askHeld(after string) {
	if len(s.outbox.held) == 0 {
		return
	}
	rep := new(chatpb.HeldReply)
	_ = s.request(idl.ActionHeld, &chatpb.HeldRequest{AfterHeldId: after, Limit: 100}, rep, func(err error) {
		if err != nil || len(rep.Held) == 0 {
			return
		}
		for _, h := range rep.Held {
			if h.State == chatpb.HeldState_HELD_STATE_DENIED && s.outbox.open(h.ClientId) != nil {
				s.heldPushed(h)
			}
		}
		if rep.HasMore {
			s.askHeld(rep.Held[len(rep.Held)-1].HeldId)
		}
	}) // without room, or an answer, the next connection asks again
}
