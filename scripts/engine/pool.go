package engine

import (
	"container/list"
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

// retirement is how long a bundle that was swapped out keeps its VMs: longer than an action takes.
const retirement = 15 * time.Second

// pool holds the VMs of one bundle. There are as many as were needed at once, and Options.VMs at most;
// then callers wait, in their order. A VM that failed, or has worked enough, is replaced
// after it came back: tables of the Lua package never forget a key, so an old VM
// only grows. No message makes a VM: one goroutine makes them, beside, and who finds none
// free waits for whichever is free first.
//
// The VM that came back last goes out first: it is still in the processor's cache, and
// those that only a rush needed are left alone.
type pool struct {
	b     *bundle
	build func() (*vm, error)
	alone bool         // one goroutine uses it, and what it asks must not depend on time: VMs are made and replaced at once
	made  atomic.Int32 // VMs that exist, or are owed; changed under mu

	replaced atomic.Int64 // after enough work
	broken   atomic.Int64 // after a fault
	starved  atomic.Int64 // callers that got none

	replacing sync.WaitGroup // the goroutine that makes what is owed; it ends when nothing is

	mu      sync.Mutex  // guards the fields below
	idle    []*vm       // the last one came back last; none while somebody waits
	waiting list.List   // of chan served: callers, the one that came first at the front
	peak    int         // VMs that were in use at once
	owed    int         // VMs to be made, but for the one that is being made
	making  bool        // makeOwed runs
	noted   time.Time   // when it was logged last that none can be made
	ending  *time.Timer // closes the pool; nil: nobody has retired it
	closed  bool        // nothing is made beside any more
}

// served is what a caller that waits is given. The zero one: it makes a VM itself, which is counted already.
type served struct {
	v   *vm
	err error
}

// newPool takes over the bundle's first VM.
func newPool(b *bundle, first *vm) *pool {
	p := &pool{b: b, build: b.newVM}
	p.made.Store(1)
	p.push(first)
	return p
}

// push makes a VM free. A pool that is closed lets go of it, unless somebody waits.
func (p *pool) push(v *vm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.serve(served{v: v}):
	case p.closed:
		v.close()
		p.made.Add(-1)
	default:
		p.idle = append(p.idle, v)
	}
}

// serve answers the caller that waits longest; false: none does. Guarded by mu.
func (p *pool) serve(s served) bool {
	first := p.waiting.Front()
	if first == nil {
		return false
	}
	p.waiting.Remove(first).(chan served) <- s // never blocks: it has room for one
	return true
}

// pop takes the VM that came back last; nil: none is free. Guarded by mu.
func (p *pool) pop() *vm {
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	v := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return v
}

// warm makes VMs for a pool that nobody else uses yet: two per processor, and as many as needed, so that no message
// of the first ones waits. Between two it lets messages run.
func (p *pool) warm(ctx context.Context, needed int) error {
	for n := min(max(2*runtime.GOMAXPROCS(0), needed), p.b.opts.VMs); int(p.made.Load()) < n; runtime.Gosched() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.made.Add(1)
		v, err := p.make()
		if err != nil {
			return err
		}
		p.push(v)
	}
	return nil
}

// needed is how many VMs were in use at once since the bundle was built.
func (p *pool) needed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// free is how many VMs nobody uses.
func (p *pool) free() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// make builds a VM that was counted already.
func (p *pool) make() (*vm, error) {
	v, err := p.build()
	if err != nil {
		p.failed(err)
		return nil, err
	}
	return v, nil
}

// failed takes back a VM that was counted and could not be made. Where none is left that could come back, those who
// wait are told: none waits for what does not come.
func (p *pool) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for left := p.made.Add(-1); left == 0 && p.serve(served{err: err}); {
	}
}

// get gives a VM, waiting for one at most for Options.Wait.
func (p *pool) get(ctx context.Context) (*vm, error) {
	p.mu.Lock()
	v := p.pop()
	grows := v == nil && int(p.made.Load()) < p.b.opts.VMs
	if grows {
		p.made.Add(1)
	}
	p.peak = max(p.peak, int(p.made.Load())-len(p.idle))
	if v != nil {
		p.mu.Unlock()
		return v, nil
	}
	if grows && (p.alone || p.closed) { // of a closed one: for an action that outlived its bundle
		p.mu.Unlock()
		return p.make()
	}
	turn := make(chan served, 1)
	place := p.waiting.PushBack(turn)
	if grows {
		p.owe()
	}
	p.mu.Unlock()
	return p.wait(ctx, turn, place)
}

// wait waits for the caller's turn.
func (p *pool) wait(ctx context.Context, turn chan served, place *list.Element) (*vm, error) {
	patience := time.NewTimer(p.b.opts.Wait)
	defer patience.Stop()
	var s served
	select {
	case s = <-turn:
	case <-patience.C:
		s = p.leave(turn, place, errStarved)
	case <-ctx.Done():
		s = p.leave(turn, place, ctx.Err())
	}
	if s.v == nil && s.err == nil {
		return p.make()
	}
	return s.v, s.err
}

// leave ends a wait with err, unless the caller was served in the same moment.
func (p *pool) leave(turn chan served, place *list.Element, err error) served {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case s := <-turn:
		return s
	default:
		p.waiting.Remove(place)
		p.starved.Add(1)
		return served{err: err}
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
		p.forgive()
		return
	}
	p.owe()
}

// owe has a VM made that was counted already. Guarded by mu; the pool is not closed.
func (p *pool) owe() {
	p.owed++
	if !p.making {
		p.making = true
		p.replacing.Go(p.makeOwed)
	}
}

// forgive is what becomes of a VM that a closed pool owes: who waits longest makes it, or nobody. Guarded by mu.
func (p *pool) forgive() {
	if !p.serve(served{}) {
		p.made.Add(-1)
	}
}

// makeOwed makes the VMs that are owed, one after the other.
func (p *pool) makeOwed() {
	for p.next() {
		p.replace()
		runtime.Gosched() // messages go first
	}
}

// next takes the next VM that is owed upon its caller; false: there is none, and none of a pool
// that is closed.
func (p *pool) next() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; p.closed && p.owed > 0; p.owed-- {
		p.forgive()
	}
	p.making = p.owed > 0
	if p.making {
		p.owed--
	}
	return p.making
}

// replace makes a VM that is owed. If it cannot be made, the next who finds none free has it tried again.
func (p *pool) replace() {
	v, err := p.barred()
	if err == nil {
		p.push(v)
		return
	}
	p.failed(err)
	if p.notes(time.Now()) {
		p.b.opts.Log.Error("a VM cannot be made", "bundle", p.b.tree.hash, "err", err)
	}
}

// notes reports whether a VM that cannot be made is logged: not with each message.
func (p *pool) notes(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.noted.IsZero() && now.Sub(p.noted) < noteEvery {
		return false
	}
	p.noted = now
	return true
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

// retire closes the pool when no action can be under way any more that began in its bundle. Until then it
// is as it was. ended is called when it has closed by that.
func (p *pool) retire(ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = time.AfterFunc(retirement, func() {
		p.close()
		ended()
	})
}

// close lets go of the VMs, after the one that is being made; those in use follow when they come
// back and nobody waits.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.ending != nil {
		p.ending.Stop()
	}
	p.mu.Unlock()
	p.replacing.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for v := p.pop(); v != nil; v = p.pop() {
		v.close()
		p.made.Add(-1)
	}
}
