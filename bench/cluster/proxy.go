package cluster

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"freeim/core/engines"
)

// Proxy stands between a TCP client and a server on this machine and makes the
// weather between them. Its methods are safe for concurrent use.
//
// It has one goroutine that accepts, and for each connection two a way: one reads
// and one writes what has been on its way long enough. All end with Close.
type Proxy struct {
	listener net.Listener
	target   string
	tasks    sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	weather Weather
	changed chan struct{} // closed and replaced when weather changes
	pairs   map[*passage]bool
	closed  bool
}

// Weather is what happens to the bytes between two ends. The zero value is a
// clear day.
type Weather struct {
	Delay  time.Duration // of every piece, each way
	Jitter time.Duration // and a random part of this
	Loss   float64       // share of pieces that must be sent again: they come retransmission later
	Rate   int           // octets a second of a connection, each way; 0: no bound
	Black  bool          // nothing arrives until this ends; connections stay, and what was sent is kept
	Refuse bool          // new connections are reset
}

const (
	retransmission = 200 * time.Millisecond // the least that TCP waits before it sends again
	onTheWay       = 256                    // pieces between reader and writer; beyond: the reader waits, as TCP does
	pieceSize      = 16 << 10               // octets read at once
)

// passage is one connection through the proxy.
type passage struct {
	near, far net.Conn
	done      chan struct{} // closed by cut
	once      sync.Once
}

// cut ends both connections; with a reset if hard.
func (p *passage) cut(hard bool) {
	p.once.Do(func() {
		for _, conn := range []net.Conn{p.near, p.far} {
			if tcp, ok := conn.(*net.TCPConn); ok && hard {
				tcp.SetLinger(0)
			}
			conn.Close()
		}
		close(p.done)
	})
}

// NewProxy listens on a free port of the loopback address and passes everything
// on to target, HOST:PORT.
func NewProxy(target string) (*Proxy, error) {
	listener, err := listenLow()
	if err != nil {
		return nil, fmt.Errorf("listen for what goes to %s: %w", target, err)
	}
	p := &Proxy{listener: listener, target: target, changed: make(chan struct{}), pairs: map[*passage]bool{}}
	p.tasks.Go(p.accept)
	return p, nil
}

// Addr is HOST:PORT for clients.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set changes the weather, for connections that are there too.
func (p *Proxy) Set(w Weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut resets every connection that is there.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		pair.cut(true)
	}
}

// Close ends the proxy and everything that goes through it.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for pair := range p.pairs {
		pair.cut(false)
	}
	p.mu.Unlock()
	p.tasks.Wait()
	return err
}

func (p *Proxy) now() (Weather, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather, p.changed
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // no descriptor is free at the moment
		}
		if w, _ := p.now(); w.Refuse {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			continue
		}
		p.tasks.Go(func() { p.serve(conn) })
	}
}

// serve passes one connection on until one end is gone.
func (p *Proxy) serve(near net.Conn) {
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		near.(*net.TCPConn).SetLinger(0)
		near.Close()
		return
	}
	pair := &passage{near: near, far: far, done: make(chan struct{})}
	if !p.keep(pair) {
		pair.cut(false)
		return
	}
	var ways sync.WaitGroup
	ways.Go(func() { p.pass(pair, near, far) })
	ways.Go(func() { p.pass(pair, far, near) })
	ways.Wait()
	pair.cut(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, pair)
}

func (p *Proxy) keep(pair *passage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.pairs[pair] = true
	}
	return !p.closed
}

// piece is bytes on their way.
type piece struct {
	bytes []byte
	due   time.Time
}

// pass carries one way: what from sends arrives at to. The end of the stream
// arrives too, behind all of it.
func (p *Proxy) pass(pair *passage, from, to net.Conn) {
	way := make(chan piece, onTheWay) // closed by the reader
	p.tasks.Go(func() { p.read(pair, from, way) })
	for next := range way {
		if !p.arrive(pair, next) {
			break
		}
		if _, err := to.Write(next.bytes); err != nil {
			pair.cut(true)
			break
		}
	}
	for range way { // so that the reader can end
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
}

func (p *Proxy) read(pair *passage, from net.Conn, way chan<- piece) {
	defer close(way)
	var free time.Time // when a bounded line has room again
	for {
		buf := make([]byte, pieceSize)
		n, err := from.Read(buf)
		if n > 0 {
			w, _ := p.now()
			due := time.Now().Add(w.Delay)
			if w.Jitter > 0 {
				due = due.Add(rand.N(w.Jitter))
			}
			if rand.Float64() < w.Loss {
				due = due.Add(retransmission)
			}
			if w.Rate > 0 {
				if free.Before(due) {
					free = due
				}
				free = free.Add(time.Duration(n) * time.Second / time.Duration(w.Rate))
				due = free
			}
			way <- piece{buf[:n], due}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				pair.cut(true)
			}
			return
		}
	}
}

// arrive waits until the piece is due and the weather lets it through. It is
// false when the connection ends first.
func (p *Proxy) arrive(pair *passage, next piece) bool {
	for {
		w, changed := p.now()
		var due <-chan time.Time
		if !w.Black {
			left := time.Until(next.due)
			if left <= 0 {
				return true
			}
			due = time.After(left)
		}
		select {
		case <-due:
			return true
		case <-changed:
		case <-pair.done:
			return false
		}
	}
}

// listenLow listens on a port that no server is given.
func listenLow() (net.Listener, error) {
	port, err := engines.FreePort()
	if err != nil {
		return nil, err
	}
	defer port.Close()
	return net.Listen("tcp", port.Addr())
}
