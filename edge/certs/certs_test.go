package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/certs"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is a self-signed certificate as two PEM files hold it.
func made(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	return madeFor(t, serial, time.Hour)
}

// expiring is a certificate that is good for so long.
func expiring(t *testing.T, life time.Duration) []byte {
	t.Helper()
	cert, _ := madeFor(t, 3, life)
	return cert
}

func madeFor(t *testing.T, serial int64, life time.Duration) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"edge"}, NotAfter: time.Now().Add(life)}
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

// shelf is a directory with the two files.
type shelf struct {
	*testing.T
	cert, key string
}

func newShelf(t *testing.T) *shelf {
	dir := t.TempDir()
	return &shelf{t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
}

func (s *shelf) put(cert, key []byte) {
	s.Helper()
	for path, data := range map[string][]byte{s.cert: cert, s.key: key} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			s.Fatal(err)
		}
	}
}

// shown is the serial number of the certificate that a handshake would show.
func shown(t *testing.T, c *tls.Config) int64 {
	t.Helper()
	cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.Int64()
}

// lines is a log that tests read.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), what)
}

func TestReload(t *testing.T) {
	s := newShelf(t)
	first, firstKey := made(t, 1)
	second, secondKey := made(t, 2)
	s.put(first, firstKey)
	synctest.Test(t, func(t *testing.T) {
		said := new(lines)
		source, err := certs.Open(certs.Options{Cert: s.cert, Key: s.key, Log: slog.New(slog.NewTextHandler(said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		config := source.Config() // taken once, as a listener does
		steps := []struct {
			name           string
			put            func()
			want           int64
			errors, infos  int // lines so far
			reloadsOnceFor time.Duration
		}{
			{"as at the start", func() {}, 1, 0, 0, time.Minute},
			{"a new pair", func() { s.put(second, secondKey) }, 2, 0, 1, time.Minute},
			{"a key of another", func() { s.put(second, firstKey) }, 2, 1, 1, time.Minute},
			{"half a file", func() { s.put(first[:100], firstKey) }, 2, 2, 1, time.Minute},
			{"no file", func() { os.Remove(s.cert) }, 2, 3, 1, time.Minute},
			{"the first again", func() { s.put(first, firstKey) }, 1, 3, 2, time.Minute},
		}
		for _, step := range steps {
			step.put()
			time.Sleep(step.reloadsOnceFor)
			synctest.Wait()
			if got := shown(t, config); got != step.want {
				t.Errorf("%s: shows certificate %d, want %d", step.name, got, step.want)
			}
			if e, i := said.count("level=ERROR"), said.count("level=INFO"); e != step.errors || i != step.infos {
				t.Errorf("%s: %d errors and %d reloads said, want %d and %d", step.name, e, i, step.errors, step.infos)
			}
		}
	})
}

// What expires first is told, of the certificate in use and those above it.
func TestExpires(t *testing.T) {
	s := newShelf(t)
	cert, key := made(t, 1)
	above, _ := made(t, 2)
	s.put(slices.Concat(cert, above), key)
	source, err := certs.Open(certs.Options{Cert: s.cert, Key: s.key})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	first, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	// made gives an hour from now, in whole seconds: the first ends no later.
	if at, ok := source.Expires(); !ok || !at.Equal(first.Leaf.NotAfter) {
		t.Errorf("got %v, %t, want %v", at, ok, first.Leaf.NotAfter)
	}
	s.put(slices.Concat(cert, expiring(t, time.Minute)), key)
	again, err := certs.Open(certs.Options{Cert: s.cert, Key: s.key})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if at, ok := again.Expires(); !ok || time.Until(at) > time.Minute {
		t.Errorf("with one above it that expires in a minute: got %v, %t", at, ok)
	}
	asked, err := certs.Open(certs.Options{ACME: certs.ACME{Hosts: []string{"edge.example"}, Cache: t.TempDir()}})
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	if at, ok := asked.Expires(); ok {
		t.Errorf("by ACME, before anybody asked: got %v", at)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := newShelf(t)
	cert, _ := made(t, 1)
	_, other := made(t, 2)
	s.put(cert, other)
	hosts := []string{"edge.example"}
	for name, row := range map[string]struct {
		opts certs.Options
		want string
	}{
		"nothing":         {certs.Options{}, "both files"},
		"one file":        {certs.Options{Cert: s.cert}, "both files"},
		"no such file":    {certs.Options{Cert: s.cert + "x", Key: s.key}, "no such file"},
		"another's key":   {certs.Options{Cert: s.cert, Key: s.key}, "private key does not match"},
		"both ways":       {certs.Options{Cert: s.cert, Key: s.key, ACME: certs.ACME{Hosts: hosts, Cache: "x"}}, "choose one"},
		"no cache":        {certs.Options{ACME: certs.ACME{Hosts: hosts}}, "cache"},
		"a negative time": {certs.Options{Cert: s.cert, Key: s.key, Every: -1}, "negative"},
	} {
		if _, err := certs.Open(row.opts); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want an error about %q", name, err, row.want)
		}
	}
}
