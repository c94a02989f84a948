package ws_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"freeim/edge/ws"
)

// The client-to-server example of RFC 6455 §5.7.
func TestReaderReadsTheExampleOfTheRFC(t *testing.T) {
	hello, _ := hex.DecodeString("818537fa213d7f9f4d5158")
	got, _, err := read(hello)
	if err != nil || !slices.Equal(got, events{`text "Hello"`}) {
		t.Errorf("got %v and %v, want Hello", got, err)
	}
}

// session is a stream with every kind of frame, and what is found in it.
func session() ([]byte, events) {
	big := strings.Repeat("ä", 40000) // 80,000 octets: a length of 8 octets
	return slices.Concat(
			masked(fin|opText, "Grüße"),
			masked(fin|opBinary, ""),
			masked(opText, "κό\xcf"), // cut inside a rune
			masked(fin|opPing, "between"),
			masked(opContinuation, ""),
			masked(fin|opPong, ""),
			masked(fin|opContinuation, "\x83με"),
			masked(fin|opBinary, strings.Repeat("\xff", 200)), // a length of 2 octets
			masked(fin|opText, big),
			masked(fin|opClose, closeBody(1000, "bye")),
		), events{
			`text "Grüße"`, `binary ""`, `ping "between"`, `pong ""`, `text "κόσμε"`,
			event("binary", strings.Repeat("\xff", 200)), event("text", big), `close 1000 "bye"`,
		}
}

func TestReaderAcceptsACutAtEveryOffset(t *testing.T) {
	b, want := session()
	for cut := range len(b) + 1 {
		if cut > 600 && cut < len(b)-60 {
			continue // the middle of the big message adds nothing
		}
		p := bytes.Clone(b)
		got, _, err := read(p[:cut], p[cut:])
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("cut at %d: got %v and %v, want %v", cut, got, err, want)
		}
	}
}

func TestReaderAcceptsSingleOctets(t *testing.T) {
	b, want := session()
	got, _, err := read(slices.Collect(slices.Chunk(b, 1))...)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v and %v, want %v", got, err, want)
	}
}

