package heap

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"testing"
)

const mib = 1 << 20

// cycles is how often the collector works while so many octets of garbage are made.
func cycles(octets int) uint64 {
	count := []metrics.Sample{{Name: "/gc/cycles/automatic:gc-cycles"}}
	metrics.Read(count)
	before := count[0].Value.Uint64()
	for range octets / mib {
		runtime.KeepAlive(make([]byte, mib))
		runtime.Gosched() // whoever follows the collector gets his turn
	}
	metrics.Read(count)
	return count[0].Value.Uint64() - before
}

// TestFloor: with little alive the collector waits until the heap has the floor's octets, cycle after cycle, and afterwards works as before.
func TestFloor(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	runtime.GC()
	usual := cycles(1024 * mib)
	end := Floor(128 * mib)
	runtime.GC()
	with := cycles(1024 * mib)
	end()
	runtime.GC()
	after := cycles(1024 * mib)
	t.Log(usual, with, after, "cycles for 1 GiB of garbage: without, with a floor of 128 MiB, after it")
	if with < 1 || with > 40 {
		t.Errorf("%d cycles with the floor, want about 1024/128, on a busy machine fewer", with)
	}
	if usual < 3*with || after < 3*with {
		t.Errorf("%d and %d cycles without the floor, %d with it", usual, after, with)
	}
}

// TestFloorOfLargeHeap: what is alive beyond the floor has the collector work as it would without it.
func TestFloorOfLargeHeap(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	alive := make([]byte, 64*mib)
	f := &floor{octets: 32 * mib, usual: 100, set: 7}
	runtime.GC()
	if f.adjust(); f.set != 100 {
		t.Errorf("%d percent with twice the floor alive, want 100", f.set)
	}
	f.octets = 256 * mib
	if f.adjust(); f.set < 150 || f.set > 300 {
		t.Errorf("%d percent with a quarter of the floor alive, want less than 300", f.set)
	}
	runtime.KeepAlive(alive)
	f.end()
	if f.adjust() || debug.SetGCPercent(100) != 100 {
		t.Error("the collector is told something after the end")
	}
}

// TestFloorOff: neither without a floor nor without a collector anything changes.
func TestFloorOff(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	Floor(mib)()
	if got := debug.SetGCPercent(70); got != -1 {
		t.Errorf("%d percent behind a floor without a collector, want -1", got)
	}
	Floor(0)
	if got := debug.SetGCPercent(100); got != 70 {
		t.Errorf("%d percent with no floor, want 70", got)
	}
}

func TestAvailable(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:       49382816 kB\nMemFree: 1 kB\n": 49382816 << 10,
		"MemFree: 1 kB\nMemTotal: 5 kB":                5 << 10,
		"MemTotal: many kB\n":                          math.MaxInt64,
		"":                                             math.MaxInt64,
	} {
		if got := total(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
	for groups, want := range map[string][]string{
		"0::/\n": {"/sys/fs/cgroup/memory.max"},
		"12:memory:/x\n0::/system.slice/freeim.service\n": {"/sys/fs/cgroup/system.slice/freeim.service/memory.max", "/sys/fs/cgroup/system.slice/memory.max", "/sys/fs/cgroup/memory.max"},
		"": nil,
	} {
		if got := limits(groups)[1:]; !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", groups, got, want)
		}
	}
	if n := available(); n <= 0 {
		t.Errorf("%d octets are available", n)
	}
}
