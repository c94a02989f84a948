package frame_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"freeim/edge/frame"
	"freeim/idl"
)

// stream is the table's frames, one after the other.
func stream() (b []byte, frames []frame.Frame) {
	for _, r := range wire() {
		b = append(b, r.bytes...)
		frames = append(frames, r.frame)
	}
	return b, frames
}

func TestFeedAcceptsACutAtEveryOffset(t *testing.T) {
	b, want := stream()
	for cut := range len(b) + 1 {
		got, err := feed(b[:cut], b[cut:])
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if !sameFrames(got, want) {
			t.Errorf("cut at %d: got %v, want %v", cut, got, want)
		}
	}
}

func TestFeedAcceptsSingleOctets(t *testing.T) {
	b, want := stream()
	got, err := feed(slices.Collect(slices.Chunk(b, 1))...)
	if err != nil {
		t.Fatal(err)
	}
	if !sameFrames(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFeedAcceptsAThousandFramesAtOnce(t *testing.T) {
	var b []byte
	for i := range 1000 {
		b = frame.Append(b, frame.Frame{Sequence: uint32(i), Body: make([]byte, i%40)})
	}
	got, err := feed(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1000 {
		t.Fatalf("got %d frames, want 1000", len(got))
	}
	for i, f := range got {
		if f.Sequence != uint32(i) || len(f.Body) != i%40 {
			t.Fatalf("frame %d: got sequence %d and %d octets", i, f.Sequence, len(f.Body))
		}
	}
}

func TestFeedLeavesTheBufferFree(t *testing.T) {
	b, want := stream()
	var d frame.Decoder
	var got []frame.Frame
	for piece := range slices.Chunk(b, 5) {
		buffer := bytes.Clone(piece)
		if err := d.Feed(buffer, limit, keep(&got)); err != nil {
			t.Fatal(err)
		}
		clear(buffer) // the caller reads into it again
	}
	if !sameFrames(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFeedRefuses(t *testing.T) {
	header := func(version, action, length uint32) []byte {
		return octets(
			byte(version>>24), byte(version>>16), byte(version>>8), byte(version),
			byte(action), 0, 0, 0, 1,
			byte(length>>24), byte(length>>16), byte(length>>8), byte(length))
	}
	tests := []struct {
		name  string
		bytes []byte
		want  idl.CloseReason
		text  string
	}{
		{"stock version 0", header(0, 3, 0), idl.CloseUnsupportedVersion,
			"version 0 is reserved for the stock free-im clients, which are not served here"},
		{"stock version 1", header(1, 3, 0), idl.CloseUnsupportedVersion,
			"version 1 is reserved for the stock free-im clients, which are not served here"},
		{"stock version 100000", header(100000, 3, 0), idl.CloseUnsupportedVersion,
			"version 100000 is reserved for the stock free-im clients, which are not served here"},
		{"unknown codec", header(2<<16|2, 3, 0), idl.CloseUnsupportedVersion,
			"version 131074: codec 2 is not known, JSON is 0 and protobuf 1"},
		{"next protocol", header(3<<16, 3, 0), idl.CloseUnsupportedVersion,
			"version 196608 is not known, JSON is 131072 and protobuf 131073"},
		{"HTTP on the TCP port", []byte("GET / HTTP/1.1\r\n\r\n"), idl.CloseUnsupportedVersion,
			"version 1195725856 is not known, JSON is 131072 and protobuf 131073"},
		{"one octet over the limit", header(2<<16, 3, limit+1), idl.CloseTooLarge,
			"a body of 65537 octets, at most 65536 are allowed"},
		{"length -1", header(2<<16, 3, 0xffffffff), idl.CloseTooLarge,
			"a body of 4294967295 octets, at most 65536 are allowed"},
		{"length -12", header(2<<16, 3, 0xfffffff4), idl.CloseTooLarge,
			"a body of 4294967284 octets, at most 65536 are allowed"},
		{"greatest positive length", header(2<<16, 3, 0x7fffffff), idl.CloseTooLarge,
			"a body of 2147483647 octets, at most 65536 are allowed"},
		{"both wrong: the version tells", header(7, 3, 0xffffffff), idl.CloseUnsupportedVersion,
			"version 7 is not known, JSON is 131072 and protobuf 131073"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, pieces := range map[string][][]byte{
				"whole":         {tt.bytes},
				"octets":        slices.Collect(slices.Chunk(tt.bytes, 1)),
				"after a frame": {append(bytes.Clone(wire()[0].bytes), tt.bytes...)},
			} {
				got, err := feed(pieces...)
				if want := (&frame.CloseError{Reason: tt.want, Text: tt.text}).Error(); err == nil || err.Error() != want {
					t.Errorf("%s: got %v, want %v", name, err, want)
				}
				if before := map[string]int{"after a frame": 1}[name]; len(got) != before {
					t.Errorf("%s: got %d frames, want %d", name, len(got), before)
				}
			}
		})
	}
}

func TestFeedRefusesAtTheHeader(t *testing.T) {
	var d frame.Decoder
	b := frame.AppendHeader(nil, frame.Frame{}, 4097)
	if err := d.Feed(b[:12], 4096, nil); err != nil {
		t.Fatalf("12 octets: %v", err)
	}
	if got := reasonOf(d.Feed(b[12:], 4096, nil)); got != idl.CloseTooLarge {
		t.Errorf("at octet 13: got %v, want %v", got, idl.CloseTooLarge)
	}
}

func TestFeedTakesTheLimitOfTheMoment(t *testing.T) {
	b := frame.Append(nil, frame.Frame{Body: make([]byte, 5000)})
	var d frame.Decoder
	var got []frame.Frame
	if err := d.Feed(b[:10], 4096, keep(&got)); err != nil {
		t.Fatal(err)
	}
	if err := d.Feed(b[10:], 65536, keep(&got)); err != nil || len(got) != 1 {
		t.Errorf("got %d frames and %v, want the limit to have grown", len(got), err)
	}
}

func TestBufferedGrowsOnlyByWhatArrived(t *testing.T) {
	var d frame.Decoder
	b := frame.AppendHeader(nil, frame.Frame{}, limit)
	feed := func() {
		if err := d.Feed(b, limit, nil); err != nil {
			t.Fatal(err)
		}
	}
	feed()
	if got := d.Buffered(); got != frame.HeaderSize {
		t.Errorf("got %d octets, want %d", got, frame.HeaderSize)
	}
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			d = frame.Decoder{}
			feed()
		}
	}).AllocedBytesPerOp()
	if allocated > 64 {
		t.Errorf("an announced body of %d octets allocated %d", limit, allocated)
	}
}

func TestBufferedIsEmptyAfterWholeFrames(t *testing.T) {
	b, _ := stream()
	var d frame.Decoder
	var got []frame.Frame
	for _, piece := range [][]byte{b[:20], b[20:]} {
		if err := d.Feed(piece, limit, keep(&got)); err != nil {
			t.Fatal(err)
		}
	}
	if d.Buffered() != 0 {
		t.Errorf("got %d octets, want 0", d.Buffered())
	}
}

func TestFeedStopsAtTheErrorOfEach(t *testing.T) {
	b, _ := stream()
	stop := errors.New("enough")
	for _, first := range []int{0, 5} { // from the caller's bytes, from the leftovers
		var d frame.Decoder
		calls := 0
		each := func(frame.Frame) error { calls++; return stop }
		if err := d.Feed(b[:first], limit, each); err != nil {
			t.Fatal(err)
		}
		if err := d.Feed(b[first:], limit, each); err != stop || calls != 1 {
			t.Errorf("got %v after %d calls, want %v after 1", err, calls, stop)
		}
	}
}

func TestFeedOfWholeFramesDoesNotAllocate(t *testing.T) {
	b, _ := stream()
	var d frame.Decoder
	each := func(frame.Frame) error { return nil }
	got := testing.AllocsPerRun(100, func() {
		if err := d.Feed(b, limit, each); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
