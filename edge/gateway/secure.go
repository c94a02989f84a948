package gateway

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
)

// secure is TLS on one connection: crypto/tls over a wire that is the socket
// while the handshake and the request head are read, and memory afterwards, when
// netpoll reads and outbound writes. So a session under TLS has no goroutine.
type secure struct {
	tls  *tls.Conn
	wire wire
}

func newSecure(a *arrival, config *tls.Config) *secure {
	s := &secure{wire: wire{socket: a}}
	s.tls = tls.Server(&s.wire, config)
	return s
}

// detach turns the wire into memory. in is what was read of the socket and not
// taken by crypto/tls.
func (s *secure) detach() (in []byte) {
	in, s.wire.socket.early = s.wire.socket.early, nil
	s.wire.socket = nil
	return in
}

// maxUnasked bounds what crypto/tls has to say by itself, in octets: answers to
// key updates, which leave with the next data. A client gets there only by
// asking for new keys all the time.
const maxUnasked = 1024

var errKeyUpdates = errors.New("too many key updates")

// open decrypts what arrived and gives the plaintext to feed in pieces; more is
// false when no more is wanted. Its error is io.EOF when the client has ended
// its side, and else a breach of TLS. The read loop calls it.
func (s *secure) open(p []byte, buf []byte, feed func([]byte) bool) (more bool, err error) {
	s.wire.in = p
	defer func() { s.wire.in = nil }()
	for {
		n, err := s.tls.Read(buf)
		if s.wire.unasked() > maxUnasked {
			return false, errKeyUpdates
		}
		if n > 0 && !feed(buf[:n]) {
			return false, nil
		}
		switch {
		case errors.Is(err, errDry):
			return true, nil
		case err != nil:
			return false, err
		}
	}
}

// seal encrypts p into a buffer of shared, behind what crypto/tls has to say by
// itself; last says that nothing follows. One goroutine at a time calls it. What
// cannot be encrypted any more, after a breach by the client, is dropped.
func (s *secure) seal(p []byte, last bool, shared *outlet) *[]byte {
	s.wire.lend(shared.buffers.Get().(*[]byte))
	if len(p) > 0 {
		s.tls.Write(p)
	}
	if last {
		s.tls.CloseWrite()
	}
	return s.wire.take()
}

// wire is the net.Conn under a tls.Conn.
type wire struct {
	socket *arrival // nil once the wire is memory
	in     []byte   // owned by the read loop: ciphertext not yet taken

	mu      sync.Mutex // guards the fields below
	out     *[]byte    // records not yet taken; nil: none
	sealing bool       // out is lent, and leaves as soon as it is full
}

// dry says that a read would have to wait. crypto/tls goes on after it, since it
// is temporary.
type dry struct{}

var errDry net.Error = dry{}

func (dry) Error() string   { return "nothing has arrived" }
func (dry) Timeout() bool   { return false }
func (dry) Temporary() bool { return true }

func (w *wire) Read(p []byte) (int, error) {
	if w.socket != nil {
		return w.socket.readSocket(p)
	}
	if len(w.in) == 0 {
		return 0, errDry
	}
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error) {
	if w.socket != nil {
		return w.socket.tcp.Write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out == nil {
		w.out = new([]byte)
	}
	*w.out = append(*w.out, p...)
	return len(p), nil
}

// lend gives the wire a buffer to write to.
func (w *wire) lend(buf *[]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*buf = (*buf)[:0]
	if w.out != nil {
		*buf = append(*buf, *w.out...)
	}
	w.out, w.sealing = buf, true
}

func (w *wire) take() *[]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	buf := w.out
	w.out, w.sealing = nil, false
	return buf
}

// unasked is how many octets wait for the next data. What is being sealed
// meanwhile, by another goroutine, is that data.
func (w *wire) unasked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out == nil || w.sealing {
		return 0
	}
	return len(*w.out)
}

func (w *wire) Close() error {
	if w.socket != nil {
		return w.socket.tcp.Close()
	}
	return nil
}

func (w *wire) LocalAddr() net.Addr {
	if w.socket != nil {
		return w.socket.tcp.LocalAddr()
	}
	return nil
}

func (w *wire) RemoteAddr() net.Addr {
	if w.socket != nil {
		return w.socket.RemoteAddr()
	}
	return nil
}

func (w *wire) SetDeadline(t time.Time) error {
	if w.socket != nil {
		return w.socket.tcp.SetDeadline(t)
	}
	return nil
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if w.socket != nil {
		return w.socket.tcp.SetReadDeadline(t)
	}
	return nil
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.socket != nil {
		return w.socket.tcp.SetWriteDeadline(t)
	}
	return nil
}

// decrypt is input under TLS.
func (c *conn) decrypt(p []byte) (more bool) {
	buf := c.gateway.records.Get().(*[record]byte)
	defer c.gateway.records.Put(buf)
	more, err := c.secure.open(p, buf[:], c.speaks.feed)
	switch {
	case err == io.EOF: // as with TCP: a client that ends its side has ended
		c.out.abort()
	case err != nil:
		c.speaks.fail(&frame.CloseError{Reason: idl.CloseMalformed, Text: err.Error()})
	}
	return more
}

// record is the longest plaintext that one TLS record holds.
const record = 16 << 10

// plainAnswer is for a client that speaks HTTP without TLS to an HTTPS port.
const plainAnswer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Content-Length: 30\r\n\r\nthis port is for https and wss"

// handshake passes TLS on the socket; its deadline is set.
func (g *Gateway) handshake(a *arrival, config *tls.Config) error {
	a.secure = newSecure(a, config)
	err := a.secure.tls.Handshake()
	if err == nil {
		g.counters.handshakes.Add(1)
		return nil
	}
	g.counters.unsecured.Add(1)
	if fault, ok := errors.AsType[tls.RecordHeaderError](err); ok && fault.Conn != nil && looksHTTP(fault.RecordHeader) {
		a.tcp.Write([]byte(plainAnswer))
	}
	return err
}

func looksHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}
