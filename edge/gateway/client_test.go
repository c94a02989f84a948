package gateway_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"

	gobwas "github.com/gobwas/ws"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// peer is a client's end, over TCP or WebSocket.
type peer struct {
	t    testing.TB
	conn net.Conn // TLS over tcp, or tcp
	tcp  *net.TCPConn
	in   *bufio.Reader
	ws   bool
	dec  frame.Decoder
	got  []frame.Frame // decoded, not yet taken
	code int           // of the WebSocket close frame that came
}

func dialTCP(t testing.TB, e *edge) *peer {
	t.Helper()
	return newPeer(t, e.TCPAddr().String())
}

func newPeer(t testing.TB, address string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &peer{t: t, conn: c, tcp: c.(*net.TCPConn), in: bufio.NewReader(c)}
}

// newTLSPeer has passed the handshake.
func newTLSPeer(t testing.TB, address string) *peer {
	t.Helper()
	p := newPeer(t, address)
	p.secure(&tls.Config{RootCAs: authority.pool(), ServerName: "edge"})
	return p
}

// secure passes a TLS handshake.
func (p *peer) secure(config *tls.Config) {
	p.t.Helper()
	c := tls.Client(p.conn, config)
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.conn, p.in = c, bufio.NewReader(c)
}

func dialTLS(t testing.TB, e *edge) *peer {
	t.Helper()
	return newTLSPeer(t, e.TCPSAddr().String())
}

func dialWSS(t testing.TB, e *edge) *peer {
	t.Helper()
	p := newTLSPeer(t, e.HTTPSAddr().String())
	p.write([]byte(upgrade))
	p.accepted()
	return p
}

const upgrade = "GET /ws HTTP/1.1\r\nHost: edge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

func dialWS(t testing.TB, e *edge) *peer {
	t.Helper()
	p := newPeer(t, e.HTTPAddr().String())
	p.write([]byte(upgrade))
	p.accepted()
	return p
}

func dialEcho(t testing.TB, e *edge) *peer {
	t.Helper()
	p := newPeer(t, e.EchoAddr().String())
	p.write([]byte(strings.Replace(upgrade, "/ws", "/any/path?x=1", 1)))
	p.accepted()
	return p
}

// accepted reads the answer to a handshake.
func (p *peer) accepted() {
	p.t.Helper()
	if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
		p.t.Fatalf("handshake: got %q", head)
	}
	p.ws = true
}

func (p *peer) head() string {
	p.t.Helper()
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := p.in.ReadString('\n')
		if err != nil {
			p.t.Fatalf("head: %v after %q", err, head.String())
		}
		head.WriteString(line)
	}
	return head.String()
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// message is one masked WebSocket frame with the final bit.
func message(op gobwas.OpCode, payload []byte) []byte {
	return gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewFrame(op, true, append([]byte(nil), payload...))))
}

// wrap is how frames travel to the edge over this transport.
func (p *peer) wrap(frames []byte) []byte {
	if p.ws {
		return message(gobwas.OpBinary, frames)
	}
	return frames
}

func (p *peer) send(frames ...frame.Frame) {
	p.t.Helper()
	var out []byte
	for _, f := range frames {
		out = frame.Append(out, f)
	}
	p.write(p.wrap(out))
}

// next is the next frame that comes; io.EOF when the edge has ended properly.
func (p *peer) next() (frame.Frame, error) {
	for len(p.got) == 0 {
		if err := p.read(); err != nil {
			return frame.Frame{}, err
		}
	}
	f := p.got[0]
	p.got = p.got[1:]
	return f, nil
}

func (p *peer) read() error {
	if p.ws {
		return p.readMessage()
	}
	buf := make([]byte, 4096)
	n, err := p.in.Read(buf)
	if n > 0 {
		return p.dec.Feed(buf[:n], 1<<24, p.keep)
	}
	return err
}

func (p *peer) readMessage() error {
	f, err := gobwas.ReadFrame(p.in)
	if err != nil {
		return err
	}
	switch f.Header.OpCode {
	case gobwas.OpBinary:
		return p.dec.Feed(f.Payload, 1<<24, p.keep)
	case gobwas.OpText:
		got, err := frame.ParseText(f.Payload, func(string) (idl.Action, bool) { return 0, false })
		p.got = append(p.got, got)
		return err
	case gobwas.OpClose:
		code, _ := gobwas.ParseCloseFrameData(f.Payload)
		p.code = int(code)
	}
	return nil
}

func (p *peer) keep(f frame.Frame) error {
	f.Body = append([]byte(nil), f.Body...)
	p.got = append(p.got, f)
	return nil
}

func (p *peer) want(action idl.Action, sequence uint32) frame.Frame {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.t.Fatalf("got %v, want %v with sequence %d", err, action, sequence)
	}
	if f.Action != action || f.Sequence != sequence {
		p.t.Fatalf("got %v with sequence %d and body %q, want %v with sequence %d", f.Action, f.Sequence, f.Body, action, sequence)
	}
	return f
}

// wantClose expects Quit with a reason, then the end of the connection.
func (p *peer) wantClose(reason idl.CloseReason) {
	p.t.Helper()
	p.wantQuit(reason)
	p.wantEnd()
	if p.ws && p.code != int(reason) {
		p.t.Fatalf("close code: got %d, want %d", p.code, reason)
	}
}

func (p *peer) wantQuit(reason idl.CloseReason) {
	p.t.Helper()
	f := p.want(idl.ActionQuit, 0)
	var quit wirepb.Quit
	if err := idl.Decode(f.Body, f.Codec, &quit); err != nil {
		p.t.Fatal(err)
	}
	if quit.Reason != reason || quit.Reconnect != idl.Reconnect(reason) {
		p.t.Fatalf("quit: got %+v, want reason %v", &quit, reason)
	}
}

func (p *peer) wantEnd() {
	p.t.Helper()
	if f, err := p.next(); !errors.Is(err, io.EOF) {
		p.t.Fatalf("got %+v, %v, want the end", f, err)
	}
}

// auth passes Auth.
func (p *peer) auth() {
	p.t.Helper()
	p.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1, Body: []byte("token")})
	p.want(idl.ActionAuth, 1)
}

func heartbeat(sequence uint32) frame.Frame {
	return frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionHeartbeat, Sequence: sequence}
}

func chat(sequence uint32, body string) frame.Frame {
	return frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionMessage, Sequence: sequence, Body: []byte(body)}
}
