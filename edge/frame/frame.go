// Package frame turns bytes into frames and back: the 13-byte header of
// idl/README.md, in binary and in the readable form of WebSocket text messages.
// It does no I/O, knows no sessions and never looks inside a body. Sessions, the
// Go client SDK and bench use it.
package frame

import (
	"encoding/binary"

	"freeim/idl"
)

// HeaderSize is the length of a frame without its body, in octets:
//
//	0 version (4) · 4 action (1) · 5 sequence-id (4) · 9 body-length (4) · 13 body
//
// All numbers are big-endian. Source: idl/README.md, Frame.
const HeaderSize = 13

// Frame is one unit on the client wire. Its protocol is always idl.Protocol.
// The zero value is a GetMessageID request with an empty JSON body.
type Frame struct {
	Codec    idl.Codec
	Action   idl.Action // 0 to 255
	Sequence uint32     // the client's choice, echoed in the answer; 0 in pushes
	Body     []byte     // opaque here; see what made the frame for how long it is valid
}

// Append appends f to dst. It allocates only when dst has no room.
func Append(dst []byte, f Frame) []byte {
	return append(AppendHeader(dst, f, len(f.Body)), f.Body...)
}

// AppendHeader appends the header of f with bodyLen as the length, for a body
// that follows separately; f.Body is not looked at.
func AppendHeader(dst []byte, f Frame, bodyLen int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, version(f.Codec))
	dst = append(dst, byte(f.Action))
	dst = binary.BigEndian.AppendUint32(dst, f.Sequence)
	return binary.BigEndian.AppendUint32(dst, uint32(bodyLen))
}

// CloseError is a fault of the client's after which its bytes make no sense any
// more: the session is closed with Reason.
type CloseError struct {
	Reason idl.CloseReason
	Text   string // for the client's developer
}

func (e *CloseError) Error() string { return e.Reason.String() + ": " + e.Text }
