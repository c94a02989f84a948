package gateway_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"freeim/edge/gateway"
	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/idl"
)

func newGuard(t *testing.T, o limits.Options) *limits.Guard {
	t.Helper()
	g, err := limits.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// refused expects the end without a word.
func (p *peer) refused() {
	p.t.Helper()
	if n, err := p.tcp.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, http.ErrHandlerTimeout) {
		p.t.Fatalf("got %d octets, %v, want the end", n, err)
	}
}

// Connections of one address are bounded over all ports, and a place is free
// again once its connection has ended, however far it came.
func TestConnectionsOfOneAddress(t *testing.T) {
	g := newGuard(t, limits.Options{Connections: 4})
	e := newEdge(t, gateway.Options{Limits: g, Web: http.HandlerFunc(page)}, session.Options{Limits: g})
	addresses := func() []string {
		return []string{e.TCPAddr().String(), e.TCPSAddr().String(), e.HTTPAddr().String(), e.HTTPSAddr().String()}
	}
	for range 3 {
		web := newPeer(t, e.HTTPAddr().String())
		web.write([]byte("GET /page HTTP/1.1\r\nHost: edge\r\n\r\n"))
		if status, _ := web.response(); status != 200 {
			t.Fatalf("got %d", status)
		}
		half := newTLSPeer(t, e.HTTPSAddr().String())
		half.write([]byte("GET /ws HT"))
		plain, secured := dialTCP(t, e), dialWSS
		plain.auth()
		last := secured(t, e)
		last.auth()
		for _, address := range addresses() {
			newPeer(t, address).refused()
		}
		for _, p := range []*peer{web, half, plain, last} {
			p.conn.Close()
		}
		eventually(t, "all to be gone", func() bool { s := e.Stats(); return s.Conns == 0 && s.HTTP == 0 })
	}
	if got := e.Stats().TurnedAway; got != 12 {
		t.Errorf("counted %d turned away, want 12", got)
	}
}

// Whoever goes on sending too much is closed, and shut out until the ban is over.
func TestFloodIsBanned(t *testing.T) {
	transports(t, gateway.Options{}, session.Options{}, func(t *testing.T, _ *edge, _ func() *peer) {
		g := newGuard(t, limits.Options{Frames: 1, Ban: time.Hour})
		e := newEdge(t, gateway.Options{Limits: g}, session.Options{Limits: g, Patience: 10})
		var p *peer
		switch name := t.Name(); {
		case strings.HasSuffix(name, "tcp"):
			p = dialTCP(t, e)
		case strings.HasSuffix(name, "tls"):
			p = dialTLS(t, e)
		case strings.HasSuffix(name, "wss"):
			p = dialWSS(t, e)
		default:
			p = dialWS(t, e)
		}
		for i := range uint32(16) {
			p.send(heartbeat(i + 1))
		}
		for i := range uint32(5) {
			p.want(idl.ActionHeartbeat, i+1)
		}
		for i := range uint32(10) {
			p.want(idl.ActionError, i+6)
		}
		p.wantClose(idl.CloseFlood)
		newPeer(t, e.TCPAddr().String()).refused()
		if !g.Unban(netip.MustParseAddr("127.0.0.1")) {
			t.Fatal("there was no ban")
		}
		dialTCP(t, e).auth2()
	})
}

// auth2 passes Auth where frames are limited: a new second may be needed.
func (p *peer) auth2() {
	p.t.Helper()
	p.write(p.wrap(authFrame()))
	if f, err := p.next(); err != nil || f.Action != idl.ActionAuth && f.Action != idl.ActionError {
		p.t.Fatalf("got %+v, %v", f, err)
	}
}

// Behind a trusted proxy it is the client that is limited, and told so.
func TestLimitsBehindAProxy(t *testing.T) {
	g := newGuard(t, limits.Options{Connections: 1})
	e := newEdge(t, gateway.Options{Limits: g, TrustedProxies: loopback, ProxyProtocol: []string{"tcp"}}, session.Options{Limits: g})
	forwarded := strings.Replace(upgrade, "Host", "X-Forwarded-For: 203.0.113.7\r\nHost", 1)
	first := newPeer(t, e.HTTPAddr().String())
	first.write([]byte(forwarded))
	first.accepted()
	second := newPeer(t, e.HTTPAddr().String())
	second.write([]byte(forwarded))
	if status, _ := second.response(); status != http.StatusTooManyRequests {
		t.Fatalf("got %d, want 429", status)
	}
	third := newPeer(t, e.TCPAddr().String())
	third.write([]byte(line)) // the same client
	if _, err := io.ReadAll(third.conn); err != nil {
		t.Logf("the client saw %v", err)
	}
	fourth := newPeer(t, e.HTTPAddr().String())
	fourth.write([]byte(strings.Replace(forwarded, "113.7", "113.8", 1)))
	fourth.accepted()
	eventually(t, "both to be counted", func() bool { return e.Stats().Conns == 2 }) // a client may know first
	first.conn.Close()
	eventually(t, "the place to be free", func() bool { return e.Stats().Conns == 1 })
	fifth := newPeer(t, e.TCPAddr().String())
	fifth.write([]byte(line))
	fifth.auth()
}

