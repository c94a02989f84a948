// Package etcd is how an edge or a core reaches the etcd in which cores register themselves: what
// both are configured by, and what that is to the client. It asks and registers nothing: core/rpc
// and edge/rpc do.
package etcd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	registry "github.com/kitex-contrib/registry-etcd"

	"freeim/conf/roots"
)

// Config says which etcd. Each edge and core of a service needs the same Prefix.
type Config struct {
	Endpoints []string `yaml:"endpoints"` // "HOST:PORT", one or more
	Prefix    string   `yaml:"prefix"`    // of the keys
	Username  string   `yaml:"username"`  // empty: no authentication by name
	Password  string   `yaml:"password"`
	TLS       bool     `yaml:"tls"`      // verified by the system's roots, or by those in TLSCA
	TLSCA     string   `yaml:"tls_ca"`   // a file of certificates in PEM
	TLSCert   string   `yaml:"tls_cert"` // files of our own certificate and its key, which etcd asks for with --client-cert-auth
	TLSKey    string   `yaml:"tls_key"`
}

// Validate finds what cannot be meant. It opens no file.
func (c *Config) Validate() error {
	switch {
	case len(c.Endpoints) == 0:
		return errors.New("the endpoints of etcd are needed")
	case strings.Contains(strings.Join(c.Endpoints, ""), "@"):
		return errors.New("an endpoint of etcd holds no account, which would be logged: use username and password")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("tls_cert and tls_key of etcd are set together")
	case !c.TLS && c.TLSCA+c.TLSCert != "":
		return errors.New("tls_ca or tls_cert of etcd is set, tls is not")
	}
	return nil
}

// Options are the client's; dial bounds how long reaching etcd may take. The certificate's files are read again whenever
// the client connects, so that a new pair counts from then on; c must not change any more.
func (c *Config) Options(dial time.Duration) ([]registry.Option, error) {
	secure, err := c.secure()
	if err != nil {
		return nil, err
	}
	options := []registry.Option{registry.WithEtcdServicePrefix(c.Prefix), registry.WithDialTimeoutOpt(dial)}
	if c.Username != "" {
		options = append(options, registry.WithAuthOpt(c.Username, c.Password))
	}
	if secure != nil { // the registry's own option goes on without TLS when it cannot read a file
		options = append(options, func(to *registry.Config) { to.EtcdConfig.TLS = secure })
	}
	return options, nil
}

func (c *Config) secure() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	pool, err := roots.Read(c.TLSCA)
	if err != nil {
		return nil, fmt.Errorf("tls_ca of etcd: %w", err)
	}
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if c.TLSCert != "" {
		own := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
			if err != nil {
				return nil, fmt.Errorf("tls_cert of etcd: %w", err)
			}
			return &pair, nil
		}
		if _, err := own(); err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own() }
	}
	return config, nil
}
