package session

import (
	"time"

	"freeim/edge/frame"
	"freeim/edge/room"
	"freeim/idl"
)

// This file is what edge/rpc brings from the cores: replies, pushes, what is for rooms,
// and kicks.

// Delivery is what a core said at once.
type Delivery struct {
	Replies    []Reply
	Pushes     []Push
	Broadcasts []room.Broadcast
	Answers    []room.Answer
	Expels     []room.Expel
	Policies   []RoomPolicy
	Wakes      []Wake
	Kicks      []Kick
}

// RoomPolicy changes how a room is treated.
type RoomPolicy struct {
	Room   string
	Policy room.Policy
}

// Kick closes sessions at a core's word; RetryAfter 0 leaves the advice to the
// edge. Sessions that are gone already are passed over.
type Kick struct {
	Sessions   []ID
	Reason     idl.CloseReason
	Message    string
	RetryAfter time.Duration
}

// Reset empties d for use again and lets go what it held.
func (d *Delivery) Reset() {
	clear(d.Replies)
	clear(d.Pushes)
	clear(d.Broadcasts)
	clear(d.Answers)
	clear(d.Expels)
	clear(d.Policies)
	clear(d.Wakes)
	clear(d.Kicks)
	*d = Delivery{d.Replies[:0], d.Pushes[:0], d.Broadcasts[:0], d.Answers[:0], d.Expels[:0], d.Policies[:0], d.Wakes[:0], d.Kicks[:0]}
}

// Deliver takes what a core said at once; what it says to one session leaves in
// one write. The replies come first, since one may bind a session that a push is
// for; of rooms an answer comes behind its broadcasts, and who is taken out gets what
// was said before; the kicks last, since a session should get what was pushed to it.
// The slices are not kept.
func (h *Hub) Deliver(d Delivery) {
	c := h.together(len(d.Replies) + len(d.Pushes))
	defer c.pull()
	for _, r := range d.Replies {
		h.reply(r, c)
	}
	for _, p := range d.Pushes {
		h.push(p, c)
	}
	h.deliverRooms(d)
	for _, w := range d.Wakes {
		h.followers.wake(w)
	}
	for _, k := range d.Kicks {
		h.Kick(k.Sessions, k.Reason, k.Message, k.RetryAfter)
	}
}

// Reply is Deliver of one reply.
func (h *Hub) Reply(r Reply) { h.reply(r, nil) }

// Push is Deliver of one push.
func (h *Hub) Push(p Push) { h.push(p, nil) }

// reply takes the answer to a Call. One that no session waits for is counted and
// dropped; if it binds a session that is gone, the core is told so.
func (h *Hub) reply(r Reply, c *corks) {
	s := h.sessions.find(r.Session)
	if s != nil {
		c.on(s)
		if s.reply(r) {
			return
		}
	} else if h.requests.answer(r) {
		return
	}
	h.counters.stray.Add(1)
	if r.Bind != nil && (s == nil || !s.isLive()) {
		h.core.Gone(r.Session, *r.Bind)
	}
}

func (s *Session) isLive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == live
}

// reply answers the frame at the core and goes on with the next; false when r is
// no answer to it. A passed Auth is answered with mu held: no push gets ahead of
// the answer, and none that comes after is lost. One that came before, when the
// core knew the session already, is made good by a Sync push.
func (s *Session) reply(r Reply) bool {
	s.mu.Lock()
	if j := s.joint; j != nil {
		return s.replyTogether(j, r)
	}
	if !s.awaits(r) {
		s.mu.Unlock()
		return false
	}
	s.calling = false
	if s.traced {
		s.traced = false
		s.hub.traces.end(s.id, r.Action, "")
	}
	to, sent, missed := s.current, false, false
	crowded := false
	if r.Bind != nil && s.state == fresh {
		crowded = !s.bind(r.Bind, to.form)
		missed = s.missed
		sent = s.deliver(to, r.Action, r.Body)
		s.mu.Unlock()
	} else {
		s.mu.Unlock()
		sent = s.move(to, r)
	}
	if !sent {
		s.slow()
	}
	if missed {
		s.hub.askToSync(s)
	}
	if r.Follows != nil {
		s.hub.followers.follow(s, r.Epoch, r.Follows)
	}
	switch {
	case crowded:
		s.end(farewell{reason: idl.CloseOverloaded, message: "too many sessions of this user"})
	case r.Action == idl.ActionError:
		s.signInFailed(to, r.Body)
	}
	if in, more := s.next(); more {
		s.goOn(in)
	}
	return true
}

