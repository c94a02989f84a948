package gateway_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

// ca makes the certificate that the edges of these tests show.
type ca struct {
	once sync.Once
	made tls.Certificate
	leaf *x509.Certificate
}

var authority ca

func (a *ca) certificate() tls.Certificate {
	a.once.Do(func() { a.made, a.leaf = selfSigned(1) })
	return a.made
}

func (a *ca) pool() *x509.CertPool {
	a.certificate()
	pool := x509.NewCertPool()
	pool.AddCert(a.leaf)
	return pool
}

func selfSigned(serial int64) (tls.Certificate, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "edge"}, DNSNames: []string{"edge"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, leaf
}

// Both versions, with and without the client's wish for a protocol.
func TestTLSVersions(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	for _, row := range []struct {
		name     string
		min, max uint16
		ok       bool
	}{
		{"1.0", tls.VersionTLS10, tls.VersionTLS10, false},
		{"1.1", tls.VersionTLS11, tls.VersionTLS11, false},
		{"1.2", tls.VersionTLS12, tls.VersionTLS12, true},
		{"1.3", tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			config := &tls.Config{RootCAs: authority.pool(), ServerName: "edge", MinVersion: row.min, MaxVersion: row.max}
			p := newPeer(t, e.TCPSAddr().String())
			if !row.ok {
				if err := tls.Client(p.conn, config).Handshake(); err == nil {
					t.Fatal("the handshake passed")
				}
				return
			}
			p.secure(config)
			p.auth()
			p.send(chat(2, strings.Repeat("x", 60_000)))
			if f := p.want(idl.ActionMessage, 2); len(f.Body) != 60_000 {
				t.Fatalf("got %d octets back", len(f.Body))
			}
		})
	}
}

// The pages, over TLS on one connection.
func TestPagesUnderTLS(t *testing.T) {
	e := newWeb(t, gateway.Options{})
	p := newTLSPeer(t, e.HTTPSAddr().String())
	for range 2 {
		p.write([]byte("GET /page HTTP/1.1\r\nHost: edge\r\n\r\n"))
		if status, body := p.response(); status != 200 || body != "GET /page 0 <nil>" {
			t.Fatalf("got %d %q", status, body)
		}
	}
	p.conn.Close()
	eventually(t, "the connection to be gone", func() bool { return e.Stats().HTTP == 0 })
}

// What is no TLS, or ends in the middle of a handshake, costs its connection and
// nothing else.
func TestHandshakesThatFail(t *testing.T) {
	e := newEdge(t, gateway.Options{HeadTimeout: 200 * time.Millisecond}, session.Options{})
	before := descriptors(t)
	hello := clientHello(t)
	for _, row := range []struct {
		name string
		in   []byte
	}{
		{"nothing", nil},
		{"a frame", frame.Append(nil, heartbeat(1))},
		{"zeros", make([]byte, 1000)},
		{"random octets", []byte("\x16\x03\x01\xff\xff" + strings.Repeat("garbage", 100))},
		{"a record over the limit", append([]byte{22, 3, 1, 0xff, 0xff}, make([]byte, 70_000)...)},
		{"half a hello", hello[:len(hello)/2]},
		{"a hello and no more", hello},
		{"a hello twice", append(bytes.Clone(hello), hello...)},
		{"a hello and garbage", append(bytes.Clone(hello), bytes.Repeat([]byte{0xa5}, 4096)...)},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, address := range []net.Addr{e.TCPSAddr(), e.HTTPSAddr()} {
				p := newPeer(t, address.String())
				p.conn.Write(row.in)
				if _, err := io.Copy(io.Discard, p.conn); err != nil {
					t.Logf("the client saw %v", err)
				}
				p.conn.Close()
			}
		})
	}
	t.Run("http on the https port", func(t *testing.T) {
		p := newPeer(t, e.HTTPSAddr().String())
		p.write([]byte("GET / HTTP/1.1\r\nHost: edge\r\n\r\n"))
		if status, body := p.response(); status != 400 || body != "this port is for https and wss" {
			t.Fatalf("got %d %q", status, body)
		}
		p.conn.Close()
	})
	eventually(t, "all to be gone", func() bool { return e.Stats().HTTP == 0 && e.Stats().Conns == 0 })
	eventually(t, "descriptors to be back", func() bool { return descriptors(t) <= before })
	dialTLS(t, e).auth()
}

