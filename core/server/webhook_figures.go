package server

import (
	"freeim/core/plugin"

	"github.com/prometheus/client_golang/prometheus"
)

// webhookFigures shows what became of events for other programs, read when Prometheus asks; by
// endpoints, which the configuration names.
type webhookFigures struct {
	forwarded func() map[string]plugin.Forwarded

	events, failed, pending, oldest, broken, stopped *prometheus.Desc
}

func newWebhookFigures(forwarded func() map[string]plugin.Forwarded) *webhookFigures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_webhook_"+name, help, append([]string{"endpoint"}, labels...), nil)
	}
	return &webhookFigures{
		forwarded: forwarded,
		events:    desc("events_total", "Events that an endpoint took, that were given up, that were too old when their turn came, or behind which too much waited.", "result"),
		failed:    desc("deliveries_failed_total", "Deliveries that were not taken."),
		pending:   desc("pending", "Items of feeds that wait to be delivered or passed over, if this core delivers."),
		oldest:    desc("oldest_seconds", "Age of the oldest event that waits to be delivered, if this core delivers."),
		broken:    desc("broken", "1 while an endpoint is left alone, since it failed too often."),
		stopped:   desc("stopped", "1 while nothing is delivered until an operator resumes it."),
	}
}

// Describe implements prometheus.Collector: also what has no value yet.
func (f *webhookFigures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.events, f.failed, f.pending, f.oldest, f.broken, f.stopped} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (f *webhookFigures) Collect(out chan<- prometheus.Metric) {
	for name, of := range f.forwarded() {
		count := func(d *prometheus.Desc, n int64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{name}, labels...)...)
		}
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, name)
		}
		count(f.events, of.Delivered, "delivered")
		count(f.events, of.Dead, "dead")
		count(f.events, of.Expired, "expired")
		count(f.events, of.Crowded, "crowded")
		count(f.failed, of.Failed)
		gauge(f.pending, float64(of.Pending))
		gauge(f.oldest, of.Oldest.Seconds())
		gauge(f.broken, oneIf(of.Broken))
		gauge(f.stopped, oneIf(of.Stopped))
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
