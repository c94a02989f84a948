package e2e_test

import (
	"testing"

	"freeim/bench/cluster"
)

// One core and two edges on the embedded stores: an edge, then the core, is killed
// under load; clients move to the other edge, nothing acknowledged is lost, and a webhook is told of all of it.
func TestKilledProcesses(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	told := newLedger(t)
	s := startSite(t, cluster.SiteOptions{Edges: 2, CoreEnv: told.env(t)})
	people := gatherNamed(t, "p", 3, 2, s.ways()...)
	defer people.leave()
	people.talkWhile(ctx, func() {
		for i := range times(4, 40) {
			progress := people.acked.Load() + 200
			if err := until(ctx, func() (bool, error) { return people.acked.Load() >= progress, nil }); err != nil {
				t.Fatalf("%d acknowledged after %d kills: %v", people.acked.Load(), i, err)
			}
			p := s.Processes()[i%3]
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := p.Start(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Log(people.audit(ctx))
	told.audit(ctx, t, people)
	s.allRun()
}
