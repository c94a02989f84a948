package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

var errStarved = errors.New("no VM became free in time")

// pool holds the VMs of one bundle. VMs are made until there are Options.VMs of
// them; then callers wait. A VM that failed, or has worked enough, is replaced
// after it came back: tables of the Lua package never forget a key, so an old VM
// only grows. No message pays for that: one goroutine makes them, beside.
//
// The VM that came back last goes out first: it is still in the processor's cache, and
// those that only a rush needed are left alone.
type pool struct {
	b     *bundle
	free  chan struct{} // one for each VM in idle; capacity: all VMs
	made  atomic.Int32  // VMs that exist, or are owed
	short chan struct{} // a token when one could not be made: one of those who wait tries
	gone  chan struct{} // closed with the pool
	build func() (*vm, error)
	alone bool // one goroutine uses it, and what it asks must not depend on time: VMs are replaced at once

	replaced atomic.Int64 // after enough work
	broken   atomic.Int64 // after a fault
	starved  atomic.Int64 // callers that got none

	replacing sync.WaitGroup // the goroutine that makes what is owed; it ends when nothing is

	mu     sync.Mutex // guards the fields below
	idle   []*vm      // the last one came back last
	owed   int        // VMs to be made in the place of those that are gone, but for the one that is being made
	making bool       // replaceOwed runs
	closed bool       // nothing is owed any more
}

// newPool takes over the bundle's first VM.
func newPool(b *bundle, first *vm) *pool {
	p := &pool{b: b, free: make(chan struct{}, b.opts.VMs), short: make(chan struct{}, b.opts.VMs), gone: make(chan struct{}), build: b.newVM}
	p.made.Store(1)
	p.push(first)
	return p
}

// push makes a VM free. A pool that is closed lets go of it.
func (p *pool) push(v *vm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		v.close()
		p.made.Add(-1)
		return
	}
	p.idle = append(p.idle, v)
	p.free <- struct{}{} // never blocks: it has room for all
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
	return p.make()
}

// make builds a VM that was counted already.
func (p *pool) make() (*vm, error) {
	v, err := p.build()
	if err != nil {
		p.lost()
		return nil, err
	}
	return v, nil
}

// lost takes back a VM that was counted and could not be made. One of those who wait tries next, so that
// none waits for what does not come.
func (p *pool) lost() {
	p.made.Add(-1)
	select {
	case p.short <- struct{}{}:
	default: // there are tokens for all
	}
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
	for {
		select {
		case <-p.free:
			return p.pop(), nil
		case <-p.short:
			if v, err := p.grow(); v != nil || err != nil {
				return v, err
			}
		case <-p.gone: // no VM comes back any more: who was pinned to this bundle gets one for that call
			p.made.Add(1)
			return p.make()
		case <-wait.C:
			p.starved.Add(1)
			return nil, errStarved
		case <-ctx.Done():
			p.starved.Add(1)
			return nil, ctx.Err()
		}
	}
}

// put takes a VM back. One that must not be used again is replaced beside; who finds none
// free meanwhile waits for that as for any other.
func (p *pool) put(v *vm) {
	work := vmWork
	if p.alone {
		work = vmTried
	}
	tired := v.calls >= p.b.opts.VMCalls || v.work >= work || v.busy >= vmBusy
	if !v.broken && !tired {
		p.push(v)
		return
	}
	v.close()
	if v.broken {
		p.broken.Add(1)
	} else {
		p.replaced.Add(1)
	}
	if p.alone {
		p.replace()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.made.Add(-1)
		return
	}
	p.owed++
	if !p.making {
		p.making = true
		p.replacing.Go(p.replaceOwed)
	}
}

// replaceOwed makes the VMs that are owed, one after the other.
func (p *pool) replaceOwed() {
	for p.next() {
		p.replace()
	}
}

// next takes the next VM that is owed upon its caller; false: there is none, and none of a pool
// that is closed.
func (p *pool) next() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.made.Add(-int32(p.owed))
		p.owed = 0
	}
	p.making = p.owed > 0
	if p.making {
		p.owed--
	}
	return p.making
}

// replace makes a VM in the place of one that is gone. If it cannot be made, the next who finds
// none free tries, or who waits already.
func (p *pool) replace() {
	v, err := p.barred()
	if err != nil {
		p.lost()
		p.b.opts.Log.Error("a VM cannot be replaced", "bundle", p.b.tree.hash, "err", err)
		return
	}
	p.push(v)
}

// barred builds a VM. A panic is an error of it: no caller stands above to take it.
func (p *pool) barred() (v *vm, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return p.build()
}

// close lets go of the VMs, after the one that is being made; those in use follow when they come back.
func (p *pool) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.gone)
	}
	p.mu.Unlock()
	p.replacing.Wait()
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
