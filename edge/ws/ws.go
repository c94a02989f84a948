// Package ws is the WebSocket protocol of RFC 6455 without I/O: the bytes of a
// request head become a handshake, the bytes that follow become messages, and
// messages become bytes. It owns no connection, goroutine or timer, negotiates
// no sub-protocol, and no extension but permessage-deflate if asked to, and knows nothing of frames of our own
// protocol. The gateway calls it; github.com/gobwas/ws supplies the frame bytes.
package ws

import "fmt"

// The close codes of RFC 6455 §7.4.1 that this package gives and understands.
// The application's own are 4000 to 4999: idl.CloseReason.
const (
	CodeNormal       = 1000
	CodeGoingAway    = 1001
	CodeProtocol     = 1002 // bytes that break RFC 6455
	CodeNoStatus     = 1005 // never on the wire: stands for a close frame without a code
	CodeInvalidText  = 1007 // text that is not UTF-8
	CodeTooBig       = 1009 // a message over the limit
	CodeInternal     = 1011
	maxControl       = 125 // octets in the payload of a control frame, §5.5
	maxReason        = maxControl - 2
	maxFrameHeader   = 14 // octets, §5.2: 2, length 8, mask 4
	handshakeVersion = "13"
)

// Error is a fault of the client's in the WebSocket protocol itself. The
// connection is closed with Code.
type Error struct {
	Code int    // CodeProtocol, CodeInvalidText or CodeTooBig
	Text string // for the client's developer
}

func (e *Error) Error() string { return fmt.Sprintf("websocket %d: %s", e.Code, e.Text) }
