package gateway

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/edge/ws"
)

// Timeouts of the web server. Nothing here is long-lived.
const (
	webRequest = time.Minute // to read a request, and to write its answer
	webIdle    = time.Minute // between two requests of one connection
)

// serveHTTP takes a connection of the HTTP port: WebSockets become sessions, the
// others go to the web server.
func (g *Gateway) serveHTTP(a *arrival) { g.serveHead(a, g.clients, newClient) }

// serveHead reads a request's head.
func (g *Gateway) serveHead(a *arrival, via *outlet, take func(*websocket, *session.Admission) taker) {
	head, rest, err := readHead(a)
	if err != nil {
		g.web.refuse(a, err)
		return
	}
	h := ws.Upgrade(head, ws.Options{AllowOrigin: g.opts.AllowOrigin, Secure: a.secure != nil, Deflate: g.opts.Deflate})
	if !g.forwarded(a, h.Forwarded) {
		g.web.turnDown(a, []byte(tooMany))
		return
	}
	ours := via == g.echoes || path(h.Target) == g.opts.WSPath
	switch {
	case h.Outcome == ws.Refused:
		g.web.turnDown(a, h.Response)
	case h.Outcome == ws.NotUpgrade || !ours:
		g.web.hand(a, append(head, rest...))
	default:
		var said *session.Admission
		if via != g.echoes {
			said = g.judge(a, &h)
		}
		if said != nil && said.Refused != nil {
			g.web.turnDown(a, refusal(said.Refused))
			return
		}
		g.upgrade(a, via, func(w *websocket) taker { return take(w, said) }, h, rest)
	}
}

// tooMany is for clients over a limit that a trusted proxy speaks for.
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 10\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 30\r\n\r\ntoo many from the same address"

// path is a request target without its query.
func path(target string) string {
	for i := range len(target) {
		if target[i] == '?' {
			return target[:i]
		}
	}
	return target
}

// readHead reads to the end of a request's head; rest came with it. The two do
// not share memory that append could reach.
func readHead(c net.Conn) (head, rest []byte, err error) {
	buf := make([]byte, 0, 1024)
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, ws.MaxHead), buf...)
		}
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		size, tooLarge := ws.HeadSize(buf)
		switch {
		case tooLarge != nil:
			return nil, nil, tooLarge
		case size > 0:
			return buf[:size:size], buf[size:], nil
		case err != nil:
			return nil, nil, err
		}
	}
}

// upgrade answers the handshake and gives the socket to netpoll.
func (g *Gateway) upgrade(a *arrival, via *outlet, take func(*websocket) taker, h ws.Handshake, rest []byte) {
	defer g.web.leave(a)
	if _, err := a.Write(h.Response); err != nil {
		a.leave()
		a.tcp.Close()
		return
	}
	g.counters.upgrades.Add(1)
	g.adopt(a, via, func(c *conn) protocol { return newWebsocket(c, h.Deflate, take) }, rest)
}

// web is the connections that are no session, or not yet, and the listener of an
// ordinary http.Server, fed from memory.
type web struct {
	gateway *Gateway
	server  *http.Server
	ready   chan net.Conn // never closed; to the server
	done    chan struct{} // closed by Close: the server takes no more
	once    sync.Once
	open    atomic.Int64

	mu     sync.Mutex
	heads  map[net.Conn]struct{} // on their way in; nil after close
	shares map[*limits.Peer]int  // how many of open each address has
}

func newWeb(g *Gateway) *web {
	w := &web{
		gateway: g, ready: make(chan net.Conn), done: make(chan struct{}),
		heads: make(map[net.Conn]struct{}), shares: make(map[*limits.Peer]int),
	}
	w.server = &http.Server{
		Handler:           w.handler(),
		ReadHeaderTimeout: g.opts.HeadTimeout,
		ReadTimeout:       webRequest,
		WriteTimeout:      webRequest,
		IdleTimeout:       webIdle,
		MaxHeaderBytes:    ws.MaxHead,
		ErrorLog:          log.New(debugLog{g.log}, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			a := c.(*replayed).arrival
			from := newArrival(a.tcp).client.Addr() // who has connected, whomever he speaks for
			ctx = session.WithVisitor(ctx, a.visitor())
			return context.WithValue(ctx, behindProxy{}, g.trusts(from))
		},
	}
	return w
}

