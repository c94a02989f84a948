package ws

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"

	gobwas "github.com/gobwas/ws"
)

// Handler receives what a Reader finds, in the order of the stream. Payloads are
// valid during the call only; a handler that keeps one copies it. It must not
// call Feed.
type Handler interface {
	// Message gets a whole message. Its error ends the stream: Feed returns it.
	Message(text bool, payload []byte) error
	// Piece says that a frame of a message has come to its end, and not the message:
	// there may be any number of them, empty ones too. Its error ends the stream.
	Piece() error
	// Ping must be answered with AppendPong, before what is answered to later messages.
	Ping(payload []byte)
	// Pong needs no answer.
	Pong(payload []byte)
	// Close says that the client ends the connection; it is answered with
	// AppendClose of the same code, then TCP is closed. The code is CodeNoStatus
	// when the client gave none. Nothing is called after it.
	Close(code int, reason string)
}

// Reader finds the messages in the bytes that follow a handshake, which arrive
// in pieces of any size. The zero value is ready. It holds memory only for an
// unfinished frame or message, and only as much as has arrived. Not safe for
// concurrent use: one read loop owns it.
type Reader struct {
	// Deflate inflates compressed messages; nil: the handshake has not agreed on them.
	// It is set before the first Feed.
	Deflate *Deflate

	over bool // a close frame came or Feed gave an error: nothing is read any more

	// The frame that is being read.
	head     [maxFrameHeader]byte // the octets of an unfinished header
	headLen  uint8
	inFrame  bool // the header is complete, payload is expected
	frame    gobwas.Header
	arrived  int // octets of its payload that came with earlier Feeds
	scratch  [maxFrameHeader]byte
	headText octets
	control  []byte // the payload of an unfinished control frame

	// The data message that is being read.
	fragmented bool   // its first frame came, its last did not
	text       bool   // its type
	compressed bool   // message is to be inflated before it is judged
	message    []byte // what arrived of its payload, unmasked; nil when nothing is unfinished
	judged     int    // how many octets of it, being text, are known to be whole runes
}

// octets lets the library read a header from a slice without an allocation.
type octets []byte

