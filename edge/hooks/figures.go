package hooks

import (
	"freeim/scripts/engine"

	"github.com/prometheus/client_golang/prometheus"
)

// Figures shows what the rules did, read when Prometheus asks. Counts of hooks begin
// anew with each bundle.
type Figures struct {
	engine *engine.Engine

	calls, denied, faults, off, tripped, rejected, vms, starved, bundle, reloads *prometheus.Desc
}

// Figures are for a registry.
func (r *Rules) Figures() *Figures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_edge_rules_"+name, help, labels, nil)
	}
	return &Figures{
		engine:   r.engine,
		calls:    desc("calls_total", "Times that a hook at the edge was asked.", "hook"),
		denied:   desc("denied_total", "Connections and frames that a hook denied.", "hook"),
		faults:   desc("faults_total", "Times that a hook at the edge failed.", "hook"),
		off:      desc("off", "1 while no hook is asked, since the rules were switched off."),
		tripped:  desc("tripped", "Hooks that are not called for a while, since they failed too often."),
		rejected: desc("rejected", "1 while the files on disk are wrong, and an earlier bundle is active."),
		vms:      desc("vms", "Lua VMs of the active bundle."),
		starved:  desc("starved_total", "Hooks that got no Lua VM in time."),
		bundle:   desc("bundle_info", "1 for the bundle in a slot.", "hash", "slot"),
		reloads:  desc("reload_total", "What became of changed files and of decisions.", "result"),
	}
}

// Describe implements prometheus.Collector: also what has no value yet.
func (f *Figures) Describe(out chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(f, out)
	for _, d := range []*prometheus.Desc{f.calls, f.denied, f.faults} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (f *Figures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	status := f.engine.Status()
	tripped, rejected, off := 0, 0, 0
	for _, h := range status.Hooks { // those of the core are never asked
		if !engine.AtEdge(h.Function) {
			continue
		}
		count(f.calls, h.Calls, h.Name)
		count(f.denied, h.Denied, h.Name)
		count(f.faults, h.Faults, h.Name)
		if h.Tripped {
			tripped++
		}
	}
	if status.Rejected != nil {
		rejected = 1
	}
	if status.Off {
		off = 1
	}
	for result, n := range status.Results {
		count(f.reloads, n, result)
	}
	gauge(f.off, off)
	gauge(f.tripped, tripped)
	gauge(f.rejected, rejected)
	gauge(f.vms, status.VMs.Live)
	gauge(f.bundle, 1, status.Bundle, "active")
	if status.Disk != "" && status.Disk != status.Bundle {
		gauge(f.bundle, 1, status.Disk, "disk")
	}
	if c := status.Candidate; c != nil {
		gauge(f.bundle, 1, c.Bundle, string(c.Policy.Mode))
	}
	count(f.starved, status.VMs.Starved)
}
