package ws

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"
)

// AppendMessage appends payload as one unfragmented message to dst. It allocates
// only when dst has no room, and so do the others here.
func AppendMessage(dst []byte, text bool, payload []byte) []byte {
	return append(AppendHeader(dst, text, len(payload)), payload...)
}

// AppendHeader appends the header of a message of n octets, for a payload that
// follows separately.
func AppendHeader(dst []byte, text bool, n int) []byte {
	if text {
		return appendHeader(dst, gobwas.OpText, n)
	}
	return appendHeader(dst, gobwas.OpBinary, n)
}

// AppendPong appends the answer to a ping; payload is the ping's, at most 125
// octets.
func AppendPong(dst, payload []byte) []byte {
	return append(appendHeader(dst, gobwas.OpPong, len(payload)), payload...)
}

// AppendClose appends a close frame, after which nothing may be sent. The reason
// is made UTF-8 and cut to 123 octets at a rune. CodeNoStatus gives a frame with
// neither code nor reason. Source: RFC 6455 §5.5.1.
func AppendClose(dst []byte, code int, reason string) []byte {
	if code == CodeNoStatus {
		return appendHeader(dst, gobwas.OpClose, 0)
	}
	reason = cut(reason)
	dst = appendHeader(dst, gobwas.OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

func cut(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	n := maxReason
	for !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// appendHeader writes a final, unmasked frame's header, RFC 6455 §5.2. It stands
// here because the library's writes to an io.Writer, which allocates.
func appendHeader(dst []byte, op gobwas.OpCode, n int) []byte {
	const fin = 0x80
	dst = append(dst, fin|byte(op))
	switch {
	case n <= 125:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}
