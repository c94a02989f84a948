package rpc_test

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy stands between an edge and a core. It can freeze, as a network that
// swallows everything or a stopped process does, and cut what goes through it.
type proxy struct {
	listener net.Listener
	all      sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	thaw   *sync.Cond // frozen became false, or shut true
	target string
	conns  []net.Conn
	away   int // connections that were ended since no core was there
	count  int // connections so far
	froze  bool
	shut   bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target}
	p.thaw = sync.NewCond(&p.mu)
	p.all.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.shut = true
		p.mu.Unlock()
		p.thaw.Broadcast()
		_ = listener.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) freeze(froze bool) {
	p.mu.Lock()
	p.froze = froze
	p.mu.Unlock()
	p.thaw.Broadcast()
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) accept() {
	for {
		edge, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		network, where := "tcp", p.target
		p.mu.Unlock()
		if path, ok := strings.CutPrefix(where, "unix:"); ok {
			network, where = "unix", path
		}
		core, err := net.Dial(network, where)
		if err != nil {
			_ = edge.Close()
			p.mu.Lock()
			p.away++
			p.mu.Unlock()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, edge, core)
		p.count++
		p.mu.Unlock()
		p.all.Go(func() { p.pass(core, edge) })
		p.all.Go(func() { p.pass(edge, core) })
	}
}

// pass copies until one side ends.
func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		for p.froze && !p.shut {
			p.thaw.Wait()
		}
		p.mu.Unlock()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// accepted is how many connections there were.
func (p *proxy) accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// turnedAway is how many connections were ended at once, for want of a core.
func (p *proxy) turnedAway() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away
}
