package server

import (
	"errors"

	"freeim/scripts/engine"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// register shows the server's own figures, nowhere when r is nil.
func (s *Server) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	draining := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_core_draining", Help: "1 while the core takes no new calls, since it is ending."}, func() float64 {
		if s.draining.Load() {
			return 1
		}
		return 0
	})
	err := errors.Join(r.Register(draining), r.Register(collectors.NewDBStatsCollector(s.directory.DB(), "directory")))
	if s.rules != nil {
		err = errors.Join(err, r.Register(newRuleFigures(s.rules.Engine())))
	}
	return err
}

// ruleFigures shows what the rules did, read when Prometheus asks. Counts begin
// anew with each bundle; there are as many hooks as the operator has written.
type ruleFigures struct {
	engine *engine.Engine

	calls, verdicts, faults, tripped, rejected, vms, starved *prometheus.Desc
}

func newRuleFigures(e *engine.Engine) *ruleFigures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_rules_"+name, help, labels, nil)
	}
	return &ruleFigures{
		engine:   e,
		calls:    desc("calls_total", "Times that a hook was asked.", "hook"),
		verdicts: desc("verdicts_total", "Messages that a hook denied or rewrote.", "hook", "verdict"),
		faults:   desc("faults_total", "Times that a hook failed.", "hook"),
		tripped:  desc("tripped", "Hooks that are not called for a while, since they failed too often."),
		rejected: desc("rejected", "1 while the files on disk are wrong, and an earlier bundle is active."),
		vms:      desc("vms", "Lua VMs of the active bundle."),
		starved:  desc("starved_total", "Hooks that got no Lua VM in time."),
	}
}

// Describe implements prometheus.Collector.
func (f *ruleFigures) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(f, out) }

// Collect implements prometheus.Collector. Hooks of one name are counted as one.
func (f *ruleFigures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	status := f.engine.Status()
	byName, tripped := map[string]engine.HookStatus{}, 0
	for _, h := range status.Hooks {
		sum := byName[h.Name]
		sum.Calls, sum.Denied, sum.Rewritten, sum.Faults = sum.Calls+h.Calls, sum.Denied+h.Denied, sum.Rewritten+h.Rewritten, sum.Faults+h.Faults
		byName[h.Name] = sum
		if h.Tripped {
			tripped++
		}
	}
	for name, h := range byName {
		count(f.calls, h.Calls, name)
		count(f.verdicts, h.Denied, name, "denied")
		count(f.verdicts, h.Rewritten, name, "rewritten")
		count(f.faults, h.Faults, name)
	}
	rejected := 0
	if status.Rejected != nil {
		rejected = 1
	}
	gauge(f.tripped, tripped)
	gauge(f.rejected, rejected)
	gauge(f.vms, status.VMs.Live)
	count(f.starved, status.VMs.Starved)
}
