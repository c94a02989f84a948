package session

import (
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// tooMuch is why a client is closed, and its address banned.
const tooMuch = "the client goes on sending more than it may"

// limited says no to a frame that is more than its address or its user may send. A
// client that does not mind is closed in the end, and so is one that comes back
// with a new connection to go on.
func (s *Session) limited(in inbound) (no *wirepb.Error, ended bool) {
	octets, peer := frame.HeaderSize+len(in.body), s.transport.Peer()
	wait := peer.Take(octets)
	if wait == 0 && s.authed.Load() {
		wait = s.user.Take(octets) // set before authed
	}
	over := wait > 0
	if signsIn(in.action) { // others of the address have to wait too, so it is not told
		wait = max(wait, peer.MayAuth())
	}
	if wait == 0 {
		s.excess = max(0, s.excess-1)
		peer.Passed()
		return nil, false
	}
	s.excess++
	patience := s.hub.opts.Patience
	if over && peer.Refused(patience) || patience > 0 && int(s.excess) > patience {
		s.end(farewell{reason: idl.CloseFlood, message: tooMuch})
		peer.Offend(tooMuch)
		return nil, true
	}
	ms := (wait + time.Millisecond - 1).Milliseconds()
	return &wirepb.Error{Code: idl.CodeRateLimited, Message: "too much in too short a time", RetryAfterMs: ms}, false
}

// Beside counts what the client sent that is no frame: a ping, an empty message, a
// piece of a message. It takes from the limits like one, and too much of it ends
// the session. Nothing else is said, since there is no request to answer. Whoever
// calls Receive calls it; its error is given to Fail.
func (s *Session) Beside(octets int) error {
	peer, patience := s.transport.Peer(), s.hub.opts.Patience
	if wait := peer.Take(octets); wait == 0 {
		s.beside = max(0, s.beside-1)
		peer.Passed()
		return nil
	}
	s.beside++
	if !peer.Refused(patience) && (patience == 0 || int(s.beside) <= patience) {
		return nil
	}
	peer.Offend(tooMuch)
	return &frame.CloseError{Reason: idl.CloseFlood, Text: tooMuch}
}

func signsIn(a idl.Action) bool {
	return a == idl.ActionAuth || a == idl.ActionSignIn || a == idl.ActionSignInExternal
}

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
