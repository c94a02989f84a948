// Package roots reads the certificates by which a server is verified, where a configuration names
// a file of them. It knows no server: who connects to one calls it.
package roots

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Read gives the certificates in the PEM file at path; nil, which means the system's, for an
// empty path. A file that cannot be read, or that holds none, is an error: whoever names one
// wants no other to count.
func Read(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the file %s has no certificate", path)
	}
	return pool, nil
}
