package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/edge/client/clienttest"
)

// ownCA makes a certificate for the loopback address, and a file as -ca takes it.
func ownCA(t *testing.T) (shown tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// front takes TLS off before a fake; it gives the address to connect to.
func front(t *testing.T, shown tls.Certificate, fake *clienttest.Fake) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{shown}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		fake.Close() // ends those that are joined
		running.Wait()
	})
	running.Go(func() {
		for {
			outer, err := l.Accept()
			if err != nil {
				return
			}
			inner, err := fake.Dial(t.Context(), "", "")
			if err != nil {
				outer.Close()
				continue
			}
			running.Go(func() { io.Copy(inner, outer); inner.Close() })
			running.Go(func() { io.Copy(outer, inner); outer.Close() })
		}
	})
	return l.Addr().String()
}

// A server whose authority is not the system's is believed with -ca, and with
// the right one only.
func TestOwnAuthority(t *testing.T) {
	shown, file := ownCA(t)
	_, another := ownCA(t)
	for scheme, wire := range map[string]clienttest.Wire{"tls": clienttest.TCP, "wss": clienttest.WebSocket} {
		t.Run(scheme, func(t *testing.T) {
			fake := clienttest.NewFake(clienttest.FakeOptions{Wire: wire})
			address := scheme + "://" + front(t, shown, fake) + "/ws"
			x := start(t, account(address, "alice", "-signup", "-to", "alice", "-ca", file)...)
			x.types("to myself")
			x.sees(x.out, `(?m)^✓ to myself$`)
			x.types("/quit")
			x.exits(exitOK)
			for name, flags := range map[string][]string{"the system's": nil, "another": {"-ca", another}} {
				errs := newPage()
				code := run(t.Context(), account(address, "alice", flags...), strings.NewReader(""), io.Discard, errs)
				if text, _ := errs.now(); code != exitFailed || !strings.Contains(text, "x509: ") {
					t.Errorf("%s: exit code %d; errors:\n%s", name, code, text)
				}
			}
		})
	}
}
