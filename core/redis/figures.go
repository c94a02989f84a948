package redis

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
)

// figures are the package's metrics. The labels' values are few and fixed.
type figures struct {
	hits, misses *prometheus.CounterVec // by what: log, inbox, window
	fills        prometheus.Counter
	dropped      prometheus.Counter
	conflicts    prometheus.Counter
	corrupt      prometheus.Counter
	errors       *prometheus.CounterVec // by part: timelines, presence, rooms, limits
	pipeline     prometheus.Histogram
	away         prometheus.Gauge
}

// newFigures registers the metrics, nowhere when r is nil.
func newFigures(r prometheus.Registerer) (*figures, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "freeim_redis_" + name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "freeim_redis_" + name, Help: help}, []string{label})
	}
	f := &figures{
		hits:      vector("hits_total", "Entries found in Redis.", "what"),
		misses:    vector("misses_total", "Entries that the record was asked for.", "what"),
		fills:     counter("fills_total", "Entries put back after a miss."),
		dropped:   counter("dropped_total", "Entries not written: the queue was full, or Redis away."),
		conflicts: counter("conflicts_total", "Timelines thrown away: they held another entry at a seq."),
		corrupt:   counter("corrupt_total", "Stored values that could not be read."),
		errors:    vector("errors_total", "Calls that failed.", "part"),
		pipeline: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "freeim_redis_pipeline_commands", Help: "Commands in one pipeline of writes.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
		away: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "freeim_redis_servers_away", Help: "Servers that do not answer."}),
	}
	if r == nil {
		return f, nil
	}
	var err error
	for _, one := range []prometheus.Collector{
		f.hits, f.misses, f.fills, f.dropped, f.conflicts, f.corrupt, f.errors, f.pipeline, f.away,
	} {
		err = errors.Join(err, r.Register(one))
	}
	return f, err
}

// looked counts the entries that a reader found, and did not.
func (f *figures) looked(what string, hits, misses int) {
	if hits > 0 {
		f.hits.WithLabelValues(what).Add(float64(hits))
	}
	if misses > 0 {
		f.misses.WithLabelValues(what).Add(float64(misses))
	}
}

// failed counts a call that failed, also those that a server which is away does not
// get. That a key does not exist is no fault.
func (c *Client) failed(part string, err error) {
	if !errors.Is(err, goredis.Nil) && !errors.Is(err, context.Canceled) {
		c.figures.errors.WithLabelValues(part).Inc()
	}
}
