package fanout

import (
	"errors"
	"fmt"
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
			Name: "freeim_fanout_lost_total", Help: "Pushes and kicks that no edge was given: the registry or the encoding failed."}),
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
func (f *Fanout) Alive() error {
	if began := f.began.Load(); began != 0 {
		if took := time.Since(time.Unix(0, began)); took > standstill {
			return fmt.Errorf("fan-out has been at one batch for %v", took.Round(time.Second))
		}
	}
	return nil
}
