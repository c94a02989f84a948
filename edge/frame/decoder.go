package frame

import (
	"encoding/binary"
	"fmt"

	"freeim/idl"
)

// Decoder finds the frames in a stream of bytes that arrives in pieces of any
// size. The zero value is ready. While no frame is unfinished it holds no
// memory. Not safe for concurrent use: one read loop owns it.
type Decoder struct {
	rest []byte // the beginning of one unfinished frame, nil when there is none
}

// Feed calls each for every frame that p completes, in order. What is left of p
// is copied away, so p is free after the call. A frame's Body aliases p or the
// decoder and is valid only during each, which must not call Feed.
//
// maxBody is the longest body allowed, in octets. It is compared with a frame's
// body-length as soon as the header is there; memory is held only for octets
// that arrived.
//
// A fault in the bytes is a *CloseError; an error of each is returned as it is.
// After either the stream has no next frame: drop the decoder.
func (d *Decoder) Feed(p []byte, maxBody int, each func(Frame) error) error {
	if len(d.rest) > 0 {
		var err error
		if p, err = d.resume(p, maxBody, each); err != nil {
			return err
		}
	}
	for len(p) >= HeaderSize {
		f, size, err := parseHeader(p, maxBody)
		if err != nil {
			return err
		}
		if len(p) < size {
			break
		}
		f.Body = p[HeaderSize:size:size]
		if err := each(f); err != nil {
			return err
		}
		p = p[size:]
	}
	d.rest = append(d.rest, p...)
	return nil
}

// Buffered is the number of octets kept of an unfinished frame.
func (d *Decoder) Buffered() int { return len(d.rest) }

// resume finishes the frame that an earlier Feed left over and returns what of
// p comes after it. If p is too short for that, all of it is kept.
func (d *Decoder) resume(p []byte, maxBody int, each func(Frame) error) ([]byte, error) {
	p = d.take(p, HeaderSize)
	if len(d.rest) < HeaderSize {
		return nil, nil
	}
	f, size, err := parseHeader(d.rest, maxBody)
	if err != nil {
		return nil, err
	}
	p = d.take(p, size)
	if len(d.rest) < size {
		return nil, nil
	}
	f.Body = d.rest[HeaderSize:]
	d.rest = nil
	return p, each(f)
}

// take moves octets from p to rest until rest has size of them, and returns the
// others.
func (d *Decoder) take(p []byte, size int) []byte {
	n := min(len(p), max(0, size-len(d.rest)))
	d.rest = append(d.rest, p[:n]...)
	return p[n:]
}

// parseHeader reads the header at the start of p, which has at least HeaderSize
// octets; size is the length of the whole frame.
func parseHeader(p []byte, maxBody int) (f Frame, size int, err error) {
	f.Codec, err = dialect(binary.BigEndian.Uint32(p))
	if err != nil {
		return Frame{}, 0, err
	}
	f.Action = idl.Action(p[4])
	f.Sequence = binary.BigEndian.Uint32(p[5:])
	n := binary.BigEndian.Uint32(p[9:])
	if int64(n) > int64(maxBody) {
		text := fmt.Sprintf("a body of %d octets, at most %d are allowed", n, maxBody)
		return Frame{}, 0, &CloseError{Reason: idl.CloseTooLarge, Text: text}
	}
	return f, HeaderSize + int(n), nil
}
