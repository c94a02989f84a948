package gateway_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// part is one masked frame that may be a fragment.
func part(op gobwas.OpCode, fin bool, payload []byte) []byte {
	return gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewFrame(op, fin, bytes.Clone(payload))))
}

// ctrl reads the next frame as it is.
func (p *peer) raw() gobwas.Frame {
	p.t.Helper()
	f, err := gobwas.ReadFrame(p.in)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *peer) wantRaw(op gobwas.OpCode, payload string) {
	p.t.Helper()
	if f := p.raw(); f.Header.OpCode != op || string(f.Payload) != payload || f.Header.Masked || !f.Header.Fin {
		p.t.Fatalf("got %v with %d octets %.40q, want %v with %.40q", f.Header.OpCode, len(f.Payload), f.Payload, op, payload)
	}
}

// wantCode expects a close frame with a code (0: none), then the end of TCP.
func (p *peer) wantCode(code int) {
	p.t.Helper()
	f := p.raw()
	got, _ := gobwas.ParseCloseFrameData(f.Payload)
	if f.Header.OpCode != gobwas.OpClose || code != 0 && int(got) != code || code == 0 && len(f.Payload) > 0 {
		p.t.Fatalf("got %v %d, want a close frame with %d", f.Header.OpCode, got, code)
	}
	if _, err := p.in.ReadByte(); !errors.Is(err, io.EOF) {
		p.t.Fatalf("after the close frame: got %v, want the end", err)
	}
}

func TestBadMessages(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	unmasked := gobwas.MustCompileFrame(gobwas.NewFrame(gobwas.OpBinary, true, []byte("x")))
	one := frame.Append(nil, heartbeat(1))
	rows := []struct {
		name   string
		in     []byte
		reason idl.CloseReason
		code   int
	}{
		{"not masked", unmasked, idl.CloseMalformed, 1002},
		{"reserved opcode", message(3, nil), idl.CloseMalformed, 1002},
		{"text that is not UTF-8", message(1, []byte("\xff")), idl.CloseMalformed, 1007},
		{"too long", message(2, make([]byte, 10_000)), idl.CloseTooLarge, 1009},
		{"a message ends inside a frame", message(2, one[:5]), idl.CloseMalformed, 4510},
		{"text that is no frame", message(1, []byte("hello")), idl.CloseMalformed, 4510},
		{"text with a long body", message(1, []byte(`{"action":100,"body":{"x":"`+strings.Repeat("x", 4096)+`"}}`)), idl.CloseTooLarge, 4511},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := dialWS(t, e)
			p.write(row.in)
			p.wantQuit(row.reason)
			p.wantEnd()
			if p.code != row.code {
				t.Fatalf("close code: got %d, want %d", p.code, row.code)
			}
		})
	}
}

// What a client sends before it learns that there is no room for it is dropped.
func TestMessageOfAClientThatIsTurnedAway(t *testing.T) {
	for _, op := range []gobwas.OpCode{gobwas.OpBinary, gobwas.OpText} {
		e := newEdge(t, gateway.Options{}, session.Options{MaxSessions: 1})
		dialWS(t, e).auth()
		second := newPeer(t, e.HTTPAddr().String())
		second.write(append([]byte(upgrade), message(op, nil)...))
		second.accepted()
		second.wantClose(idl.CloseOverloaded)
		if n := e.Stats().Panics; n != 0 {
			t.Errorf("got %d panics, want none", n)
		}
	}
}

// The edge is held up while 64 MiB come, more than the kernel keeps of them: what
// netpoll has read then is over the bound.
func TestClientThatSendsFasterThanItIsHandled(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	other, p := dialWS(t, e), dialWS(t, e)
	p.write(message(1, []byte(`{"action":"hold"}`)))
	eventually(t, "it to be held up", e.core.holding.Load)
	flood := bytes.Repeat(message(2, frame.Append(nil, heartbeat(0))), 64<<20/19)
	p.write(flood)
	close(e.core.hold)
	p.want(idl.ActionError, 0)
	p.wantQuit(idl.CloseFlood)
	other.send(heartbeat(1))
	other.want(idl.ActionHeartbeat, 1)
}