func TestReaderRefuses(t *testing.T) {
	header := func(first byte, length ...byte) []byte {
		return append(append([]byte{first}, length...), 0, 0, 0, 0)
	}
	tests := []struct {
		name  string // with the section of RFC 6455
		bytes []byte
		code  int
		text  string
	}{
		{"§5.1 unmasked", []byte{fin | opText, 2, 'h', 'i'}, 1002, "frames from client to server must be masked"},
		{"§5.2 RSV1", masked(fin|rsv1|opText, "x"), 1002, "non-zero rsv bits with no extension negotiated"},
		{"§5.2 RSV2", masked(fin|rsv2|opBinary, "x"), 1002, "non-zero rsv bits with no extension negotiated"},
		{"§5.2 RSV3", masked(fin|rsv3|opPing, "x"), 1002, "non-zero rsv bits with no extension negotiated"},
		{"§5.2 reserved data opcode", masked(fin|3, "x"), 1002, "use of reserved op code"},
		{"§5.2 reserved control opcode", masked(fin|0xb, "x"), 1002, "use of reserved op code"},
		{"§5.2 two octets for 125", header(fin|opText, 0x80|126, 0, 125), 1002, "the length is not in its shortest form"},
		{"§5.2 eight octets for 65535", header(fin|opText, 0x80|127, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 1002,
			"the length is not in its shortest form"},
		{"§5.2 two octets for a ping of 1", header(fin|opPing, 0x80|126, 0, 1), 1002,
			"the length is not in its shortest form"},
		{"§5.2 length with its top bit", header(fin|opText, 0x80|127, 0x80, 0, 0, 0, 0, 0, 0, 0), 1002,
			"header error: the most significant bit must be 0"},
		{"§5.4 nothing to continue", masked(fin|opContinuation, "x"), 1002, "unexpected continuation data frame"},
		{"§5.4 new message inside another", append(masked(opText, "x"), masked(fin|opText, "y")...), 1002,
			"unexpected non-continuation data frame"},
		{"§5.5 fragmented ping", masked(opPing, "x"), 1002, "control frame is not final"},
		{"§5.5 ping of 126", masked(fin|opPing, strings.Repeat("x", 126)), 1002, "control frame payload limit exceeded"},
		{"§5.5.1 half a close code", masked(fin|opClose, "\x03"), 1002, "a close frame has no code or one of two octets"},
		{"§5.5.1 reason not UTF-8", masked(fin|opClose, closeBody(1000, "\xff")), 1007,
			"the reason of a close frame is not UTF-8"},
		{"§7.4.1 close code 1005", masked(fin|opClose, closeBody(1005, "")), 1002, "close code 1005 may not be sent"},
		{"§8.1 text not UTF-8", masked(fin|opText, "\xc0\xaf"), 1007, "a text message is not UTF-8"},
		{"§8.1 text ends inside a rune", masked(fin|opText, "a\xe2\x82"), 1007, "a text message is not UTF-8"},
		{"§10.4 one octet over the limit", header(fin|opBinary, 0x80|127, 0, 0, 0, 0, 0, 0x10, 0, 1), 1009,
			"a message is over 1048576 octets"},
		{"§10.4 greatest length", header(fin|opBinary, 0x80|127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1009,
			"a message is over 1048576 octets"},
		{"§10.4 fragments over the limit", append(masked(opBinary, "x"),
			header(fin, 0x80|127, 0, 0, 0, 0, 0, 0x10, 0, 0)...), 1009, "a message is over 1048576 octets"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{len(tt.bytes), 1} {
				got, _, err := read(slices.Collect(slices.Chunk(bytes.Clone(tt.bytes), size))...)
				want := &ws.Error{Code: tt.code, Text: tt.text}
				if err == nil || err.Error() != want.Error() || len(got) != 0 {
					t.Errorf("%d at once: got %v and %v, want %v", size, got, err, want)
				}
			}
		})
	}
}

func TestReaderRefusesALongMessageAtTheHeader(t *testing.T) {
	var r ws.Reader
	var got events
	err := r.Feed(frameHead(fin|opText, 101), 100, &got)
	if err != nil {
		t.Fatalf("without the mask: %v", err)
	}
	if err := r.Feed(make([]byte, 4), 100, &got); codeOf(err) != ws.CodeTooBig {
		t.Errorf("with the mask: got %v, want 1009", err)
	}
}

func TestReaderAcceptsAMessageOfTheLimit(t *testing.T) {
	var r ws.Reader
	var got events
	b := slices.Concat(masked(opText, "12345"), masked(opContinuation, "67"), masked(fin, "890"), masked(fin|opText, "1234567890"))
	if err := r.Feed(b, 10, &got); err != nil || !slices.Equal(got, events{`text "1234567890"`, `text "1234567890"`}) {
		t.Errorf("got %v and %v, want both messages", got, err)
	}
}

func TestReaderReadsNothingAfterItsEnd(t *testing.T) {
	stop := errors.New("enough")
	tests := []struct {
		name    string
		last    []byte
		handler ws.Handler
		want    error
	}{
		{"close", masked(fin|opClose, ""), new(events), nil},
		{"fault", masked(fin|opText, "\xff"), new(events), &ws.Error{Code: 1007, Text: "a text message is not UTF-8"}},
		{"handler's error", masked(fin|opText, "x"), failing{new(events), stop}, stop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r ws.Reader
			err := r.Feed(append(tt.last, masked(fin|opPing, "too late")...), maxMessage, tt.handler)
			if (err == nil) != (tt.want == nil) || err != nil && err.Error() != tt.want.Error() {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			var after events
			if err := r.Feed(masked(fin|opPing, "later still"), maxMessage, &after); err != nil || len(after) != 0 {
				t.Errorf("afterwards: got %v and %v, want nothing", after, err)
			}
			if first, ok := tt.handler.(*events); ok && slices.Contains(*first, `ping "too late"`) {
				t.Errorf("got %v, want no ping", *first)
			}
		})
	}
}

type failing struct {
	*events
	err error
}

func (f failing) Message(bool, []byte) error { return f.err }

func TestReaderDeliversAWholeFrameWithoutACopy(t *testing.T) {
	b := masked(fin|opBinary, "payload")
	h := aliasing{events: new(events), in: b}
	var r ws.Reader
	if err := r.Feed(b, maxMessage, &h); err != nil {
		t.Fatal(err)
	}
	if !h.aliased {
		t.Error("got a copy, want the caller's octets")
	}
}

type aliasing struct {
	*events
	in      []byte
	aliased bool
}

func (a *aliasing) Message(_ bool, payload []byte) error {
	a.aliased = &payload[len(payload)-1] == &a.in[len(a.in)-1]
	return nil
}

func TestReaderLeavesTheBufferFree(t *testing.T) {
	b, want := session()
	var r ws.Reader
	var got events
	for piece := range slices.Chunk(b, 7) {
		buffer := bytes.Clone(piece)
		if err := r.Feed(buffer, maxMessage, &got); err != nil {
			t.Fatal(err)
		}
		clear(buffer) // the caller reads into it again
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReaderHoldsOnlyWhatArrived(t *testing.T) {
	var r ws.Reader
	var got events
	steps := []struct {
		name  string
		bytes []byte
		want  int
	}{
		{"half a header", frameHead(opBinary, 1000), 4},
		{"header of a long frame", make([]byte, 4), 0},
		{"some of its payload", make([]byte, 990), 990},
		{"the frame's end: the message goes on", make([]byte, 10), 1000},
		{"a ping between", masked(fin|opPing, "x"), 1000},
		{"half a ping between", masked(fin|opPing, "xy")[:7], 1001},
		{"its other half", masked(fin|opPing, "xy")[7:], 1000},
		{"the message's end", masked(fin|opContinuation, "end"), 0},
	}
	for _, s := range steps {
		if err := r.Feed(s.bytes, maxMessage, &got); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if r.Buffered() != s.want {
			t.Errorf("%s: got %d octets, want %d", s.name, r.Buffered(), s.want)
		}
	}
}

func TestReaderDoesNotAllocateForWholeFrames(t *testing.T) {
	r := new(ws.Reader)
	h := ignoring{}
	frames := slices.Concat(masked(fin|opText, "hello"), masked(fin|opPing, "x"), masked(fin|opBinary, strings.Repeat("x", 300)))
	buffer := make([]byte, len(frames))
	got := testing.AllocsPerRun(100, func() {
		copy(buffer, frames)
		if err := r.Feed(buffer, maxMessage, h); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

type ignoring struct{}

func (ignoring) Message(bool, []byte) error { return nil }
func (ignoring) Piece() error               { return nil }
func (ignoring) Ping([]byte)                {}
func (ignoring) Pong([]byte)                {}
func (ignoring) Close(int, string)          {}

// pieceCounter counts what comes of messages before their last frames, and has enough of it.
type pieceCounter struct {
	events
	n, enough int
}

func (p *pieceCounter) Piece() error {
	if p.n++; p.n == p.enough {
		return errEnough
	}
	return nil
}

var errEnough = errors.New("enough")

// Each frame of a message but the last is told of once, whatever it holds and in
// whatever parts it comes.
func TestPiecesAreTold(t *testing.T) {
	stream := slices.Concat(masked(opText, ""), masked(opContinuation, "ab"), masked(fin|opPing, ""), masked(opContinuation, ""), masked(fin, "c"), masked(fin|opText, "d"))
	for size := 1; size <= len(stream); size++ {
		var r ws.Reader
		var h pieceCounter
		for part := range slices.Chunk(slices.Clone(stream), size) {
			if err := r.Feed(part, maxMessage, &h); err != nil {
				t.Fatal(err)
			}
		}
		if h.n != 3 || len(h.events) != 3 {
			t.Fatalf("in parts of %d: got %d pieces and %q", size, h.n, h.events)
		}
	}
	var r ws.Reader
	h := pieceCounter{enough: 2}
	if err := r.Feed(slices.Clone(stream), maxMessage, &h); !errors.Is(err, errEnough) || len(h.events) > 0 {
		t.Fatalf("got %v and %q, want the handler's error to end it", err, h.events)
	}
}
