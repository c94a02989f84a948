package server

import (
	"errors"

	"freeim/core/hooks"
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
	err := errors.Join(r.Register(draining), r.Register(heldFigures{s.plugins.Held}), r.Register(newWebhookFigures(s.plugins.Forwarded)), r.Register(pluginFigures{s.plugins.Counts}), r.Register(collectors.NewDBStatsCollector(s.directory.DB(), "directory")))
	if s.rules != nil {
		err = errors.Join(err, r.Register(newRuleFigures(s.rules.Engine(), s.effects)), r.Register(newPostFigures(s.posts)))
	}
	return err
}

// heldFigures shows how many messages wait for decisions.
type heldFigures struct {
	held func() (waiting, behind int64)
}

// Describe implements prometheus.Collector.
func (heldFigures) Describe(out chan<- *prometheus.Desc) { out <- heldMessages() }

// Collect implements prometheus.Collector.
func (f heldFigures) Collect(out chan<- prometheus.Metric) {
	waiting, behind := f.held()
	out <- prometheus.MustNewConstMetric(heldMessages(), prometheus.GaugeValue, float64(waiting), "waiting")
	out <- prometheus.MustNewConstMetric(heldMessages(), prometheus.GaugeValue, float64(behind), "behind")
}

func heldMessages() *prometheus.Desc {
	return prometheus.NewDesc("freeim_held_messages", "Messages that rules hold: waiting for a decision, or behind one that is.", []string{"state"}, nil)
}

// pluginFigures shows what plugins count.
type pluginFigures struct {
	counts func() map[string]map[string]int64
}

// Describe implements prometheus.Collector.
func (pluginFigures) Describe(out chan<- *prometheus.Desc) { out <- pluginCounts() }

// Collect implements prometheus.Collector.
func (f pluginFigures) Collect(out chan<- prometheus.Metric) {
	for name, counts := range f.counts() {
		for what, n := range counts {
			out <- prometheus.MustNewConstMetric(pluginCounts(), prometheus.CounterValue, float64(n), name, what)
		}
	}
}

func pluginCounts() *prometheus.Desc {
	return prometheus.NewDesc("freeim_plugin_total", "What a plugin did, by what it was.", []string{"plugin", "what"}, nil)
}

// ruleFigures shows what the rules did, read when Prometheus asks. Counts begin
// anew with each bundle; there are as many hooks as the operator has written. Only
// bundle_info has a bundle's hash: what is edited all day must not make series all day.
type ruleFigures struct {
	engine  *engine.Engine
	effects *hooks.Effects

	calls, verdicts, faults, tripped, rejected, vms, starved, off, late, lost, aside, done, undone, unsent *prometheus.Desc
	bundles, reloads, shadow, diffs                                                                        *prometheus.Desc
}

func newRuleFigures(e *engine.Engine, effects *hooks.Effects) *ruleFigures {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("freeim_rules_"+name, help, labels, nil)
	}
	return &ruleFigures{
		engine:   e,
		effects:  effects,
		calls:    desc("calls_total", "Times that a hook was asked.", "slot", "hook"),
		verdicts: desc("verdicts_total", "Actions that a hook denied, shadowed, rerouted, held or rewrote.", "slot", "hook", "verdict"),
		faults:   desc("faults_total", "Times that a hook failed.", "slot", "hook"),
		tripped:  desc("tripped", "Hooks that are not called for a while, since they failed too often."),
		rejected: desc("rejected", "1 while the files on disk are wrong, and an earlier bundle is active."),
		vms:      desc("vms", "Lua VMs of the active bundle."),
		starved:  desc("starved_total", "Hooks that got no Lua VM in time."),
		off:      desc("off", "1 while no hook is asked, since the rules were switched off."),
		late:     desc("after_queue", "Answered actions that wait for after hooks."),
		lost:     desc("after_lost_total", "Answered actions whose after hooks were left out, since too many waited."),
		aside:    desc("aside_seconds_total", "Time that hooks ran for which no action waits."),
		done:     desc("effects_total", "What scripts asked for and was done.", "kind"),
		undone:   desc("effects_lost_total", "What scripts asked for and was not done, since too much waited."),
		unsent:   desc("sends_failed_total", "Messages of scripts that could not be sent."),
		bundles:  desc("bundle_info", "1 for the bundle in a slot.", "hash", "slot"),
		reloads:  desc("reload_total", "What became of changed files and of decisions.", "result"),
		shadow:   desc("shadow_total", "Actions that a candidate in shadow was asked about, or that were left out.", "result"),
		diffs:    desc("shadow_diff_total", "Actions about which a candidate in shadow would have decided otherwise.", "hook", "from", "to"),
	}
}

