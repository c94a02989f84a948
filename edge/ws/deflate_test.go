package ws_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"freeim/edge/ws"
)

const plainAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

func TestDeflateOffers(t *testing.T) {
	for _, row := range []struct{ name, offer, want string }{
		{"plain", "permessage-deflate", plainAnswer},
		{"as browsers offer it", "permessage-deflate; client_max_window_bits", plainAnswer},
		{"all that we do", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", plainAnswer},
		{"client's window", "permessage-deflate; client_max_window_bits=10", plainAnswer},
		{"quoted", `permessage-deflate; client_max_window_bits="10"`, plainAnswer},
		{"our greatest window", "permessage-deflate; server_max_window_bits=15", plainAnswer + "; server_max_window_bits=15"},
		{"the second offer", "permessage-deflate; server_max_window_bits=10, permessage-deflate", plainAnswer},
		{"beside another", "x-other; a=b, permessage-deflate", plainAnswer},
		{"a smaller window of ours", "permessage-deflate; server_max_window_bits=10", ""},
		{"our window without a number", "permessage-deflate; server_max_window_bits", ""},
		{"no window", "permessage-deflate; client_max_window_bits=16", ""},
		{"a value too many", "permessage-deflate; server_no_context_takeover=1", ""},
		{"twice", "permessage-deflate; client_max_window_bits; client_max_window_bits", ""},
		{"unknown", "permessage-deflate; fast", ""},
		{"empty parameter", "permessage-deflate;", ""},
		{"another extension", "x-webkit-deflate-frame", ""},
		{"none", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			head := []byte(request("Sec-WebSocket-Extensions: " + row.offer))
			h := ws.Upgrade(head, ws.Options{Deflate: true})
			_, got, _ := strings.Cut(string(h.Response), "Sec-WebSocket-Extensions: ")
			got, _, _ = strings.Cut(got, "\r\n")
			if h.Outcome != ws.Accepted || got != row.want || h.Deflate != (row.want != "") {
				t.Errorf("got %v, %v, %q, want %q", h.Outcome, h.Deflate, got, row.want)
			}
			if h := ws.Upgrade(head, ws.Options{}); h.Deflate || strings.Contains(string(h.Response), "Extensions") {
				t.Error("agreed on without being asked to")
			}
		})
	}
}

// deflated is s as a client compresses it; last: with a last block, as §7.2.3.4 allows.
func deflated(t testing.TB, s string, last bool) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(s))
	if last {
		w.Close()
		return out.String()
	}
	w.Flush()
	return strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
}

