// Package gateway is where clients connect: the TCP port, and the HTTP port with
// WebSocket and web pages. It moves bytes between sockets and sessions: netpoll
// reads, edge/ws and edge/frame find messages and frames in what was read, and
// one write path takes everything out. It is the only home of netpoll, decides
// nothing about frames and knows no core. edge's main starts it.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/edge/ws"
)

// Options says where a gateway listens and what it allows.
type Options struct {
	TCP   string // address for frames over TCP; ":0": any port; empty: none
	TCPS  string // the same under TLS
	HTTP  string // address for WebSocket and web pages; empty: none
	HTTPS string // the same under TLS
	Echo  string // address of the WebSocket echo for conformance suites; empty: none

	// SharePorts lets other gateways, of this or other processes, listen on the same
	// addresses: the kernel deals connections out among them (SO_REUSEPORT).
	SharePorts bool

	// TLS says which certificate is shown; needed for TCPS and HTTPS. The version
	// is 1.2 at least whatever it says.
	TLS *tls.Config

	// Limits hold for the connections of one address, but those of TrustedProxies;
	// nil: no limits.
	Limits *limits.Guard

	// TrustedProxies are believed about whom they speak for: by X-Forwarded-For on
	// the HTTP ports, and by a PROXY header on the ports named in ProxyProtocol
	// ("tcp", "tcps", "http", "https"), where they must send one.
	TrustedProxies []netip.Prefix
	ProxyProtocol  []string

	Hub *session.Hub // required unless only Echo is served
	Log *slog.Logger // nil: slog.Default

	Web         http.Handler                   // requests that are no WebSocket; nil: all 404
	Deflate     bool                           // WebSockets may be compressed (permessage-deflate): broadcasts out, anything in
	WSPath      string                         // where WebSockets are; empty: "/ws"
	AllowOrigin func(origin, host string) bool // as ws.Options; nil: pages of the same host
	HeadTimeout time.Duration                  // for all that comes before a session or page: PROXY header, TLS handshake, request head; 0: 10 s
	MaxHTTP     int                            // connections at once that are there, or serve pages; 0: 8,192

	Backlog int           // octets queued for one client that reads slowly; 0: 262,144
	Stall   time.Duration // how long it may take none of them, and to leave; 0: 7 s

	ReadBuffer int // octets that netpoll holds ready for each connection; 0: 128; see Tune
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Web == nil {
		o.Web = http.NotFoundHandler()
	}
	if o.WSPath == "" {
		o.WSPath = "/ws"
	}
	if o.HeadTimeout == 0 {
		o.HeadTimeout = 10 * time.Second
	}
	if o.MaxHTTP == 0 {
		o.MaxHTTP = 8192
	}
	if o.Backlog == 0 {
		o.Backlog = 256 << 10
	}
	if o.Stall == 0 {
		o.Stall = 7 * time.Second
	}
}

func (o *Options) validate() error {
	if o.Hub == nil && o.TCP+o.TCPS+o.HTTP+o.HTTPS != "" {
		return errors.New("gateway: no hub")
	}
	if o.TLS == nil && o.TCPS+o.HTTPS != "" {
		return errors.New("gateway: no certificate for the ports with TLS")
	}
	for _, name := range o.ProxyProtocol {
		if !slices.Contains([]string{"tcp", "tcps", "http", "https"}, name) {
			return fmt.Errorf("gateway: the PROXY protocol on %q: want tcp, tcps, http or https", name)
		}
	}
	if min(o.MaxHTTP, o.Backlog, o.ReadBuffer) < 0 || min(o.HeadTimeout, o.Stall) < 0 {
		return errors.New("gateway: a limit is negative")
	}
	return nil
}

// secured is the configuration of one port with TLS; the protocols are offered to
// clients that ask for one. Records are as long as they can be, since what
// leaves is joined already.
func (o *Options) secured(protocols ...string) *tls.Config {
	if o.TLS == nil {
		return nil
	}
	c := o.TLS.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.DynamicRecordSizingDisabled = true
	if len(protocols) > 0 {
		c.NextProtos = append(protocols, c.NextProtos...)
	} else {
		c.NextProtos = nil
	}
	return c
}

// Gateway owns the listeners and the connections. Its methods are safe for
// concurrent use.
type Gateway struct {
	opts    Options
	log     *slog.Logger
	clients *outlet // for sessions
	echoes  *outlet // for the echo
	web     *web
	deflate ws.Deflate
	records sync.Pool // *[record]byte, plaintext on its way from TLS to a protocol

	mu        sync.Mutex // guards the fields below
	listeners map[string]net.Listener
	conns     map[*conn]struct{}
	closing   bool

	running  sync.WaitGroup // accept loops, heads being read, the web server
	counters counters
}

// counters is what Stats shows.
type counters struct {
	accepted, turnedAway, handshakes, unsecured, unproxied, upgrades, reads, writes, octetsIn, octetsOut, stalled, panics atomic.Int64
}

