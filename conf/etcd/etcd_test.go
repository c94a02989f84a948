package etcd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/conf/etcd"
)

func TestValidate(t *testing.T) {
	at := []string{"127.0.0.1:2379"}
	for _, test := range []struct {
		name string
		c    etcd.Config
		want string // in the error; empty: none
	}{
		{"plain", etcd.Config{Endpoints: at}, ""},
		{"under TLS", etcd.Config{Endpoints: at, TLS: true, TLSCA: "ca.pem", TLSCert: "c.pem", TLSKey: "k.pem"}, ""},
		{"nowhere", etcd.Config{}, "endpoints"},
		{"an account in an endpoint", etcd.Config{Endpoints: []string{"http://user:secret@127.0.0.1:2379"}}, "account"},
		{"a certificate without its key", etcd.Config{Endpoints: at, TLS: true, TLSCert: "c.pem"}, "together"},
		{"a key without its certificate", etcd.Config{Endpoints: at, TLS: true, TLSKey: "k.pem"}, "together"},
		{"roots without TLS", etcd.Config{Endpoints: at, TLSCA: "ca.pem"}, "tls is not"},
	} {
		err := test.c.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v tells a password", test.name, err)
		}
	}
}

// TestOptionsFailClosed: a file that is missing or wrong is an error, and not a connection without TLS.
func TestOptionsFailClosed(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []etcd.Config{
		{TLS: true, TLSCA: junk + ".gone"},
		{TLS: true, TLSCA: junk},
		{TLS: true, TLSCert: junk, TLSKey: junk},
	} {
		if _, err := c.Options(time.Second); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	plain := etcd.Config{}
	if _, err := plain.Options(time.Second); err != nil {
		t.Error(err)
	}
}
