package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/idl"

	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// pair is a self-signed certificate and its key as PEM.
func pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"edge"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// said is a log that tests read.
type said struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), what)
}

// secured is an edge whose certificate is in files that are looked at all the time.
type secured struct {
	*edge
	t         *testing.T
	said      *said
	cert, key string
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{t: t, said: &said{}, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	s.put(pair(t, 1))
	c := alone(t)
	c.TCPS, c.HTTPS, c.AuthTimeout = "127.0.0.1:0", "127.0.0.1:0", time.Hour
	c.TLS.Cert, c.TLS.Key, c.TLS.Reload = s.cert, s.key, time.Millisecond
	var err error
	if s.edge, err = newEdge(c, slog.New(slog.NewTextHandler(s.said, nil)), nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close(context.WithoutCancel(t.Context())) })
	return s
}

// put changes the two files, one after the other as people do: what is between is
// a broken pair too.
func (s *secured) put(cert, key []byte) {
	s.t.Helper()
	for path, data := range map[string][]byte{s.cert: cert, s.key: key} {
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			s.t.Fatal(err)
		}
	}
}

// dial gives the session of a client and the number of the certificate it saw.
func (s *secured) dial(to net.Addr) (*tls.Conn, int64) {
	s.t.Helper()
	conn := tls.Client(dial(s.t, to), &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return conn, conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// shows waits until new handshakes of both ports show a certificate.
func (s *secured) shows(want int64) {
	s.t.Helper()
	for _, port := range []net.Addr{s.gateway.TCPSAddr(), s.gateway.HTTPSAddr()} {
		for late := time.Now().Add(patience); ; runtime.Gosched() {
			conn, got := s.dial(port)
			conn.Close()
			if got == want {
				break
			}
			if time.Now().After(late) {
				s.t.Fatalf("shows certificate %d, want %d", got, want)
			}
		}
	}
}

// says waits until the log has one more of what than before.
func (s *secured) says(what string, before int) {
	s.t.Helper()
	for late := time.Now().Add(patience); s.said.count(what) <= before; runtime.Gosched() {
		if time.Now().After(late) {
			s.t.Fatalf("the log does not say %q", what)
		}
	}
}

// Certificates change while sessions live: those go on, who comes gets the new
// one, and a broken pair changes nothing.
func TestCertificatesReloadedUnderSessions(t *testing.T) {
	const refused = "the new certificate is not used"
	s := newSecured(t)
	stream, first := s.dial(s.gateway.TCPSAddr())
	upgraded, second := s.dial(s.gateway.HTTPSAddr())
	if first != 1 || second != 1 {
		t.Fatalf("shown certificates %d and %d, want 1", first, second)
	}
	dialer := gobwas.Dialer{}
	if _, _, err := dialer.Upgrade(upgraded, &url.URL{Scheme: "wss", Host: s.gateway.HTTPSAddr().String(), Path: "/ws"}); err != nil {
		t.Fatal(err)
	}
	sequence := uint32(0)
	goOn := func() {
		t.Helper()
		sequence++
		beat := frame.Append(nil, frame.Frame{Action: idl.ActionHeartbeat, Sequence: sequence})
		if _, err := stream.Write(beat); err != nil {
			t.Fatal(err)
		}
		if a := next(t, stream); a != idl.ActionHeartbeat {
			t.Fatalf("tls: got %v, want Heartbeat", a)
		}
		if err := wsutil.WriteClientBinary(upgraded, beat); err != nil {
			t.Fatal(err)
		}
		if got, err := wsutil.ReadServerBinary(upgraded); err != nil || len(got) < frame.HeaderSize || idl.Action(got[4]) != idl.ActionHeartbeat {
			t.Fatalf("wss: got % x, %v, want Heartbeat", got, err)
		}
	}
	goOn()
	s.put(pair(t, 2))
	s.shows(2)
	goOn()

	// Each has certificates of its own: with a file of the broken pair before, which is
	// there until both are changed, it would make a sound one.
	cut, cutKey := pair(t, 3)
	whole, _ := pair(t, 4)
	_, otherKey := pair(t, 5)
	_, aloneKey := pair(t, 6)
	for _, broken := range map[string][2][]byte{
		"a key of another": {whole, otherKey},
		"half a file":      {cut[:100], cutKey},
		"no certificate":   {[]byte("nothing"), aloneKey},
	} {
		before := s.said.count(refused)
		s.put(broken[0], broken[1])
		s.says(refused, before)
		s.shows(2)
		goOn()
	}
	s.put(pair(t, 7))
	s.shows(7)
	goOn()
	if got := s.hub.Stats().Closed; got[idl.CloseMalformed] != 0 {
		t.Errorf("sessions ended as malformed: %v", got)
	}
}
