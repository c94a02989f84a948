package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// authority is a small one that speaks ACME (RFC 8555): one account, one order at
// a time, TLS-ALPN-01 (RFC 8737). It does not look at signatures and nonces.
type authority struct {
	*httptest.Server
	t    *testing.T
	key  *ecdsa.PrivateKey
	root *x509.Certificate

	mu      sync.Mutex // guards the fields below
	edge    net.Addr   // where challenges are looked for; in life it is port 443
	account string     // the account key's thumbprint
	orders  int
	host    string
	status  string // of the order
	looked  int    // challenges passed
	issued  []byte // PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key}
	if a.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Server = httptest.NewServer(http.HandlerFunc(a.answer))
	t.Cleanup(a.Server.Close)
	return a
}

// at moves where challenges are looked for.
func (a *authority) at(edge net.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.edge = edge
}

func (a *authority) count() (orders, looked int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.orders, a.looked
}

const token = "a-token-of-the-authority"

func (a *authority) answer(out http.ResponseWriter, in *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out.Header().Set("Replay-Nonce", "bm9uY2U")
	var signed struct{ Protected, Payload string }
	json.NewDecoder(in.Body).Decode(&signed) // empty for what is not signed
	head, _ := base64.RawURLEncoding.DecodeString(signed.Protected)
	payload, _ := base64.RawURLEncoding.DecodeString(signed.Payload)
	say := func(status int, body any) {
		out.Header().Set("Content-Type", "application/json")
		out.WriteHeader(status)
		json.NewEncoder(out).Encode(body)
	}
	switch in.URL.Path {
	case "/nonce":
	case "/directory":
		say(200, map[string]string{"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/new-order"})
	case "/account":
		a.account = thumbprint(head)
		out.Header().Set("Location", a.URL+"/account/1")
		say(201, map[string]string{"status": "valid"})
	case "/new-order":
		var asked struct {
			Identifiers []struct{ Type, Value string }
		}
		json.Unmarshal(payload, &asked)
		a.orders++
		a.host, a.status, a.issued = asked.Identifiers[0].Value, "pending", nil
		out.Header().Set("Location", a.URL+"/order")
		say(201, a.order())
	case "/order":
		say(200, a.order())
	case "/authorization":
		say(200, map[string]any{"status": a.authorized(), "identifier": map[string]string{"type": "dns", "value": a.host},
			"challenges": []any{a.challenge()}})
	case "/challenge":
		if err := a.look(); err != nil {
			a.t.Errorf("the challenge: %v", err)
			a.status = "invalid"
		}
		say(200, a.challenge())
	case "/finalize":
		var asked struct{ CSR string }
		json.Unmarshal(payload, &asked)
		if err := a.issue(asked.CSR); err != nil {
			a.t.Errorf("finalize: %v", err)
		}
		out.Header().Set("Location", a.URL+"/order")
		say(200, a.order())
	case "/certificate":
		out.Header().Set("Content-Type", "application/pem-certificate-chain")
		out.Write(a.issued)
	default:
		say(404, map[string]string{"type": "urn:ietf:params:acme:error:malformed"})
	}
}

func (a *authority) order() map[string]any {
	o := map[string]any{"status": a.status, "identifiers": []any{map[string]string{"type": "dns", "value": a.host}},
		"authorizations": []string{a.URL + "/authorization"}, "finalize": a.URL + "/finalize"}
	if a.issued != nil {
		o["certificate"] = a.URL + "/certificate"
	}
	return o
}

func (a *authority) authorized() string {
	if a.status == "ready" {
		return "valid"
	}
	return a.status
}

func (a *authority) challenge() map[string]string {
	return map[string]string{"type": "tls-alpn-01", "url": a.URL + "/challenge", "token": token, "status": a.authorized()}
}

// look asks the edge for the proof. Source: RFC 8737, section 3.
func (a *authority) look() error {
	dialer := &net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(dialer, "tcp", a.edge.String(), &tls.Config{
		ServerName: a.host, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	defer conn.Close()
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != "acme-tls/1" {
		return fmt.Errorf("the protocol is %q", state.NegotiatedProtocol)
	}
	sum := sha256.Sum256([]byte(token + "." + a.account))
	want, err := asn1.Marshal(sum[:])
	if err != nil {
		return err
	}
	for _, e := range state.PeerCertificates[0].Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && e.Critical && bytes.Equal(e.Value, want) {
			a.status = "ready"
			a.looked++
			return nil
		}
	}
	return errors.New("the certificate does not have the proof")
}

// issue signs what was asked for.
func (a *authority) issue(text string) error {
	if a.status != "ready" {
		return fmt.Errorf("the order is %s", a.status)
	}
	der, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	asked, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(int64(100 + a.orders)), DNSNames: asked.DNSNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	made, err := x509.CreateCertificate(rand.Reader, template, a.root, asked.PublicKey, a.key)
	if err != nil {
		return err
	}
	a.issued = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
	a.issued = append(a.issued, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})...)
	a.status = "valid"
	return nil
}

// thumbprint is that of the key in the head of what is signed. Source: RFC 7638.
func thumbprint(head []byte) string {
	var h struct {
		JWK struct{ Crv, Kty, X, Y string }
	}
	json.Unmarshal(head, &h)
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, h.JWK.Crv, h.JWK.Kty, h.JWK.X, h.JWK.Y))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A certificate is asked for as the first client comes, proved on the https port,
// shown on both ports, and there after a restart.
func TestACME(t *testing.T) {
	a := newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(a.root)
	c := alone(t)
	c.TCPS, c.HTTPS = "127.0.0.1:0", "127.0.0.1:0"
	c.TLS.ACME = acmeConfig{Hosts: []string{"im.example"}, Cache: t.TempDir(), Directory: a.URL + "/directory"}
	shown := func(to net.Addr, host string) error {
		conn := tls.Client(dial(t, to), &tls.Config{RootCAs: pool, ServerName: host})
		defer conn.Close()
		return conn.Handshake()
	}
	for _, start := range []string{"first", "second"} {
		e, err := newEdge(c, slog.New(slog.DiscardHandler), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.start(); err != nil {
			t.Fatal(err)
		}
		a.at(e.gateway.HTTPSAddr())
		if err := errors.Join(shown(e.gateway.HTTPSAddr(), "im.example"), shown(e.gateway.TCPSAddr(), "im.example")); err != nil {
			t.Errorf("%s start: %v", start, err)
		}
		if shown(e.gateway.HTTPSAddr(), "other.example") == nil {
			t.Errorf("%s start: a certificate for a host that is not listed", start)
		}
		if at, ok := e.certs.Expires(); !ok || !at.After(time.Now()) {
			t.Errorf("%s start: the certificate expires %v, %t", start, at, ok)
		}
		e.close(context.WithoutCancel(t.Context()))
		if orders, looked := a.count(); orders != 1 || looked != 1 {
			t.Errorf("%s start: %d orders, %d challenges, want 1 and 1", start, orders, looked)
		}
	}
}
