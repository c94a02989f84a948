package server

import (
	"freeim/core/hooks"

	"github.com/prometheus/client_golang/prometheus"
)

// postFigures shows what became of im.http.post, read when Prometheus asks; by
// endpoints, which the configuration names.
type postFigures struct {
	posts *hooks.Posts

	results, repeated, waiting, broken *prometheus.Desc
}

func newPostFigures(p *hooks.Posts) *postFigures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_rules_"+name, help, append([]string{"endpoint"}, labels...), nil)
	}
	return &postFigures{
		posts:    p,
		results:  desc("posts_total", "What became of posts of rules.", "result"),
		repeated: desc("posts_repeated_total", "Tries of posts behind the first."),
		waiting:  desc("posts_queue", "Posts that wait."),
		broken:   desc("posts_broken", "1 while an endpoint is left alone, since it failed too often."),
	}
}

// Describe implements prometheus.Collector: also what has no value yet.
func (f *postFigures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.results, f.repeated, f.waiting, f.broken} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (f *postFigures) Collect(out chan<- prometheus.Metric) {
	for name, of := range f.posts.Figures() {
		for result, n := range of.Results {
			out <- prometheus.MustNewConstMetric(f.results, prometheus.CounterValue, float64(n), name, result)
		}
		broken := 0.0
		if of.Broken {
			broken = 1
		}
		out <- prometheus.MustNewConstMetric(f.repeated, prometheus.CounterValue, float64(of.Repeated), name)
		out <- prometheus.MustNewConstMetric(f.waiting, prometheus.GaugeValue, float64(of.Waiting), name)
		out <- prometheus.MustNewConstMetric(f.broken, prometheus.GaugeValue, broken, name)
	}
}
