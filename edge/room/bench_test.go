package room_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"freeim/edge/room"
)

// sink takes everything and looks at nothing.
type sink struct{ writes atomic.Int64 }

func (s *sink) Broadcast([]byte, room.Waiter) bool {
	s.writes.Add(1)
	return true
}

// crowd is a room of n members that read nothing.
func crowd(n int) (*site, *sink) {
	s, out := newSite(), new(sink)
	for i := range n {
		s.Enter(room.Enter{Room: hall}, room.Who{Session: uint64(i + 1), User: int64(i + 1), Out: out, Form: pbForm}, func() bool { return true })
	}
	return s, out
}

func (s *sink) wait(writes int64) {
	for s.writes.Load() < writes {
		runtime.Gosched()
	}
}

// TestDeliveringAllocatesNothing: what a pass allocates does not grow with the members.
func TestDeliveringAllocatesNothing(t *testing.T) {
	passed := func(members int) float64 {
		s, out := crowd(members)
		defer s.Close()
		seq := int64(0)
		return testing.AllocsPerRun(50, func() {
			seq++
			s.Broadcast(message(seq, false))
			out.wait(seq * int64(members))
		})
	}
	few, many := passed(1), passed(2000)
	if many > few+20 { // the runtime's own, of goroutines
		t.Errorf("a pass over 2000 members allocates %.0f times, over one %.0f", many, few)
	}
}

// BenchmarkPass is what a pass costs beside the writes themselves.
func BenchmarkPass(b *testing.B) {
	for _, members := range []int{1000, 10000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			s, out := crowd(members)
			defer s.Close()
			seq := int64(0)
			b.ReportAllocs()
			for b.Loop() {
				seq++
				s.Broadcast(message(seq, false))
				out.wait(seq * int64(members))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
		})
	}
}

// BenchmarkMembership is the memory of being in a room.
func BenchmarkMembership(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	s, _ := crowd(b.N)
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(b.N), "ns/join")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "B/membership")
	b.ReportMetric(float64(unsafe.Sizeof(room.Member{})), "B/member")
	s.Close()
}
