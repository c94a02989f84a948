// Package heap has a process whose heap is small collect its garbage as seldom as one whose heap is large. The collector begins
// when the heap has doubled, so with 50 MB alive and 150 MB of garbage a second it works three times a second, and while it does a
// busy core is late with a few hundred messages each time. Up to a floor the garbage may stay instead. core and edge call it for a
// process with a core in it, and so do measurements; an edge alone has more alive than garbage, and tidies instead (edge/tidy.go).
package heap

import (
	"math"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
)

// part of the memory that this process may use is the most that a floor takes of it.
const part = 8

// Floor has the collector wait until the heap has so many octets, or an eighth of the memory that this process may use, if that is
// less, and beyond that for as long as it would anyway (GOGC). The floor is not held by force: what it lets the heap take is garbage,
// which GOMEMLIMIT has collected as ever. 0, or GOGC=off: nothing changes. end undoes it. One at a time.
func Floor(octets int64) (end func()) {
	usual := debug.SetGCPercent(100)
	debug.SetGCPercent(usual)
	if octets <= 0 || usual < 0 {
		return func() {}
	}
	f := &floor{octets: uint64(min(octets, available()/part)), usual: usual, set: usual}
	f.adjust()
	f.again()
	return f.end
}

// floor follows the collector: how much garbage may be is told it in percent of what is alive, which it knows after each cycle.
type floor struct {
	octets uint64
	usual  int // percent, without the floor

	mu    sync.Mutex // guards the fields below
	set   int        // percent that the collector was told
	ended bool
}

// cycle is garbage at once: that it was collected says that a cycle is over.
type cycle struct{ _ [4]*byte }

// again has the floor adjusted after the next cycle.
func (f *floor) again() {
	runtime.AddCleanup(&cycle{}, func(f *floor) {
		if f.adjust() {
			f.again()
		}
	}, f)
}

// least is taken to be alive while nothing is known.
const least = 4 << 20

// adjust tells the collector what percentage the floor is now; more is false at the end.
func (f *floor) adjust() (more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	live := samples[0].Value.Uint64()
	basis := max(live+samples[1].Value.Uint64()+samples[2].Value.Uint64(), least) // what the percentage is of
	percent := f.usual
	if live < f.octets {
		percent = max(percent, int(min((f.octets-live)*100/basis, math.MaxInt32)))
	}
	if percent != f.set {
		debug.SetGCPercent(percent)
		f.set = percent
	}
	return true
}

func (f *floor) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	debug.SetGCPercent(f.usual)
}

// available is how many octets of memory this process may use: of the machine, of its control groups, or of GOMEMLIMIT. Where
// nothing is told, as many as there can be.
func available() int64 {
	all := debug.SetMemoryLimit(-1) // GOMEMLIMIT
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for _, file := range limits(string(groups)) {
		if text, err := os.ReadFile(file); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				all = min(all, n)
			}
		}
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		all = min(all, total(string(text)))
	}
	return all
}

// limits are the files that may say how much memory control groups let a process use, of its own and of those above it, by the text of
// its /proc/self/cgroup: version 2, and version 1 as containers show it.
func limits(groups string) (paths []string) {
	paths = append(paths, "/sys/fs/cgroup/memory/memory.limit_in_bytes")
	for line := range strings.Lines(groups) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok {
			for at := path.Join("/", own); ; at = path.Dir(at) {
				if paths = append(paths, path.Join("/sys/fs/cgroup", at, "memory.max")); at == "/" {
					break
				}
			}
		}
	}
	return paths
}

// total reads how much memory there is from the text of /proc/meminfo.
func total(meminfo string) int64 {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return math.MaxInt64
}