// One address cannot take all the places of connections that are no session yet,
// by whatever port it comes, and a place is not kept when few are left.
func TestOneAddressLeavesPlacesToOthers(t *testing.T) {
	g := newGuard(t, limits.Options{Connections: 100})
	e := newEdge(t, gateway.Options{Limits: g, MaxHTTP: 8, TrustedProxies: loopback, ProxyProtocol: []string{"tcps"}, Web: http.HandlerFunc(page)}, session.Options{Limits: g})
	asked := func(client, head string) *peer {
		p := newPeer(t, e.HTTPAddr().String())
		p.write([]byte(strings.Replace(head, "Host", "X-Forwarded-For: "+client+"\r\nHost", 1)))
		return p
	}
	const plain = "GET /page HTTP/1.1\r\nHost: edge\r\n\r\n"
	var held []*peer
	for range 2 {
		p := asked("203.0.113.7", "GET /page HTTP/1.1\r\nHost: edge\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
		if status, _ := p.response(); status != http.StatusContinue { // the page waits for the body
			t.Fatalf("got %d, want 100", status)
		}
		held = append(held, p)
	}
	if status, _ := asked("203.0.113.7", plain).response(); status != http.StatusTooManyRequests {
		t.Fatalf("a third of one address: got %d", status)
	}
	late := newPeer(t, e.TCPSAddr().String())
	late.write([]byte("PROXY TCP4 203.0.113.7 10.0.0.1 40000 7070\r\n"))
	late.refused()
	asked("203.0.113.8", upgrade).accepted()
	eventually(t, "the places to be given back", func() bool { return e.Stats().HTTP == 2 })
	for _, p := range held {
		p.conn.Close()
	}
	eventually(t, "all places to be free", func() bool { return e.Stats().HTTP == 0 })
	asked("203.0.113.7", upgrade).accepted()

	// What a proxy asks for next may be for another client.
	p := asked("203.0.113.9", plain)
	if status, _ := p.response(); status != 200 {
		t.Fatalf("got %d", status)
	}
	p.wantEnd()
}

// When half of the places are taken, a page's connection is not kept.
func TestPlacesAreNotKeptWhenFewAreLeft(t *testing.T) {
	e := newEdge(t, gateway.Options{MaxHTTP: 4, Web: http.HandlerFunc(page)}, session.Options{})
	for range 2 {
		p := newPeer(t, e.HTTPAddr().String())
		p.write([]byte("GET /page HTTP/1.1\r\nHost: edge\r\n\r\n"))
		if status, _ := p.response(); status != 200 {
			t.Fatalf("got %d", status)
		}
	}
	p := newPeer(t, e.HTTPAddr().String())
	p.write([]byte("GET /page HTTP/1.1\r\nHost: edge\r\n\r\n"))
	if status, _ := p.response(); status != 200 {
		t.Fatalf("got %d", status)
	}
	p.wantEnd()
	if got := e.Stats().HTTP; got != 2 {
		t.Errorf("%d are kept, want 2", got)
	}
}

// Pings, pongs, empty messages and pieces of messages are limited as frames are.
func TestFloodBesideFramesIsBanned(t *testing.T) {
	piece := func(op gobwas.OpCode) []byte {
		return gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewFrame(op, false, nil)))
	}
	for name, sent := range map[string][2][]byte{ // the first, and each after it
		"pings":          {message(gobwas.OpPing, nil), message(gobwas.OpPing, nil)},
		"pongs":          {message(gobwas.OpPong, nil), message(gobwas.OpPong, nil)},
		"empty messages": {message(gobwas.OpBinary, nil), message(gobwas.OpBinary, nil)},
		"pieces":         {piece(gobwas.OpBinary), piece(gobwas.OpContinuation)},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuard(t, limits.Options{Frames: 1, Ban: time.Hour})
			e := newEdge(t, gateway.Options{Limits: g}, session.Options{Limits: g, Patience: 10})
			p := dialWS(t, e)
			p.write(append(sent[0], bytes.Repeat(sent[1], 14)...)) // five at once, and ten that are borne
			eventually(t, "ten to be refused", func() bool { return g.Stats().Limited == 10 })
			if got := len(g.Bans()); got != 0 {
				t.Fatalf("banned too early: %v", g.Bans())
			}
			p.write(bytes.Repeat(sent[1], 5))
			p.wantClose(idl.CloseFlood)
			newPeer(t, e.HTTPAddr().String()).refused()
		})
	}
}
