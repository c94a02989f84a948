package gateway

import (
	"errors"
	"fmt"
	"sync/atomic"

	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/edge/ws"
	"freeim/idl"
)

// websocket is the protocol after a WebSocket handshake: control frames, limits
// and the end are handled here, alike for sessions and for the echo; only what
// is done with a whole message differs.
type websocket struct {
	*conn
	reader ws.Reader // owned by the read loop
	over   bool      // owned by the read loop: no more is wanted
	taker  taker
}

// taker is what a WebSocket's messages are for.
type taker interface {
	// limit is the longest message allowed now, in octets.
	limit() int
	// message takes a whole message, which it does not keep. Its error ends the
	// connection by way of fail.
	message(text bool, payload []byte) error
	// flush begins with what message holds: nothing more has come with it.
	flush()
	// beside counts a control frame, or a piece of a message, of so many octets; its
	// error is as message's.
	beside(octets int) error
	// fail closes for a fault: a *ws.Error or a *frame.CloseError.
	fail(err error)
	// left says that the client has gone, by a close frame or without one. It may
	// be called twice.
	left()
}

func newWebsocket(c *conn, deflate bool, take func(*websocket) taker) *websocket {
	w := &websocket{conn: c}
	if deflate {
		w.reader.Deflate = &c.gateway.deflate
	}
	w.taker = take(w)
	return w
}

func (w *websocket) feed(p []byte) bool {
	err := w.reader.Feed(p, w.taker.limit(), w)
	w.taker.flush()
	if err != nil {
		w.taker.fail(err)
		return false
	}
	return !w.over
}

func (w *websocket) fail(why *frame.CloseError) { w.taker.fail(why) }
func (w *websocket) ended()                     { w.taker.left() }

// Message implements ws.Handler.
func (w *websocket) Message(text bool, payload []byte) error { return w.taker.message(text, payload) }

// Piece implements ws.Handler: it counts like a control frame, for what it costs.
func (w *websocket) Piece() error { return w.taker.beside(frameHead) }

// Ping implements ws.Handler. The answer goes out in order with everything else.
func (w *websocket) Ping(payload []byte) {
	if !w.beside(payload) {
		return
	}
	var pong [128]byte
	if !w.out.send(nil, ws.AppendPong(pong[:0], payload)) {
		w.taker.fail(slowReader())
	}
}

// Pong implements ws.Handler.
func (w *websocket) Pong(payload []byte) { w.beside(payload) }

// beside is false when the client has sent too many control frames.
func (w *websocket) beside(payload []byte) bool {
	if w.over {
		return false
	}
	if err := w.taker.beside(frameHead + len(payload)); err != nil {
		w.over = true
		w.taker.fail(err)
	}
	return !w.over
}

// frameHead is the octets before the payload of a client's frame, a short one.
const frameHead = 6

// Close implements ws.Handler: the close frame is answered with its own code,
// and the server ends TCP. Source: RFC 6455 §5.5.1 and §7.1.1.
func (w *websocket) Close(code int, _ string) {
	w.over = true
	w.taker.flush()
	w.taker.left()
	w.out.end(ws.AppendClose(nil, code, ""))
}

// send writes one message.
func (w *websocket) send(p []byte, text bool) bool {
	var head [10]byte
	return w.out.send(ws.AppendHeader(head[:0], text, len(p)), p)
}

// envelope is how much longer than the longest body a session's message may be:
// room for the header, for the text form around a body, or for more short frames.
const envelope = 4096

// client is the session behind a WebSocket, and its transport.
type client struct {
	socket  *websocket
	session *session.Session // nil when the hub turned the connection away
	// breach is the code of RFC 6455 by which the client's fault is closed, 0 for
	// faults of our own protocol. Set by the read loop before it fails the session.
	breach atomic.Int32
}

func newClient(w *websocket, said *session.Admission) taker {
	c := &client{socket: w}
	c.session = w.gateway.opts.Hub.OpenAs(c, said)
	return c
}

