// Package session is the edge's state: the sessions of its clients, their
// states, order and limits, and the hub that finds them. It hands actions to a
// Core and encoded frames to a Transport, and decides what the edge answers or
// closes by itself. It does no I/O, knows neither netpoll nor Kitex and looks
// inside no body but a refused sign-in's. The gateway opens sessions and feeds them; edge/rpc
// brings replies, pushes and kicks to the hub.
package session

import (
	"sync"
	"sync/atomic"

	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/idl"
)

// state is where a session is in its life. README.md has the table.
type state uint8

const (
	fresh   state = iota // connected; open actions only
	live                 // passed Auth
	closing              // Quit is on its way; nothing is handled any more
	closed               // the connection has ended
)

// Session is one client connection, authenticated or on the way to it. Its
// frames are handled one at a time in the order of Receive.
type Session struct {
	hub       *Hub
	transport Transport
	id        ID
	authBy    uint32        // the tick by which Auth must have passed
	seen      atomic.Uint32 // the tick of the last frame
	authed    atomic.Bool   // state was live once; for MaxBody

	place place // owned by the hub's wheel

	ruled *ruled // set by OpenAs, later owned by whoever handles a frame; nil: no rule has said anything

	// Owned by whoever handles a frame.
	excess   int32 // frames refused as too many, less those that passed since
	failures int32 // sign-ins that failed

	// Owned by the caller of Receive.
	beside int32 // like excess, of what is no frame
	held   bool  // Gather holds a frame

	mu       sync.Mutex // guards the fields below
	state    state
	busy     bool         // a frame is being handled, here or at the core, or parked
	parked   bool         // the next frame waits until the client reads: Writable goes on
	calling  bool         // it is at the core: one reply is due
	traced   bool         // and hub.traces has its span
	leaving  bool         // closes as soon as the frame under way is answered
	heard    form         // of the last frame received
	pushForm form         // of the Auth that passed
	current  header       // of the frame at the core
	size     int32        // octets of the frames under way, as the queue counts
	under    int32        // how many frames are under way
	user     *limits.Peer // what its user may use, set before authed; nil: anything
	identity *Identity    // whose session it is; set when it becomes live, never changed
	waiting  *queue       // frames behind those under way; nil when there are none
	joint    *joint       // the frames at the core, if they went there together
	rooms    *rooms       // those it is in; nil: it is in none
	missed   bool         // a push came while Auth was at the core: the session must sync
}

// header is what an answer needs to know of its request.
type header struct {
	action   idl.Action
	sequence uint32
	form     form
}

// MaxBody is the longest body that the next frame may have, in octets: it grows
// when Auth passes.
func (s *Session) MaxBody() int {
	if s.authed.Load() {
		return s.hub.opts.MaxBody
	}
	return s.hub.opts.MaxBodyFresh
}

// Receive takes the next frame; text says that it came as a readable WebSocket
// message and is answered so. The body is copied if it is kept. One goroutine at
// a time calls it, in the order of the stream. Its error is a *frame.CloseError,
// to be given to Fail; frames after the session's end are dropped.
func (s *Session) Receive(f frame.Frame, text bool) error {
	err := s.Gather(f, text)
	s.Flush()
	return err
}

// work handles in and what waits behind it, until a frame is at the core or none
// is left. The caller has set busy, and so is the only one here.
func (s *Session) work(in inbound) {
	for more := true; more; in, more = s.next() {
		if s.handle(in) {
			return // the reply goes on from here
		}
	}
}

// next takes the frame that waits first; without one the session is idle, or
// leaves if it was asked to. A frame that waits for the client stays where it is.
func (s *Session) next() (in inbound, more bool) {
	s.mu.Lock()
	if s.state < closing && !s.leaving && s.waiting != nil && s.waitsFor(s.waiting.frames[s.waiting.taken].action) {
		s.parked, s.size, s.under = true, 0, 0
		s.mu.Unlock()
		return inbound{}, false
	}
	return s.take()
}

// waitsFor reports whether an action is not begun now: while the client does not read what it has
// asked for, it is made no more of it. What others get by it, a message, does not wait, nor
// a heartbeat. Called with mu held.
func (s *Session) waitsFor(a idl.Action) bool {
	return a != idl.ActionHeartbeat && a != idl.ActionQuit && !s.hub.joins(a) && s.transport.Behind(s)
}

// Writable implements Waiter. One frame goes on, even if others have filled the room again.
func (s *Session) Writable() {
	s.mu.Lock()
	if !s.parked {
		s.mu.Unlock()
		return
	}
	s.parked = false
	if in, more := s.take(); more {
		s.goOn(in)
	}
}