func (o *octets) Read(p []byte) (int, error) {
	n := copy(p, *o)
	*o = (*o)[n:]
	if n < len(p) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

// Feed gives p to the reader, which calls h for everything that p completes. It
// unmasks in place: p is overwritten, and free after the call. A message that
// lies in p in one frame reaches h without a copy.
//
// maxMessage is the longest message allowed, in octets, all fragments together;
// it is compared at the header of every frame.
//
// A fault in the bytes is an *Error, the handler's error is returned as it is;
// after either, and after a close frame, Feed drops what it is given.
func (r *Reader) Feed(p []byte, maxMessage int, h Handler) error {
	for !r.over {
		rest, ok, err := r.feedHeader(p, maxMessage)
		if ok {
			p, ok, err = r.feedPayload(rest, maxMessage, h)
		}
		if err != nil {
			r.end()
			return err
		}
		if !ok {
			return nil
		}
	}
	return nil
}

// Buffered is the number of octets kept of what is unfinished.
func (r *Reader) Buffered() int { return int(r.headLen) + len(r.control) + len(r.message) }

// end releases everything and reads no more.
func (r *Reader) end() { *r = Reader{over: true, Deflate: r.Deflate} }

// feedHeader completes the header of the current frame and checks it; ok is
// false when p is too short. It returns what of p follows.
func (r *Reader) feedHeader(p []byte, maxMessage int) (rest []byte, ok bool, err error) {
	if r.inFrame {
		return p, true, nil
	}
	p = r.takeHead(p, 2)
	if r.headLen >= 2 {
		p = r.takeHead(p, headerSize(r.head[1]))
	}
	if r.headLen < 2 || int(r.headLen) < headerSize(r.head[1]) {
		return nil, false, nil
	}
	r.headText = r.head[:r.headLen]
	r.frame, err = gobwas.ReadHeaderBuffer(&r.headText, r.scratch[:])
	if err != nil {
		return nil, false, violation("%v", err)
	}
	r.headLen, r.arrived, r.inFrame = 0, 0, true
	err = r.checkFrame(maxMessage)
	return p, err == nil, err
}

// takeHead moves octets from p to the header until it has size of them.
func (r *Reader) takeHead(p []byte, size int) []byte {
	n := copy(r.head[r.headLen:max(int(r.headLen), size)], p)
	r.headLen += uint8(n)
	return p[n:]
}

// headerSize is the length of a header by its second octet, RFC 6455 §5.2.
func headerSize(second byte) int {
	n := 2
	switch second & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if second&0x80 != 0 {
		n += 4
	}
	return n
}

// checkFrame judges a header by what came before it.
func (r *Reader) checkFrame(maxMessage int) error {
	state := gobwas.StateServerSide
	if r.fragmented {
		state = state.Set(gobwas.StateFragmented)
	}
	checked, compressed := r.frame, false
	if rsv, _, _ := gobwas.RsvBits(r.frame.Rsv); rsv && r.Deflate != nil && !r.frame.OpCode.IsControl() && r.frame.OpCode != gobwas.OpContinuation {
		checked.Rsv, compressed = r.frame.Rsv&^4, true // RFC 7692 §6: its first frame says it
	}
	if err := gobwas.CheckHeader(checked, state); err != nil {
		return violation("%v", err)
	}
	if !r.minimalLength() {
		return violation("the length is not in its shortest form")
	}
	if r.frame.OpCode.IsControl() {
		return nil
	}
	if r.frame.Length > int64(maxMessage-len(r.message)) {
		return &Error{CodeTooBig, fmt.Sprintf("a message is over %d octets", maxMessage)}
	}
	if r.frame.OpCode != gobwas.OpContinuation {
		r.text, r.compressed = r.frame.OpCode == gobwas.OpText, compressed
	}
	return nil
}

// minimalLength holds the rule of §5.2 that the library leaves to us.
func (r *Reader) minimalLength() bool {
	switch r.head[1] & 0x7f {
	case 126:
		return r.frame.Length > 125
	case 127:
		return r.frame.Length > 0xffff
	}
	return true
}

// feedPayload takes the payload of the current frame from p; ok is false when p
// is too short. It returns what of p follows.
func (r *Reader) feedPayload(p []byte, maxMessage int, h Handler) (rest []byte, ok bool, err error) {
	n := min(len(p), int(r.frame.Length)-r.arrived)
	part, rest := p[:n:n], p[n:]
	gobwas.Cipher(part, r.frame.Mask, r.arrived)
	r.arrived += n
	whole := r.arrived == int(r.frame.Length)
	r.inFrame = !whole
	if r.frame.OpCode.IsControl() {
		return rest, whole, r.feedControl(part, whole, h)
	}
	return rest, whole, r.feedData(part, whole, maxMessage, h)
}

// feedControl handles a piece of a control frame, the last one when whole.
func (r *Reader) feedControl(part []byte, whole bool, h Handler) error {
	if !whole || len(r.control) > 0 {
		r.control = append(r.control, part...)
		part = r.control
	}
	if !whole {
		return nil
	}
	r.control = nil
	switch r.frame.OpCode {
	case gobwas.OpPing:
		h.Ping(part)
	case gobwas.OpPong:
		h.Pong(part)
	case gobwas.OpClose:
		return r.close(part, h)
	}
	return nil
}

// close judges a close frame, RFC 6455 §5.5.1 and §7.4.
func (r *Reader) close(payload []byte, h Handler) error {
	if len(payload) == 0 {
		r.end()
		h.Close(CodeNoStatus, "")
		return nil
	}
	if len(payload) == 1 {
		return violation("a close frame has no code or one of two octets")
	}
	code, reason := binary.BigEndian.Uint16(payload), string(payload[2:])
	if err := gobwas.CheckCloseFrameData(gobwas.StatusCode(code), ""); err != nil || code > 4999 {
		return violation("close code %d may not be sent", code)
	}
	if !utf8.ValidString(reason) {
		return &Error{CodeInvalidText, "the reason of a close frame is not UTF-8"}
	}
	r.end()
	h.Close(int(code), reason)
	return nil
}

// feedData handles a piece of a data frame, the last one when whole.
func (r *Reader) feedData(part []byte, whole bool, maxMessage int, h Handler) error {
	last := whole && r.frame.Fin
	if last && len(r.message) == 0 {
		r.fragmented = false
		return r.give(part, maxMessage, h)
	}
	r.message = append(r.message, part...)
	r.fragmented = !last && (r.fragmented || whole)
	if err := r.judge(last); err != nil {
		return err
	}
	if !last {
		if whole {
			return h.Piece()
		}
		return nil
	}
	message := r.message
	r.message, r.judged = nil, 0
	if r.compressed {
		return r.give(message, maxMessage, h)
	}
	return h.Message(r.text, message)
}

// give hands a whole message on whose text has not been judged.
func (r *Reader) give(message []byte, maxMessage int, h Handler) (err error) {
	if r.compressed {
		if message, err = r.Deflate.inflate(message, maxMessage); err != nil {
			return err
		}
	}
	if r.text && !utf8.Valid(message) {
		return notUTF8()
	}
	return h.Message(r.text, message)
}

// judge checks the text that has come since it was last called; a text may not
// end inside a rune.
func (r *Reader) judge(last bool) error {
	if !r.text || r.compressed {
		return nil
	}
	n, ok := wholeRunes(r.message[r.judged:])
	r.judged += n
	if !ok || last && r.judged < len(r.message) {
		return notUTF8()
	}
	return nil
}

func notUTF8() error { return &Error{CodeInvalidText, "a text message is not UTF-8"} }

func violation(format string, args ...any) error {
	return &Error{CodeProtocol, fmt.Sprintf(format, args...)}
}