// clientHello is the first flight of a client.
func clientHello(t *testing.T) []byte {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go tls.Client(near, &tls.Config{ServerName: "edge"}).Handshake()
	buf := make([]byte, 1<<16)
	n, err := far.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// A record that was changed on its way ends the session, with the core told.
func TestDamagedRecord(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	for name, in := range map[string][]byte{
		"damaged":          append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...),
		"over the limit":   append([]byte{23, 3, 3, 0xff, 0xff}, make([]byte, 1000)...),
		"no record at all": []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			p := dialTLS(t, e)
			p.auth()
			live := e.hub.Stats().Live
			p.tcp.Write(in)
			if _, err := p.next(); err == nil {
				t.Fatal("got a frame")
			}
			eventually(t, "the session to end", func() bool { return e.hub.Stats().Live == live-1 })
			p.conn.Close()
		})
	}
	if got := e.hub.Stats().Closed[idl.CloseMalformed]; got != 3 {
		t.Errorf("counted %d as malformed, want 3", got)
	}
	eventually(t, "all to be gone", func() bool { return e.Stats().Conns == 0 })
}

// A client that ends its side of TLS has ended, also when TCP stays open.
func TestCloseNotify(t *testing.T) {
	for name, dial := range map[string]func(testing.TB, *edge) *peer{"tls": dialTLS, "wss": dialWSS} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, gateway.Options{}, session.Options{})
			p := dial(t, e)
			p.auth()
			p.conn.(*tls.Conn).CloseWrite()
			eventually(t, "the session to end", func() bool { return e.Stats().Conns == 0 && e.core.gones(1) == 1 })
		})
	}
}

// Every cut of the ciphertext into two pieces gives the same frames.
func TestRecordsInPieces(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p := newPeer(t, e.TCPSAddr().String())
	cut := &cutting{TCPConn: p.tcp}
	p.conn = cut
	p.secure(&tls.Config{RootCAs: authority.pool(), ServerName: "edge"})
	p.auth()
	for i := range 80 {
		cut.at = i + 1
		p.send(chat(uint32(i+2), "in two pieces"))
		p.want(idl.ActionMessage, uint32(i+2))
	}
	cut.at = -1
	p.send(chat(1000, "octet by octet"))
	p.want(idl.ActionMessage, 1000)
}

// cutting writes in two pieces, or octet by octet when at is negative.
type cutting struct {
	*net.TCPConn
	at int
}

func (c *cutting) Write(p []byte) (n int, err error) {
	switch {
	case c.at < 0:
		for i := range p {
			if _, err := c.TCPConn.Write(p[i : i+1]); err != nil {
				return i, err
			}
		}
		return len(p), nil
	case c.at > 0 && c.at < len(p):
		if n, err = c.TCPConn.Write(p[:c.at]); err != nil {
			return n, err
		}
		runtime.Gosched()
	}
	m, err := c.TCPConn.Write(p[n:])
	return n + m, err
}

// The handshake of a client that is cut off, or ends with the gateway.
func TestCloseDuringHandshakes(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	p := newPeer(t, e.TCPSAddr().String())
	p.write(clientHello(t)[:20])
	eventually(t, "it to be there", func() bool { return e.Stats().HTTP == 1 })
	e.Close()
	if _, err := io.Copy(io.Discard, p.conn); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Logf("the client saw %v", err)
	}
	if got := e.Stats().HTTP; got != 0 {
		t.Fatalf("left over: %d", got)
	}
}

// An idle session has no goroutine.
func TestNoGoroutineForAnIdleTLSSession(t *testing.T) {
	e := newEdge(t, gateway.Options{}, session.Options{})
	dialTLS(t, e).auth()
	eventually(t, "it to be in", func() bool { return e.Stats().HTTP == 0 })
	before := runtime.NumGoroutine()
	for range 20 {
		dialTLS(t, e).auth()
		dialWSS(t, e).auth()
	}
	eventually(t, "no goroutine to be left", func() bool { return runtime.NumGoroutine() <= before+2 }) // netpoll's idle workers
}
