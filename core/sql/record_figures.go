package sql

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// recordFigures are the record's metrics; the first three have the names that
// every timeline store uses.
type recordFigures struct {
	writes  prometheus.Histogram
	seconds prometheus.Histogram
	retries prometheus.Counter
	failed  prometheus.Counter
}

// newRecordFigures registers the metrics, nowhere when r is nil.
func newRecordFigures(r prometheus.Registerer, of *Record) (*recordFigures, error) {
	f := &recordFigures{
		writes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freeim_timeline_batch_writes", Help: "Drafts and acknowledgements in one flush.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freeim_timeline_commit_seconds", Help: "Time to commit and flush one batch.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14)}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freeim_timeline_retries_total", Help: "Batches tried again after a deadlock, a lock timeout or a resend."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "freeim_timeline_failed_writes_total", Help: "Drafts and acknowledgements whose commit failed."}),
	}
	if r == nil {
		return f, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_timeline_queue", Help: "Writes that wait for the next batch."}, func() float64 { return float64(len(of.queue)) })
	unsafe := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_timeline_unsafe", Help: "1 while MySQL's settings let a power cut take commits that were answered."}, func() float64 {
		return flag(of.careless())
	})
	lost := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_timeline_lost", Help: "1 while nothing is written, since MySQL has lost commits that were answered, or the epoch is not this core's."}, func() float64 {
		return flag(of.Lost())
	})
	return f, errors.Join(r.Register(f.writes), r.Register(f.seconds), r.Register(waiting), r.Register(unsafe), r.Register(lost),
		r.Register(f.retries), r.Register(f.failed))
}

// flag is 1 while something is wrong.
func flag(wrong error) float64 {
	if wrong != nil {
		return 1
	}
	return 0
}

func (f *recordFigures) committed(writes int, took time.Duration) {
	f.writes.Observe(float64(writes))
	f.seconds.Observe(took.Seconds())
}
