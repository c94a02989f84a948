package client_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"freeim/edge/client"
	"freeim/edge/client/clienttest"
	"freeim/edge/frame"
	"freeim/idl"
)

// socketServer gives the raw end of a WebSocket after its handshake.
func socketServer(t *testing.T, text bool, play func(net.Conn)) *client.Client {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { here.Close() })
	go func() {
		if _, err := ws.Upgrade(here); err != nil {
			t.Error(err)
			return
		}
		play(here)
	}()
	c, err := client.Dial(t.Context(), client.Options{
		Address: "ws://im.test/ws", Text: text,
		Dial: func(context.Context, string, string) (net.Conn, error) { return there, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// heartbeats answers the next heartbeats, n of them, each in the frames that
// split makes of it.
func heartbeats(t *testing.T, conn net.Conn, n int, split func([]byte) []ws.Frame) {
	for range n {
		asked, err := ws.ReadFrame(conn)
		if err != nil {
			t.Error(err)
			return
		}
		asked = ws.UnmaskFrame(asked)
		for _, f := range split(asked.Payload) { // the answer looks like the request
			if err := ws.WriteFrame(conn, f); err != nil {
				t.Error(err)
				return
			}
		}
	}
}

func TestSocketAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pong := make(chan ws.Frame, 1)
		socketServer(t, false, func(conn net.Conn) {
			ws.WriteFrame(conn, ws.NewPingFrame([]byte("are you there")))
			f, _ := ws.ReadFrame(conn)
			pong <- ws.UnmaskFrame(f)
		})
		if f := <-pong; f.Header.OpCode != ws.OpPong || string(f.Payload) != "are you there" || !f.Header.Fin {
			t.Errorf("got %+v %q", f.Header, f.Payload)
		}
	})
}

func TestSocketFragments(t *testing.T) {
	tests := []struct {
		name  string
		text  bool
		split func([]byte) []ws.Frame
	}{
		{"binary with a ping between", false, func(b []byte) []ws.Frame {
			return []ws.Frame{
				ws.NewFrame(ws.OpBinary, false, b[:3]), ws.NewPingFrame(nil), ws.NewFrame(ws.OpContinuation, true, b[3:]),
			}
		}},
		{"text with an empty pong between", true, func(b []byte) []ws.Frame {
			return []ws.Frame{
				ws.NewFrame(ws.OpText, false, b[:3]), ws.NewPongFrame(nil), ws.NewFrame(ws.OpContinuation, true, b[3:]),
			}
		}},
		{"pings before", false, func(b []byte) []ws.Frame {
			return []ws.Frame{ws.NewPongFrame(nil), ws.NewPongFrame([]byte("x")), ws.NewBinaryFrame(b)}
		}},
		{"many frames in a message", false, func(b []byte) []ws.Frame {
			push := frame.Append(nil, frame.Frame{Action: idl.ActionSync})
			return []ws.Frame{ws.NewBinaryFrame(slices.Concat(push, b, push))}
		}},
		{"an empty message", false, func(b []byte) []ws.Frame {
			return []ws.Frame{ws.NewBinaryFrame(nil), ws.NewBinaryFrame(b)}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := socketServer(t, tt.text, func(conn net.Conn) {
					heartbeats(t, conn, 1, tt.split)
					io.Copy(io.Discard, conn)
				})
				if err := c.Heartbeat(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestSocketEnds(t *testing.T) {
	quit := func(r idl.CloseReason) func(error) bool {
		return func(err error) bool {
			q, ok := errors.AsType[*client.Quit](err)
			return ok && q.Reason == r && q.Reconnect == idl.Reconnect(r) && q.Message == "why"
		}
	}
	plain := func(err error) bool { return errors.Is(err, io.EOF) }
	says := func(text string) func(error) bool {
		return func(err error) bool { return strings.Contains(err.Error(), text) }
	}
	tests := []struct {
		name string
		send ws.Frame
		want func(error) bool
	}{
		{"slow", ws.NewCloseFrame(ws.NewCloseFrameBody(4001, "why")), quit(idl.CloseSlow)},
		{"kicked", ws.NewCloseFrame(ws.NewCloseFrameBody(4501, "why")), quit(idl.CloseKicked)},
		{"RFC's own", ws.NewCloseFrame(ws.NewCloseFrameBody(1009, "why")), plain},
		{"no code", ws.NewCloseFrame(nil), plain},
		{"within a frame", ws.NewBinaryFrame([]byte{0, 2, 0}), says("within a frame")},
		{"masked", ws.MaskFrame(ws.NewBinaryFrame([]byte{0})), says("mask")},
		{"text that is no frame", ws.NewTextFrame([]byte("[]")), says("MALFORMED")},
		{"text that is not UTF-8", ws.NewTextFrame([]byte{0xff}), says("utf8")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := socketServer(t, false, func(conn net.Conn) { ws.WriteFrame(conn, tt.send) })
				<-c.Done()
				if err := c.Err(); !tt.want(err) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestSocketRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go func() {
			r := bufio.NewReader(here)
			for line := ""; line != "\r\n"; {
				var err error
				if line, err = r.ReadString('\n'); err != nil {
					t.Error(err)
					break
				}
			}
			io.WriteString(here, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			here.Close()
		}()
		_, err := client.Dial(t.Context(), client.Options{
			Address: "ws://im.test/ws",
			Dial:    func(context.Context, string, string) (net.Conn, error) { return there, nil },
		})
		if err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("got %v, want the status", err)
		}
	})
}

func TestTLS(t *testing.T) {
	server, roots := certificate(t)
	tests := []struct {
		name, scheme string
		wire         clienttest.Wire
		config       *tls.Config
		want         string
	}{
		{"tls", "tls", clienttest.TCP, &tls.Config{RootCAs: roots}, ""},
		{"wss", "wss", clienttest.WebSocket, &tls.Config{RootCAs: roots}, ""},
		{"stranger over tls", "tls", clienttest.TCP, nil, "certificate"},
		{"stranger over wss", "wss", clienttest.WebSocket, nil, "certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake := clienttest.NewFake(clienttest.FakeOptions{Wire: tt.wire})
			defer fake.Close()
			c, err := client.Dial(t.Context(), client.Options{
				Address: tt.scheme + "://im.test:443/ws", TLS: tt.config,
				Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
					return behindTLS(t, fake, server)
				},
			})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Heartbeat(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// behindTLS is a connection to fake through a TLS server of its own.
func behindTLS(t *testing.T, fake *clienttest.Fake, certificate tls.Certificate) (net.Conn, error) {
	inner, err := fake.Dial(t.Context(), "", "")
	if err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	outer := tls.Server(here, &tls.Config{Certificates: []tls.Certificate{certificate}})
	pass := func(to, from net.Conn) {
		io.Copy(to, from)
		to.Close()
		from.Close()
	}
	go pass(inner, outer)
	go pass(outer, inner)
	return there, nil
}

// certificate is a fresh one for im.test, and the roots that trust it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"im.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
