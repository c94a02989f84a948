package ws_test

import (
	"slices"
	"strings"
	"testing"

	"freeim/edge/ws"
)

func BenchmarkReader(b *testing.B) {
	small := masked(fin|opBinary, strings.Repeat("x", 141))
	b.Run("hundred small messages", func(b *testing.B) { benchmarkReader(b, slices.Repeat(small, 100)) })
	b.Run("message in two pieces", func(b *testing.B) { benchmarkReader(b, small[:50], small[50:]) })
	b.Run("text of 64 KiB", func(b *testing.B) { benchmarkReader(b, masked(fin|opText, strings.Repeat("x", 1<<16))) })
}

// benchmarkReader feeds the same octets again and again, each time from a fresh
// copy, since Feed unmasks in place; the copy is part of the figure.
func benchmarkReader(b *testing.B, frames ...[]byte) {
	var r ws.Reader
	fresh := slices.Concat(frames...)
	p := make([]byte, len(fresh))
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		copy(p, fresh)
		rest := p
		for _, f := range frames {
			if err := r.Feed(rest[:len(f)], maxMessage, ignoring{}); err != nil {
				b.Fatal(err)
			}
			rest = rest[len(f):]
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	payload := make([]byte, 141)
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		dst = ws.AppendMessage(dst[:0], false, payload)
	}
}

func BenchmarkUpgrade(b *testing.B) {
	head := []byte(request("Origin: http://example.com"))
	b.ReportAllocs()
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		if ws.Upgrade(head, ws.Options{}).Outcome != ws.Accepted {
			b.Fatal("refused")
		}
	}
}
