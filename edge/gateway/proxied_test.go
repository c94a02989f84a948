package gateway_test

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/edge/gateway"
	"freeim/edge/session"
	"freeim/idl"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// wantAddress expects that the core is told of this address.
func (p *peer) wantAddress(e *edge, want string) {
	p.t.Helper()
	p.auth()
	p.send(frame.Frame{Action: idl.ActionGetMessageID, Sequence: 2})
	eventually(p.t, "a call from "+want, func() bool { return e.core.address() == want })
}

const line = "PROXY TCP4 203.0.113.7 10.0.0.1 40000 7070\r\n"

// A trusted proxy says who the client is, before TLS, in whatever pieces.
func TestProxyHeader(t *testing.T) {
	e := newEdge(t, gateway.Options{TrustedProxies: loopback, ProxyProtocol: []string{"tcp", "tcps", "http", "https"}}, session.Options{})
	config := &tls.Config{RootCAs: authority.pool(), ServerName: "edge"}
	for _, row := range []struct {
		name string
		dial func(t *testing.T, said string) *peer
	}{
		{"tcp", func(t *testing.T, said string) *peer {
			p := newPeer(t, e.TCPAddr().String())
			p.write([]byte(said))
			return p
		}},
		{"tcps", func(t *testing.T, said string) *peer {
			p := newPeer(t, e.TCPSAddr().String())
			p.write([]byte(said))
			p.secure(config)
			return p
		}},
		{"http", func(t *testing.T, said string) *peer {
			p := newPeer(t, e.HTTPAddr().String())
			p.write([]byte(said + upgrade))
			p.accepted()
			return p
		}},
		{"https", func(t *testing.T, said string) *peer {
			p := newPeer(t, e.HTTPSAddr().String())
			p.write([]byte(said))
			p.secure(config)
			p.write([]byte(upgrade))
			p.accepted()
			return p
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.dial(t, line).wantAddress(e, "203.0.113.7:40000")
			p := row.dial(t, "PROXY UNKNOWN\r\n")
			p.wantAddress(e, p.conn.LocalAddr().String())
		})
	}
	t.Run("in pieces, and with a frame", func(t *testing.T) {
		p := newPeer(t, e.TCPAddr().String())
		in := line + string(authFrame())
		for i := range len(in) {
			p.write([]byte(in[i : i+1]))
		}
		p.want(idl.ActionAuth, 1)
		q := newPeer(t, e.TCPAddr().String())
		q.write([]byte(in))
		q.want(idl.ActionAuth, 1)
	})
	t.Run("none", func(t *testing.T) {
		before := e.Stats().Unproxied
		p := newPeer(t, e.TCPAddr().String())
		p.write(authFrame())
		if f, err := p.next(); err == nil {
			t.Fatalf("got %+v", f)
		}
		if got := e.Stats().Unproxied - before; got != 1 {
			t.Fatalf("counted %d", got)
		}
	})
}

// A header that never ends is waited for as long as any head.
func TestProxyHeaderThatDoesNotEnd(t *testing.T) {
	e := newEdge(t, gateway.Options{TrustedProxies: loopback, ProxyProtocol: []string{"tcp"}, HeadTimeout: 100 * time.Millisecond}, session.Options{})
	p := newPeer(t, e.TCPAddr().String())
	p.write([]byte(line[:20]))
	p.wantEnd()
	eventually(t, "it to be gone", func() bool { return e.Stats().HTTP == 0 })
}

// Whom nobody trusts cannot say who he is, and nor can anyone on a port without it.
func TestProxyHeaderOfAStranger(t *testing.T) {
	for name, o := range map[string]gateway.Options{
		"a stranger":   {TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ProxyProtocol: []string{"tcp"}},
		"another port": {TrustedProxies: loopback, ProxyProtocol: []string{"http"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := dialTCP(t, newEdge(t, o, session.Options{}))
			p.write([]byte(line))
			p.wantClose(idl.CloseUnsupportedVersion)
		})
	}
}

