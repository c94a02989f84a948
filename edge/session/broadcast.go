package session

import (
	"freeim/edge/frame"
	"freeim/edge/room"
	"freeim/edge/ws"
	"freeim/idl"
)

// This file is what a broadcast needs: the same bytes for thousands of
// connections, prepared once for each Wire.

// Wire is how frames lie on a connection: the form of a session's pushes, in the
// framing of its transport. Connections of the same Wire can share bytes.
type Wire uint8

const (
	WireJSON            Wire   = iota // frames one after the other: TCP
	WireProtobuf                      // the same with protobuf bodies
	WireMessageJSON                   // one binary WebSocket message that holds all frames
	WireMessageProtobuf               // the same with protobuf bodies
	WireText                          // a WebSocket text message for each frame; bodies are JSON
	Wires               = iota        // how many there are
)

// Codec is what the bodies on w are written in.
func (w Wire) Codec() idl.Codec {
	if w == WireProtobuf || w == WireMessageProtobuf {
		return idl.CodecProtobuf
	}
	return idl.CodecJSON
}

// AppendBlock appends frames to dst as they lie on w, for Transport.Broadcast.
// Bodies must be in w.Codec, which replaces the frames' own. No frames are no
// octets. Its error is that of frame.AppendText.
func AppendBlock(dst []byte, w Wire, frames ...frame.Frame) ([]byte, error) {
	if w == WireText {
		return appendTexts(dst, frames)
	}
	if len(frames) == 0 {
		return dst, nil
	}
	if w == WireMessageJSON || w == WireMessageProtobuf {
		octets := 0
		for _, f := range frames {
			octets += frame.HeaderSize + len(f.Body)
		}
		dst = ws.AppendHeader(dst, false, octets)
	}
	for _, f := range frames {
		f.Codec = w.Codec()
		dst = frame.Append(dst, f)
	}
	return dst, nil
}

func appendTexts(dst []byte, frames []frame.Frame) ([]byte, error) {
	var text []byte
	for _, f := range frames {
		f.Codec = idl.CodecJSON
		var err error
		if text, err = frame.AppendText(text[:0], f); err != nil {
			return dst, err
		}
		dst = ws.AppendMessage(dst, true, text)
	}
	return dst, nil
}

// Waiter is told when a transport that refused a broadcast has room again. Writable
// is called on a goroutine of its own, with no lock held, perhaps before the refusing
// Broadcast has returned. It must not block for long: others that wait for the same
// connection come after it.
type Waiter = room.Waiter
