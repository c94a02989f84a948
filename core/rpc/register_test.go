package rpc

import (
	"context"
	"testing"

	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/registry"
)

// The entry is known by the run of the core, not by its address: of an address that
// Kitex's registry has changed, each look would make another lease.
func TestEntryIsKnownByItsInstance(t *testing.T) {
	for _, test := range []struct {
		name, address string
		tags          map[string]string
		want          bool
	}{
		{"at another address", "10.1.2.3:7071", map[string]string{instanceTag: "this"}, true},
		{"of an earlier run", "10.0.0.1:7071", map[string]string{instanceTag: "earlier"}, false},
		{"of a version without instances", "10.0.0.1:7071", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &registration{server: &Server{instance: "this"}, ctx: t.Context(), info: &registry.Info{ServiceName: "core"}}
			r.look = &discovery.SynthesizedResolver{ResolveFunc: func(context.Context, string) (discovery.Result, error) {
				return discovery.Result{Instances: []discovery.Instance{discovery.NewInstance("tcp", test.address, 10, test.tags)}}, nil
			}}
			if got := r.there(); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
