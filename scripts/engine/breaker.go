package engine

import (
	"sync"
	"sync/atomic"
	"time"
)

// When a breaker opens, and for how long.
const (
	breakerFaults = 20
	breakerWindow = 10 * time.Second
	breakerBlock  = 50 // calls, of which half must fail
	breakerPause  = 10 * time.Second
)

// breaker keeps a hook that fails again and again from being called. It opens at
// 20 faults within 10 s, or when half of 50 calls failed; 10 s later one call may
// try, and its success closes it. The zero breaker is closed.
type breaker struct {
	open atomic.Bool // what the hot path looks at

	mu          sync.Mutex // guards the fields below
	until       time.Time  // when open: no call before
	windowStart time.Time
	window      int   // faults since windowStart
	blockStart  int64 // calls when the block began
	block       int   // faults since then
}

// allows reports whether the hook may be called now. An open breaker lets one
// call through per pause.
func (b *breaker) allows(now func() time.Time) bool {
	if !b.open.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := now()
	if at.Before(b.until) {
		return false
	}
	b.until = at.Add(breakerPause)
	return true
}

// succeeded reports whether the call closed the breaker.
func (b *breaker) succeeded() (closed bool) {
	return b.open.Load() && b.close()
}

// close forgets the faults, and reports whether the breaker was open.
func (b *breaker) close() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.window, b.block, b.blockStart = 0, 0, 0
	b.windowStart = time.Time{}
	return b.open.CompareAndSwap(true, false)
}

// failed counts a fault of a hook that was called calls times in all, and
// reports whether it opened the breaker.
func (b *breaker) failed(at time.Time, calls int64) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at.Sub(b.windowStart) > breakerWindow {
		b.windowStart, b.window = at, 0
	}
	if b.block == 0 || calls-b.blockStart >= breakerBlock {
		b.blockStart, b.block = calls-1, 0
	}
	b.window++
	b.block++
	if b.window < breakerFaults && b.block < breakerBlock/2 {
		return false
	}
	b.until = at.Add(breakerPause)
	return b.open.CompareAndSwap(false, true)
}
