package session

import (
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// limited refuses a frame that is more than its address or its user may send. A
// client that does not mind is closed in the end.
func (s *Session) limited(in inbound) bool {
	octets := frame.HeaderSize + len(in.body)
	wait := s.transport.Peer().Take(octets)
	if wait == 0 && s.authed.Load() {
		wait = s.user.Take(octets) // set before authed
	}
	if signsIn(in.action) {
		wait = max(wait, s.transport.Peer().MayAuth())
	}
	if wait == 0 {
		s.excess = max(0, s.excess-1)
		return false
	}
	s.excess++
	if patience := s.hub.opts.Patience; patience > 0 && int(s.excess) > patience {
		const text = "the client goes on sending more than it may"
		s.end(farewell{reason: idl.CloseFlood, message: text})
		s.transport.Peer().Offend(text)
		return true
	}
	ms := (wait + time.Millisecond - 1).Milliseconds()
	s.refuse(in.header, &wirepb.Error{Code: idl.CodeRateLimited, Message: "too much in too short a time", RetryAfterMs: ms})
	return true
}

func signsIn(a idl.Action) bool { return a == idl.ActionAuth || a == idl.ActionSignIn }

// signInFailed counts a refusal of a sign-in that was the client's fault, the one
// kind of body that the edge looks into. After too many the session is closed.
func (s *Session) signInFailed(to header, body []byte) {
	if !signsIn(to.action) {
		return
	}
	var no wirepb.Error
	if idl.Decode(body, to.form.codec, &no) != nil || no.Code != idl.CodeUnauthenticated && no.Code != idl.CodeBadCredentials {
		return
	}
	s.transport.Peer().AuthFailed()
	s.failures++
	if most := s.hub.opts.AuthFailures; most > 0 && int(s.failures) >= most {
		s.end(farewell{reason: idl.CloseFlood, message: "too many sign-ins failed on this connection"})
	}
}
