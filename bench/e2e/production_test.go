package e2e_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
	"freeim/core/server"
	"freeim/edge/client"
)

// stores is a cluster in this process, and how its stores are exchanged for empty ones.
type stores struct {
	cluster.Options
	empty func(ctx context.Context) error // while no core runs; nil: they are the embedded ones
	redis *engines.RedisServer            // likewise
}

// production is the options of a cluster in this process whose cores share the
// stores of the production profile, for one test.
func production(t *testing.T) cluster.Options {
	t.Helper()
	return productionStores(t).Options
}

func productionStores(t *testing.T) stores {
	t.Helper()
	redis := engines.Redis(t)
	dsn := []string{engines.Database(t), engines.Database(t), engines.Database(t)} // all before the cluster, which ends before them
	o := cluster.Options{Edges: 2, Cores: 2, Core: func(_ int, o *server.Options) {
		o.Config.MySQL.DSN = dsn[0]
		o.Config.Redis.Addresses = []string{redis.Addr()}
	}}
	return stores{o, func(ctx context.Context) error {
		if dsn = dsn[1:]; len(dsn) == 0 {
			return errors.New("no story exchanges its stores so often")
		}
		return redis.RestartEmpty(ctx)
	}, redis}
}

// TestScenariosInProduction runs every story again, over two cores that share MySQL and Redis, in one
// form each.
func TestScenariosInProduction(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for i, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			play(t, file, forms[i%len(forms)], productionStores(t))
		})
	}
}

// TestClockStepsBack: the clock of one of two cores jumps back by an hour, and
// forth, while people talk: IDs and seqs still grow (figure 22).
func TestClockStepsBack(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	o := production(t)
	o.Dir = t.TempDir()
	var step atomic.Int64
	stores := o.Core
	o.Core = func(i int, s *server.Options) {
		stores(i, s)
		if i == 0 {
			s.Now = func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
		}
	}
	c := startClusterWith(t, o)
	ways := []func() client.Options{}
	for _, e := range c.Edges {
		ways = append(ways, func() client.Options { return forms[0].options(e) })
	}
	people := gatherNamed(t, "p", 3, 2, ways...)
	defer people.leave()
	people.talkWhile(ctx, func() {
		for _, to := range []time.Duration{-time.Hour, 0, -time.Hour, -time.Minute} {
			step.Store(int64(to))
			want := people.acked.Load() + int64(times(200, 20_000))
			if err := until(ctx, func() (bool, error) { return people.acked.Load() >= want, nil }); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Log(people.audit(ctx)) // which fails on an ID or a seq that does not grow
}
