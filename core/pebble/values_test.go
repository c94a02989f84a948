package pebble

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"freeim/core/im"
)

func TestValues(t *testing.T) {
	id := im.NewIDGenerator(nil).Next("c_1_2")
	t.Run("entry", func(t *testing.T) {
		want := entry{ID: id, Conversation: []byte("c_1_2"), Seq: 300}
		run, err := decodeRun(nil, want.append(want.append(nil)), 2)
		if err != nil || len(run) != 2 {
			t.Fatalf("got %+v, %v, want two entries", run, err)
		}
		for _, got := range run {
			if got.ID != want.ID || !bytes.Equal(got.Conversation, want.Conversation) || got.Seq != want.Seq {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	})
	t.Run("message", func(t *testing.T) {
		value := appendMessage(nil, 7, "a1", []byte("hello"))
		copy(value, id[:])
		got, err := decodeMessage(value, "c_1_2", 9)
		if err != nil || got.ID != id || got.Sender != 7 || got.ClientID != "a1" || string(got.Body) != "hello" || got.Seq != 9 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("record", func(t *testing.T) {
		want := record{Digest: [32]byte{1, 2}, Conversation: "g_1", Seq: 1 << 40, InboxSeqs: []int64{1, 1 << 50}}
		got, err := decodeRecord(want.append(nil))
		if err != nil || got.Digest != want.Digest || got.Conversation != want.Conversation || got.Seq != want.Seq ||
			!slices.Equal(got.InboxSeqs, want.InboxSeqs) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	})
	t.Run("filed", func(t *testing.T) {
		want := filed{Conversation: "g_1", By: 8, Seq: 5}
		if got, err := decodeFiled(want.append(nil)); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

// decoders are all of them, each giving back what it read, encoded.
func decoders() map[string]func([]byte) ([]byte, error) {
	return map[string]func([]byte) ([]byte, error){
		"run": func(b []byte) (value []byte, err error) {
			run, err := decodeRun(nil, b, math.MaxInt64)
			for _, e := range run {
				value = e.append(value)
			}
			return value, err
		},
		"message": func(b []byte) ([]byte, error) {
			m, err := decodeMessage(b, "c_1_2", 1)
			value := appendMessage(nil, m.Sender, m.ClientID, m.Body)
			copy(value, m.ID[:])
			return value, err
		},
		"record": func(b []byte) ([]byte, error) {
			r, err := decodeRecord(b)
			return r.append(nil), err
		},
		"filed": func(b []byte) ([]byte, error) {
			f, err := decodeFiled(b)
			return f.append(nil), err
		},
	}
}

// Cutting a value anywhere, or lengthening it, is an error and never a panic. A
// message is an exception: its body is what is left.
func TestCutValues(t *testing.T) {
	whole := map[string][]byte{
		"run":    entry{Conversation: []byte("c_1_2"), Seq: 300}.append(nil),
		"record": record{Conversation: "g_1", Seq: 1, InboxSeqs: []int64{1, 200}}.append(nil),
		"filed":  filed{Conversation: "g_1", By: 8, Seq: 500}.append(nil),
	}
	for name, value := range whole {
		decode := decoders()[name]
		for n := range value {
			if _, err := decode(value[:n]); err == nil {
				t.Errorf("%s cut to %d of %d octets: got no error", name, n, len(value))
			}
		}
		if _, err := decode(append(value, 0)); err == nil {
			t.Errorf("%s with an octet too many: got no error", name)
		}
	}
	head := appendMessage(nil, 1, "a1", nil)
	for n := range head {
		if _, err := decodeMessage(head[:n], "c_1_2", 1); err == nil {
			t.Errorf("message cut to %d of %d octets: got no error", n, len(head))
		}
	}
}

// FuzzDecode feeds every decoder: none panics, and what one reads it reads again
// from its own encoding.
func FuzzDecode(f *testing.F) {
	f.Add(entry{Conversation: []byte("c_1_2"), Seq: 300}.append(nil))
	f.Add(appendMessage(nil, 7, "a1", []byte("hello")))
	f.Add(record{Conversation: "g_1", Seq: 1, InboxSeqs: []int64{1, 200}}.append(nil))
	f.Add(filed{Conversation: "g_1", By: 8, Seq: 500}.append(nil))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, value []byte) {
		if n, err := decodeInt(value); err == nil && n < 0 {
			t.Errorf("number: got %d", n)
		}
		for name, decode := range decoders() {
			first, err := decode(value)
			if err != nil {
				continue
			}
			if len(first) > len(value) {
				t.Errorf("%s: %d octets were read as %d", name, len(value), len(first))
			}
			second, err := decode(first)
			if err != nil || !bytes.Equal(first, second) {
				t.Errorf("%s: %x was read as %x, and that as %x, %v", name, value, first, second, err)
			}
		}
	})
}
