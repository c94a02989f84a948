package session

import (
	"cmp"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// This file is the one place of the edge where what went wrong becomes a wire
// code: a refusal of one action, or a close reason for the session.

// admit checks what the edge can refuse without the core; nil lets it pass.
func (s *Session) admit(in inbound) *wirepb.Error {
	info, known := s.hub.core.Action(in.action)
	if in.action == idl.ActionError || in.action == frame.Unnamed {
		known = false
	}
	authed := s.authed.Load()
	switch {
	case !known:
		return &wirepb.Error{Code: idl.CodeUnknownAction, Message: "no such action"}
	case !authed && !info.Open:
		return &wirepb.Error{Code: idl.CodeUnauthenticated, Message: "pass Auth first"}
	case authed && in.action == idl.ActionAuth:
		return &wirepb.Error{Code: idl.CodePermissionDenied, Message: "this session has passed Auth already: connect anew to be someone else"}
	case info.MaxBody > 0 && len(in.body) > info.MaxBody:
		return &wirepb.Error{Code: idl.CodeTooLarge, Message: "the body is over this action's limit"}
	}
	if wait := s.tooOften(in.action, info); wait > 0 {
		ms := (wait + time.Millisecond - 1).Milliseconds()
		return &wirepb.Error{Code: idl.CodeRateLimited, Message: "this action was called too often", RetryAfterMs: ms}
	}
	return s.review(in, info)
}

// refuse answers a request with an Error, also one with sequence 0.
func (s *Session) refuse(to header, no *wirepb.Error) {
	s.hub.counters.refused.Add(1)
	s.answer(to, idl.ActionError, s.hub.body(no, to.form))
}

// Fail closes the session for a fault in the client's bytes: what the frame
// decoder or Receive returned. Frames that wait unhandled are dropped.
func (s *Session) Fail(err *frame.CloseError) {
	s.end(farewell{reason: err.Reason, message: err.Text})
}

// slow closes a session whose client does not read.
func (s *Session) slow() {
	s.end(farewell{reason: idl.CloseSlow, message: "the client does not read fast enough"})
}

const shuttingDown = "this edge is shutting down"

// takeTurn closes a session whose turn has come to leave an edge that drains.
func (s *Session) takeTurn() {
	s.end(farewell{reason: idl.CloseShutdown, message: shuttingDown, inTurn: true})
}

// farewell is why and how a session ends.
type farewell struct {
	reason  idl.CloseReason
	message string        // for the client's developer
	retry   time.Duration // 0: the hub's own advice
	inTurn  bool          // clients are told one after the other already
}

// farewell is how a connection is told a rule's no: to come again if it is only not now.
func (r *Refusal) farewell() farewell {
	why := farewell{reason: idl.CloseRemoved, message: r.Reason, retry: r.RetryAfter}
	if r.Code == idl.CodeRateLimited || r.Code == idl.CodeUnavailable {
		why.reason = idl.CloseOverloaded
	}
	return why
}

// end closes the session unless that has happened already: Quit in the form of
// its pushes, or of its last frame when it is not live.
func (s *Session) end(why farewell) {
	s.mu.Lock()
	if s.state >= closing {
		s.mu.Unlock()
		return
	}
	in := s.heard
	if s.state == live {
		in = s.pushForm
	}
	end := s.depart(closing)
	s.mu.Unlock()
	s.hub.gone(s.id, end)
	s.hub.close(s.transport, why, in)
}

// turnAway ends a connection that has not become a session.
func (h *Hub) turnAway(t Transport, reason idl.CloseReason, message string) {
	h.close(t, farewell{reason: reason, message: message}, form{})
}

// close sends Quit over a transport and ends it.
func (h *Hub) close(t Transport, why farewell, in form) {
	h.counters.close(why.reason)
	h.log.Debug("session closed", "reason", why.reason, "message", why.message, "address", t.Address(), "transport", t.Kind())
	quit := &wirepb.Quit{Reason: why.reason, Message: why.message, Reconnect: idl.Reconnect(why.reason)}
	if quit.Reconnect {
		wait, jitter := h.advice(why)
		quit.RetryAfterMs, quit.JitterMs = wait.Milliseconds(), jitter.Milliseconds()
	}
	body := h.body(quit, in)
	out, done, _ := h.encode(frame.Frame{Action: idl.ActionQuit, Body: body}, in)
	defer done()
	t.Close(why.reason, why.message, out, in.text)
}

// advice is how long a client waits before it connects again, and how much longer at random.
func (h *Hub) advice(why farewell) (wait, jitter time.Duration) {
	if why.inTurn {
		return 0, h.opts.DrainJitter
	}
	return cmp.Or(why.retry, h.opts.RetryAfter), h.opts.Jitter
}

// gone takes a session that has ended out of its rooms, and tells the core if it was
// live.
func (h *Hub) gone(id ID, end departed) {
	end.rooms.leave()
	h.followers.remove(id)
	if end.who != nil {
		h.counters.live.Add(-1)
		h.core.Gone(id, *end.who)
	}
}