func (c *client) limit() int {
	if c.session == nil {
		return 0
	}
	return c.session.MaxBody() + envelope
}

func (c *client) message(text bool, payload []byte) error {
	if c.session == nil {
		return errTurnedAway
	}
	if text {
		return c.text(payload)
	}
	if len(payload) == 0 {
		return c.beside(frameHead)
	}
	var decoder frame.Decoder
	err := decoder.Feed(payload, c.session.MaxBody(), func(f frame.Frame) error {
		return c.session.Gather(f, false)
	})
	if err == nil && decoder.Buffered() > 0 {
		err = &frame.CloseError{Reason: idl.CloseMalformed, Text: "a message ends inside a frame"}
	}
	return err
}

func (c *client) flush() {
	if c.session != nil {
		c.session.Flush()
	}
}

func (c *client) beside(octets int) error {
	if c.session == nil {
		return errTurnedAway
	}
	return c.session.Beside(octets)
}

// errTurnedAway ends the reading of a connection that the hub has closed already.
var errTurnedAway = errors.New("the hub turned the connection away")

// text takes one frame in its readable form.
func (c *client) text(payload []byte) error {
	f, err := frame.ParseText(payload, c.socket.gateway.opts.Hub.Named)
	if err != nil {
		return err
	}
	if allowed := c.session.MaxBody(); len(f.Body) > allowed {
		text := fmt.Sprintf("a body of %d octets, at most %d are allowed", len(f.Body), allowed)
		return &frame.CloseError{Reason: idl.CloseTooLarge, Text: text}
	}
	return c.session.Gather(f, true)
}

func (c *client) fail(err error) {
	if c.session == nil {
		return
	}
	breach, ok := errors.AsType[*ws.Error](err)
	if !ok {
		c.session.Fail(closeError(err))
		return
	}
	c.breach.Store(int32(breach.Code))
	reason := idl.CloseMalformed
	if breach.Code == ws.CodeTooBig {
		reason = idl.CloseTooLarge
	}
	c.session.Fail(&frame.CloseError{Reason: reason, Text: breach.Text})
}

func (c *client) left() { leave(c.session) }

// Send implements session.Transport.
func (c *client) Send(p []byte, text bool) bool { return c.socket.send(p, text) }

// Broadcast implements session.Transport.
func (c *client) Broadcast(p []byte, w session.Waiter) bool { return c.socket.out.broadcast(p, w) }
func (c *client) Behind(w session.Waiter) bool              { return c.socket.out.behind(w) }

// Cork implements session.Transport.
func (c *client) Cork() { c.socket.out.cork() }

// Uncork implements session.Transport.
func (c *client) Uncork() { c.socket.out.uncork() }

// Wire implements session.Transport.
func (c *client) Wire(codec idl.Codec, text bool) session.Wire {
	wire := session.WireMessageJSON
	switch {
	case text:
		wire = session.WireText
	case codec == idl.CodecProtobuf:
		wire = session.WireMessageProtobuf
	}
	if c.socket.reader.Deflate != nil { // which does not change
		wire = wire.Deflated()
	}
	return wire
}

// Close implements session.Transport: Quit as a message, then a close frame with
// the reason as its code, or the code of RFC 6455 for a breach of that.
func (c *client) Close(reason idl.CloseReason, message string, quit []byte, text bool) {
	code := int(reason)
	if breach := c.breach.Load(); breach != 0 {
		code = int(breach)
	}
	last := ws.AppendMessage(nil, text, quit)
	c.socket.out.end(ws.AppendClose(last, code, message))
}

// Peer implements session.Transport.
func (c *client) Peer() *limits.Peer { return c.socket.peer }

// Address implements session.Transport.
func (c *client) Address() string { return c.socket.address }

// Kind implements session.Transport.
func (c *client) Kind() string { return kind(true, c.socket.secure != nil) }
