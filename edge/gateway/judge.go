package gateway

import (
	"net/http"
	"strings"
	"time"

	"freeim/edge/session"
	"freeim/edge/ws"
	"freeim/idl"
)

// shownValue is what rules see of a field's line at most, in octets. How many lines there
// are ws.MaxHead bounds: a client could hide what a proxy adds behind a number of its own.
const shownValue = 1 << 10

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
			if shown(name) {
				about.Fields = append(about.Fields, session.Field{Name: name, Value: strings.ToValidUTF8(value[:min(len(value), shownValue)], "\ufffd")})
			}
		}
	}
	return g.opts.Hub.Admit(&about)
}

// shown reports whether rules see a field: no cookies, and nothing by which somebody signs in.
func shown(name string) bool {
	switch name {
	case "host", "origin", "user-agent", "accept-language", "referer", "sec-websocket-protocol":
		return true
	}
	return strings.HasPrefix(name, "x-")
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
