package rpc

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counts is what this end of the links counts, read when Prometheus asks.
type counts struct {
	upBatches, calls      atomic.Int64
	downBatches, answered atomic.Int64 // answered: replies, pushes, broadcasts and kicks
	refused               [whys]atomic.Int64
	censuses              atomic.Int64
	resyncs               atomic.Int64
}

// figures shows the counts. Names that both ends have tell them apart by "end":
// core/rpc has the same ones, and in embedded mode both are in one process.
type figures struct {
	links *Links

	batches, items, pending, up, refused      *prometheus.Desc
	known, suspect, parked, censuses, resyncs *prometheus.Desc
	poolUp, poolCalls, poolAstray             *prometheus.Desc
}

func newFigures(l *Links) *figures {
	end := prometheus.Labels{"end": "edge"}
	both := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_link_"+name, help, labels, end)
	}
	own := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_link_"+name, help, labels, nil)
	}
	return &figures{
		links:      l,
		batches:    both("batches_total", "Messages on the streams between edges and cores.", "direction"),
		items:      both("items_total", "Calls (up), replies, pushes, broadcasts and kicks (down) in the batches.", "direction"),
		pending:    both("pending", "Calls under way."),
		up:         both("up", "Links that stand."),
		refused:    both("refused_total", "Calls answered by the link instead of a handler.", "reason"),
		known:      own("cores", "Cores that this edge knows of."),
		suspect:    own("suspect", "Links that get no calls since their core is silent."),
		parked:     own("parked", "Calls that wait for a link."),
		censuses:   own("censuses_total", "Times that the live sessions were listed again, whole or in part."),
		poolUp:     own("pool_up", "Cores of a pool that take calls.", "pool"),
		poolCalls:  own("pool_calls_total", "Calls that the cores of a pool were given.", "pool"),
		poolAstray: own("pool_astray_total", "Calls for a pool that none of its cores could be given: they went to the default pool or were refused.", "pool"),
		resyncs:    own("resyncs_total", "Times that all clients were told to sync, since pushes were lost."),
	}
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(f, out) }

// Collect implements prometheus.Collector.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	l := f.links
	c := &l.counts
	count(f.batches, c.upBatches.Load(), "up")
	count(f.batches, c.downBatches.Load(), "down")
	count(f.items, c.calls.Load(), "up")
	count(f.items, c.answered.Load(), "down")
	for w := range whys {
		count(f.refused, c.refused[w].Load(), w.reason())
	}
	count(f.censuses, c.censuses.Load())
	count(f.resyncs, c.resyncs.Load())
	known := *l.known.Load()
	pending, up, suspect := 0, 0, 0
	for _, k := range known {
		k.mu.Lock()
		pending += len(k.pending)
		if k.phase >= open {
			up++
		}
		if k.suspect {
			suspect++
		}
		k.mu.Unlock()
	}
	l.mu.Lock()
	parked := len(l.parked)
	l.mu.Unlock()
	gauge(f.known, len(known))
	gauge(f.pending, pending)
	gauge(f.up, up)
	gauge(f.suspect, suspect)
	gauge(f.parked, parked)
	for _, p := range l.pools {
		out <- prometheus.MustNewConstMetric(f.poolUp, prometheus.GaugeValue, float64(len(*p.up.Load())), p.name)
		count(f.poolCalls, p.calls.Load(), p.name)
		count(f.poolAstray, p.astray.Load(), p.name)
	}
}
