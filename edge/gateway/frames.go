package gateway

import (
	"errors"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// frames is the TCP protocol: frames, one after the other. It is the session's
// transport.
type frames struct {
	*conn
	decoder frame.Decoder    // owned by the read loop
	session *session.Session // nil when the hub turned the connection away
}

func newFrames(c *conn, said *session.Admission) *frames {
	f := &frames{conn: c}
	f.session = c.gateway.opts.Hub.OpenAs(f, said)
	return f
}

func (f *frames) feed(p []byte) bool {
	if f.session == nil {
		return false
	}
	err := f.decoder.Feed(p, f.session.MaxBody(), f.receive)
	f.session.Flush()
	if err != nil {
		f.session.Fail(closeError(err))
		return false
	}
	return true
}

func (f *frames) receive(in frame.Frame) error { return f.session.Gather(in, false) }

// closeError is the fault that ends a session. The decoder and sessions return
// no other kind of error.
func closeError(err error) *frame.CloseError {
	if fault, ok := errors.AsType[*frame.CloseError](err); ok {
		return fault
	}
	return &frame.CloseError{Reason: idl.CloseMalformed, Text: err.Error()}
}

func (f *frames) ended() { leave(f.session) }

func (f *frames) fail(why *frame.CloseError) {
	if f.session != nil {
		f.session.Fail(why)
	}
}

func flood() *frame.CloseError {
	return &frame.CloseError{Reason: idl.CloseFlood, Text: "the client sends faster than it is handled"}
}

// slowReader closes a session whose client does not read. If it has stopped for
// good, what is sent no longer arrives, but the core hears of it and it is counted.
func slowReader() *frame.CloseError {
	return &frame.CloseError{Reason: idl.CloseSlow, Text: "the client does not read fast enough"}
}

func leave(s *session.Session) {
	if s != nil {
		s.Closed()
	}
}

// Send implements session.Transport; there is no text over TCP.
func (f *frames) Send(p []byte, _ bool) bool { return f.out.send(nil, p) }

// Broadcast implements session.Transport.
func (f *frames) Broadcast(p []byte, w session.Waiter) bool { return f.out.broadcast(p, w) }
func (f *frames) Behind(w session.Waiter) bool              { return f.out.behind(w) }

// Cork implements session.Transport.
func (f *frames) Cork() { f.out.cork() }

// Uncork implements session.Transport.
func (f *frames) Uncork() { f.out.uncork() }

// Wire implements session.Transport.
func (f *frames) Wire(codec idl.Codec, _ bool) session.Wire {
	if codec == idl.CodecProtobuf {
		return session.WireProtobuf
	}
	return session.WireJSON
}

// Close implements session.Transport.
func (f *frames) Close(_ idl.CloseReason, _ string, quit []byte, _ bool) { f.out.end(quit) }

// Kind implements session.Transport.
func (f *frames) Kind() string { return kind(false, f.secure != nil) }
