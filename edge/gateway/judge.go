package gateway

import (
	"net/http"
	"time"

	"freeim/edge/session"
	"freeim/edge/ws"
	"freeim/idl"
)

// judge asks the operators' rules about a connection before it becomes a session; h is
// the handshake of a WebSocket.
func (g *Gateway) judge(a *arrival, h *ws.Handshake) *session.Admission {
	if !g.opts.Hub.Judges() {
		return nil
	}
	about := session.Arrival{Address: a.client.String(), Transport: kind(h != nil, a.secure != nil)}
	if h != nil {
		about.Path = path(h.Target)
		for name, value := range h.Fields() {
			about.Show(name, value)
		}
	}
	return g.opts.Hub.Admit(&about)
}

// kind is Transport.Kind.
func kind(websocket, secure bool) string {
	switch {
	case websocket && secure:
		return "wss"
	case websocket:
		return "websocket"
	case secure:
		return "tls"
	}
	return "tcp"
}

// refusal answers a handshake that a rule has refused.
func refusal(no *session.Refusal) []byte {
	status, retry := http.StatusForbidden, time.Duration(0)
	switch no.Code {
	case idl.CodeRateLimited:
		status, retry = http.StatusTooManyRequests, no.RetryAfter
	case idl.CodeUnavailable:
		status, retry = http.StatusServiceUnavailable, no.RetryAfter
	}
	return ws.Refusal(status, no.Reason, retry)
}
