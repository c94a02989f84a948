package rpc_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"freeim/core/presence"
	"freeim/core/rpc"
	"freeim/idl/kitex_gen/corepb"
)

// faint is a registry that can be away.
type faint struct {
	presence.Registry
	away atomic.Bool
}

func (r *faint) Restore(ctx context.Context, routes []presence.Route) ([]presence.Restored, error) {
	if r.away.Load() {
		return nil, errors.New("away")
	}
	return r.Registry.Restore(ctx, routes)
}

// TestCensusWithoutTheRegistry says nothing: neither that all is well, nor that it ended.
func TestCensusWithoutTheRegistry(t *testing.T) {
	registry := &faint{Registry: presence.NewMemory()}
	figures := prometheus.NewRegistry()
	h := open(t, echo, func(o *rpc.Options) { o.Registry, o.Figures = registry, figures })
	e := h.link("edge-a", 1)
	for _, row := range []struct {
		name                 string
		away                 bool
		unroutable, censuses float64
	}{
		{"one had no route", false, 1, 1},
		{"the registry is away", true, 1, 1},
		{"all have one", false, 0, 2},
	} {
		registry.away.Store(row.away)
		e.send(&corepb.Uplink{Registers: []*corepb.Register{live(1)}, Census: &corepb.Census{Sessions: 1, Asked: true}})
		for !e.recv().Missed { // which says that the census has ended
		}
		if n, all := figure(t, figures, "freeim_unroutable_sessions"), figure(t, figures, "freeim_unroutable_censuses_total"); n != row.unroutable || all != row.censuses {
			t.Errorf("%s: %v unroutable after %v censuses, want %v after %v", row.name, n, all, row.unroutable, row.censuses)
		}
	}
}
