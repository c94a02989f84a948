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
	// Broadcast is Send for bytes that many connections share: p is a block of
	// AppendBlock for this transport's Wire. It is not changed and not kept, and
	// copied only when the socket does not take it at once or somebody else is
	// writing. A room has a part of the backlog only, so that chats pass while it
	// is behind. Over that part Broadcast is false and nothing was queued: the
	// caller leaves the block out for this client, and says so to it later. When
	// there is room again w.Writable is called, once for each refusal, or never if
	// the connection ends before.
	Broadcast(p []byte, w Waiter) bool
	// Behind reports whether the client has so much to read that a room would have to
	// wait: it should be made nothing more to read. Then w.Writable is called as by
	// Broadcast.
	Behind(w Waiter) bool
	// Cork lets what is sent pile up, up to a bound, until as many calls of Uncork:
	// then it leaves in one write. Between the two nothing may be waited for.
	Cork()
	Uncork()
	// Wire is how blocks for this connection are made if its session's pushes are
	// in codec, and in text messages if text.
	Wire(codec idl.Codec, text bool) Wire
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
