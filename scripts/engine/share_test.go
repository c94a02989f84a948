package engine

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What runs aside takes a quarter of the processors, however much there is to do.
func TestShare(t *testing.T) {
	for _, test := range []struct {
		processors, atOnce int
		times              time.Duration // that a run lasts with its rest
	}{{1, 1, 4}, {2, 1, 2}, {4, 1, 1}, {6, 1, 1}, {8, 2, 1}, {64, 16, 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := shareFor(test.processors)
			if cap(s.turns) != test.atOnce {
				t.Errorf("%d processors: %d at one time, want %d", test.processors, cap(s.turns), test.atOnce)
			}
			const runs, each = 20, 50 * time.Millisecond
			stop, began := make(chan struct{}), time.Now()
			var all sync.WaitGroup
			for range 2 * test.atOnce {
				all.Go(func() {
					for range runs {
						s.do(stop, func() { time.Sleep(each) })
					}
				})
			}
			all.Wait()
			if took, want := time.Since(began), 2*runs*each*test.times; took != want {
				t.Errorf("%d processors: took %v, want %v", test.processors, took, want)
			}
			if took := time.Duration(s.took.Load()); took != time.Duration(2*test.atOnce*runs)*each {
				t.Errorf("%d processors: counted %v", test.processors, took)
			}
		})
	}
}

func TestShareStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop, began := shareFor(1), make(chan struct{}), time.Now()
		var all sync.WaitGroup
		all.Go(func() { s.do(stop, func() { time.Sleep(time.Hour) }) })
		synctest.Wait()
		waited := true
		all.Go(func() { waited = s.do(stop, func() { t.Error("it ran after the end") }) })
		time.Sleep(2 * time.Hour) // the first rests
		close(stop)
		all.Wait()
		if waited || time.Since(began) != 2*time.Hour {
			t.Errorf("ended after %v", time.Since(began))
		}
	})
}

// What waits is bounded by octets, also when its number is not reached.
func TestBacklogIsBoundedByOctets(t *testing.T) {
	type request struct{ Text string }
	call := func() *Call {
		return &Call{Action: "a.b", Request: &request{strings.Repeat("x", 64<<10)}, Reply: &request{"y"}}
	}
	const sent, most = 1000, maxWaiting / (64 << 10)
	few := func(what string, waits int, dropped int64, held *backlog) {
		t.Helper()
		if waits < most/2 || waits > most || int64(waits)+dropped != sent || held.octets.Load() > maxWaiting {
			t.Errorf("%s: %d wait with %d octets, %d were dropped", what, waits, held.octets.Load(), dropped)
		}
	}
	a := &aside{queue: make(chan *late, 2*sent)} // nobody takes from it
	for range sent {
		a.offer(call())
	}
	few("after hooks", len(a.queue), a.dropped.Load(), &a.waits)

	s := &shadow{queue: make(chan shadowed, 2*sent)}
	for range sent {
		s.offer(copied(Before, call(), time.Time{}), outcome{})
	}
	few("a shadow", len(s.queue), s.left.Load(), &s.waits)
}

// fixed are facts that are the same for every call.
type fixed struct{ read int }

func (f *fixed) Fact(Fact) string {
	f.read++
	return "fact"
}

// A call that waits keeps values, not what the host made it of.
func TestLateCallsKeepValues(t *testing.T) {
	f := &fixed{}
	kept := keptFor(&Call{Action: "a.b", Facts: f})
	read := f.read
	if kept.Fact(FactUser) != "fact" || kept.Facts.Fact(FactTrace) != "fact" || f.read != read {
		t.Errorf("the host's facts are asked when they are late: %+v", kept)
	}
}

// What a request takes in memory may be many times what it took on the wire.
func TestWeight(t *testing.T) {
	type inner struct{ A, B, C int64 }
	type request struct {
		Text    string
		Packed  []int64
		Inners  []*inner
		Octets  []byte
		Lists   [][]byte
		Maybe   *string
		Map     map[string]*inner
		Nothing *inner
		Any     any
	}
	some := strings.Repeat("x", 1000)
	for _, test := range []struct {
		name string
		r    request
		want int
	}{
		{"nothing", request{}, 0},
		{"a text", request{Text: some}, 1000},
		{"packed integers", request{Packed: make([]int64, 1000)}, 8000},
		{"empty messages", request{Inners: []*inner{{}, {}, {}, nil}}, 4*8 + 3*24},
		{"octets", request{Octets: make([]byte, 10, 4096)}, 4096},
		{"lists of octets", request{Lists: [][]byte{make([]byte, 1000), make([]byte, 1000)}}, 2*24 + 2000},
		{"a pointer", request{Maybe: &some}, 16 + 1000},
		{"a map", request{Map: map[string]*inner{"ab": {}}}, 16 + 8 + 2 + 24},
		{"one of several", request{Any: &inner{}}, 8 + 24},
	} {
		if got := weightOf(&test.r) - weightOf(&request{}); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
	if weightOf(nil) != 0 {
		t.Error("nothing has a weight")
	}
}
