package session

import (
	"freeim/edge/frame"
	"freeim/idl"
)

// form is how a frame is written: each answer in its request's form, pushes in
// that of the session's Auth. The zero value, JSON in binary, is also what a
// client gets that was never heard.
type form struct {
	codec idl.Codec
	text  bool // a readable WebSocket text message; codec is JSON then
}

// forms is how many different encodings one push can need; see form.index.
const forms = 3

// index numbers the forms from 0 to forms-1.
func (f form) index() int {
	switch {
	case f.text:
		return 2
	case f.codec == idl.CodecProtobuf:
		return 1
	}
	return 0
}

func appendFrame(dst []byte, f frame.Frame, in form) ([]byte, error) {
	f.Codec = in.codec
	if in.text {
		return frame.AppendText(dst, f)
	}
	return frame.Append(dst, f), nil
}

// encode writes a frame into a buffer of the hub's, which takes it back with
// done. A frame that cannot be written is a fault of this server's: it is
// logged, and ok is false.
func (h *Hub) encode(f frame.Frame, in form) (out []byte, done func(), ok bool) {
	buf := h.buffers.Get().(*buffer)
	var err error
	buf.bytes, err = appendFrame(buf.bytes[:0], f, in)
	if err != nil {
		h.log.Error("frame could not be written", "action", f.Action, "err", err)
	}
	return buf.bytes, buf.done, err == nil
}

// body encodes a body of the edge's own.
func (h *Hub) body(m idl.Message, in form) []byte {
	b, err := idl.Append(nil, in.codec, m)
	if err != nil {
		h.log.Error("body could not be written", "err", err)
	}
	return b
}

// buffer is for bytes that are needed only until they are sent. It carries its
// own way back, so that taking one allocates nothing.
type buffer struct {
	bytes []byte
	done  func()
}

func (h *Hub) newBuffer() any {
	b := new(buffer)
	b.done = func() {
		const usual = 16 << 10
		if cap(b.bytes) <= usual {
			h.buffers.Put(b)
		}
	}
	return b
}
