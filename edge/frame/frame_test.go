package frame_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"freeim/edge/frame"
	"freeim/idl"
)

// wire rows are frames with their octets, one field a line.
func wire() []row {
	return []row{
		{"heartbeat, JSON, empty body",
			frame.Frame{Codec: idl.CodecJSON, Action: idl.ActionHeartbeat, Sequence: 7},
			octets(
				0x00, 0x02, 0x00, 0x00, // version 131072
				100,                    // action
				0x00, 0x00, 0x00, 0x07, // sequence-id
				0x00, 0x00, 0x00, 0x00, // body-length
			)},
		{"send, JSON",
			frame.Frame{Codec: idl.CodecJSON, Action: idl.ActionMessage, Sequence: 0x01020304, Body: []byte(`{"text":"hi"}`)},
			octets(
				0x00, 0x02, 0x00, 0x00, // version 131072
				3,                      // action
				0x01, 0x02, 0x03, 0x04, // sequence-id
				0x00, 0x00, 0x00, 0x0d, // body-length
				'{', '"', 't', 'e', 'x', 't', '"', ':', '"', 'h', 'i', '"', '}', // body
			)},
		{"error, protobuf, greatest sequence-id",
			frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionError, Sequence: 1<<32 - 1, Body: octets(0x08, 0x05)},
			octets(
				0x00, 0x02, 0x00, 0x01, // version 131073
				255,                    // action
				0xff, 0xff, 0xff, 0xff, // sequence-id
				0x00, 0x00, 0x00, 0x02, // body-length
				0x08, 0x05, // body: code 5
			)},
		{"zero value: GetMessageID",
			frame.Frame{},
			octets(
				0x00, 0x02, 0x00, 0x00, // version 131072
				0,                      // action
				0x00, 0x00, 0x00, 0x00, // sequence-id
				0x00, 0x00, 0x00, 0x00, // body-length
			)},
	}
}

type row struct {
	name  string
	frame frame.Frame
	bytes []byte
}

func octets(b ...byte) []byte { return b }

func TestAppendWritesTheTable(t *testing.T) {
	for _, tt := range wire() {
		t.Run(tt.name, func(t *testing.T) {
			if got := frame.Append([]byte("before"), tt.frame); !bytes.Equal(got, append([]byte("before"), tt.bytes...)) {
				t.Errorf("got % x, want % x", got, tt.bytes)
			}
			if got := frame.AppendHeader(nil, tt.frame, len(tt.frame.Body)); !bytes.Equal(got, tt.bytes[:frame.HeaderSize]) {
				t.Errorf("header: got % x, want % x", got, tt.bytes[:frame.HeaderSize])
			}
		})
	}
}

func TestFeedReadsTheTable(t *testing.T) {
	for _, tt := range wire() {
		t.Run(tt.name, func(t *testing.T) {
			got, err := feed(tt.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if !sameFrames(got, []frame.Frame{tt.frame}) {
				t.Errorf("got %v, want %v", got, tt.frame)
			}
		})
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 128)
	f := frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionMessage, Body: make([]byte, 64)}
	if n := testing.AllocsPerRun(100, func() { dst = frame.Append(dst[:0], f) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func TestCloseErrorNamesItsReason(t *testing.T) {
	err := &frame.CloseError{Reason: idl.CloseTooLarge, Text: "too much"}
	if got, want := err.Error(), "CLOSE_TOO_LARGE: too much"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

const limit = 1 << 16

// feed decodes pieces one after the other and gives copies of the frames.
func feed(pieces ...[]byte) ([]frame.Frame, error) {
	var d frame.Decoder
	var got []frame.Frame
	for _, p := range pieces {
		if err := d.Feed(p, limit, keep(&got)); err != nil {
			return got, err
		}
	}
	return got, nil
}

func keep(to *[]frame.Frame) func(frame.Frame) error {
	return func(f frame.Frame) error {
		f.Body = bytes.Clone(f.Body)
		*to = append(*to, f)
		return nil
	}
}

func sameFrames(a, b []frame.Frame) bool {
	return slices.EqualFunc(a, b, func(a, b frame.Frame) bool {
		return a.Codec == b.Codec && a.Action == b.Action && a.Sequence == b.Sequence && bytes.Equal(a.Body, b.Body)
	})
}

// reasonOf is the close reason that err carries, 0 for none.
func reasonOf(err error) idl.CloseReason {
	if fault, ok := errors.AsType[*frame.CloseError](err); ok {
		return fault.Reason
	}
	return 0
}
