package pebble

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the store's metrics, kept by the flusher.
type figures struct {
	writes  prometheus.Histogram
	seconds prometheus.Histogram
}

// newFigures registers the metrics of s, nowhere when r is nil.
func newFigures(r prometheus.Registerer, s *Store) (*figures, error) {
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
		Name: "freeim_timeline_queue", Help: "Writes that wait for the next batch."},
		func() float64 { return float64(len(s.queue)) })
	left := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_timeline_disk_room_bytes", Help: "Octets that can be written before messages are refused; 0: they are."},
		s.room.left)
	return f, errors.Join(r.Register(f.writes), r.Register(f.seconds), r.Register(waiting), r.Register(left))
}

func (f *figures) committed(writes int, took time.Duration) {
	f.writes.Observe(float64(writes))
	f.seconds.Observe(took.Seconds())
}
