package engine

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var errStarved = errors.New("no VM became free in time")

// pool holds the VMs of one bundle. VMs are made until there are Options.VMs of
// them; then callers wait. A VM that failed, or has worked enough, is replaced
// when it comes back: tables of the Lua package never forget a key, so an old VM
// only grows.
//
// The VM that came back last goes out first: it is still in the processor's cache, and
// those that only a rush needed are left alone.
type pool struct {
	b      *bundle
	free   chan struct{} // one for each VM in idle; capacity: all VMs
	made   atomic.Int32  // VMs that exist
	closed atomic.Bool

	replaced atomic.Int64 // after enough work
	broken   atomic.Int64 // after a fault
	starved  atomic.Int64 // callers that got none

	mu   sync.Mutex // guards idle
	idle []*vm      // the last one came back last
}

// newPool takes over the bundle's first VM.
func newPool(b *bundle, first *vm) *pool {
	p := &pool{b: b, free: make(chan struct{}, b.opts.VMs)}
	p.made.Store(1)
	p.push(first)
	return p
}

// push makes a VM free.
func (p *pool) push(v *vm) {
	p.mu.Lock()
	p.idle = append(p.idle, v)
	p.mu.Unlock()
	p.free <- struct{}{}
}

// pop takes a VM for one that was received from free.
func (p *pool) pop() *vm {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	v := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return v
}

// warm makes two VMs per processor, so that no message of the first ones waits.
func (p *pool) warm() error {
	for range min(2*runtime.GOMAXPROCS(0), p.b.opts.VMs) - 1 {
		v, err := p.grow()
		if err != nil {
			return err
		}
		if v != nil {
			p.push(v)
		}
	}
	return nil
}

// grow makes a VM, or nil when there are enough.
func (p *pool) grow() (*vm, error) {
	if int(p.made.Add(1)) > p.b.opts.VMs {
		p.made.Add(-1)
		return nil, nil
	}
	v, err := p.b.newVM()
	if err != nil {
		p.made.Add(-1)
		return nil, err
	}
	return v, nil
}

// get gives a VM, waiting for one at most for Options.Wait.
func (p *pool) get(ctx context.Context) (*vm, error) {
	select {
	case <-p.free:
		return p.pop(), nil
	default:
	}
	if v, err := p.grow(); v != nil || err != nil {
		return v, err
	}
	wait := time.NewTimer(p.b.opts.Wait)
	defer wait.Stop()
	select {
	case <-p.free:
		return p.pop(), nil
	case <-wait.C:
		p.starved.Add(1)
		return nil, errStarved
	case <-ctx.Done():
		p.starved.Add(1)
		return nil, ctx.Err()
	}
}

// put takes a VM back. One that must not be used again is replaced at once, so
// that callers who wait get the new one.
func (p *pool) put(v *vm) {
	tired := v.calls >= p.b.opts.VMCalls || v.work >= vmWork || v.busy >= vmBusy
	if v.broken || tired {
		v.close()
		if v.broken {
			p.broken.Add(1)
		} else {
			p.replaced.Add(1)
		}
		var err error
		if v, err = p.b.newVM(); err != nil {
			p.made.Add(-1)
			p.b.opts.Log.Error("a VM cannot be replaced", "bundle", p.b.tree.hash, "err", err)
			return
		}
	}
	p.push(v)
	if p.closed.Load() {
		p.drain()
	}
}

// close lets go of the VMs; those in use follow when they come back.
func (p *pool) close() {
	p.closed.Store(true)
	p.drain()
}

func (p *pool) drain() {
	for {
		select {
		case <-p.free:
			p.made.Add(-1)
			p.pop().close()
		default:
			return
		}
	}
}
