package rpc

import (
	"strings"
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/corepb/core"
)

// receive hands what comes down to the Receiver until the stream ends, each batch
// at once.
func (k *link) receive(stream core.Core_LinkClient) error {
	var down session.Delivery
	for {
		d, err := stream.Recv()
		if err != nil {
			return err
		}
		k.heard.Add(1)
		k.links.counts.downBatches.Add(1)
		k.links.counts.answered.Add(int64(len(d.Replies) + len(d.Pushes) + len(d.Kicks) + len(d.Broadcasts)))
		down.Replies = k.settle(down.Replies, d.Replies)
		for _, p := range d.Pushes {
			down.Pushes = append(down.Pushes, session.Push{Action: idl.Action(p.Action), Sessions: ids(p.Sessions),
				InboxSeqs: p.InboxSeqs, Protobuf: p.Protobuf, JSON: p.Json})
		}
		for _, kick := range d.Kicks {
			down.Kicks = append(down.Kicks, session.Kick{Sessions: ids(kick.Sessions), Reason: kick.Reason,
				Message: kick.Message, RetryAfter: time.Duration(kick.RetryAfterMs) * time.Millisecond})
		}
		addRooms(&down, d)
		for _, w := range d.Wakes {
			down.Wakes = append(down.Wakes, session.Wake{Log: w.Log, Seq: w.Seq, Epoch: w.Epoch, Everybody: w.Everybody})
		}
		k.links.receiver.Deliver(down)
		down.Reset()
		if d.Catalogue != nil {
			k.links.learn(k, newCatalogue(d.Catalogue.Actions))
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

// settle takes the calls that these replies answer out of the pending ones.
func (k *link) settle(answers []session.Reply, replies []*corepb.Reply) []session.Reply {
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
			answers = append(answers, answer(p, r))
		case r.Bind != nil:
			// Refused here as overdue, and bound nevertheless: the hub knows nothing
			// of it, so nobody else would take the route away.
			k.outbox.gone(&corepb.Gone{Session: r.Session, Identity: r.Bind})
		}
	}
	k.settled()
	return answers
}

// answer is what the session that called hears of r.
func answer(to pendingCall, r *corepb.Reply) session.Reply {
	reply := session.Reply{Session: to.session, Action: idl.Action(r.Action), Sequence: to.sequence, Body: r.Body, Enter: enterOf(r.Enter), Leave: r.Leave}
	if r.Bind != nil {
		who := fromWire(r.Bind)
		reply.Bind = &who
	}
	if r.Follows != nil {
		reply.Follows, reply.Epoch = followsOf(r.Follows), strings.Clone(r.Follows.Epoch)
	}
	if r.Caller != nil {
		who := fromWire(r.Caller)
		reply.Caller = &who
	}
	return reply
}

// followsOf copies the names: they stay as long as the session.
func followsOf(f *corepb.Follows) []session.Followed {
	logs := make([]session.Followed, 0, len(f.Logs))
	for i, log := range f.Logs {
		if i < len(f.Seqs) {
			logs = append(logs, session.Followed{Log: strings.Clone(log), Seq: f.Seqs[i]})
		}
	}
	return logs
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
