package admin

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// partFigures shows the checks of readiness, asked when Prometheus asks.
type partFigures struct {
	server *Server
	ok     *prometheus.Desc
}

func newPartFigures(s *Server) *partFigures {
	return &partFigures{s, prometheus.NewDesc("freeim_part_ok",
		"1 when a part of the process has nothing against serving; needed says whether the process is unready when it has.",
		[]string{"part", "needed"}, nil)}
}

// Describe implements prometheus.Collector.
func (f *partFigures) Describe(out chan<- *prometheus.Desc) { out <- f.ok }

// Collect implements prometheus.Collector.
func (f *partFigures) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(f.server.ctx, checkTime)
	defer cancel()
	for _, p := range f.server.ready {
		ok, needed := 0.0, "yes"
		if p.wait(ctx, p.begin()) == nil {
			ok = 1
		}
		if p.lesser {
			needed = "no"
		}
		out <- prometheus.MustNewConstMetric(f.ok, prometheus.GaugeValue, ok, p.name, needed)
	}
}

// newBuild says which program runs: a constant 1 with labels.
func newBuild() prometheus.Collector {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freeim_build_info", Help: "1; the labels say which program runs.",
		ConstLabels: prometheus.Labels{"revision": revision, "go": runtime.Version()}}, func() float64 { return 1 })
}
