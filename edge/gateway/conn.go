package gateway

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/cloudwego/netpoll"

	"freeim/edge/frame"
	"freeim/edge/limits"
)

// protocol is what a connection speaks: frames over TCP, or WebSocket.
type protocol interface {
	// feed takes bytes as they arrive, in pieces of any size; p may be
	// overwritten and is not kept. It is false when no more are wanted. One
	// goroutine at a time calls it.
	feed(p []byte) bool
	// fail says what ends the connection other than what was fed: the client does
	// not read, sends faster than it is handled, or breaks TLS. It is safe for
	// concurrent use.
	fail(why *frame.CloseError)
	// ended says that the connection is gone. Nothing follows.
	ended()
}

// conn is a connection that netpoll watches: bytes come in through input and
// leave through out.
type conn struct {
	gateway *Gateway
	address string
	np      netpoll.Connection
	out     outbound
	speaks  protocol
	secure  *secure      // nil: no TLS
	peer    *limits.Peer // of its address; nil: not limited

	deaf bool // owned by the read loop: what still comes is read and dropped
}

// adopt has netpoll watch the socket; speak makes the protocol once there is
// something to send with. first is what the client said already.
func (g *Gateway) adopt(a *arrival, via *outlet, speak func(*conn) protocol, first []byte) {
	c := &conn{gateway: g, address: a.client.String(), secure: a.secure, peer: a.peer}
	var sealed []byte // what the client said already, as it came
	if c.secure != nil {
		sealed = c.secure.detach()
	}
	fd, err := descriptor(a.tcp)
	if err == nil {
		c.np, err = netpoll.NewFDConnection(fd)
	}
	if err != nil {
		g.log.Debug("connection could not be watched", "err", err)
		c.peer.Leave()
		return
	}
	c.out.init(via, c, fd)
	if !g.keep(c) {
		c.np.Close()
		c.peer.Leave()
		return
	}
	c.speaks = speak(c)
	c.handle(first, c.speaks.feed)
	if c.secure != nil {
		c.handle(sealed, c.decrypt)
	}
	c.watch()
}

// keep registers a connection for Close; false when that has begun.
func (g *Gateway) keep(c *conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return false
	}
	g.conns[c] = struct{}{}
	g.running.Add(1)
	return true
}

// watch lets netpoll call. It may have seen the end already, before there was
// anyone to tell; then the connection is inactive and Close tells it.
func (c *conn) watch() {
	c.np.AddCloseCallback(c.onClose)
	c.np.SetOnRequest(c.onRequest)
	if c.out.watch() || !c.np.IsActive() {
		c.np.Close()
	}
}

// slice is how many octets are handled before others have their turn.
const slice = 64 << 10

// onRequest is called by netpoll when bytes have arrived, on one goroutine at a
// time. It must leave the reader empty: netpoll calls it again at once, in a
// busy loop, for as long as a byte is left. Meanwhile netpoll reads on, as fast
// as the client sends, and waits for nobody: hence the bound.
func (c *conn) onRequest(context.Context, netpoll.Connection) error {
	c.gateway.counters.reads.Add(1)
	in := c.np.Reader()
	for n := in.Len(); n > 0; n = in.Len() {
		if n > c.out.shared.unread && !c.deaf {
			c.deaf = true
			c.speaks.fail(flood())
		}
		if err := c.take(in, n); err != nil {
			return err
		}
		in.Release()
		if n > slice {
			runtime.Gosched()
		}
	}
	return nil
}

// take handles a slice of the n octets that wait, or drops them all.
func (c *conn) take(in netpoll.Reader, n int) error {
	if c.deaf {
		c.gateway.counters.octetsIn.Add(int64(n))
		return in.Skip(n)
	}
	c.gateway.counters.octetsIn.Add(int64(min(n, slice)))
	p, err := in.Next(min(n, slice))
	if err != nil {
		return err
	}
	c.input(p)
	return nil
}

// input takes what netpoll read.
func (c *conn) input(p []byte) {
	if c.secure != nil {
		c.handle(p, c.decrypt)
		return
	}
	c.handle(p, c.speaks.feed)
}

// handle gives p to feed. What the protocol sends meanwhile leaves in one write.
// A panic ends this connection and nothing else.
func (c *conn) handle(p []byte, feed func([]byte) bool) {
	if c.deaf {
		return
	}
	defer func() {
		if fault := recover(); fault != nil {
			c.broke(fault)
		}
	}()
	c.out.cork()
	defer c.out.uncork()
	c.deaf = !feed(p)
}

func (c *conn) broke(fault any) {
	c.deaf = true
	c.gateway.counters.panics.Add(1)
	c.gateway.log.Error("connection broke", "panic", fault, "stack", string(debug.Stack()))
	c.out.abort()
}

// onClose is called by netpoll once, when the connection has ended and nothing
// of it runs; the descriptor is still ours, and not afterwards: callbacks run
// last in, first out, and netpoll's own, the first, closes it.
func (c *conn) onClose(netpoll.Connection) error {
	c.out.ended()
	c.speaks.ended()
	c.peer.Leave()
	g := c.gateway
	g.mu.Lock()
	delete(g.conns, c)
	g.mu.Unlock()
	g.running.Done()
	return nil
}

func (c *conn) stalled() {
	c.gateway.counters.stalled.Add(1)
	c.speaks.fail(slowReader())
}

// Peer implements session.Transport.
func (c *conn) Peer() *limits.Peer { return c.peer }

// Address implements session.Transport.
func (c *conn) Address() string { return c.address }
