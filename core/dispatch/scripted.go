package dispatch

import (
	"sync"
	"time"

	"freeim/core/plugin"
	"freeim/idl"

	"github.com/prometheus/client_golang/prometheus"
)

// The numbers of actions that scripts define. Source: idl/README.md, Requests.
const (
	firstScripted idl.Action = 200
	lastScripted  idl.Action = 254
)

// maxScripted is how many names of scripted actions have figures of their own, over all
// bundles; later ones share one, so that a name that changes with each reload does not
// make figures without end.
const (
	maxScripted = 200
	others      = "lua.others"
)

// scripts are the actions that scripts define: which there are depends on the bundle that
// a call keeps to.
type scripts struct {
	find    func(call *plugin.Call) (plugin.Spec, bool) // nil: none
	results *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	timeout time.Duration

	mu    sync.Mutex         // guards known
	known map[string]*action // by name: their figures and deadlines, without the Spec
}

// action is the call's, nil when scripts define none.
func (s *scripts) action(call *plugin.Call) *action {
	if s.find == nil || call.Action < firstScripted || call.Action > lastScripted {
		return nil
	}
	spec, ok := s.find(call)
	if !ok {
		return nil
	}
	a := *s.figures(spec.Name)
	a.Spec = spec
	return &a
}

// label is what a refusal of the call is counted by.
func (s *scripts) label(call *plugin.Call) string {
	if s.find == nil || call.Action < firstScripted || call.Action > lastScripted {
		return call.Name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if call.Name != "" && s.known[call.Name] == nil {
		return others
	}
	return call.Name
}

func (s *scripts) figures(name string) *action {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[name] == nil && len(s.known) >= maxScripted {
		name = others
	}
	if s.known[name] == nil {
		s.known[name] = &action{done: s.results.WithLabelValues(name, "OK"), seconds: s.seconds.WithLabelValues(name),
			deadlines: &deadlines{timeout: s.timeout}}
	}
	return s.known[name]
}