// take is next for who reads. Called with mu held, which it releases.
func (s *Session) take() (in inbound, more bool) {
	if s.state < closing && !s.leaving && s.waiting != nil {
		in = s.dequeue()
		s.size, s.under = in.size(), 1
		s.mu.Unlock()
		return in, true
	}
	s.busy, s.size, s.under = false, 0, 0
	leaving := s.leaving
	s.mu.Unlock()
	if leaving {
		s.takeTurn()
	}
	return inbound{}, false
}

// handle answers a frame or passes it to the core; calling says that it did.
func (s *Session) handle(in inbound) (calling bool) {
	if in.action != idl.ActionQuit {
		no, ended := s.limited(in)
		if no != nil {
			s.refuse(in.header, no)
		}
		if ended || no != nil {
			return false
		}
	}
	switch in.action {
	case idl.ActionHeartbeat:
		s.answer(in.header, in.action, nil)
		return false
	case idl.ActionQuit:
		s.end(farewell{reason: idl.CloseBye, message: "bye"})
		return false
	}
	if no := s.admit(in); no != nil {
		s.refuse(in.header, no)
		return false
	}
	if s.hub.joins(in.action) {
		return s.together(in)
	}
	return s.call(in)
}

// call hands a frame to the core. From then on reply owns the order, so nothing
// may follow the call here.
func (s *Session) call(in inbound) (calling bool) {
	pool := s.pool(in)
	s.mu.Lock()
	if s.state >= closing {
		s.mu.Unlock()
		return false
	}
	s.calling, s.current = true, in.header
	who, traceparent := s.identity, ""
	rooms := s.roomsFor(in.action)
	if s.traced = s.hub.traces.sampled(); s.traced {
		traceparent = s.hub.traces.begin(s, in)
	}
	s.mu.Unlock()
	s.hub.counters.calls.Add(1)
	s.hub.core.Call(Call{
		Session: s.id, Action: in.action, Sequence: in.sequence, Codec: in.form.codec,
		Body: in.keep(), Identity: who, Address: s.transport.Address(), Trace: traceparent, Pool: pool, Rooms: rooms,
	})
	return true
}

// answer sends an answer in the form of its request. Sequence 0 asked for none
// but a refusal.
func (s *Session) answer(to header, action idl.Action, body []byte) {
	if !s.deliver(to, action, body) {
		s.slow()
	}
}

// deliver is answer for callers that hold mu; false: the client does not read
// and the session must be closed as slow.
func (s *Session) deliver(to header, action idl.Action, body []byte) bool {
	if to.sequence == 0 && action != idl.ActionError {
		return true
	}
	s.hub.counters.answered.Add(1)
	out, done, ok := s.hub.encode(frame.Frame{Action: action, Sequence: to.sequence, Body: body}, to.form)
	defer done()
	return !ok || s.transport.Send(out, to.form.text)
}

// Closed says that the connection has ended, for whatever reason. The transport
// calls it once, after the last Receive.
func (s *Session) Closed() {
	s.mu.Lock()
	before := s.state
	end := s.depart(closed)
	s.mu.Unlock()
	if before == closed {
		return
	}
	s.hub.sessions.remove(s.id)
	s.hub.wheel.leave(s)
	s.hub.gone(s.id, end)
	if before < closing {
		s.hub.counters.close(0)
	}
	s.hub.uncount()
}

// departed is what others must hear of when a session ends.
type departed struct {
	who   *Identity // nil: it was not live
	rooms *rooms    // those it was in
}

// depart moves a session to an end state and drops what it holds. What it returns is
// for Hub.gone. Called with mu held.
func (s *Session) depart(to state) (end departed) {
	if s.state == live {
		end.who = s.identity
		s.user.Leave()
	}
	end.rooms, s.rooms = s.rooms, nil
	if s.traced {
		s.traced = false
		s.hub.traces.end(s.id, 0, "the session ended first")
	}
	s.state = max(s.state, to)
	s.waiting, s.joint, s.parked = nil, nil, false
	return end
}

// look is called by the clock when the session's turn in the wheel has come.
func (s *Session) look(now uint32) {
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	wheel := &s.hub.wheel
	switch silentUntil := s.seen.Load() + wheel.idle; {
	case state >= closing:
	case state == fresh && now >= s.authBy:
		s.end(farewell{reason: idl.CloseAuthTimeout, message: "no Auth in time"})
	case state == fresh:
		wheel.arm(s, s.authBy)
	case now >= silentUntil:
		s.end(farewell{reason: idl.CloseIdle, message: "silent for three heartbeats"})
	default:
		wheel.arm(s, silentUntil)
	}
}
