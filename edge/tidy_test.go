package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestTidy: garbage goes when the collector has been idle, and only then.
func TestTidy(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	debug.FreeOSMemory()
	tidier := newTidier()
	var heap [2]runtime.MemStats
	looks := func(want bool, what string) {
		t.Helper()
		if got := tidier.look(); got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	settles := func(what string) { // what tests before this one have left may still move
		t.Helper()
		for late := time.Now().Add(20 * time.Second); tidier.look(); {
			if time.Now().After(late) {
				t.Fatalf("%s: it collects on and on: live %d, objects %d, free %d octets, %d goroutines", what,
					tidier.heap[1].Value.Uint64(), tidier.heap[2].Value.Uint64(), tidier.heap[3].Value.Uint64(), runtime.NumGoroutine())
			}
		}
	}
	litter := func() {
		for range 64 {
			runtime.KeepAlive(make([]byte, 1<<20))
		}
	}
	looks(false, "the first look")
	settles("nothing to do")
	litter()
	runtime.GC()
	litter()
	looks(false, "the collector has run")
	runtime.ReadMemStats(&heap[0])
	looks(true, "it has not run since")
	runtime.ReadMemStats(&heap[1])
	if gone := int64(heap[0].HeapAlloc) - int64(heap[1].HeapAlloc); gone < 32<<20 {
		t.Errorf("%d octets went, want about 64 MiB", gone)
	}
	if held := heap[1].HeapIdle - heap[1].HeapReleased; held > 8<<20 {
		t.Errorf("%d octets are free and not given back", held)
	}
	settles("all is clean")
}