// feed reads pieces with permessage-deflate, messages of up to longest octets.
func feed(longest int, pieces ...[]byte) (got events, err error) {
	r := ws.Reader{Deflate: new(ws.Deflate)}
	for _, p := range pieces {
		if err := r.Feed(p, longest, &got); err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestCompressedMessages(t *testing.T) {
	const hello = "Hello, hello, hello, hello, héllo"
	half := deflated(t, hello, false)
	for _, row := range []struct {
		name string
		in   []byte
		want events
		code int
	}{
		{"§7.2.3.1", masked(fin|rsv1|opText, "\xf2\x48\xcd\xc9\xc9\x07\x00"), events{`text "Hello"`}, 0},
		{"§7.2.3.1 in two fragments", slices.Concat(masked(rsv1|opText, "\xf2\x48\xcd"), masked(fin, "\xc9\xc9\x07\x00")), events{`text "Hello"`}, 0},
		{"§7.2.3.3 a block without compression", masked(fin|rsv1|opText, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), events{`text "Hello"`}, 0},
		{"§7.2.3.4 a last block", masked(fin|rsv1|opText, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), events{`text "Hello"`}, 0},
		{"§7.2.3.5 two blocks", masked(fin|rsv1|opText, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), events{`text "Hello"`}, 0},
		{"§7.2.3.6 nothing", masked(fin|rsv1|opBinary, "\x00"), events{`binary ""`}, 0},
		{"one after the other", slices.Concat(masked(fin|rsv1|opText, half), masked(fin|opText, hello), masked(fin|rsv1|opText, half)),
			events{event("text", hello), event("text", hello), event("text", hello)}, 0},
		{"a ping in between", slices.Concat(masked(rsv1|opText, half[:3]), masked(fin|opPing, "p"), masked(fin, half[3:])),
			events{`ping "p"`, event("text", hello)}, 0},
		{"half a rune", masked(fin|rsv1|opText, deflated(t, "h\xc3", true)), nil, ws.CodeInvalidText},
		{"damaged", masked(fin|rsv1|opBinary, "\xff\xff\xff\xff"), nil, ws.CodeProtocol},
		{"no octet at all", masked(fin|rsv1|opBinary, ""), nil, ws.CodeProtocol},
		{"cut off", masked(fin|rsv1|opBinary, "\xf2\x48\xcd"), nil, ws.CodeProtocol},
		{"said in a later frame", slices.Concat(masked(opText, "a"), masked(fin|rsv1, "b")), nil, ws.CodeProtocol},
		{"said of a ping", masked(fin|rsv1|opPing, ""), nil, ws.CodeProtocol},
		{"another bit", masked(fin|rsv1|rsv2|opText, half), nil, ws.CodeProtocol},
		{"a bomb", masked(fin|rsv1|opBinary, deflated(t, strings.Repeat("0", 1<<20), false)), nil, ws.CodeTooBig},
		{"as long as allowed", masked(fin|rsv1|opBinary, deflated(t, strings.Repeat("0", 1000), false)), events{event("binary", strings.Repeat("0", 1000))}, 0},
		{"an octet longer", masked(fin|rsv1|opBinary, deflated(t, strings.Repeat("0", 1001), false)), nil, ws.CodeTooBig},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, size := range []int{len(row.in), 1} {
				got, err := feed(1000, slices.Collect(slices.Chunk(bytes.Clone(row.in), size))...)
				if codeOf(err) != row.code || !slices.Equal(got, row.want) {
					t.Errorf("%d at once: got %v and %v, want %v and %d", size, got, err, row.want, row.code)
				}
			}
		})
	}
	var r ws.Reader
	if err := r.Feed(masked(fin|rsv1|opText, half), maxMessage, ignoring{}); codeOf(err) != ws.CodeProtocol {
		t.Errorf("without agreement: got %v, want 1002", err)
	}
}

// TestBombCostsLittle: a megabyte that would become a gigabyte is refused with the
// memory of the longest message.
func TestBombCostsLittle(t *testing.T) {
	const longest = 64 << 10
	bomb := masked(fin|rsv1|opBinary, deflated(t, strings.Repeat("0", 32<<20), false))
	d := new(ws.Deflate)
	got := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := ws.Reader{Deflate: d}
			if err := r.Feed(bytes.Clone(bomb), longest, ignoring{}); codeOf(err) != ws.CodeTooBig {
				b.Fatal(err)
			}
		}
	})
	if n := got.AllocedBytesPerOp(); n > 4*longest+int64(len(bomb))*2 {
		t.Errorf("%d octets allocated, the longest message is %d", n, longest)
	}
}

