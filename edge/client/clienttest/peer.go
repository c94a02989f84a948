package clienttest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/wirepb"
)

// stuck is how long a peer waits for what it expects before the test fails.
const stuck = 2 * time.Minute

// Server is the address that a client dials: every connection becomes a Peer.
// Connections are net.Pipes, so they work in a testing/synctest bubble.
type Server struct {
	t     testing.TB
	wire  Wire
	conns chan net.Conn // from Dial to Accept; never closed

	mu   sync.Mutex // guards down and dial
	down error
	dial int
}

// NewServer makes a server for one test.
func NewServer(t testing.TB, wire Wire) *Server {
	return &Server{t: t, wire: wire, conns: make(chan net.Conn)}
}

// Dial is for client.Options.Dial. It waits for Accept.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	s.dial++
	down := s.down
	s.mu.Unlock()
	if down != nil {
		return nil, down
	}
	here, there := net.Pipe()
	select {
	case s.conns <- here:
		return there, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Down makes Dial fail with err; nil lets it work again.
func (s *Server) Down(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// Dials is how often Dial was called.
func (s *Server) Dials() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dial
}

// Accept waits for the client's next connection.
func (s *Server) Accept() *Peer {
	s.t.Helper()
	select {
	case conn := <-s.conns:
		return s.peer(conn)
	case <-time.After(stuck):
		s.t.Fatal("the client does not connect")
		return nil
	}
}

func (s *Server) peer(conn net.Conn) *Peer {
	s.t.Helper()
	l, err := newLine(conn, s.wire)
	if err != nil {
		s.t.Fatalf("handshake: %v", err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &Peer{t: s.t, line: l}
}

// Peer is the server's end of one connection, played by the test. Its methods
// fail the test when the client does something else.
type Peer struct {
	t     testing.TB
	line  *line
	codec idl.Codec // of the last request: pushes take it
}

// Request is a frame of the client's.
type Request = frame.Frame

// Expect reads the next frame, which must be of the action, and decodes its body
// into body unless that is nil.
func (p *Peer) Expect(action idl.Action, body idl.Message) Request {
	p.t.Helper()
	f, err := p.Next()
	if err != nil {
		p.t.Fatalf("expected %v, got %v", action, err)
	}
	if f.Action != action {
		p.t.Fatalf("expected %v, got %v with %q", action, f.Action, f.Body)
	}
	if body == nil {
		return f
	}
	if err := idl.Decode(f.Body, f.Codec, body); err != nil {
		p.t.Fatalf("body of %v: %v", action, err)
	}
	return f
}

// Next reads the next frame, whatever it is.
func (p *Peer) Next() (Request, error) {
	if err := p.line.conn.SetReadDeadline(time.Now().Add(stuck)); err != nil {
		return Request{}, err
	}
	f, err := p.line.read()
	if err == nil {
		p.codec = f.Codec
	}
	return f, err
}

// ExpectEnd waits until the client has closed the connection; frames that come
// before are passed over.
func (p *Peer) ExpectEnd() {
	p.t.Helper()
	for {
		_, err := p.Next()
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			p.t.Fatal("the client does not close the connection")
		}
		if err != nil {
			return
		}
	}
}

// Answer answers r.
func (p *Peer) Answer(r Request, body idl.Message) {
	p.t.Helper()
	p.Send(newFrame(r.Codec, r.Action, r.Sequence, body))
}

// Refuse answers r with a refusal.
func (p *Peer) Refuse(r Request, e *wirepb.Error) {
	p.t.Helper()
	p.Send(newFrame(r.Codec, idl.ActionError, r.Sequence, e))
}

// Push sends a push.
func (p *Peer) Push(action idl.Action, body idl.Message) {
	p.t.Helper()
	p.Send(newFrame(p.codec, action, 0, body))
}

// Quit sends Quit and closes the connection.
func (p *Peer) Quit(q *wirepb.Quit) {
	p.t.Helper()
	p.Push(idl.ActionQuit, q)
	p.Cut()
}

// Send sends any frame.
func (p *Peer) Send(f frame.Frame) {
	p.t.Helper()
	b, err := p.line.encode(f)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Write(b)
}

// Write sends bytes as they are.
func (p *Peer) Write(b []byte) {
	p.t.Helper()
	if _, err := p.line.conn.Write(b); err != nil {
		p.t.Fatalf("write to the client: %v", err)
	}
}

// Encode gives the bytes that Send would write.
func (p *Peer) Encode(f frame.Frame) []byte {
	p.t.Helper()
	b, err := p.line.encode(f)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// Cut closes the connection without a word.
func (p *Peer) Cut() { p.line.conn.Close() }

// Welcome plays the beginning of a session: it answers Auth with auth, then the
// first Sync with page, and gives what the client asked in that. A page without
// an epoch gets auth's.
func (p *Peer) Welcome(auth *accountpb.AuthReply, page *chatpb.SyncReply) *chatpb.SyncRequest {
	p.t.Helper()
	p.Answer(p.Expect(idl.ActionAuth, nil), auth)
	return p.AnswerSync(auth.Epoch, page)
}

// AnswerSync expects a Sync and answers it with page, in epoch.
func (p *Peer) AnswerSync(epoch string, page *chatpb.SyncReply) *chatpb.SyncRequest {
	p.t.Helper()
	asked := new(chatpb.SyncRequest)
	r := p.Expect(idl.ActionSync, asked)
	if page.Epoch == "" {
		page.Epoch = epoch
	}
	p.Answer(r, page)
	return asked
}
