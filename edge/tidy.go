package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// tidyEvery is how long the collector must have had nothing to do before the edge
	// counts as quiet.
	tidyEvery = 20 * time.Second
	// tidyPart of what lives must be garbage for a collection to be worth its time, and
	// tidyLeast octets.
	tidyPart  = 20
	tidyLeast = 2 << 20
)

// tidy gives memory back while the edge is quiet. With many sessions that only keep up
// heartbeats the collector runs every two minutes, and garbage would take as much
// memory as what lives before it had to: here it takes a twentieth. A busy edge collects
// often enough by itself, and is left alone. It runs until ctx ends.
func tidy(ctx context.Context) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for t := newTidier(); ; {
		select {
		case <-tick.C:
			t.look()
		case <-ctx.Done():
			return
		}
	}
}

// tidier belongs to one goroutine.
type tidier struct {
	heap   []metrics.Sample // cycles of the collector; octets that lived after the last, octets now with garbage; free, and not given back
	cycles uint64           // at the last look
	kept   uint64           // what stayed free after it collected: the runtime keeps some, which no collection gives back
}

func newTidier() *tidier {
	return &tidier{heap: []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}}
}

// look collects, and gives back what is free, if the collector has not run since the last look
// and that is worth it.
func (t *tidier) look() (collected bool) {
	metrics.Read(t.heap)
	cycles, live, now, free := t.heap[0].Value.Uint64(), t.heap[1].Value.Uint64(), t.heap[2].Value.Uint64(), t.heap[3].Value.Uint64()
	quiet := cycles == t.cycles
	t.cycles, t.kept = cycles, min(t.kept, free)
	if !quiet || now+free-t.kept < live+max(live/tidyPart, tidyLeast) {
		return false
	}
	debug.FreeOSMemory()
	metrics.Read(t.heap)
	t.cycles, t.kept = t.heap[0].Value.Uint64(), t.heap[3].Value.Uint64()
	return true
}
