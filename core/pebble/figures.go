package pebble

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the store's metrics, kept by the committer.
type figures struct {
	writes  prometheus.Histogram
	seconds prometheus.Histogram
}

// newFigures registers the metrics, nowhere when r is nil.
func newFigures(r prometheus.Registerer, queued func() float64) (*figures, error) {
	f := &figures{
		writes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freeim_timeline_batch_writes", Help: "Drafts and acknowledgements in one flush.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freeim_timeline_commit_seconds", Help: "Time to commit and flush one batch.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14)}),
	}
	if r == nil {
		return f, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_timeline_queue", Help: "Writes that wait for the next batch."}, queued)
	return f, errors.Join(r.Register(f.writes), r.Register(f.seconds), r.Register(waiting))
}

func (f *figures) committed(writes int, took time.Duration) {
	f.writes.Observe(float64(writes))
	f.seconds.Observe(took.Seconds())
}
