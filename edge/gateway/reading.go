package gateway

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// looks is how often a client that is waited for is looked at until its time is over; so its end is
// late by that part of the time at most.
const looks = 8

// reading watches whether a client takes anything while a goroutine waits for its socket, and cuts it
// off when it has acknowledged no octet for too long; the socket itself may take long to have room for
// more. Safe for concurrent use.
type reading struct {
	stall time.Duration
	acked func() uint64 // octets that the client has taken
	cut   func()        // called once, if at all, aside

	mu    sync.Mutex // guards the fields below
	taken uint64
	since time.Time   // when it was first seen that it has taken so many
	timer *time.Timer // nil: nobody watches any more
}

// watchReading begins; the caller ends it by stop.
func watchReading(stall time.Duration, acked func() uint64, cut func()) *reading {
	r := &reading{stall: stall, acked: acked, cut: cut, taken: acked(), since: time.Now()}
	r.mu.Lock() // the timer may fire before it is kept
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(r.pause(stall), r.look)
	return r
}

// pause is the time to the next look, when so much is left.
func (r *reading) pause(left time.Duration) time.Duration {
	return max(min(left, r.stall/looks), time.Millisecond)
}

// went says that the socket has taken octets, which it does when the client has.
func (r *reading) went() {
	r.mu.Lock()
	r.since = time.Now()
	r.mu.Unlock()
}

// stop ends it: no look at the client decides to cut it off after that. What one decided just before may still
// be under way.
func (r *reading) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}

func (r *reading) look() {
	if r.over() {
		r.cut()
	}
}

// over reports whether the client's time is; else it has it looked at again.
func (r *reading) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer == nil {
		return false
	}
	if now := r.acked(); now != r.taken {
		r.taken, r.since = now, time.Now()
	}
	left := r.stall - time.Since(r.since)
	if left <= 0 {
		r.timer = nil
		return true
	}
	r.timer.Reset(r.pause(left))
	return false
}

// acked is how many octets the other side has acknowledged; 0 when nobody knows.
func acked(fd int) uint64 {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return info.Bytes_acked
}