// awaits reports whether r answers the frame that is at the core.
func (s *Session) awaits(r Reply) bool {
	return s.state < closing && s.calling && r.Sequence == s.current.sequence &&
		(r.Action == s.current.action || r.Action == idl.ActionError)
}

// bind makes the session live; it is false when the user has too many already.
// Called with mu held.
func (s *Session) bind(who *Identity, in form) (room bool) {
	s.user, room = s.hub.opts.Limits.User(who.User)
	s.state, s.identity, s.pushForm = live, who, in
	s.authed.Store(true)
	s.hub.counters.live.Add(1)
	return room
}

// push sends a frame to the sessions that it names. It is encoded once for each
// form, and the bytes are shared, unless every session has its own stamp.
// Sessions that are gone or not live miss it; their clients sync.
func (h *Hub) push(p Push, c *corks) {
	out := outgoing{hub: h, push: p}
	for i, id := range p.Sessions {
		if s := h.sessions.find(id); s != nil {
			c.on(s)
			out.to(s, i)
		} else {
			h.counters.lost.Add(1)
		}
	}
}

// Resync asks every live session to sync: pushes may have been lost, since a
// link to a core was down. What rooms may have missed is asked for.
func (h *Hub) Resync() {
	h.rooms.Ask()
	out := outgoing{hub: h, push: Push{Action: idl.ActionSync}}
	for s := range h.sessions.all() {
		out.to(s, 0)
	}
}

// askToSync is Resync for one session.
func (h *Hub) askToSync(s *Session) {
	out := outgoing{hub: h, push: Push{Action: idl.ActionSync}}
	out.to(s, 0)
}

// outgoing is a push with what has been encoded of it so far.
type outgoing struct {
	hub     *Hub
	push    Push
	encoded [forms][]byte // by form.index; nil where no session needed it yet
}

// to sends the push to one session, the i-th of those it names.
func (o *outgoing) to(s *Session, i int) {
	if !o.try(s, i) {
		s.slow()
	}
}

// try is to for callers that hold locks; false: the client does not read, and the
// session must be closed.
func (o *outgoing) try(s *Session, i int) bool {
	s.mu.Lock()
	in, listening := s.pushForm, s.state == live
	s.missed = s.missed || s.calling && s.current.action == idl.ActionAuth
	s.mu.Unlock()
	body, has := o.body(in.codec)
	if !listening || !has {
		o.hub.counters.lost.Add(1)
		return true
	}
	o.hub.counters.pushed.Add(1)
	return o.send(s, in, body, i)
}

// body is the push's in codec c; has is false when the core left it out. The
// empty message is empty in protobuf too.
func (o *outgoing) body(c idl.Codec) (body []byte, has bool) {
	if c == idl.CodecProtobuf {
		return o.push.Protobuf, len(o.push.Protobuf) > 0 || len(o.push.JSON) <= len("{}")
	}
	return o.push.JSON, len(o.push.JSON) > 0 || len(o.push.Protobuf) == 0
}

func (o *outgoing) send(s *Session, in form, body []byte, i int) bool {
	if i < len(o.push.InboxSeqs) {
		return o.stamp(s, in, body, o.push.InboxSeqs[i])
	}
	shared := &o.encoded[in.index()]
	if *shared == nil {
		out, done, _ := o.hub.encode(frame.Frame{Action: o.push.Action, Body: body}, in)
		*shared = append(*shared, out...)
		done()
	}
	return s.transport.Send(*shared, in.text)
}

// stamp sends the push with one inbox's seq in its body.
func (o *outgoing) stamp(s *Session, in form, body []byte, seq int64) bool {
	buf := o.hub.buffers.Get().(*buffer)
	defer buf.done()
	buf.bytes = frame.AppendStamped(buf.bytes[:0], in.codec, seq, body)
	out, done, _ := o.hub.encode(frame.Frame{Action: o.push.Action, Body: buf.bytes}, in)
	defer done()
	return s.transport.Send(out, in.text)
}

// Kick closes sessions at a core's word; retryAfter 0 leaves the advice to the
// edge. Sessions that are gone already are passed over.
func (h *Hub) Kick(ids []ID, reason idl.CloseReason, message string, retryAfter time.Duration) {
	for _, id := range ids {
		if s := h.sessions.find(id); s != nil {
			s.end(farewell{reason: reason, message: message, retry: retryAfter})
		}
	}
}