// handler is the pages, and a hint for plain requests where WebSockets are. When
// half of the places are taken, none is kept for a next request; nor is one of a
// proxy's, which may carry another client next, or a WebSocket.
func (w *web) handler() http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		if proxied, _ := in.Context().Value(behindProxy{}).(bool); proxied || w.open.Load() > int64(w.gateway.opts.MaxHTTP)/2 {
			out.Header().Set("Connection", "close")
		}
		if in.URL.Path != w.gateway.opts.WSPath {
			w.gateway.opts.Web.ServeHTTP(out, in)
			return
		}
		out.Header().Set("Upgrade", "websocket")
		out.Header().Set("Connection", "Upgrade, close")
		http.Error(out, "connect here with a WebSocket", http.StatusUpgradeRequired)
	})
}

func (w *web) run() { w.server.Serve(w) }

// behindProxy is the key in a request's context of whether a trusted proxy sent it.
type behindProxy struct{}

// enter counts a connection; false when there are too many.
func (w *web) enter(a *arrival) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heads == nil || w.open.Load() >= int64(w.gateway.opts.MaxHTTP) || !w.take(a) {
		w.gateway.counters.turnedAway.Add(1)
		return false
	}
	w.open.Add(1)
	w.heads[a.tcp] = struct{}{}
	return true
}

// take gives a connection a place out of its address's share, a quarter of all:
// one address cannot keep the others out. Called with mu held.
func (w *web) take(a *arrival) bool {
	if a.peer == nil {
		return true
	}
	if w.shares[a.peer] >= max(1, w.gateway.opts.MaxHTTP/4) {
		return false
	}
	w.shares[a.peer]++
	a.share = a.peer
	return true
}

// yield gives the place in the share back, once. Called with mu held.
func (w *web) yield(a *arrival) {
	if a.share == nil {
		return
	}
	if w.shares[a.share]--; w.shares[a.share] == 0 {
		delete(w.shares, a.share)
	}
	a.share = nil
}

// shift counts a connection as the client's that a proxy has named.
func (w *web) shift(a *arrival) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.yield(a)
	if !w.take(a) {
		w.gateway.counters.turnedAway.Add(1)
		return false
	}
	return true
}

// read says that a connection's head is no longer being read.
func (w *web) read(c *net.TCPConn) {
	w.mu.Lock()
	delete(w.heads, c)
	w.mu.Unlock()
}

// leave takes a connection off the count.
func (w *web) leave(a *arrival) {
	w.mu.Lock()
	delete(w.heads, a.tcp)
	w.yield(a)
	w.mu.Unlock()
	w.open.Add(-1)
}

// hand gives a connection to the server, with the bytes read of it.
func (w *web) hand(a *arrival, read []byte) {
	w.read(a.tcp)
	a.SetDeadline(time.Time{})
	replay := &replayed{arrival: a, read: read, left: sync.OnceFunc(func() { w.leave(a); a.leave() })}
	select {
	case w.ready <- replay:
	case <-w.done:
		replay.Close()
	}
}

// refuse ends a connection whose head could not be read.
func (w *web) refuse(a *arrival, err error) {
	if errors.Is(err, ws.ErrHeadTooLarge) {
		w.turnDown(a, ws.TooLargeResponse())
		return
	}
	w.drop(a)
}

// turnDown answers and closes.
func (w *web) turnDown(a *arrival, response []byte) {
	if _, err := a.Write(response); err != nil {
		w.drop(a)
		return
	}
	if a.secure != nil {
		a.secure.tls.CloseWrite()
	}
	w.hangUp(a)
}

// hangUp closes, reading on for a moment: closing with unread input resets the
// connection, and what was said could be lost.
func (w *web) hangUp(a *arrival) {
	defer w.drop(a)
	a.tcp.CloseWrite()
	a.tcp.SetDeadline(time.Now().Add(linger))
	io.Copy(io.Discard, a.tcp)
}

// drop closes without a word.
func (w *web) drop(a *arrival) {
	a.leave()
	w.leave(a)
	a.tcp.Close()
}

// drain lets requests under way finish until ctx ends.
func (w *web) drain(ctx context.Context) error { return w.server.Shutdown(ctx) }

func (w *web) close() {
	w.server.Close()
	w.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.heads {
		c.Close()
	}
	w.heads = nil
}

// Accept implements net.Listener.
func (w *web) Accept() (net.Conn, error) {
	select {
	case c := <-w.ready:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (w *web) Close() error {
	w.once.Do(func() { close(w.done) })
	return nil
}

// Addr implements net.Listener.
func (w *web) Addr() net.Addr { return w.gateway.HTTPAddr() }

// replayed is a connection whose first bytes have been read already.
type replayed struct {
	*arrival
	read []byte // owned by the reader
	left func()
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.arrival.Read(p)
	}
	n := copy(p, r.read)
	r.read = r.read[n:]
	return n, nil
}

func (r *replayed) Close() error {
	r.left()
	return r.arrival.Close()
}
