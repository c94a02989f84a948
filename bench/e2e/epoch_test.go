package e2e_test

import (
	"strings"
	"testing"

	"freeim/bench/cluster"
)

// TestNewEpoch: when an operator gives the stores a new epoch, each device loads anew,
// once: neither when it connects again after that, nor when a core comes back.
func TestNewEpoch(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	s := startSite(t, cluster.SiteOptions{Edges: 2})
	people := gatherNamed(t, "p", 2, 2, s.ways()...)
	defer people.leave()
	const each = 10
	people.talk(ctx, each)
	core := s.Cores[0]
	if err := core.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if said, err := core.Command(ctx, "new-epoch"); err != nil || !strings.Contains(said, "start all cores") {
		t.Fatalf("it said %q, %v", said, err)
	}
	if err := core.Start(ctx); err != nil {
		t.Fatal(err)
	}
	devices := int64(len(people.devices()))
	if err := until(ctx, func() (bool, error) { return people.reset.Load() >= devices, nil }); err != nil {
		t.Fatalf("%d of %d devices loaded anew: %v", people.reset.Load(), devices, err)
	}
	people.talk(ctx, each)
	for _, p := range s.Processes() { // everybody connects again
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	people.talk(ctx, each)
	for _, p := range people.pairs {
		log := people.readLog(ctx, p, 0)
		if len(log) != 2*3*each {
			t.Errorf("%d messages are stored, want %d", len(log), 2*3*each)
		}
		for _, m := range p.members { // what was sent last has been shown to every device
			for k, told := range m.told {
				seen := func() bool {
					told.mu.Lock()
					defer told.mu.Unlock()
					ids := map[string]bool{}
					for _, e := range told.entries {
						ids[e.Id] = true
					}
					return len(ids) == len(log)
				}
				if err := until(ctx, func() (bool, error) { return seen(), nil }); err != nil {
					t.Errorf("%s@%s was not shown all: %v", m.owner.name, m.devices[k].name, err)
				}
			}
		}
	}
	if n := people.reset.Load(); n != devices {
		t.Errorf("devices loaded anew %d times, want %d: once each", n, devices)
	}
	s.allRun()
}
