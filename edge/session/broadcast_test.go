package session_test

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"

	gobwas "github.com/gobwas/ws"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// TestBlocks reads every kind of block as a client does.
func TestBlocks(t *testing.T) {
	frames := []frame.Frame{
		{Action: idl.ActionMessage, Body: []byte(`{"a":1}`)},
		{Action: idl.ActionSync},
		{Action: idl.ActionMessage, Body: append(append([]byte(`{"long":"`), bytes.Repeat([]byte("x"), 70_000)...), `"}`...)},
	}
	hub := newWorld(t, session.Options{}).hub
	for _, row := range []struct {
		name     string
		wire     session.Wire
		codec    idl.Codec
		messages int // of WebSocket; 0: bare frames
	}{
		{"TCP JSON", session.WireJSON, idl.CodecJSON, 0},
		{"TCP protobuf", session.WireProtobuf, idl.CodecProtobuf, 0},
		{"WebSocket JSON", session.WireMessageJSON, idl.CodecJSON, 1},
		{"WebSocket protobuf", session.WireMessageProtobuf, idl.CodecProtobuf, 1},
		{"WebSocket text", session.WireText, idl.CodecJSON, 3},
		{"deflated JSON", session.WireDeflatedJSON, idl.CodecJSON, 1},
		{"deflated protobuf", session.WireDeflatedProtobuf, idl.CodecProtobuf, 1},
		{"deflated text", session.WireDeflatedText, idl.CodecJSON, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.wire.Codec(); got != row.codec {
				t.Errorf("codec: got %v, want %v", got, row.codec)
			}
			texts := row.messages == len(frames)
			p, err := hub.AppendBlock([]byte("before"), row.wire, frames...)
			if err != nil {
				t.Fatal(err)
			}
			rest := bytes.NewBuffer(bytes.TrimPrefix(p, []byte("before")))
			var got []sent
			if row.messages == 0 {
				got = decodeAll(t, rest.Bytes())
			}
			for range row.messages {
				f, err := gobwas.ReadFrame(rest)
				if err != nil || !f.Header.Fin || f.Header.Masked {
					t.Fatalf("message: got %+v, %v", f.Header, err)
				}
				if f.Header.Rsv == 4 {
					if f.Payload, err = io.ReadAll(flate.NewReader(bytes.NewReader(append(f.Payload, "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)))); err != nil {
						t.Fatal(err)
					}
					if len(p) > 1000 {
						t.Errorf("%d octets are left of 70,000 that are alike", len(p))
					}
				}
				if text := f.Header.OpCode == gobwas.OpText; text != texts {
					t.Fatalf("message: got opcode %v", f.Header.OpCode)
				} else if text {
					got = append(got, decode(f.Payload, true))
				} else {
					got = append(got, decodeAll(t, f.Payload)...)
				}
			}
			if row.messages > 0 && rest.Len() > 0 {
				t.Errorf("%d octets follow", rest.Len())
			}
			if len(got) != len(frames) {
				t.Fatalf("got %d frames, want %d", len(got), len(frames))
			}
			for i, f := range got {
				want := frames[i].Body
				if texts && len(want) == 0 {
					want = []byte("{}")
				}
				if f.Action != frames[i].Action || f.Sequence != 0 || f.Codec != row.codec || !bytes.Equal(f.Body, want) {
					t.Errorf("frame %d: got %v %d with %d octets", i, f.Action, f.Codec, len(f.Body))
				}
			}
		})
	}
}

func TestBlockOfNothing(t *testing.T) {
	hub := newWorld(t, session.Options{}).hub
	for w := range session.Wire(session.Wires) {
		for _, block := range []func([]byte, session.Wire, ...frame.Frame) ([]byte, error){session.AppendBlock, hub.AppendBlock} {
			if p, err := block(nil, w); len(p) > 0 || err != nil {
				t.Errorf("wire %d: got %x, %v", w, p, err)
			}
		}
	}
}

// decodeAll takes whole frames.
func decodeAll(t *testing.T, p []byte) (got []sent) {
	t.Helper()
	var d frame.Decoder
	err := d.Feed(p, 1<<20, func(f frame.Frame) error {
		f.Body = bytes.Clone(f.Body)
		got = append(got, sent{Frame: f})
		return nil
	})
	if err != nil || d.Buffered() > 0 {
		t.Fatalf("no whole frames: %v", err)
	}
	return got
}
