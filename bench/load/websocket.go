package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The client's side of RFC 6455, for one connection of many: no extension, binary
// messages, every frame masked.

// appendHandshake appends the request of an upgrade (RFC 6455 §4.1). The key is
// always the same: nothing is cached between here and the server.
func appendHandshake(dst []byte, t *Target) []byte {
	path := t.Path
	if path == "" {
		path = "/ws"
	}
	return fmt.Appendf(dst, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, t.Address)
}

// accepted is what a server answers to that key (RFC 6455 §1.3).
const accepted = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// upgraded takes the answer off what was read so far. rest is nil while the answer
// is not whole.
func upgraded(p []byte) (rest []byte, err error) {
	head, rest, whole := bytes.Cut(p, []byte("\r\n\r\n"))
	if !whole {
		if len(p) > 8192 {
			return nil, errors.New("the answer to an upgrade has no end")
		}
		return nil, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(head, []byte(accepted)) {
		return nil, fmt.Errorf("the upgrade was refused: %.200q", head)
	}
	return rest, nil
}

// The opcodes of RFC 6455 §5.2.
const (
	opContinuation, opText, opBinary = 0, 1, 2
	opClose, opPing, opPong          = 8, 9, 10
)

// appendMasked appends p as one masked frame. It masks with key, which a client
// draws anew for each frame.
func appendMasked(dst []byte, op byte, key uint32, p []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(p); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, key)
	from := len(dst)
	dst = append(dst, p...)
	mask(dst[from:], key)
	return dst
}

func mask(p []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key >> (8 * (i & 3)))
	}
}

// unwrapper takes the frames of a WebSocket apart. Payloads of data frames are one
// stream, as on TCP. It keeps only what is unfinished of a head or a control frame.
type unwrapper struct {
	kept    []byte
	left    int64 // octets of the payload to come
	op      byte
	payload bool // a head was read, its payload comes
}

// feed gives the data octets in p and the payloads of control frames.
func (u *unwrapper) feed(p []byte, data func(p []byte) error, control func(op byte, p []byte) error) error {
	for {
		if u.payload {
			part := p[:min(u.left, int64(len(p)))]
			p, u.left = p[len(part):], u.left-int64(len(part))
			if err := u.take(part, data, control); err != nil {
				return err
			}
		}
		if len(p) == 0 {
			return nil
		}
		head := p
		if len(u.kept) > 0 {
			head = append(u.kept, p[:min(len(p), longestHead)]...)
		}
		n, size, op, err := header(head)
		if err != nil {
			return err
		}
		if n == 0 {
			u.kept = append(u.kept, p...)
			return nil
		}
		p = p[n-len(u.kept):]
		u.kept, u.left, u.op, u.payload = nil, size, op, true
	}
}

// take handles a part of a payload.
func (u *unwrapper) take(part []byte, data func(p []byte) error, control func(op byte, p []byte) error) error {
	u.payload = u.left > 0
	if u.op < opClose {
		if len(part) == 0 {
			return nil
		}
		return data(part)
	}
	u.kept = append(u.kept, part...)
	if u.payload {
		return nil
	}
	whole := u.kept
	u.kept = nil
	return control(u.op, whole)
}

// longestHead is that of a frame without a mask.
const longestHead = 10

// header reads a server's frame header; n is its length, 0 while it is not whole.
func header(p []byte) (n int, size int64, op byte, err error) {
	if len(p) < 2 {
		return 0, 0, 0, nil
	}
	op = p[0] & 15
	if p[0]&0x70 != 0 || p[1]&0x80 != 0 {
		return 0, 0, 0, fmt.Errorf("a server's frame begins with %#x %#x: extensions and masks are not for it", p[0], p[1])
	}
	switch short := p[1] & 0x7f; {
	case short < 126:
		return 2, int64(short), op, nil
	case short == 126:
		if len(p) < 4 {
			return 0, 0, 0, nil
		}
		return 4, int64(binary.BigEndian.Uint16(p[2:])), op, nil
	default:
		if len(p) < 10 {
			return 0, 0, 0, nil
		}
		return 10, int64(binary.BigEndian.Uint64(p[2:]) & (1<<63 - 1)), op, nil
	}
}