func TestClientClosesWebSocket(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p := dialWS(t, e)
	p.auth()
	p.write(message(8, gobwas.NewCloseFrameBody(1000, "bye")))
	p.wantCode(1000)
	eventually(t, "the core to hear of it", func() bool { return e.core.gones(1) == 1 })
}

func TestPingsAreAnsweredInOrder(t *testing.T) {
	for _, row := range []struct {
		name string
		dial func(testing.TB, *edge) *peer
	}{{"session", dialWS}, {"echo", dialEcho}} {
		t.Run(row.name, func(t *testing.T) {
			p := row.dial(t, newEdge(t, gateway.Options{}, session.Options{}))
			for range 10 {
				var pings []byte
				for i := range 10 {
					pings = append(pings, message(9, []byte{'a' + byte(i)})...)
				}
				p.write(pings)
				for i := range 10 {
					p.wantRaw(gobwas.OpPong, string(rune('a'+i)))
				}
			}
			p.write(message(10, []byte("a pong needs no answer")))
			p.write(message(9, nil))
			p.wantRaw(gobwas.OpPong, "")
		})
	}
}

func TestEcho(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p := dialEcho(t, e)
	long := strings.Repeat("0123456789abcdef", 1<<16)
	for _, row := range []struct {
		name string
		op   gobwas.OpCode
		in   string
	}{
		{"text", gobwas.OpText, "Κόσμε"}, {"empty text", gobwas.OpText, ""}, {"empty binary", gobwas.OpBinary, ""},
		{"binary", gobwas.OpBinary, "\x00\xff"}, {"a megabyte", gobwas.OpText, long},
	} {
		p.write(message(row.op, []byte(row.in)))
		p.wantRaw(row.op, row.in)
	}

	in := part(gobwas.OpText, false, []byte("frag"))
	in = append(in, message(9, []byte("amid"))...)
	in = append(in, part(gobwas.OpContinuation, false, nil)...)
	in = append(in, part(gobwas.OpContinuation, true, []byte("ments"))...)
	p.write(in)
	p.wantRaw(gobwas.OpPong, "amid")
	p.wantRaw(gobwas.OpText, "fragments")

	p.write(message(8, nil))
	p.wantCode(0)
}

func TestEchoTakes16MiBAndNoMore(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p := dialEcho(t, e)
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go p.conn.Write(message(2, long))
	if f := p.raw(); !bytes.Equal(f.Payload, long) {
		t.Fatalf("got %d octets back, want the %d sent", len(f.Payload), len(long))
	}
	var head [14]byte
	head[0], head[1] = 0x82, 0x80|127
	binary.BigEndian.PutUint64(head[2:], uint64(len(long)+1))
	p.write(head[:])
	p.wantCode(1009)
}

func TestEchoCloses(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	rows := []struct {
		name string
		in   []byte
		want int
	}{
		{"normal", message(8, gobwas.NewCloseFrameBody(1000, "")), 1000},
		{"application", message(8, gobwas.NewCloseFrameBody(3999, "why")), 3999},
		{"a code that may not be sent", message(8, gobwas.NewCloseFrameBody(1005, "")), 1002},
		{"half a code", message(8, []byte{3}), 1002},
		{"reason is not UTF-8", message(8, append([]byte{3, 232}, 0xff)), 1007},
		{"text is not UTF-8", message(1, []byte("\xce\xba\xff")), 1007},
		{"unfinished text is not UTF-8", part(1, false, []byte("\xf4\x90\x80\x80")), 1007},
		{"reserved bit", append([]byte{0xc1}, message(1, nil)[1:]...), 1002},
		{"a long ping", message(9, make([]byte, 126)), 1002},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := dialEcho(t, e)
			p.write(append(row.in, message(9, []byte("nothing is answered after it"))...))
			p.wantCode(row.want)
		})
	}
	eventually(t, "all to be gone", func() bool { return e.Stats().Conns == 0 })
}

func TestEchoOfAClientThatStopsReading(t *testing.T) {
	e := newEdge(t, gateway.Options{Stall: 50 * time.Millisecond}, session.Options{})
	p := dialEcho(t, e)
	p.write(message(2, make([]byte, 12<<20)))
	eventually(t, "the connection to be cut", func() bool { return e.Stats().Conns == 0 })
}
