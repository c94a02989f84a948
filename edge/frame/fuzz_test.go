package frame_test

import (
	"bytes"
	"testing"

	"freeim/edge/frame"
	"freeim/idl"
)

// FuzzFeed holds that decoding never panics, that the frames are those of the
// bytes, and that it does not matter how the bytes are cut.
func FuzzFeed(f *testing.F) {
	for _, r := range wire() {
		f.Add(r.bytes, byte(3))
	}
	b, _ := stream()
	f.Add(b, byte(14))
	f.Add(frame.AppendHeader(b, frame.Frame{}, 1<<32-1), byte(1))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), byte(200))
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		whole, wholeErr := feed(b)
		parts, partsErr := feed(pieces(b, step)...)
		if !sameFrames(whole, parts) {
			t.Errorf("whole gives %v, pieces give %v", whole, parts)
		}
		if text(wholeErr) != text(partsErr) {
			t.Errorf("whole gives %v, pieces give %v", wholeErr, partsErr)
		}
		var again []byte
		for _, f := range whole {
			again = frame.Append(again, f)
		}
		if !bytes.HasPrefix(b, again) {
			t.Errorf("decoded and appended: got % x, want the start of % x", again, b)
		}
		if wholeErr != nil && reasonOf(wholeErr) == 0 {
			t.Errorf("got %v, want a close reason", wholeErr)
		}
	})
}

// pieces cuts b into pieces of uneven lengths that step decides.
func pieces(b []byte, step byte) (out [][]byte) {
	for n := int(step); len(b) > 0; n = (n*5 + 1) % 101 {
		size := min(n%37+1, len(b))
		out = append(out, bytes.Clone(b[:size]))
		b = b[size:]
	}
	return out
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// FuzzParseText holds that every text message gives a close reason or a frame
// that comes back the same from its own text.
func FuzzParseText(f *testing.F) {
	f.Add([]byte(`{"version":131072,"action":"chat.send","sequence_id":7,"body":{"text":"hi"}}`))
	f.Add([]byte(`{"action":-1,"body":[]}`))
	f.Add([]byte(` null`))
	f.Add([]byte("{\"body\":{\"\xff\":1}}"))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := frame.ParseText(p, named)
		if err != nil {
			if reasonOf(err) == 0 {
				t.Errorf("got %v, want a close reason", err)
			}
			return
		}
		if got.Action == frame.Unnamed {
			return
		}
		again, err := frame.AppendText(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		back, err := frame.ParseText(again, named)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if len(got.Body) == 0 {
			got.Body = []byte("{}")
		}
		if !sameFrames([]frame.Frame{back}, []frame.Frame{got}) {
			t.Errorf("got %+v, want %+v", back, got)
		}
	})
}

// FuzzStamped holds that a stamped protobuf body is the body with field 1.
func FuzzStamped(f *testing.F) {
	f.Add(int64(1), []byte(`{"message":{"seq":4}}`))
	f.Add(int64(idl.MaxSafeInteger), []byte(" { } "))
	f.Fuzz(func(t *testing.T, seq int64, body []byte) {
		frame.AppendStamped(nil, idl.CodecJSON, seq, body)
		if got := frame.AppendStamped(nil, idl.CodecProtobuf, seq, body); !bytes.HasSuffix(got, body) {
			t.Errorf("got % x, want it to end with % x", got, body)
		}
	})
}
