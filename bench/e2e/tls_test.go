package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/e2e/browser"
	"freeim/edge/client"
	"freeim/idl"
)

// identity is a certificate of the loopback address, and who believes it.
type identity struct {
	leaf         *x509.Certificate
	shown, trust *tls.Config
}

func newIdentity(t *testing.T) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &identity{
		leaf:  leaf,
		shown: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}},
		trust: &tls.Config{RootCAs: pool},
	}
}

// The stories with the most to lose under TLS: what is said, a Quit with its
// reason before close_notify, and handshakes again after a restart.
func TestScenariosUnderTLS(t *testing.T) {
	t.Parallel()
	id := newIdentity(t)
	for _, story := range []string{"chat", "kick", "restart"} {
		t.Run(story, func(t *testing.T) {
			for _, f := range []form{
				{name: "tls-protobuf", codec: idl.CodecProtobuf, trust: id.trust},
				{name: "wss-protobuf", websocket: true, codec: idl.CodecProtobuf, trust: id.trust},
				{name: "wss-text", websocket: true, text: true, codec: idl.CodecJSON, trust: id.trust},
			} {
				t.Run(f.name, func(t *testing.T) {
					t.Parallel()
					play(t, "testdata/"+story+".txt", f, stores{Options: cluster.Options{TLS: id.shown}})
				})
			}
		})
	}
}

// A client that does not know the edge's certificate says nothing to it.
func TestUnknownCertificateIsRefused(t *testing.T) {
	id := newIdentity(t)
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), TLS: id.shown})
	edge := c.Edges[0]
	for name, o := range map[string]client.Options{
		"tls: nobody's":                  {Address: edge.TLS()},
		"wss: nobody's":                  {Address: edge.SecureWebSocket()},
		"tls: another":                   {Address: edge.TLS(), TLS: newIdentity(t).trust},
		"wss: another":                   {Address: edge.SecureWebSocket(), TLS: newIdentity(t).trust},
		"tls: a name that it is not for": {Address: strings.Replace(edge.TLS(), "127.0.0.1", "localhost", 1), TLS: id.trust},
		"wss: a name that it is not for": {Address: strings.Replace(edge.SecureWebSocket(), "127.0.0.1", "localhost", 1), TLS: id.trust},
	} {
		conn, err := client.Dial(t.Context(), o)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "x509: ") {
			t.Errorf("%s: got %v, want the certificate refused", name, err)
		}
	}
	conn, err := client.Dial(t.Context(), client.Options{Address: edge.TLS(), TLS: id.trust})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// The demo chat over https: its page, its scripts and its WebSocket, over a
// restart of the edge too.
func TestTwoBrowsersUnderTLS(t *testing.T) {
	id := newIdentity(t)
	b := browser.LaunchForTest(t, browser.Options{Trust: []*x509.Certificate{id.leaf}})
	c := startClusterWith(t, cluster.Options{Dir: t.TempDir(), TLS: id.shown, Rules: true})
	talkInBrowsers(t, b, c, c.Edges[0].SecurePage())
}
