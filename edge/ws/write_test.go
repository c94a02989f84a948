package ws_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"freeim/edge/ws"
)

// The server-to-client examples of RFC 6455 §5.7.
func TestAppendWritesTheExamplesOfTheRFC(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"text", ws.AppendMessage(nil, true, []byte("Hello")), "810548656c6c6f"},
		{"pong", ws.AppendPong(nil, []byte("Hello")), "8a0548656c6c6f"},
		{"binary of 256", ws.AppendHeader(nil, false, 256), "827e0100"},
		{"binary of 65536", ws.AppendHeader(nil, false, 65536), "827f0000000000010000"},
		{"close", ws.AppendClose(nil, 4001, "slow"), "88060fa1736c6f77"},
		{"close without a code", ws.AppendClose(nil, ws.CodeNoStatus, "ignored"), "8800"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := hex.EncodeToString(tt.got); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAppendMessageAgreesWithTheLibrary(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 100000} {
		for _, text := range []bool{true, false} {
			payload := bytes.Repeat([]byte{'x'}, n)
			frame := gobwas.NewBinaryFrame(payload)
			if text {
				frame = gobwas.NewTextFrame(payload)
			}
			want := gobwas.MustCompileFrame(frame)
			if got := ws.AppendMessage(nil, text, payload); !bytes.Equal(got, want) {
				t.Errorf("%d octets, text %v: got % x…, want % x…", n, text, got[:min(len(got), 12)], want[:min(len(want), 12)])
			}
		}
	}
}

func TestAppendCloseCutsTheReasonAtARune(t *testing.T) {
	tests := []struct{ name, reason, want string }{
		{"fits", strings.Repeat("x", 123), strings.Repeat("x", 123)},
		{"one too many", strings.Repeat("x", 124), strings.Repeat("x", 123)},
		{"rune of two on the edge", strings.Repeat("x", 122) + "ä", strings.Repeat("x", 122)},
		{"rune of four on the edge", strings.Repeat("x", 120) + "😀", strings.Repeat("x", 120)},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ws.AppendClose(nil, 1000, tt.reason)
			if want := append([]byte{0x88, byte(2 + len(tt.want)), 0x03, 0xe8}, tt.want...); !bytes.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	dst, payload := make([]byte, 0, 256), make([]byte, 100)
	got := testing.AllocsPerRun(100, func() {
		dst = ws.AppendMessage(dst[:0], true, payload)
		dst = ws.AppendPong(dst[:0], payload)
		dst = ws.AppendClose(dst[:0], 1000, "bye")
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
