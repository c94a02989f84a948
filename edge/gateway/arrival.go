package gateway

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"time"

	"freeim/edge/limits"
	"freeim/edge/proxy"
	"freeim/edge/session"
)

// door is a listener, and what its connections become.
type door struct {
	name, address string
	tls           *tls.Config // nil: no TLS
	serve         func(*arrival)
	waits         bool // serve reads from the connection, so it needs a goroutine
}

// arrival is a connection on its way in: accepted, and neither a session nor a
// page yet. One goroutine at a time uses it.
type arrival struct {
	tcp    *net.TCPConn
	client netip.AddrPort // by a trusted proxy's word, if there was one
	veiled bool           // a trusted proxy has said that it does not know the client
	early  []byte         // what was read of the socket too early
	secure *secure        // nil: no TLS
	peer   *limits.Peer   // of client; nil: not limited
	share  *limits.Peer   // whose share of web it takes; nil: nobody's
}

func newArrival(c *net.TCPConn) *arrival {
	a := &arrival{tcp: c}
	if from, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		at := from.AddrPort()
		a.client = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return a
}

// arrive lets a connection in. What must be read first, the PROXY header, the
// TLS handshake and the request head, is read on a goroutine that lives at most
// HeadTimeout; there the rules are asked too.
func (g *Gateway) arrive(c *net.TCPConn, d *door) {
	a := newArrival(c)
	proxied := slices.Contains(g.opts.ProxyProtocol, d.name) && g.trusts(a.client.Addr())
	// An answer would cost what the limits are to save.
	if !proxied && !g.admit(a) {
		c.Close()
		return
	}
	judged := g.opts.Hub != nil && g.opts.Hub.Judges()
	if !d.waits && !proxied && !judged && d.tls == nil {
		d.serve(a)
		return
	}
	if !g.web.enter(a) {
		a.leave()
		c.Close()
		return
	}
	g.running.Go(func() {
		c.SetDeadline(time.Now().Add(g.opts.HeadTimeout))
		if proxied && !(g.introduce(a) && g.admit(a) && g.web.shift(a)) {
			g.web.drop(a)
			return
		}
		if d.tls != nil {
			if err := g.handshake(a, d.tls); err != nil {
				g.log.Debug("TLS handshake failed", "address", a.client, "err", err)
				g.web.hangUp(a)
				return
			}
		}
		d.serve(a)
		if !d.waits {
			g.web.leave(a)
		}
	})
}

// admit asks the limits; false: the connection is to be closed. A trusted proxy
// speaks for many, and is not limited itself.
func (g *Gateway) admit(a *arrival) (ok bool) {
	if g.trusts(a.client.Addr()) {
		return true
	}
	if a.peer, ok = g.opts.Limits.Connect(a.client.Addr()); !ok {
		g.counters.turnedAway.Add(1)
	}
	return ok
}

// forwarded takes a trusted proxy's word for who the client of a request is. Of one
// that has said in its PROXY header that it does not know, what follows is the
// client's own word, and worth nothing.
func (g *Gateway) forwarded(a *arrival, lines []string) (ok bool) {
	if a.veiled {
		return true
	}
	client := proxy.Forwarded(a.client, lines, g.trusts)
	if client == a.client {
		return true
	}
	a.leave()
	a.client = client
	return g.admit(a) && g.web.shift(a)
}

// visitor is who sends the requests of the connection.
func (a *arrival) visitor() session.Visitor {
	return session.Visitor{Address: a.client.String(), Peer: a.peer, Secure: a.secure != nil}
}

// leave gives the place in the limits back, once.
func (a *arrival) leave() {
	a.peer.Leave()
	a.peer = nil
}

// introduce reads the PROXY header, which a trusted proxy must send.
func (g *Gateway) introduce(a *arrival) bool {
	h, rest, err := proxy.Read(a.tcp)
	if err != nil {
		g.counters.unproxied.Add(1)
		g.log.Debug("PROXY header", "address", a.client, "err", err)
		return false
	}
	a.early = rest
	if a.veiled = !h.Source.IsValid(); !a.veiled {
		a.client = h.Source
	}
	return true
}

// trusts reports whether a proxy of that address is believed.
func (g *Gateway) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(g.opts.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// readSocket reads what came before TLS is taken off.
func (a *arrival) readSocket(p []byte) (int, error) {
	if len(a.early) == 0 {
		return a.tcp.Read(p)
	}
	n := copy(p, a.early)
	a.early = a.early[n:]
	return n, nil
}

// plain is what the client said already without TLS.
func (a *arrival) plain() []byte {
	if a.secure != nil {
		return nil
	}
	return a.early
}

// Read reads what the client says.
func (a *arrival) Read(p []byte) (int, error) {
	if a.secure != nil {
		return a.secure.tls.Read(p)
	}
	return a.readSocket(p)
}

// Write implements net.Conn, like all that follows.
func (a *arrival) Write(p []byte) (int, error) {
	if a.secure != nil {
		return a.secure.tls.Write(p)
	}
	return a.tcp.Write(p)
}

// CloseWrite ends our side: a client that sends on still reads what we said.
func (a *arrival) CloseWrite() error {
	if a.secure != nil {
		a.secure.tls.CloseWrite()
	}
	return a.tcp.CloseWrite()
}

func (a *arrival) Close() error {
	if a.secure != nil {
		return a.secure.tls.Close()
	}
	return a.tcp.Close()
}

func (a *arrival) LocalAddr() net.Addr  { return a.tcp.LocalAddr() }
func (a *arrival) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(a.client) }

func (a *arrival) SetDeadline(t time.Time) error      { return a.tcp.SetDeadline(t) }
func (a *arrival) SetReadDeadline(t time.Time) error  { return a.tcp.SetReadDeadline(t) }
func (a *arrival) SetWriteDeadline(t time.Time) error { return a.tcp.SetWriteDeadline(t) }
