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
	WireJSON             Wire   = iota // frames one after the other: TCP
	WireProtobuf                       // the same with protobuf bodies
	WireMessageJSON                    // one binary WebSocket message that holds all frames
	WireMessageProtobuf                // the same with protobuf bodies
	WireText                           // a WebSocket text message for each frame; bodies are JSON
	WireDeflatedJSON                   // as WireMessageJSON, and messages may be compressed
	WireDeflatedProtobuf               // as WireMessageProtobuf
	WireDeflatedText                   // as WireText
	Wires                = iota        // how many there are
)

// Each Wire is a form of edge/room.
const _ = room.Form(room.Forms - Wires)

// Deflated is w for connections that have agreed on permessage-deflate.
func (w Wire) Deflated() Wire {
	switch w {
	case WireMessageJSON:
		return WireDeflatedJSON
	case WireMessageProtobuf:
		return WireDeflatedProtobuf
	case WireText:
		return WireDeflatedText
	}
	return w
}

// Codec is what the bodies on w are written in.
func (w Wire) Codec() idl.Codec {
	if w == WireProtobuf || w == WireMessageProtobuf || w == WireDeflatedProtobuf {
		return idl.CodecProtobuf
	}
	return idl.CodecJSON
}

// AppendBlock appends frames to dst as they lie on w, for Transport.Broadcast; one
// compression serves all connections of a Wire. Bodies must be in w.Codec, which
// replaces the frames' own. No frames are no octets. Its error is that of
// frame.AppendText.
func (h *Hub) AppendBlock(dst []byte, w Wire, frames ...frame.Frame) ([]byte, error) {
	return appendBlock(dst, w, frames, &h.deflate)
}

// AppendBlock is Hub.AppendBlock that compresses nothing.
func AppendBlock(dst []byte, w Wire, frames ...frame.Frame) ([]byte, error) {
	return appendBlock(dst, w, frames, nil)
}

func appendBlock(dst []byte, w Wire, frames []frame.Frame, by *ws.Deflate) ([]byte, error) {
	switch {
	case len(frames) == 0:
		return dst, nil
	case w == WireText:
		return appendTexts(dst, frames, nil)
	case w == WireDeflatedText:
		return appendTexts(dst, frames, by)
	case (w == WireDeflatedJSON || w == WireDeflatedProtobuf) && by != nil:
		return by.AppendMessage(dst, false, appendFrames(nil, w.Codec(), frames)), nil
	case w >= WireMessageJSON:
		octets := 0
		for _, f := range frames {
			octets += frame.HeaderSize + len(f.Body)
		}
		dst = ws.AppendHeader(dst, false, octets)
	}
	return appendFrames(dst, w.Codec(), frames), nil
}

func appendFrames(dst []byte, c idl.Codec, frames []frame.Frame) []byte {
	for _, f := range frames {
		f.Codec = c
		dst = frame.Append(dst, f)
	}
	return dst
}

func appendTexts(dst []byte, frames []frame.Frame, by *ws.Deflate) ([]byte, error) {
	var text []byte
	for _, f := range frames {
		f.Codec = idl.CodecJSON
		var err error
		if text, err = frame.AppendText(text[:0], f); err != nil {
			return dst, err
		}
		if by != nil {
			dst = by.AppendMessage(dst, true, text)
		} else {
			dst = ws.AppendMessage(dst, true, text)
		}
	}
	return dst, nil
}

// Waiter is told when a transport that refused a broadcast has room again. Writable
// is called on a goroutine of its own, with no lock held, perhaps before the refusing
// Broadcast has returned. It must not block for long: others that wait for the same
// connection come after it.
type Waiter = room.Waiter
