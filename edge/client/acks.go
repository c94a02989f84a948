package client

import (
	"context"
	"errors"
	"maps"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// acks are the MessageAcks on their way, cumulative by conversation. The run
// loop owns it. Those not confirmed are also in keeper.cursor.Unacked.
type acks struct {
	due       map[string]int64 // stored, to be sent
	flying    map[string]int64 // sent, not answered
	notBefore time.Time
	pauses    backoff
}

func newAcks(unacked map[string]int64) acks {
	a := acks{
		due: make(map[string]int64), flying: make(map[string]int64),
		pauses: backoff{min: time.Second, max: 30 * time.Second},
	}
	a.add(unacked)
	return a
}

// add makes every position due.
func (a *acks) add(held map[string]int64) {
	for c, seq := range held {
		if seq > a.flying[c] {
			a.due[c] = max(a.due[c], seq)
		}
	}
}

// land takes back what flew when the connection ended.
func (a *acks) land() {
	sent := maps.Clone(a.flying)
	clear(a.flying)
	a.add(sent)
}

func (a *acks) reset() {
	clear(a.due)
	clear(a.flying)
}

// acksDue sends what is due, one request for a conversation at a time.
func (s *Session) acksDue(now time.Time) time.Time {
	a := &s.acks
	if now.Before(a.notBefore) && len(a.due) > 0 {
		return a.notBefore
	}
	for c, seq := range a.due {
		if a.flying[c] != 0 {
			continue
		}
		req := &chatpb.AckRequest{ConversationId: c, Seq: seq}
		if err := s.request(idl.ActionMessageAck, req, new(chatpb.AckReply), func(err error) { s.acked(req, err) }); err != nil {
			return now.Add(soon)
		}
		delete(a.due, c)
		a.flying[c] = seq
	}
	return time.Time{}
}

// acked is the answer to an ack. One that is refused for good is forgotten:
// what follows in the conversation covers it.
func (s *Session) acked(req *chatpb.AckRequest, err error) {
	a, c := &s.acks, req.ConversationId
	if a.flying[c] != req.Seq {
		return // forgotten by a reset
	}
	delete(a.flying, c)
	if err != nil && fateOf(CodeOf(err)) != final {
		a.due[c] = max(a.due[c], req.Seq)
		a.notBefore = time.Now().Add(a.pauses.next(adviceOf(err)))
		s.authAgain(err)
		return
	}
	if err != nil {
		s.opts.Log.Warn("ack refused", "conversation", c, "seq", req.Seq, "err", err)
	}
	a.pauses.tries = 0
	s.keeper.confirmed(c, req.Seq)
}

// Ack says that this device holds a conversation up to seq; for sessions with
// Options.ManualAck. It returns when the session has taken it: it is sent after
// the next Save, and again until it is confirmed.
func (s *Session) Ack(ctx context.Context, conversation string, seq int64) error {
	if conversation == "" || seq < 1 {
		return errors.New("an ack needs a conversation and a seq of 1 or more")
	}
	select {
	case s.mail <- func() { s.keeper.hold(conversation, seq) }:
		return nil
	case <-s.finished:
		return s.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
