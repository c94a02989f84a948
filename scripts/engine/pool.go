package engine

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

var errStarved = errors.New("no VM became free in time")

// pool holds the VMs of one bundle. VMs are made until there are Options.VMs of
// them; then callers wait. A VM that failed, or has worked enough, is replaced
// when it comes back: tables of the Lua package never forget a key, so an old VM
// only grows.
type pool struct {
	b      *bundle
	idle   chan *vm     // capacity: all VMs
	made   atomic.Int32 // VMs that exist
	closed atomic.Bool

	replaced atomic.Int64 // after enough work
	broken   atomic.Int64 // after a fault
	starved  atomic.Int64 // callers that got none
}

// newPool takes over the bundle's first VM.
func newPool(b *bundle, first *vm) *pool {
	p := &pool{b: b, idle: make(chan *vm, b.opts.VMs)}
	p.made.Store(1)
	p.idle <- first
	return p
}

// warm makes two VMs per processor, so that no message of the first ones waits.
func (p *pool) warm() error {
	for range min(2*runtime.GOMAXPROCS(0), p.b.opts.VMs) - 1 {
		v, err := p.grow()
		if err != nil {
			return err
		}
		if v != nil {
			p.idle <- v
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
	case v := <-p.idle:
		return v, nil
	default:
	}
	if v, err := p.grow(); v != nil || err != nil {
		return v, err
	}
	wait := time.NewTimer(p.b.opts.Wait)
	defer wait.Stop()
	select {
	case v := <-p.idle:
		return v, nil
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
	tired := v.calls >= p.b.opts.VMCalls || v.work >= vmWork
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
	p.idle <- v
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
		case v := <-p.idle:
			p.made.Add(-1)
			v.close()
		default:
			return
		}
	}
}
