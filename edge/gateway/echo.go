package gateway

import (
	"errors"

	"freeim/edge/session"
	"freeim/edge/ws"
)

// echoMessage is the longest message that the echo takes, in octets.
const echoMessage = 16 << 20

// echo sends every message back as it came: with it conformance suites test the
// handshake, the reader, the limits, the end and the write path of real sessions.
type echo struct{ socket *websocket }

func newEcho(w *websocket, _ *session.Admission) taker { return echo{w} }

func (g *Gateway) serveEcho(a *arrival) { g.serveHead(a, g.echoes, newEcho) }

func (e echo) limit() int { return echoMessage }

func (e echo) message(text bool, payload []byte) error {
	if !e.socket.send(payload, text) {
		return slowReader()
	}
	return nil
}

func (e echo) fail(err error) {
	code, text := 0, ""
	if breach, ok := errors.AsType[*ws.Error](err); ok {
		code, text = breach.Code, breach.Text
	} else {
		fault := closeError(err)
		code, text = int(fault.Reason), fault.Text
	}
	e.socket.out.end(ws.AppendClose(nil, code, text))
}

func (echo) flush() {}

func (echo) beside(int) error { return nil }

func (e echo) left() {}
