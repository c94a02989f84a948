package ws_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// conformanceCase is one script of a client's, named by the case of the Autobahn
// suite that asks the same: its frames, what must be found, and the close code
// of the fault, 0 when there is none.
type conformanceCase struct {
	name   string
	frames [][]byte
	want   events
	code   int
}

func TestReaderConforms(t *testing.T) {
	cases := slices.Concat(framing(), pings(), reserved(), opcodes(), fragmentation(), utf8Texts(), closing())
	if len(cases) < 200 {
		t.Fatalf("got %d cases, want the whole list", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := slices.Concat(c.frames...)
			for _, size := range []int{len(b), 1, 64, 997} {
				got, _, err := read(slices.Collect(slices.Chunk(bytes.Clone(b), size))...)
				if !slices.Equal(got, c.want) || codeOf(err) != c.code {
					t.Fatalf("%d octets at once: got %v and %v, want %v and %d", size, got, err, c.want, c.code)
				}
			}
		})
	}
}

// framing is section 1: payloads at the edges of the three forms of a length.
func framing() (cases []conformanceCase) {
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		text, binary := strings.Repeat("*", n), strings.Repeat("\xfe", n)
		cases = append(cases,
			conformanceCase{fmt.Sprintf("1.1.%d text of %d", i+1, n), [][]byte{masked(fin|opText, text)}, events{event("text", text)}, 0},
			conformanceCase{fmt.Sprintf("1.2.%d binary of %d", i+1, n), [][]byte{masked(fin|opBinary, binary)}, events{event("binary", binary)}, 0})
	}
	return cases
}

// pings is section 2.
func pings() []conformanceCase {
	full := strings.Repeat("\xfe", 125)
	ten := conformanceCase{name: "2.10 ten pings"}
	for i := range 10 {
		ten.frames = append(ten.frames, masked(fin|opPing, fmt.Sprint("payload-", i)))
		ten.want = append(ten.want, event("ping", fmt.Sprint("payload-", i)))
	}
	return []conformanceCase{
		{"2.1 empty ping", [][]byte{masked(fin|opPing, "")}, events{`ping ""`}, 0},
		{"2.2 ping with text", [][]byte{masked(fin|opPing, "Hello, world!")}, events{`ping "Hello, world!"`}, 0},
		{"2.3 ping with octets", [][]byte{masked(fin|opPing, "\x00\xff\xfe")}, events{`ping "\x00\xff\xfe"`}, 0},
		{"2.4 ping of 125", [][]byte{masked(fin|opPing, full)}, events{event("ping", full)}, 0},
		{"2.5 ping of 126", [][]byte{masked(fin|opPing, full+"x")}, nil, 1002},
		{"2.7 pong unasked for", [][]byte{masked(fin|opPong, "")}, events{`pong ""`}, 0},
		{"2.8 pong with payload", [][]byte{masked(fin|opPong, "unsolicited")}, events{`pong "unsolicited"`}, 0},
		{"2.9 pong, then ping", [][]byte{masked(fin|opPong, "a"), masked(fin|opPing, "b")}, events{`pong "a"`, `ping "b"`}, 0},
		ten,
	}
}

// reserved is section 3: every value of the RSV bits, in every type of frame,
// after a message that is still found.
func reserved() (cases []conformanceCase) {
	for rsv := byte(1); rsv < 8; rsv++ {
		for _, op := range []byte{opContinuation, opText, opBinary, opClose, opPing, opPong} {
			cases = append(cases, conformanceCase{fmt.Sprintf("3.%d RSV %d in opcode %d", rsv, rsv, op),
				[][]byte{masked(fin|opText, "before"), masked(fin|rsv<<4|op, ""), masked(fin|opPing, "")},
				events{`text "before"`}, 1002})
		}
	}
	return cases
}

// opcodes is section 4: each that means nothing, with and without payload.
func opcodes() (cases []conformanceCase) {
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		for _, payload := range []string{"", "reserved opcode payload"} {
			cases = append(cases, conformanceCase{fmt.Sprintf("4 opcode %d, %d octets", op, len(payload)),
				[][]byte{masked(fin|opText, "before"), masked(fin|op, payload), masked(fin|opPing, "")},
				events{`text "before"`}, 1002})
		}
	}
	return cases
}