func TestForwardedFor(t *testing.T) {
	page := http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) { out.Write([]byte(in.RemoteAddr)) })
	forwarded := strings.Replace(upgrade, "Host", "X-Forwarded-For: 192.0.2.66, 203.0.113.7\r\nHost", 1)
	for _, row := range []struct {
		name    string
		trusted []netip.Prefix
		believe bool
	}{{"a trusted proxy", loopback, true}, {"a stranger", nil, false}} {
		t.Run(row.name, func(t *testing.T) {
			e := newEdge(t, gateway.Options{TrustedProxies: row.trusted, Web: page}, session.Options{})
			p := newPeer(t, e.HTTPAddr().String())
			p.write([]byte(forwarded))
			p.accepted()
			q := newPeer(t, e.HTTPAddr().String())
			q.write([]byte(strings.Replace(strings.Replace(forwarded, "/ws", "/page", 1), "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 1)))
			ws, web := "203.0.113.7:0", "203.0.113.7:0"
			if !row.believe {
				ws, web = p.conn.LocalAddr().String(), q.conn.LocalAddr().String()
			}
			p.wantAddress(e, ws)
			if status, body := q.response(); status != 200 || body != web {
				t.Fatalf("the page's client: got %d %q, want %s", status, body, web)
			}
			q.conn.Close()
		})
	}
}

// A proxy that does not know the client has not written X-Forwarded-For: whatever
// it says is the client's own word.
func TestForwardedForBehindAProxyThatDoesNotKnow(t *testing.T) {
	e := newEdge(t, gateway.Options{TrustedProxies: loopback, ProxyProtocol: []string{"http"}}, session.Options{})
	forwarded := strings.Replace(upgrade, "Host", "X-Forwarded-For: 203.0.113.7\r\nHost", 1)
	for name, header := range map[string]string{
		"UNKNOWN":                    "PROXY UNKNOWN\r\n",
		"LOCAL":                      "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
		"a unix socket":              "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\x00",
		"another proxy, which knows": "PROXY TCP4 127.0.0.9 10.0.0.1 40000 8080\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, e.HTTPAddr().String())
			p.write([]byte(header + forwarded))
			p.accepted()
			want := p.conn.LocalAddr().String()
			if name == "another proxy, which knows" {
				want = "203.0.113.7:0"
			}
			p.wantAddress(e, want)
		})
	}
}

// Pages of other places may not open a WebSocket here: 403, over both ports.
func TestOrigins(t *testing.T) {
	listed := gateway.Options{AllowOrigin: func(origin, _ string) bool { return origin == "https://chat.example" }}
	for _, row := range []struct {
		name    string
		opts    gateway.Options
		origins string // the header lines
		tls     bool
		want    int
	}{
		{"listed", listed, "Origin: https://chat.example", false, 101},
		{"null", listed, "Origin: null", false, 403},
		{"empty", listed, "Origin:", false, 403},
		{"a prefix", listed, "Origin: https://chat.exampl", false, 403},
		{"it is a prefix", listed, "Origin: https://chat.example.evil.test", false, 403},
		{"a suffix", listed, "Origin: https://evilchat.example", false, 403},
		{"below it", listed, "Origin: https://sub.chat.example", false, 403},
		{"another scheme", listed, "Origin: http://chat.example", false, 403},
		{"another port", listed, "Origin: https://chat.example:8443", false, 403},
		{"a path", listed, "Origin: https://chat.example/", false, 403},
		{"twice", listed, "Origin: https://chat.example\r\nOrigin: https://chat.example", false, 403},
		{"good and bad", listed, "Origin: https://chat.example\r\nOrigin: https://evil.test", false, 403},
		{"a list", listed, "Origin: https://chat.example, https://evil.test", false, 403},

		{"same host", gateway.Options{}, "Origin: http://edge", false, 101},
		{"same host behind TLS of a proxy", gateway.Options{}, "Origin: https://edge", false, 101},
		{"same host, TLS", gateway.Options{}, "Origin: https://edge", true, 101},
		{"a page without TLS", gateway.Options{}, "Origin: http://edge", true, 403},
		{"same host by default: null", gateway.Options{}, "Origin: null", true, 403},
		{"same host by default: another", gateway.Options{}, "Origin: https://edge.evil.test", true, 403},
		{"same host by default: user info", gateway.Options{}, "Origin: https://edge@evil.test", true, 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newWeb(t, row.opts)
			p := newPeer(t, e.HTTPAddr().String())
			if row.tls {
				p = newTLSPeer(t, e.HTTPSAddr().String())
			}
			p.write([]byte(strings.Replace(upgrade, "Host", row.origins+"\r\nHost", 1)))
			if row.want == 101 {
				p.accepted()
				return
			}
			if status, _ := p.response(); status != row.want {
				t.Fatalf("got %d, want %d", status, row.want)
			}
		})
	}
}