// Describe implements prometheus.Collector: also what has no value yet.
func (f *ruleFigures) Describe(out chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(f, out)
	for _, d := range []*prometheus.Desc{f.calls, f.verdicts, f.faults, f.shadow, f.diffs} {
		out <- d
	}
}

// Collect implements prometheus.Collector. Hooks of one name are counted as one.
func (f *ruleFigures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	status := f.engine.Status()
	tripped := f.hooks(out, activeSlot, status.Hooks)
	f.slots(out, status)
	rejected, off := 0, 0
	if status.Rejected != nil {
		rejected = 1
	}
	if status.Off {
		off = 1
	}
	gauge(f.off, off)
	gauge(f.late, status.Late)
	count(f.lost, status.Lost)
	out <- prometheus.MustNewConstMetric(f.aside, prometheus.CounterValue, status.Aside.Seconds())
	done, undone, unsent := f.effects.Counts()
	for kind, n := range done {
		count(f.done, n, kind)
	}
	count(f.undone, undone)
	count(f.unsent, unsent)
	gauge(f.tripped, tripped)
	gauge(f.rejected, rejected)
	gauge(f.vms, status.VMs.Live)
	count(f.starved, status.VMs.Starved)
}

// activeSlot is where the bundle is that decides; a candidate's slot is its mode.
const activeSlot = "active"

// hooks shows those of the bundle in a slot, and gives how many are not called for a
// while.
func (f *ruleFigures) hooks(out chan<- prometheus.Metric, slot string, hooks []engine.HookStatus) (tripped int) {
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{slot}, labels...)...)
	}
	byName := map[string]engine.HookStatus{}
	for _, h := range hooks {
		sum := byName[h.Name]
		sum.Calls, sum.Denied, sum.Rewritten, sum.Faults = sum.Calls+h.Calls, sum.Denied+h.Denied, sum.Rewritten+h.Rewritten, sum.Faults+h.Faults
		sum.Shadowed, sum.Rerouted, sum.Held = sum.Shadowed+h.Shadowed, sum.Rerouted+h.Rerouted, sum.Held+h.Held
		byName[h.Name] = sum
		if h.Tripped {
			tripped++
		}
	}
	for name, h := range byName {
		count(f.calls, h.Calls, name)
		count(f.verdicts, h.Denied, name, "denied")
		count(f.verdicts, h.Shadowed, name, "shadowed")
		count(f.verdicts, h.Rerouted, name, "rerouted")
		count(f.verdicts, h.Held, name, "held")
		count(f.verdicts, h.Rewritten, name, "rewritten")
		count(f.faults, h.Faults, name)
	}
	return tripped
}

// slots shows the bundles that there are, and how they came to be there.
func (f *ruleFigures) slots(out chan<- prometheus.Metric, status engine.Status) {
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for result, n := range status.Results {
		count(f.reloads, n, result)
	}
	out <- prometheus.MustNewConstMetric(f.bundles, prometheus.GaugeValue, 1, status.Bundle, activeSlot)
	c := status.Candidate
	if status.Disk != "" && status.Disk != status.Bundle {
		out <- prometheus.MustNewConstMetric(f.bundles, prometheus.GaugeValue, 1, status.Disk, "disk")
	}
	if c == nil {
		return
	}
	out <- prometheus.MustNewConstMetric(f.bundles, prometheus.GaugeValue, 1, c.Bundle, string(c.Policy.Mode))
	f.hooks(out, string(c.Policy.Mode), c.Hooks)
	if c.Policy.Mode != engine.ModeShadow {
		return
	}
	count(f.shadow, c.Asked, "asked")
	count(f.shadow, c.Left, "left")
	for _, d := range c.Diffs {
		count(f.diffs, d.Count, d.Hook, d.From, d.To)
	}
}
