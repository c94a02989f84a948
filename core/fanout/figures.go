package fanout

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the fan-out's metrics.
type figures struct {
	seconds prometheus.Histogram
	pushes  prometheus.Counter
	lost    prometheus.Counter
}

// newFigures registers the metrics, nowhere when r is nil.
func newFigures(r prometheus.Registerer, queued func() float64) (*figures, error) {
	f := &figures{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freeim_fanout_seconds", Help: "Time from a push or kick to its being handed to the links.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}),
		pushes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freeim_fanout_pushes_total", Help: "Pushes and kicks taken from the queue, the lost ones among them."}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freeim_fanout_lost_total", Help: "Pushes and kicks that no edge was given: the registry or the encoding failed, or they were passing and much waited."}),
	}
	if r == nil {
		return f, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_fanout_queue", Help: "Pushes and kicks that wait to be handed to the links."}, queued)
	return f, errors.Join(r.Register(f.seconds), r.Register(f.pushes), r.Register(f.lost), r.Register(waiting))
}

// standstill is how long one batch may take at most: many times what the
// registry may (resolving), for nothing else in it waits for anybody.
const standstill = 15 * time.Second

// Alive says that the worker stands still: what waits then waits for good, and
// with it, when the queue is full, every sender. nil: it turns.
func (f *Fanout) Alive() error { return alive(&f.began, "fan-out") }

// Alive says the same of rooms.
func (r *Rooms) Alive() error { return alive(&r.began, "fan-out of rooms") }

func alive(at *atomic.Int64, who string) error {
	if began := at.Load(); began != 0 {
		if took := time.Since(time.Unix(0, began)); took > standstill {
			return fmt.Errorf("%s has been at one batch for %v", who, took.Round(time.Second))
		}
	}
	return nil
}

// roomFigures are the metrics of Rooms.
type roomFigures struct {
	seconds                              prometheus.Histogram
	jobs, lost, dropped, wanted, unheard prometheus.Counter
}

// newRoomFigures registers the metrics, nowhere when r is nil.
func newRoomFigures(r prometheus.Registerer, queued func() float64) (*roomFigures, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "freeim_room_" + name, Help: help})
	}
	f := &roomFigures{
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freeim_room_fanout_seconds", Help: "Time from a broadcast to its being handed to the links.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}),
		jobs:    counter("broadcasts_total", "Broadcasts, expulsions and policies taken from the queue, the lost ones among them."),
		lost:    counter("lost_total", "Of them those that no edge was given: the registry or the encoding failed."),
		dropped: counter("dropped_total", "Counts and presence that were not sent since the queue was full."),
		wanted:  counter("wanted_total", "Times that an edge asked for the end of a room's log."),
		unheard: counter("unheard_total", "Rooms that edges told of while too many waited; the next census tells of them again."),
	}
	if r == nil {
		return f, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_room_queue", Help: "Broadcasts, expulsions and policies that wait to be handed to the links."}, queued)
	var errs []error
	for _, c := range []prometheus.Collector{f.seconds, f.jobs, f.lost, f.dropped, f.wanted, f.unheard, waiting} {
		errs = append(errs, r.Register(c))
	}
	return f, errors.Join(errs...)
}
