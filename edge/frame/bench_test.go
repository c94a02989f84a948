package frame_test

import (
	"slices"
	"testing"

	"freeim/edge/frame"
	"freeim/idl"
)

// chatFrame is of the size of a typical message.
func chatFrame() frame.Frame {
	return frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionMessage, Sequence: 1, Body: make([]byte, 128)}
}

func BenchmarkAppend(b *testing.B) {
	f := chatFrame()
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(frame.HeaderSize + len(f.Body)))
	for b.Loop() {
		dst = frame.Append(dst[:0], f)
	}
}

func BenchmarkFeedHundredWholeFrames(b *testing.B) {
	p := slices.Repeat(frame.Append(nil, chatFrame()), 100)
	benchmarkFeed(b, p)
}

func BenchmarkFeedFrameInTwoPieces(b *testing.B) {
	p := frame.Append(nil, chatFrame())
	benchmarkFeed(b, p[:50], p[50:])
}

func benchmarkFeed(b *testing.B, pieces ...[]byte) {
	var d frame.Decoder
	each := func(frame.Frame) error { return nil }
	b.ReportAllocs()
	b.SetBytes(int64(len(slices.Concat(pieces...))))
	for b.Loop() {
		for _, p := range pieces {
			if err := d.Feed(p, limit, each); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkParseText(b *testing.B) {
	p := []byte(`{"version":131072,"action":"chat.send","sequence_id":7,"body":{"client_id":"a1","to_user_id":100002,"text":"hi"}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := frame.ParseText(p, named); err != nil {
			b.Fatal(err)
		}
	}
}
