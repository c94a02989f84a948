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

	"freeim/edge/ws"
)

// Timeouts of the web server. Nothing here is long-lived.
const (
	webRequest = time.Minute // to read a request, and to write its answer
	webIdle    = time.Minute // between two requests of one connection
)

// serveHTTP takes a connection of the HTTP port: WebSockets become sessions, the
// others go to the web server.
func (g *Gateway) serveHTTP(c *net.TCPConn) { g.serveHead(c, g.clients, newClient) }

// serveHead reads a request's head on a goroutine of its own, which lives at
// most HeadTimeout. Beyond MaxHTTP connections the newest is closed at once.
func (g *Gateway) serveHead(c *net.TCPConn, via *outlet, take func(*websocket) taker) {
	if !g.web.enter(c) {
		g.counters.turnedAway.Add(1)
		c.Close()
		return
	}
	g.running.Go(func() {
		c.SetDeadline(time.Now().Add(g.opts.HeadTimeout))
		head, rest, err := readHead(c)
		if err != nil {
			g.web.refuse(c, err)
			return
		}
		h := ws.Upgrade(head, ws.Options{AllowOrigin: g.opts.AllowOrigin})
		ours := via == g.echoes || path(h.Target) == g.opts.WSPath
		switch {
		case h.Outcome == ws.Refused:
			g.web.turnDown(c, h.Response)
		case h.Outcome == ws.NotUpgrade || !ours:
			g.web.hand(c, append(head, rest...))
		default:
			g.upgrade(c, via, take, h.Response, rest)
		}
	})
}

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
func (g *Gateway) upgrade(c *net.TCPConn, via *outlet, take func(*websocket) taker, response, rest []byte) {
	defer g.web.leave(c)
	if _, err := c.Write(response); err != nil {
		c.Close()
		return
	}
	g.counters.upgrades.Add(1)
	g.adopt(c, via, func(c *conn) protocol { return newWebsocket(c, take) }, rest)
}

// web is the HTTP port's connections that are no WebSocket, or not yet: the
// listener of an ordinary http.Server, fed from memory.
type web struct {
	gateway *Gateway
	server  *http.Server
	ready   chan net.Conn // never closed; to the server
	done    chan struct{} // closed by Close: the server takes no more
	once    sync.Once
	open    atomic.Int64

	mu    sync.Mutex
	heads map[net.Conn]struct{} // being read; nil after close
}

func newWeb(g *Gateway) *web {
	w := &web{
		gateway: g, ready: make(chan net.Conn), done: make(chan struct{}),
		heads: make(map[net.Conn]struct{}),
	}
	w.server = &http.Server{
		Handler:           w.handler(),
		ReadHeaderTimeout: g.opts.HeadTimeout,
		ReadTimeout:       webRequest,
		WriteTimeout:      webRequest,
		IdleTimeout:       webIdle,
		MaxHeaderBytes:    ws.MaxHead,
		ErrorLog:          log.New(debugLog{g.log}, "", 0),
	}
	return w
}

// handler is the pages, and a hint for plain requests where WebSockets are.
func (w *web) handler() http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
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

// enter counts a connection; false when there are too many.
func (w *web) enter(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.heads == nil || w.open.Load() >= int64(w.gateway.opts.MaxHTTP) {
		return false
	}
	w.open.Add(1)
	w.heads[c] = struct{}{}
	return true
}

// read says that a connection's head is no longer being read.
func (w *web) read(c net.Conn) {
	w.mu.Lock()
	delete(w.heads, c)
	w.mu.Unlock()
}

// leave takes a connection off the count.
func (w *web) leave(c net.Conn) {
	w.read(c)
	w.open.Add(-1)
}

// hand gives a connection to the server, with the bytes read of it.
func (w *web) hand(c *net.TCPConn, read []byte) {
	w.read(c)
	c.SetDeadline(time.Time{})
	replay := &replayed{Conn: c, tcp: c, read: read, left: sync.OnceFunc(func() { w.open.Add(-1) })}
	select {
	case w.ready <- replay:
	case <-w.done:
		replay.Close()
	}
}

// refuse ends a connection whose head could not be read.
func (w *web) refuse(c *net.TCPConn, err error) {
	if errors.Is(err, ws.ErrHeadTooLarge) {
		w.turnDown(c, ws.TooLargeResponse())
		return
	}
	w.leave(c)
	c.Close()
}

// turnDown answers and closes, reading on for a moment: closing with unread
// input resets the connection, and the answer could be lost.
func (w *web) turnDown(c *net.TCPConn, response []byte) {
	defer w.leave(c)
	defer c.Close()
	if _, err := c.Write(response); err != nil {
		return
	}
	c.CloseWrite()
	c.SetDeadline(time.Now().Add(linger))
	io.Copy(io.Discard, c)
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
	net.Conn
	tcp  *net.TCPConn
	read []byte // owned by the reader
	left func()
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.read)
	r.read = r.read[n:]
	return n, nil
}

// CloseWrite lets the server end its side first, as it does with clients that
// send on.
func (r *replayed) CloseWrite() error { return r.tcp.CloseWrite() }

func (r *replayed) Close() error {
	r.left()
	return r.Conn.Close()
}
