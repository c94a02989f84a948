package ws_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"freeim/edge/ws"
)

// The opcodes of RFC 6455 §5.2, and the bits beside them.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
	fin            = 0x80
	rsv1           = 0x40
	rsv2           = 0x20
	rsv3           = 0x10
)

// masked is one frame as a client sends it; first is FIN, RSV bits and opcode.
func masked(first byte, payload string) []byte {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d} // the mask of §5.7
	b := append(frameHead(first, len(payload)), mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// frameHead is the header of a masked frame without the mask.
func frameHead(first byte, n int) []byte {
	switch {
	case n < 126:
		return []byte{first, 0x80 | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(n))
}

func closeBody(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

// events writes down what a Reader finds.
type events []string

func (e *events) Message(text bool, payload []byte) error {
	kind := "binary"
	if text {
		kind = "text"
	}
	*e = append(*e, event(kind, string(payload)))
	return nil
}

func (e *events) Piece() error               { return nil }
func (e *events) Ping(payload []byte)        { *e = append(*e, event("ping", string(payload))) }
func (e *events) Pong(payload []byte)        { *e = append(*e, event("pong", string(payload))) }
func (e *events) Close(code int, why string) { *e = append(*e, event(fmt.Sprint("close ", code), why)) }

// event is one line of events, which stands for long payloads too.
func event(kind, payload string) string {
	if len(payload) > 32 {
		return fmt.Sprintf("%s of %d octets, crc %08x", kind, len(payload), crc32.ChecksumIEEE([]byte(payload)))
	}
	return fmt.Sprintf("%s %q", kind, payload)
}

// maxMessage is the limit of the tests that are not about it.
const maxMessage = 1 << 20

// read feeds pieces one after the other; it stops at the first error and says
// which piece gave it. Feed overwrites the pieces.
func read(pieces ...[]byte) (got events, at int, err error) {
	var r ws.Reader
	for i, p := range pieces {
		if err := r.Feed(p, maxMessage, &got); err != nil {
			return got, i, err
		}
	}
	return got, len(pieces), nil
}

// codeOf is the close code that err carries, 0 for none.
func codeOf(err error) int {
	if fault, ok := errors.AsType[*ws.Error](err); ok {
		return fault.Code
	}
	return 0
}
