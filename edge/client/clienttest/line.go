// Package clienttest stands in for a server in tests of programs that use the Go
// SDK. Server gives scripted peers: expect this frame, send that. Fake is a small
// server in memory that behaves as idl/README.md says, with faults on demand. It
// stores nothing, checks little and is for tests only: of edge/client, of
// edge/client/chat and of applications.
package clienttest

import (
	"bytes"
	"fmt"
	"net"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"freeim/edge/frame"
	"freeim/idl"
)

// Wire is how a server's connections carry frames.
type Wire int

const (
	TCP       Wire = iota // frames back to back
	WebSocket             // binary or text, as the client asks
)

// Scheme is that of a matching client.Options.Address.
func (w Wire) Scheme() string {
	if w == WebSocket {
		return "ws"
	}
	return "tcp"
}

// maxBody is what a line takes from a client, in octets. Source: idl/README.md, Frame.
const maxBody = 64 << 10

// line is the server's end of one connection. read is for one goroutine, write
// for one other.
type line struct {
	conn net.Conn
	wire Wire

	// Owned by the reader.
	dec   frame.Decoder
	ready []frame.Frame
	buf   []byte

	mu   sync.Mutex // guards text
	text bool       // the client's last WebSocket message was text: answer in kind
}

// newLine takes over conn; on a WebSocket it reads the client's handshake first.
func newLine(conn net.Conn, wire Wire) (*line, error) {
	if wire == WebSocket {
		if _, err := ws.Upgrade(conn); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return &line{conn: conn, wire: wire, buf: make([]byte, 4096)}, nil
}

// read gives the next frame.
func (l *line) read() (frame.Frame, error) {
	for len(l.ready) == 0 {
		if err := l.fill(); err != nil {
			return frame.Frame{}, err
		}
	}
	f := l.ready[0]
	l.ready = l.ready[1:]
	return f, nil
}

func (l *line) fill() error {
	if l.wire == WebSocket {
		return l.fillFromSocket()
	}
	n, err := l.conn.Read(l.buf)
	if n > 0 {
		return l.dec.Feed(l.buf[:n], maxBody, l.keep)
	}
	return err
}

func (l *line) fillFromSocket() error {
	data, op, err := wsutil.ReadClientData(l.conn)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.text = op == ws.OpText
	l.mu.Unlock()
	if op == ws.OpBinary {
		return l.dec.Feed(data, maxBody, l.keep)
	}
	f, err := frame.ParseText(data, func(string) (idl.Action, bool) { return 0, false })
	if err != nil {
		return err
	}
	return l.keep(f)
}

func (l *line) keep(f frame.Frame) error {
	f.Body = bytes.Clone(f.Body)
	l.ready = append(l.ready, f)
	return nil
}

// write sends f.
func (l *line) write(f frame.Frame) error {
	b, err := l.encode(f)
	if err != nil {
		return err
	}
	_, err = l.conn.Write(b)
	return err
}

// encode gives the bytes of f as this connection carries them.
func (l *line) encode(f frame.Frame) ([]byte, error) {
	if l.wire == TCP {
		return frame.Append(nil, f), nil
	}
	l.mu.Lock()
	text := l.text
	l.mu.Unlock()
	if !text {
		return ws.CompileFrame(ws.NewBinaryFrame(frame.Append(nil, f)))
	}
	b, err := frame.AppendText(nil, f)
	if err != nil {
		return nil, err
	}
	return ws.CompileFrame(ws.NewTextFrame(b))
}

// newFrame makes a frame of a body; a body that cannot be encoded is a fault
// of the test.
func newFrame(c idl.Codec, action idl.Action, sequence uint32, body idl.Message) frame.Frame {
	b, err := idl.Append(nil, c, body)
	if err != nil {
		panic(fmt.Sprintf("body of %v: %v", action, err))
	}
	return frame.Frame{Codec: c, Action: action, Sequence: sequence, Body: b}
}
