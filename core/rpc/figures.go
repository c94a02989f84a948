package rpc

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counts is what this end of the links counts, read when Prometheus asks.
type counts struct {
	upBatches, calls      atomic.Int64
	downBatches, answered atomic.Int64 // answered: replies, pushes and kicks
	busy                  atomic.Int64 // calls refused past Options.InFlight
	missed                atomic.Int64 // pushes and kicks for an edge without a link
	unlisted              atomic.Int64 // registers and gones that found the books full
	found                 atomic.Int64 // sessions that a census found without a route
	censuses              atomic.Int64 // ended, and answered by the registry in whole
}

// figures shows the counts. Names that both ends have tell them apart by "end":
// edge/rpc has the same ones, and in embedded mode both are in one process.
type figures struct {
	server *Server

	batches, items, pending, up, refused *prometheus.Desc
	missed, unlisted, unroutable, found  *prometheus.Desc
	censuses                             *prometheus.Desc
}

func newFigures(s *Server) *figures {
	end := prometheus.Labels{"end": "core"}
	both := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_link_"+name, help, labels, end)
	}
	own := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &figures{
		server:     s,
		batches:    both("batches_total", "Messages on the streams between edges and cores.", "direction"),
		items:      both("items_total", "Calls (up), replies, pushes, broadcasts and kicks (down) in the batches.", "direction"),
		pending:    both("pending", "Calls under way."),
		up:         both("up", "Links that stand."),
		refused:    both("refused_total", "Calls answered by the link instead of a handler.", "reason"),
		missed:     own("freeim_link_missed_total", "Pushes and kicks for an edge to which this core had no link."),
		unlisted:   own("freeim_link_unlisted_total", "Sessions told of while the registry was too slow; a census makes them good."),
		unroutable: own("freeim_unroutable_sessions", "Connected sessions without a route, as the last census through this core found them."),
		found:      own("freeim_unroutable_found_total", "Connected sessions that a census found without a route, and made routable."),
		censuses:   own("freeim_unroutable_censuses_total", "Censuses that ended through this core, with an answer of the registry about every session."),
	}
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(f, out) }

// Collect implements prometheus.Collector.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := f.server
	c := &s.counts
	count(f.batches, c.upBatches.Load(), "up")
	count(f.batches, c.downBatches.Load(), "down")
	count(f.items, c.calls.Load(), "up")
	count(f.items, c.answered.Load(), "down")
	count(f.refused, c.busy.Load(), "busy")
	gauge(f.pending, s.inFlight.Load())
	gauge(f.up, int64(s.edges.linked()))
	count(f.missed, c.missed.Load())
	count(f.unlisted, c.unlisted.Load())
	count(f.found, c.found.Load())
	count(f.censuses, c.censuses.Load())
	gauge(f.unroutable, s.edges.unroutable())
}
