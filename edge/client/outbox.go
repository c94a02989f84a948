package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

const (
	maxSendsFlying = 64   // sends unanswered at a time, one for a destination
	maxUnclear     = 5    // refusals that leave open what happened, then it is final
	maxUndelivered = 1024 // committed messages that wait for a receipt; the oldest are forgotten
)

// Outgoing is a message to send.
type Outgoing struct {
	To           int64  // the user to send to; or
	Conversation string // a conversation known already
	Text         string // 1-5,000 characters; of other kinds a caption, or none
	// Kind says what of the next three there is: none of a text.
	Kind    chatpb.MessageKind
	Media   *chatpb.Media
	Place   *chatpb.Place
	Payload *chatpb.Payload
	ReplyTo *chatpb.Reply // a message of the same conversation, see ReplyTo
	// Mentions are the people of the conversation whom it names; MentionsAll names everybody, of a group.
	Mentions    []int64
	MentionsAll bool
	Forward     *chatpb.Source // it is a copy of that, see Forward: then all but To, Conversation and ClientID is empty
	// ClientID is unique for this person; 1-64 of A-Z a-z 0-9 . _ -. Empty means
	// a random one. An application that keeps what its user wrote until it is
	// committed chooses it, and sends again with the same one after a restart.
	ClientID string
}

// Send takes a message and returns at once; the session sends it, over as many
// connections as it needs, until it is committed or refused. While the outbox is
// full, Send waits for room until ctx ends. Messages to one destination (one
// value of To or of Conversation) are committed in the order of their Sends:
// the next one goes out when the one before is settled.
func (s *Session) Send(ctx context.Context, m Outgoing) (*Pending, error) {
	p := newPending(&chatpb.SendRequest{
		ClientId: cmp.Or(m.ClientID, rand.Text()),
		ToUserId: m.To, ConversationId: m.Conversation, Text: m.Text, Kind: m.Kind, Media: m.Media, Place: m.Place, Payload: m.Payload,
		ReplyTo: m.ReplyTo, Mentions: m.Mentions, MentionsAll: m.MentionsAll, Forward: m.Forward,
	})
	select {
	case s.sends <- p:
		return p, nil
	case <-s.finished:
		return nil, s.Err()
	case <-ctx.Done():
		return nil, fmt.Errorf("outbox is full: %w", ctx.Err())
	}
}

// outbox holds what Send took, until it is settled, and what is committed, until
// it is delivered. The run loop owns it.
type outbox struct {
	max         int
	queue       []*Pending // not settled, in the order of Send
	flying      int        // of them
	notBefore   time.Time  // no send before: the server asked for a pause
	pauses      backoff
	undelivered []*Pending // committed, the oldest first; at most maxUndelivered
	held        []*Pending // waiting for a decision, the oldest first; at most maxHeld
}

func newOutbox(size int) outbox {
	return outbox{max: size, pauses: backoff{min: time.Second, max: 30 * time.Second}}
}

func (o *outbox) full() bool { return len(o.queue) >= o.max }

func (o *outbox) add(p *Pending) { o.queue = append(o.queue, p) }

// land takes back what flew when the connection ended; it is sent again.
func (o *outbox) land() {
	for _, p := range o.queue {
		p.flying = false
	}
	o.flying = 0
}

// giveUp settles everything because the session is over.
func (o *outbox) giveUp(err error) {
	for _, p := range o.queue {
		p.settle(GivenUp, nil, err)
	}
	o.queue, o.flying = nil, 0
}

// remove takes p out because it is settled.
func (o *outbox) remove(p *Pending) {
	if p.flying {
		p.flying = false
		o.flying--
	}
	o.queue = slices.DeleteFunc(o.queue, func(q *Pending) bool { return q == p })
}

// destination is what messages are kept in order for.
func destination(r *chatpb.SendRequest) string {
	return cmp.Or(r.ConversationId, strconv.FormatInt(r.ToUserId, 10))
}

// sendsDue sends the first message of every destination that has none flying.
func (s *Session) sendsDue(now time.Time) time.Time {
	o := &s.outbox
	if len(o.queue) == o.flying || s.ending() {
		return time.Time{}
	}
	if now.Before(o.notBefore) {
		return o.notBefore
	}
	busy := make(map[string]bool)
	for _, p := range slices.Clone(o.queue) { // a refusal removes from it
		to := destination(p.req)
		if p.flying || busy[to] || o.flying >= maxSendsFlying {
			busy[to] = true
			continue
		}
		if !s.send(p) {
			return now.Add(soon)
		}
		busy[to] = p.flying
	}
	return time.Time{}
}

