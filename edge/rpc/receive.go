package rpc

import (
	"strings"
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/corepb/core"
)

// receive hands what comes down to the Receiver until the stream ends. Of one
// batch the replies come first, since one may bind a session that a push is for;
// the kicks last, since a session should get what was pushed to it before.
func (k *link) receive(stream core.Core_LinkClient) error {
	var answers []answer
	for {
		d, err := stream.Recv()
		if err != nil {
			return err
		}
		k.heard.Add(1)
		k.links.counts.downBatches.Add(1)
		k.links.counts.answered.Add(int64(len(d.Replies) + len(d.Pushes) + len(d.Kicks)))
		answers = k.settle(answers[:0], d.Replies)
		for _, a := range answers {
			k.reply(a)
		}
		clear(answers)
		for _, p := range d.Pushes {
			k.links.receiver.Push(session.Push{Action: idl.Action(p.Action), Sessions: ids(p.Sessions),
				InboxSeqs: p.InboxSeqs, Protobuf: p.Protobuf, JSON: p.Json})
		}
		for _, kick := range d.Kicks {
			k.links.receiver.Kick(ids(kick.Sessions), kick.Reason, kick.Message, time.Duration(kick.RetryAfterMs)*time.Millisecond)
		}
		if d.Drain {
			k.leave()
		}
		if d.Census {
			k.links.ask()
		}
		if d.Missed {
			k.links.resync()
		}
	}
}

// answer is a reply with the call that it answers.
type answer struct {
	pendingCall
	*corepb.Reply
}

// settle takes the calls that these replies answer out of the pending ones.
func (k *link) settle(answers []answer, replies []*corepb.Reply) []answer {
	if len(replies) == 0 {
		return answers
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range replies {
		p, ok := k.pending[r.Sequence]
		delete(k.pending, r.Sequence)
		switch {
		case ok:
			answers = append(answers, answer{p, r})
		case r.Bind != nil:
			// Refused here as overdue, and bound nevertheless: the hub knows nothing
			// of it, so nobody else would take the route away.
			k.outbox.gone(&corepb.Gone{Session: r.Session, Identity: r.Bind})
		}
	}
	k.settled()
	return answers
}

func (k *link) reply(a answer) {
	reply := session.Reply{Session: a.session, Action: idl.Action(a.Action), Sequence: a.sequence, Body: a.Body}
	if a.Bind != nil {
		who := fromWire(a.Bind)
		reply.Bind = &who
	}
	k.links.receiver.Reply(reply)
}

// leave stops calls to a core that drains.
func (k *link) leave() {
	k.links.log.Info("core drains", "core", k.address)
	k.mu.Lock()
	k.phase = leaving
	k.settled()
	k.mu.Unlock()
	k.links.fall(k)
}

func ids(sessions []uint64) []session.ID {
	out := make([]session.ID, len(sessions))
	for i, s := range sessions {
		out[i] = session.ID(s)
	}
	return out
}

// fromWire copies the device ID: it stays as long as the session, and must not
// hold on to the whole batch it came in.
func fromWire(id *corepb.Identity) session.Identity {
	return session.Identity{User: id.UserId, Device: strings.Clone(id.DeviceId), DeviceType: id.DeviceType,
		TokenID: id.TokenId, Since: id.SinceMs}
}

func toWire(who session.Identity) corepb.Identity {
	return corepb.Identity{UserId: who.User, DeviceId: who.Device, DeviceType: who.DeviceType,
		TokenId: who.TokenID, SinceMs: who.Since}
}
