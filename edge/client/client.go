// Package client is the Go SDK: it speaks the protocol of idl/README.md to an
// edge. Dial gives one connection with a call for every action; Open gives a
// session that reconnects, resumes, resends and acknowledges by itself. It runs
// on the standard library's net, knows nothing of the server's packages, and
// keeps no messages: that is the application's. App developers use it, and
// chat, bench and the end-to-end tests.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

const (
	maxBodyBeforeAuth = 4096 // octets. Source: idl/README.md, Frame

	// A client may have 1,024 frames or 256 KiB unanswered; this one stays at a
	// quarter and a half of it. Source: idl/README.md, Requests.
	maxFlying      = 256
	maxFlyingBytes = 128 << 10

	maxPongs      = 8               // that wait to be written; more are dropped
	farewellTime  = 1 * time.Second // for the last bytes of a Close
	lastWordsTime = 2 * time.Second // for what a server has said before it closed
)

// Client is one connection to an edge, from Dial to its end; it does not
// reconnect. All methods are safe for concurrent use.
//
// It has two goroutines, which end when the connection does: the read loop,
// which hands answers to their calls and pushes to OnPush, and the write loop,
// which writes what waits in one piece.
type Client struct {
	Actions

	opts      Options
	conn      net.Conn
	transport transport
	onPush    func(Push)
	loops     sync.WaitGroup
	ended     chan struct{} // closed by end

	out   chan []byte // requests to the write loop; room for all that may fly
	pongs chan []byte // what the transport answers by itself

	maxBody  atomic.Int64 // the server's limit for a request's body, in octets
	lastSent atomic.Int64 // unix nanoseconds of the last request

	mu       sync.Mutex // guards the fields below
	next     uint32     // sequence-id of the next request
	flying   map[uint32]*request
	bytes    int           // of the frames in flying
	room     chan struct{} // closed and replaced when a request leaves flying
	watchdog *time.Timer   // runs while flying is not empty
	err      error         // why the connection ended; nil while it lives
}

// Push is a frame that the server sent without being asked.
type Push struct {
	Action idl.Action
	Codec  idl.Codec
	Body   []byte // valid only during OnPush
}

// Decode reads the body into m, which must be empty; m may be kept. Errors are
// *idl.BodyError.
func (p Push) Decode(m idl.Message) error { return idl.Decode(p.Body, p.Codec, m) }

// Dial connects to o.Address, or to the first of o.Addresses that can be reached
// instead; ctx bounds only that. The connection has not passed Auth.
func Dial(ctx context.Context, o Options) (*Client, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	var errs []error
	for _, address := range o.all() {
		c, err := dial(ctx, o.at(address), func(_ *Client, p Push) {
			if o.OnPush != nil {
				o.OnPush(p)
			}
		})
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dial connects to o.Address and to no other.
func dial(ctx context.Context, o Options, onPush func(*Client, Push)) (*Client, error) {
	o.setDefaults()
	u, err := o.parse(o.Address)
	if err != nil {
		return nil, err
	}
	conn, t, err := connect(ctx, u, &o)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.Address, err)
	}
	c := &Client{
		opts: o, conn: conn, transport: t,
		ended: make(chan struct{}), out: make(chan []byte, maxFlying), pongs: make(chan []byte, maxPongs),
		flying: make(map[uint32]*request), room: make(chan struct{}),
	}
	c.Actions.call = c.Call
	c.onPush = func(p Push) { onPush(c, p) }
	c.maxBody.Store(maxBodyBeforeAuth)
	c.watchdog = time.AfterFunc(o.AnswerTimeout, c.watch)
	c.watchdog.Stop()
	c.loops.Go(c.read)
	c.loops.Go(c.write)
	return c, nil
}

// Done is closed when the connection has ended; Err says why.
func (c *Client) Done() <-chan struct{} { return c.ended }

// Err is why the connection ended: a *Quit when the server said so, ErrClosed,
// ErrSilent, or what reading and writing failed with. Nil while it lives.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close says goodbye, ends the connection and its goroutines, and waits for
// them; so it must not be called by OnPush. Calls that wait end with ErrClosed.
func (c *Client) Close() error {
	c.end(ErrClosed)
	c.loops.Wait()
	return nil
}

// end is where every connection ends: the first err is why. It does not wait.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.watchdog.Stop()
	close(c.ended)
	if !errors.Is(err, ErrClosed) {
		c.conn.Close() // else the write loop does, after the farewell
	}
	c.opts.Log.Debug("connection ended", "address", c.opts.Address, "reason", err)
}

// read is the read loop. It ends when the connection is closed or its bytes make
// no sense.
func (c *Client) read() {
	for {
		if err := c.transport.receive(c.take, c.control); err != nil {
			c.end(readable(err))
			return
		}
	}
}

func readable(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("server closed the connection: %w", io.EOF)
	}
	return err
}

// take gets every frame of the server's.
func (c *Client) take(f frame.Frame) error {
	switch {
	case f.Sequence != 0:
		c.answered(f)
	case f.Action == idl.ActionQuit:
		var q wirepb.Quit
		if err := idl.Decode(f.Body, f.Codec, &q); err != nil {
			return fmt.Errorf("body of Quit: %w", err)
		}
		return quit(&q)
	case f.Action == idl.ActionError:
		c.opts.Log.Debug("refusal of a request without sequence-id")
	default:
		c.onPush(Push{Action: f.Action, Codec: f.Codec, Body: f.Body})
	}
	return nil
}

// control queues what the transport wants to have written.
func (c *Client) control(b []byte) {
	select {
	case c.pongs <- b:
	default:
		c.opts.Log.Debug("pong dropped, too many are waiting")
	}
}

// write is the write loop. After Close it writes what waits and the farewell.
func (c *Client) write() {
	for {
		var b []byte
		select {
		case b = <-c.out:
		case b = <-c.pongs:
		case <-c.ended:
			c.leave()
			return
		}
		if _, err := c.conn.Write(c.waiting(b)); err != nil {
			c.hearOut(err)
		}
	}
}

// hearOut ends the connection after a write failed, but lets the read loop end
// it first: a server that closed has often said why, and whether to come back.
func (c *Client) hearOut(err error) {
	late := time.NewTimer(lastWordsTime)
	defer late.Stop()
	select {
	case <-c.ended:
	case <-late.C:
		c.end(err)
	}
}

// waiting appends everything that waits in out to b.
func (c *Client) waiting(b []byte) []byte {
	for {
		select {
		case more := <-c.out:
			b = append(b, more...)
		default:
			return b
		}
	}
}

// leave ends the connection politely if it is Close that ended it.
func (c *Client) leave() {
	defer c.conn.Close()
	if !errors.Is(c.Err(), ErrClosed) {
		return
	}
	last := c.waiting(nil)
	if b, err := c.encode(idl.ActionQuit, 0, nil); err == nil {
		last = append(last, b...)
	}
	last = append(last, c.transport.farewell()...)
	// Nobody is left to tell of an error here.
	_ = c.conn.SetWriteDeadline(time.Now().Add(farewellTime))
	_, _ = c.conn.Write(last)
}