// fragmentation is section 5.
func fragmentation() []conformanceCase {
	first, second := masked(opText, "fragment1"), masked(fin|opContinuation, "fragment2")
	text, ping := masked(fin|opText, "Hello"), masked(fin|opPing, "ping")
	return []conformanceCase{
		{"5.1 ping in two frames", [][]byte{masked(opPing, "a"), masked(fin|opContinuation, "b")}, nil, 1002},
		{"5.2 pong in two frames", [][]byte{masked(opPong, "a"), masked(fin|opContinuation, "b")}, nil, 1002},
		{"5.2 close in two frames", [][]byte{masked(opClose, "\x03"), masked(fin|opContinuation, "\xe8")}, nil, 1002},
		{"5.3 two fragments", [][]byte{first, second}, events{`text "fragment1fragment2"`}, 0},
		{"5.6 ping between", [][]byte{first, ping, second}, events{`ping "ping"`, `text "fragment1fragment2"`}, 0},
		{"5.6 pong between", [][]byte{first, masked(fin|opPong, ""), second}, events{`pong ""`, `text "fragment1fragment2"`}, 0},
		{"5.9 final continuation of nothing", [][]byte{masked(fin|opContinuation, "x"), text}, nil, 1002},
		{"5.9 empty continuation of nothing", [][]byte{masked(fin|opContinuation, ""), text}, nil, 1002},
		{"5.12 continuation of nothing", [][]byte{masked(opContinuation, "x"), text}, nil, 1002},
		{"5.15 continuation after the end", [][]byte{first, second, masked(opContinuation, "x"), text},
			events{`text "fragment1fragment2"`}, 1002},
		{"5.16 continuation of nothing, then text", [][]byte{masked(opContinuation, "x"), first, second}, nil, 1002},
		{"5.18 two texts instead of a continuation", [][]byte{first, masked(fin|opText, "fragment2")}, nil, 1002},
		{"5.18 binary instead of a continuation", [][]byte{first, masked(fin|opBinary, "fragment2")}, nil, 1002},
		{"5.19 five fragments, two pings", [][]byte{first, masked(opContinuation, "fragment2"), ping,
			masked(opContinuation, "fragment3"), masked(opContinuation, "fragment4"), ping, masked(fin|opContinuation, "5")},
			events{`ping "ping"`, `ping "ping"`, event("text", "fragment1fragment2fragment3fragment45")}, 0},
		{"5.20 binary in fragments keeps its type", [][]byte{masked(opBinary, "\xff"), ping, masked(fin|opContinuation, "\xff")},
			events{`ping "ping"`, `binary "\xff\xff"`}, 0},
		{"5.20 text after a fragmented binary", [][]byte{masked(opBinary, "\xff"), masked(fin|opContinuation, ""), text},
			events{`binary "\xff"`, `text "Hello"`}, 0},
	}
}

// utf8Texts is section 6: texts that are UTF-8 and texts that are not, each in
// one frame, in a frame for every octet, and with empty fragments around.
func utf8Texts() (cases []conformanceCase) {
	cases = []conformanceCase{
		{"6.1.1 empty text", [][]byte{masked(fin|opText, "")}, events{`text ""`}, 0},
		{"6.1.2 three empty fragments", [][]byte{masked(opText, ""), masked(0, ""), masked(fin, "")}, events{`text ""`}, 0},
		{"6.1.3 content in the middle one", [][]byte{masked(opText, ""), masked(0, "x"), masked(fin, "")}, events{`text "x"`}, 0},
		{"6.2.2 rune cut by a ping", [][]byte{masked(opText, "\xe2\x82"), masked(fin|opPing, ""), masked(fin, "\xac")},
			events{`ping ""`, `text "€"`}, 0},
		{"6.4 binary is not judged", [][]byte{masked(fin|opBinary, "\xc0\xaf")}, events{`binary "\xc0\xaf"`}, 0},
	}
	for _, valid := range []string{
		"Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\x7f", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000",
		"\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\U0001fffe", "\U0010fffe", "\ufdd0",
	} {
		cases = append(cases, textCases(valid, events{event("text", valid)}, 0)...)
	}
	for _, invalid := range []string{
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", // 6.3.1: a surrogate
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80",   // 6.4: beyond U+10FFFF
		"\xce", "\xce\xba\xe1", "\xce\xba\xe1\xbd", // 6.6: cut runes
		"\x80", "\xbf", "\x80\xbf", "a\x80b", // 6.12: continuation octets alone
		"\xc0 \xc1 \xc2 ", "\xe0 \xe1 ", "\xf0 \xf1 ", "\xf8 \xf9 ", "\xfc \xfd ", // 6.13: beginnings alone
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", // 6.14, 6.15: last octet lacks
		"\xfe", "\xff", "\xfe\xfe\xff\xff", // 6.16: impossible octets
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", // 6.17: overlong slash
		"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", // 6.18: greatest overlong
		"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", // 6.19: overlong NUL
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", // 6.20, 6.21: surrogates
		"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", // beyond the last code point
	} {
		cases = append(cases, textCases(invalid, nil, 1007)...)
	}
	return cases
}