// TestAppendCompressed reads back what is appended, also with another's eyes.
func TestAppendCompressed(t *testing.T) {
	d := new(ws.Deflate)
	for _, payload := range []string{"", "short", strings.Repeat("a", 256), strings.Repeat(`{"room":"r","text":"hello"}`, 1000), noise(1000)} {
		for _, text := range []bool{false, true} {
			p := d.AppendMessage([]byte("before"), text, []byte(payload))
			f, err := gobwas.ReadFrame(bytes.NewReader(bytes.TrimPrefix(p, []byte("before"))))
			if err != nil {
				t.Fatal(err)
			}
			got := f.Payload
			if f.Header.Rsv == 4 {
				if len(got) >= len(payload) {
					t.Errorf("%d octets became %d", len(payload), len(got))
				}
				from := flate.NewReader(bytes.NewReader(append(got, "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)))
				var out bytes.Buffer
				if _, err := out.ReadFrom(from); err != nil {
					t.Fatal(err)
				}
				got = out.Bytes()
			}
			if string(got) != payload || (f.Header.OpCode == gobwas.OpText) != text || !f.Header.Fin {
				t.Errorf("%d octets: got %d of %v", len(payload), len(got), f.Header)
			}
			if long := len(payload) >= 256 && payload != noise(1000); long != (f.Header.Rsv == 4) {
				t.Errorf("%d octets: compressed: %v", len(payload), !long)
			}
		}
	}
}

// noise cannot be compressed.
func noise(n int) string {
	var out []byte
	for x := uint64(1); len(out) < n; x = x*6364136223846793005 + 1442695040888963407 {
		out = binary.BigEndian.AppendUint32(out, uint32(x>>32))
	}
	return string(out[:n])
}

// FuzzInflate holds that no payload makes inflating panic or give more than is
// allowed, and that what is compressed comes back.
func FuzzInflate(f *testing.F) {
	f.Add("\xf2\x48\xcd\xc9\xc9\x07\x00", 100)
	f.Add("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 3)
	f.Add(deflated(f, strings.Repeat("0", 10_000), true), 9999)
	f.Add("", 0)
	f.Add(strings.Repeat("abc", 100), 300)
	d := new(ws.Deflate)
	f.Fuzz(func(t *testing.T, payload string, longest int) {
		longest = min(max(longest, 0), 1<<16)
		r := ws.Reader{Deflate: d}
		var got lengths
		err := r.Feed(masked(fin|rsv1|opBinary, payload), longest, &got)
		if code := codeOf(err); err != nil && code != ws.CodeProtocol && code != ws.CodeTooBig {
			t.Errorf("got %v, want 1002 or 1009", err)
		}
		if (err == nil) != (len(got) == 1) || err == nil && got[0] > longest {
			t.Errorf("got messages of %v octets, at most %d are allowed, and %v", got, longest, err)
		}
		frame, ok := clientFrame(d.AppendMessage(nil, false, []byte(payload)))
		if !ok {
			t.Fatal("what was appended is no frame")
		}
		back, err := feed(len(payload), frame)
		if err != nil || len(back) != 1 || back[0] != event("binary", payload) {
			t.Errorf("got %v and %v back", back, err)
		}
	})
}

// lengths notes how long messages are.
type lengths []int

func (l *lengths) Message(_ bool, p []byte) error { *l = append(*l, len(p)); return nil }
func (l *lengths) Piece() error                   { return nil }
func (l *lengths) Ping([]byte)                    {}
func (l *lengths) Pong([]byte)                    {}
func (l *lengths) Close(int, string)              {}

// clientFrame is a server's frame as a client would have sent it: masked.
func clientFrame(p []byte) ([]byte, bool) {
	f, err := gobwas.ReadFrame(bytes.NewReader(p))
	if err != nil {
		return nil, false
	}
	return masked(p[0], string(f.Payload)), true
}

// BenchmarkDeflate is one compression of a block of so many JSON frames of a room,
// by size; octets-out/in is what is left.
func BenchmarkDeflate(b *testing.B) {
	for _, many := range []int{1, 4, 32} {
		b.Run(fmt.Sprintf("%d messages", many), func(b *testing.B) {
			var block []byte
			for i := range many {
				block = fmt.Appendf(block, "\x80\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x80"+
					`{"room":"lobby","seq":%d,"id":"7K3M9QX2A4BC%04d","from":{"id":%d,"name":"user %d"},"text":"%s"}`, 100000+i, i*7, 5000+i*13, i*13, noiseText(40+i%30, i))
			}
			d := new(ws.Deflate)
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				out = d.AppendMessage(out[:0], false, block)
			}
			b.ReportMetric(float64(len(block)), "octets-in")
			b.ReportMetric(float64(len(out))/float64(len(block)), "out/in")
		})
	}
}

// noiseText is n octets of words.
func noiseText(n, seed int) string {
	words := strings.Fields("the quick brown fox jumps over a lazy dog while nobody looks and everybody laughs about it again tonight")
	var out strings.Builder
	for x := uint64(seed) + 1; out.Len() < n; x = x*6364136223846793005 + 1442695040888963407 {
		out.WriteString(words[x>>33%uint64(len(words))] + " ")
	}
	return out.String()[:n]
}