// wrote counts one write of n octets; -1: none was taken.
func (c *counters) wrote(n int) {
	c.writes.Add(1)
	c.octetsOut.Add(int64(max(n, 0)))
}

// Stats is what a gateway has counted since it began.
type Stats struct {
	Conns      int   // TCP and WebSocket connections now
	HTTP       int   // connections now that serve pages or have not become a session yet
	Accepted   int64 // connections
	TurnedAway int64 // of them closed at once, since MaxHTTP or a limit was reached, or for a ban
	Handshakes int64 // TLS handshakes that passed
	Unsecured  int64 // and that failed
	Unproxied  int64 // connections of trusted proxies that sent no right PROXY header
	Upgrades   int64 // WebSocket handshakes that passed
	Reads      int64 // times that netpoll woke a connection
	Writes     int64 // times that something was written to one
	Stalled    int64 // connections that took no octet for Options.Stall
	OctetsIn   int64 // read from connections, TLS included
	OctetsOut  int64 // written to them
	Panics     int64 // connections closed by a fault of ours
}

// New checks the options and tunes netpoll; see Tune.
func New(o Options) (*Gateway, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := Tune(o.ReadBuffer, o.Log); err != nil {
		return nil, err
	}
	g := &Gateway{
		opts: o, log: o.Log,
		clients:   newOutlet(unread, o.Backlog, o.Stall),
		echoes:    newOutlet(echoBacklog, echoBacklog, o.Stall),
		listeners: make(map[string]net.Listener),
		conns:     make(map[*conn]struct{}),
	}
	g.records.New = func() any { return new([record]byte) }
	g.web = newWeb(g)
	return g, nil
}

// Start listens on every address and serves until Close. When one cannot be had
// none is kept.
func (g *Gateway) Start() error {
	for _, d := range []*door{
		{name: "tcp", address: g.opts.TCP, serve: g.serveTCP},
		{name: "tcps", address: g.opts.TCPS, serve: g.serveTCP, tls: g.opts.secured()},
		{name: "http", address: g.opts.HTTP, serve: g.serveHTTP, waits: true},
		{name: "https", address: g.opts.HTTPS, serve: g.serveHTTP, waits: true, tls: g.opts.secured("http/1.1")},
		{name: "echo", address: g.opts.Echo, serve: g.serveEcho, waits: true},
	} {
		if d.address == "" {
			continue
		}
		if err := g.listen(d); err != nil {
			g.Close()
			return fmt.Errorf("listen for %s: %w", d.name, err)
		}
	}
	g.running.Go(g.web.run)
	return nil
}

// TCPAddr is the TCP port's address; nil when there is none.
func (g *Gateway) TCPAddr() net.Addr { return g.addr("tcp") }

// TCPSAddr is the address of frames under TLS; nil when there is none.
func (g *Gateway) TCPSAddr() net.Addr { return g.addr("tcps") }

// HTTPSAddr is the HTTPS port's address; nil when there is none.
func (g *Gateway) HTTPSAddr() net.Addr { return g.addr("https") }

// HTTPAddr is the HTTP port's address; nil when there is none.
func (g *Gateway) HTTPAddr() net.Addr { return g.addr("http") }

// EchoAddr is the echo's address; nil when there is none.
func (g *Gateway) EchoAddr() net.Addr { return g.addr("echo") }

func (g *Gateway) addr(name string) net.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.listeners[name]; l != nil {
		return l.Addr()
	}
	return nil
}

// Drain stops accepting, and waits for requests of the web server until ctx
// ends. Sessions stay: the hub's Drain empties it.
func (g *Gateway) Drain(ctx context.Context) error {
	g.closeListeners()
	return g.web.drain(ctx)
}

// Close ends every connection at once and returns when nothing of the gateway
// runs any more. Drain gateway and hub first.
func (g *Gateway) Close() {
	g.closeListeners()
	g.web.close()
	g.mu.Lock()
	g.closing = true
	conns := make([]*conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		c.out.abort()
	}
	g.running.Wait()
}

func (g *Gateway) closeListeners() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.listeners {
		l.Close()
	}
}

// Stats returns the counts of this moment.
func (g *Gateway) Stats() Stats {
	g.mu.Lock()
	conns := len(g.conns)
	g.mu.Unlock()
	c := &g.counters
	return Stats{
		Conns: conns, HTTP: int(g.web.open.Load()),
		Accepted: c.accepted.Load(), TurnedAway: c.turnedAway.Load(),
		Handshakes: c.handshakes.Load(), Unsecured: c.unsecured.Load(), Unproxied: c.unproxied.Load(), Upgrades: c.upgrades.Load(),
		Reads: c.reads.Load(), Writes: c.writes.Load(), Stalled: c.stalled.Load(), OctetsIn: c.octetsIn.Load(), OctetsOut: c.octetsOut.Load(), Panics: c.panics.Load(),
	}
}
