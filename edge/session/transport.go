package session

import (
	"freeim/edge/limits"
	"freeim/idl"
)

// Transport is how a session's bytes leave: TCP, WebSocket, later TLS. The
// gateway implements it, one value per connection. Its methods are safe for
// concurrent use, never block, never call back into the session, and do nothing
// once the connection has ended.
type Transport interface {
	// Send queues one encoded frame; text asks for a WebSocket text message. p is
	// not kept. It is false when the backlog of a client that does not read is
	// over its bound: then nothing was queued.
	Send(p []byte, text bool) bool
	// Close queues quit, the encoded Quit frame, over the bound if need be, then
	// ends the connection once everything queued is written or a few seconds have
	// passed. Nothing sent later leaves. Closed of the session follows.
	Close(reason idl.CloseReason, message string, quit []byte, text bool)
	// Address is the client's, as in "192.0.2.1:40312".
	Address() string
	// Peer is what the client's address may use; nil: anything.
	Peer() *limits.Peer
	// Kind names the transport in logs: "tcp", "websocket".
	Kind() string
}
