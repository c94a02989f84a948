// Package certs holds the certificate that an edge shows to clients: from two
// files, which are read again when they change, or from an authority that speaks
// ACME (Let's Encrypt). It serves nothing itself; edge's main gives what it makes
// to the gateway.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// Options says where certificates come from: Cert and Key, or ACME.
type Options struct {
	Cert, Key string        // PEM files: the chain, the leaf first, and its private key
	Every     time.Duration // how often they are looked at; 0: 10 s
	Log       *slog.Logger  // nil: slog.Default

	ACME ACME
}

// ACME asks an authority for certificates as clients ask for the hosts. It is
// used when Hosts is not empty.
type ACME struct {
	Hosts     []string // names that certificates are asked for; no other is
	Cache     string   // directory that keeps account and certificates; needed
	Email     string   // whom the authority may write to; empty: nobody
	Directory string   // the authority's directory URL; empty: Let's Encrypt
}

func (o *Options) validate() error {
	switch {
	case len(o.ACME.Hosts) > 0 && o.Cert+o.Key != "":
		return errors.New("certificates from files and by ACME at once: choose one")
	case len(o.ACME.Hosts) > 0 && o.ACME.Cache == "":
		return errors.New("ACME needs a cache directory: without it every start asks for certificates again")
	case len(o.ACME.Hosts) == 0 && (o.Cert == "" || o.Key == ""):
		return errors.New("a certificate needs both files, cert and key, or ACME hosts")
	case o.Every < 0:
		return errors.New("the interval is negative")
	}
	return nil
}

// Source gives the certificate to show. It is safe for concurrent use.
type Source struct {
	opts   Options
	config *tls.Config

	current atomic.Pointer[tls.Certificate]
	files   pair // owned by watch, after Open

	mu    sync.Mutex           // guards shown
	shown map[string]time.Time // by ACME: when the newest certificate of each host expires

	stop    chan struct{}
	stopped sync.Once
	running sync.WaitGroup
}

// pair is what the two files held when they were last read.
type pair struct{ cert, key []byte }

// Open reads the files, which must be right, and watches them until Close.
func Open(o Options) (*Source, error) {
	if o.Every == 0 {
		o.Every = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Source{opts: o, stop: make(chan struct{})}
	if len(o.ACME.Hosts) > 0 {
		s.config, s.shown = o.ACME.manager().TLSConfig(), map[string]time.Time{}
		s.config.GetCertificate = s.noting(s.config.GetCertificate)
		return s, nil
	}
	s.config = &tls.Config{GetCertificate: s.get}
	if _, err := s.reload(); err != nil {
		return nil, err
	}
	s.running.Go(s.watch)
	return s, nil
}

// manager answers challenges on the port that the certificate is for
// (TLS-ALPN-01), so the authority must reach that as port 443.
func (a *ACME) manager() *autocert.Manager {
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(a.Cache),
		HostPolicy: autocert.HostWhitelist(a.Hosts...), Email: a.Email,
	}
	if a.Directory != "" {
		m.Client = &acme.Client{DirectoryURL: a.Directory}
	}
	return m
}

// Config shows the newest certificate in each handshake; it names the protocols
// that ACME needs, if it is used.
func (s *Source) Config() *tls.Config {
	c := s.config.Clone()
	c.NextProtos = nil
	if len(s.opts.ACME.Hosts) > 0 {
		c.NextProtos = []string{acme.ALPNProto}
	}
	return c
}

// Close stops the watch. The configuration goes on with what it has.
func (s *Source) Close() {
	s.stopped.Do(func() { close(s.stop) })
	s.running.Wait()
}

func (s *Source) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current.Load(), nil }

// noting remembers until when the certificates are good that an authority gave.
// Those that answer its challenges are no such.
func (s *Source) noting(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := get(hello)
		if err == nil && !slices.Contains(hello.SupportedProtos, acme.ALPNProto) {
			s.mu.Lock()
			s.shown[strings.ToLower(hello.ServerName)] = c.Leaf.NotAfter // one of ACME.Hosts, or there was an error
			s.mu.Unlock()
		}
		return c, err
	}
}

// Expires is when the certificate in use ends to be good, or the first of those
// above it that the file holds. By ACME it is the first of the hosts that clients
// have asked for; ok is false before one has.
func (s *Source) Expires() (at time.Time, ok bool) {
	if c := s.current.Load(); c != nil {
		at = c.Leaf.NotAfter
		for _, der := range c.Certificate[1:] {
			if above, err := x509.ParseCertificate(der); err == nil && above.NotAfter.Before(at) {
				at = above.NotAfter
			}
		}
		return at, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shown {
		if !ok || one.Before(at) {
			at, ok = one, true
		}
	}
	return at, ok
}

// watch looks at the files, again and again: they may be links that are changed
// somewhere above, as Kubernetes does with its secrets.
func (s *Source) watch() {
	ticker := time.NewTicker(s.opts.Every)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		changed, err := s.reload()
		switch {
		case err != nil && changed:
			s.opts.Log.Error("the new certificate is not used, the old one stays", "err", err)
		case changed:
			s.opts.Log.Info("certificate reloaded", "file", s.opts.Cert, "expires", s.current.Load().Leaf.NotAfter)
		}
	}
}

// reload reads the files and uses them if they are right. changed says that they
// are not what they were when last read; a file that cannot be read is none.
func (s *Source) reload() (changed bool, err error) {
	var now pair
	var errs [2]error
	now.cert, errs[0] = os.ReadFile(s.opts.Cert)
	now.key, errs[1] = os.ReadFile(s.opts.Key)
	changed = !bytes.Equal(now.cert, s.files.cert) || !bytes.Equal(now.key, s.files.key)
	s.files = now
	if err := errors.Join(errs[:]...); err != nil {
		return changed, fmt.Errorf("read the certificate: %w", err)
	}
	if !changed {
		return false, nil
	}
	made, err := tls.X509KeyPair(now.cert, now.key)
	if err != nil {
		return true, fmt.Errorf("use %s with %s: %w", s.opts.Cert, s.opts.Key, err)
	}
	s.current.Store(&made)
	return true, nil
}