// send is false when there is no room among the connection's requests.
func (s *Session) send(p *Pending) bool {
	rep := new(chatpb.SendReply)
	err := s.request(idl.ActionMessage, p.req, rep, func(err error) { s.sent(p, rep, err) })
	switch {
	case err == nil:
		p.flying = true
		s.outbox.flying++
	case errors.Is(err, errNoRoom), s.link.conn.Err() != nil:
		return false
	default: // it cannot be sent at all
		s.refused(p, err)
	}
	return true
}

// sent is the answer to a send.
func (s *Session) sent(p *Pending, rep *chatpb.SendReply, err error) {
	if p.State() != Queued {
		return // Sync brought it before
	}
	if err != nil {
		s.notSent(p, err)
		return
	}
	if rep.HeldId != "" {
		s.hold(p, rep)
		return
	}
	e := committed(p.req, rep, s.inbox.user)
	s.committed(p, rep)
	if e.InboxSeq == 0 || p.req.Forward != nil { // what it is a copy of is not here
		s.inbox.behind = true
		return
	}
	s.arrived(e)
}

// committed is the sender's own inbox entry, which the server pushes to his
// other devices only.
func committed(req *chatpb.SendRequest, rep *chatpb.SendReply, sender int64) *Entry {
	text := req.Text
	if rep.Rewritten {
		text = rep.Text
	}
	return &Entry{InboxSeq: rep.InboxSeq, Mine: true, Message: &chatpb.Message{
		Id: rep.MessageId, ConversationId: rep.ConversationId, Seq: rep.Seq, SenderId: sender,
		ClientId: req.ClientId, TimeMs: rep.TimeMs, Kind: req.Kind, Text: text,
		Media: req.Media, Place: req.Place, Payload: req.Payload, ReplyTo: req.ReplyTo, Mentions: req.Mentions, MentionsAll: req.MentionsAll, ExpiresMs: rep.ExpiresMs,
	}}
}

func (s *Session) committed(p *Pending, rep *chatpb.SendReply) {
	o := &s.outbox
	o.remove(p)
	o.decided(p)
	o.pauses.tries = 0
	p.settle(Committed, rep, nil)
	if rep.Seq <= s.inbox.reached(rep.ConversationId) {
		p.deliver()
		return
	}
	if len(o.undelivered) == maxUndelivered {
		o.undelivered = slices.Delete(o.undelivered, 0, 1)
	}
	o.undelivered = append(o.undelivered, p)
}

// foundOwn settles a send whose message the inbox shows before its answer came, or after
// it was held.
func (s *Session) foundOwn(e *Entry) {
	if !e.Mine || e.ClientId == "" {
		return
	}
	if p := s.outbox.open(e.ClientId); p != nil {
		s.committed(p, &chatpb.SendReply{
			MessageId: e.Id, ConversationId: e.ConversationId, Seq: e.Seq, InboxSeq: e.InboxSeq,
			TimeMs: e.TimeMs, Rewritten: p.req.Forward == nil && !e.Became.GetRecalled() && e.Text != p.req.Text, Text: e.Text, ExpiresMs: e.ExpiresMs,
		})
	}
}

// notSent decides what becomes of a send that was refused.
func (s *Session) notSent(p *Pending, err error) {
	o := &s.outbox
	r, refused := errors.AsType[*Refusal](err)
	if !refused { // an answer that makes no sense: the connection is not to be trusted
		s.link.conn.end(err)
		return
	}
	f := fateOf(r.Code)
	if f == unclear {
		p.tries++
	}
	if f == final || p.tries >= maxUnclear {
		s.refused(p, err)
		return
	}
	p.flying = false
	o.flying--
	o.notBefore = time.Now().Add(o.pauses.next(r.RetryAfter))
	s.authAgain(err)
}

func (s *Session) refused(p *Pending, err error) {
	s.outbox.remove(p)
	s.outbox.decided(p)
	p.settle(Refused, nil, err)
}

// delivered marks what the other person holds up to seq.
func (o *outbox) delivered(conversation string, seq int64) {
	o.undelivered = slices.DeleteFunc(o.undelivered, func(p *Pending) bool {
		reply, _ := p.Result()
		if reply.ConversationId != conversation || reply.Seq > seq {
			return false
		}
		p.deliver()
		return true
	})
}