func textCases(text string, want events, code int) []conformanceCase {
	octets := [][]byte{masked(opText, "")}
	for _, o := range []byte(text) {
		octets = append(octets, masked(opContinuation, string([]byte{o})))
	}
	return []conformanceCase{
		{fmt.Sprintf("6 whole %+q", text), [][]byte{masked(fin|opText, text)}, want, code},
		{fmt.Sprintf("6 octets %+q", text), append(octets, masked(fin|opContinuation, "")), want, code},
	}
}

// closing is section 7.
func closing() (cases []conformanceCase) {
	bye, text := masked(fin|opClose, closeBody(1000, "bye")), masked(fin|opText, "Hello")
	long := strings.Repeat("*", 123)
	cases = []conformanceCase{
		{"7.1.1 message, then close", [][]byte{text, bye}, events{`text "Hello"`, `close 1000 "bye"`}, 0},
		{"7.1.2 two closes", [][]byte{bye, bye}, events{`close 1000 "bye"`}, 0},
		{"7.1.3 ping after the close", [][]byte{bye, masked(fin|opPing, "")}, events{`close 1000 "bye"`}, 0},
		{"7.1.4 text after the close", [][]byte{bye, text}, events{`close 1000 "bye"`}, 0},
		{"7.1.5 close inside a message", [][]byte{masked(opText, "a"), bye, masked(fin, "b")}, events{`close 1000 "bye"`}, 0},
		{"7.1.6 violation after the close", [][]byte{bye, masked(fin|rsv1|opText, "")}, events{`close 1000 "bye"`}, 0},
		{"7.3.1 no code", [][]byte{masked(fin|opClose, "")}, events{`close 1005 ""`}, 0},
		{"7.3.2 one octet", [][]byte{masked(fin|opClose, "a")}, nil, 1002},
		{"7.3.3 code without reason", [][]byte{masked(fin|opClose, closeBody(1000, ""))}, events{`close 1000 ""`}, 0},
		{"7.3.4 code with reason", [][]byte{bye}, events{`close 1000 "bye"`}, 0},
		{"7.3.5 longest reason", [][]byte{masked(fin|opClose, closeBody(1000, long))}, events{event("close 1000", long)}, 0},
		{"7.3.6 reason too long", [][]byte{masked(fin|opClose, closeBody(1000, long+"*"))}, nil, 1002},
		{"7.5.1 reason not UTF-8", [][]byte{masked(fin|opClose, closeBody(1000, "\xce\xba\xed\xa0\x80"))}, nil, 1007},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases = append(cases, conformanceCase{fmt.Sprintf("7.7 code %d", code),
			[][]byte{masked(fin|opClose, closeBody(code, ""))}, events{event(fmt.Sprint("close ", code), "")}, 0})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1012, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, conformanceCase{fmt.Sprintf("7.9 code %d", code),
			[][]byte{masked(fin|opClose, closeBody(code, "")), text}, nil, 1002})
	}
	return cases
}

// TestReaderJudgesTextAsItArrives is 6.4: the fault is found with the octet that
// makes it certain, in the middle of a frame too.
func TestReaderJudgesTextAsItArrives(t *testing.T) {
	const valid = "\xce\xba\xe1\xbd\xb9\xcf\x83"
	tests := []struct {
		name   string
		pieces [][]byte
		at     int // the piece that must be refused
	}{
		{"6.4.1 second fragment", [][]byte{masked(opText, valid), masked(0, "\xf4\x90\x80\x80"), masked(fin, "x")}, 1},
		{"6.4.2 octet after octet", [][]byte{masked(opText, valid), masked(0, "\xf4"), masked(0, "\x90"), masked(fin, "x")}, 2},
		{"6.4.3 inside one frame", cutAfter(masked(fin|opText, valid+"\xf4\x90\x80\x80"+"more"), 6+len(valid), 4), 1},
		{"6.4.4 inside one frame, octets", cutAfter(masked(fin|opText, valid+"\xf4\x90\x80\x80"+"more"), 6+len(valid), 1, 1, 1), 2},
		{"first octet impossible", cutAfter(masked(fin|opText, "\xff and a long text that does not come"), 7), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, at, err := read(tt.pieces...)
			if codeOf(err) != 1007 || at != tt.at || len(got) != 0 {
				t.Errorf("got %v and %v in piece %d, want 1007 in piece %d", got, err, at, tt.at)
			}
		})
	}
}

// cutAfter cuts b into pieces of the sizes given, and the rest.
func cutAfter(b []byte, sizes ...int) (pieces [][]byte) {
	for _, n := range sizes {
		pieces, b = append(pieces, b[:n:n]), b[n:]
	}
	return append(pieces, b)
}
