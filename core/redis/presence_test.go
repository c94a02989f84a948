package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/presence"
	"freeim/core/presence/presencetest"
	"freeim/core/redis"

	goredis "github.com/redis/go-redis/v9"
)

func TestPresence(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		var n atomic.Int64
		presencetest.Run(t, func(t *testing.T, l presence.Leases) presence.Registry {
			o.Prefix = fmt.Sprint("p", n.Add(1))
			return redis.NewPresence(connect(t, redis.Options{Config: o}), l)
		})
	})
}

func TestRooms(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		var n atomic.Int64
		presencetest.RunRooms(t, func(t *testing.T, l presence.Leases) presence.Rooms {
			o.Prefix = fmt.Sprint("r", n.Add(1))
			return redis.NewRooms(connect(t, redis.Options{Config: o}), l)
		})
	})
}

// routeOf is a route of a user's only device, by an edge's life.
func routeOf(user im.UserID, edge presence.EdgeID, epoch int64) presence.Route {
	return presence.Route{
		SessionRef: presence.SessionRef{Edge: edge, Epoch: epoch, Session: uint64(user)},
		User:       user, Device: "phone", DeviceType: 1, TokenID: 1, Codec: 1, Since: time.UnixMilli(1000),
	}
}

func mustRoutes(t *testing.T, p presence.Registry, user im.UserID) []presence.Route {
	t.Helper()
	all, err := p.Routes(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// What one core does the others see, a life that is over after a second.
func TestPresenceOfTwoCores(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		ctx := t.Context()
		one := redis.NewPresence(connect(t, redis.Options{Config: o}), presence.Leases{})
		two := redis.NewPresence(connect(t, redis.Options{Config: o}), presence.Leases{})
		before, at := routeOf(1, "edge", 10), routeOf(2, "edge", 11)
		if err := one.Attach(ctx, before.Life()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := one.Register(ctx, before); err != nil {
			t.Fatal(err)
		}
		if got := mustRoutes(t, two, 1); len(got) != 1 || got[0] != before {
			t.Errorf("the other core sees %v", got)
		}
		if err := two.Attach(ctx, before.Life()); err != nil { // the edge links to the other core too
			t.Fatal(err)
		}
		if got := mustRoutes(t, one, 1); len(got) != 1 {
			t.Errorf("a second link of the same life took the routes away: %v", got)
		}
		if err := two.Attach(ctx, at.Life()); err != nil {
			t.Fatal(err)
		}
		if got := mustRoutes(t, two, 1); len(got) != 0 {
			t.Errorf("routes of the earlier life: got %v", got)
		}
		until(t, "the first core knows that the life is over", func() bool { return len(mustRoutes(t, one, 1)) == 0 })
		if _, _, err := one.Register(ctx, before); !errors.Is(err, presence.ErrFenced) {
			t.Errorf("a paused edge registers: got %v, want ErrFenced", err)
		}
	})
}

func TestRestorePage(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		p := redis.NewPresence(connect(t, redis.Options{Config: o}), presence.Leases{})
		var page []presence.Route
		for user := range im.UserID(512) {
			page = append(page, routeOf(user+1, "edge", 10))
		}
		for _, known := range []bool{false, true} {
			all, err := p.Restore(t.Context(), page)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range all {
				if !r.Registered || r.Known != known || len(r.Displaced) > 0 {
					t.Fatalf("route %d: got %+v, want known %t", i, r, known)
				}
			}
		}
	})
}

// A value that nobody wrote is no route, and stands in nobody's way.
func TestLyingRoutes(t *testing.T) {
	server := engines.Redis(t)
	past := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer past.Close()
	p := redis.NewPresence(connect(t, redis.Options{Config: redis.Config{Addresses: []string{server.Addr()}}}), presence.Leases{})
	ctx := t.Context()
	r := routeOf(1, "edge", 10)
	const key = "freeim:p:{1}"
	if _, _, err := p.Register(ctx, r); err != nil {
		t.Fatal(err)
	}
	value := past.HGet(ctx, key, "phone").Val()
	for name, lie := range map[string]string{
		"empty": "", "garbage": "garbage", "a word": "1 2 3 4 5 6 7 8",
		"a changed edge": value + "x", "a changed type": strings.Replace(value, " 1 1 ", " 1 2 ", 1),
		"a newer order": strings.Replace(value, " 0", " 1", 1),
	} {
		if lie == value {
			t.Fatalf("%s: the value is %q, the lie the same", name, value)
		}
		past.HSet(ctx, key, "phone", lie)
		if got := mustRoutes(t, p, 1); len(got) != 0 {
			t.Errorf("%s: got %v", name, got)
		}
		if displaced, registered, err := p.Register(ctx, r); err != nil || !registered || len(displaced) > 0 {
			t.Errorf("%s: Register: got %v, %t, %v", name, displaced, registered, err)
		}
		if got := mustRoutes(t, p, 1); len(got) != 1 || got[0] != r {
			t.Errorf("%s: after registering: got %v", name, got)
		}
	}
	past.Del(ctx, key)
	past.Set(ctx, key, "a string", 0)
	if got := mustRoutes(t, p, 1); len(got) != 0 {
		t.Errorf("a string: got %v", got)
	}
	if removed, err := p.Unregister(ctx, r); len(removed) > 0 {
		t.Errorf("a string: Unregister removed it, %v", err)
	}
	if _, registered, err := p.Register(ctx, r); err != nil || !registered {
		t.Errorf("a string: Register: got %t, %v", registered, err)
	}
	past.HSet(ctx, "freeim:edges", "edge", "garbage")
	if over, err := p.Keep(ctx, r.Life()); err != nil || len(over) > 0 {
		t.Errorf("a lie about the edge: got %v, %v", over, err)
	}
	if got := mustRoutes(t, p, 1); len(got) != 1 {
		t.Errorf("after a lie about the edge: got %v", got)
	}
}

func generation(t *testing.T, p presence.Registry) string {
	t.Helper()
	g, err := p.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Every way of losing routes changes the generation, for all cores alike.
func TestGeneration(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		one := redis.NewPresence(connect(t, redis.Options{Config: o}), presence.Leases{})
		two := redis.NewPresence(connect(t, redis.Options{Config: o}), presence.Leases{})
		first := generation(t, one)
		if got := generation(t, two); got != first {
			t.Errorf("another core: got %s, want %s", got, first)
		}
		for _, addr := range o.Addresses { // of a Cluster any one master
			past := goredis.NewClient(&goredis.Options{Addr: addr})
			defer past.Close()
			if err := past.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			next := generation(t, one)
			if next == first {
				t.Errorf("%s was emptied, and the generation stayed", addr)
			}
			if got := generation(t, two); got != next {
				t.Errorf("another core: got %s, want %s", got, next)
			}
			first = next
		}
	})
}

// A failover and a restart lose what was not replicated: the generation changes,
// the edges list their sessions, and all is as before.
func TestGenerationOverFailover(t *testing.T) {
	group := engines.Sentinel(t)
	p := redis.NewPresence(connect(t, redis.Options{
		Config: redis.Config{Addresses: group.Addrs(), Master: group.Name},
	}), presence.Leases{})
	r := routeOf(1, "edge", 10)
	if err := p.Attach(t.Context(), r.Life()); err != nil {
		t.Fatal(err)
	}
	first := generation(t, p)
	cutReplica(t, group)
	if _, _, err := p.Register(t.Context(), r); err != nil { // the replica never sees it
		t.Fatal(err)
	}
	if err := group.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := group.Replica.Resume(); err != nil {
		t.Fatal(err)
	}
	until(t, "the generation is another", func() bool {
		next, err := p.Generation(t.Context())
		return err == nil && next != first
	})
	if all, err := p.Restore(t.Context(), []presence.Route{r}); err != nil || all[0].Known || !all[0].Registered {
		t.Errorf("Restore: got %+v, %v", all, err)
	}
	if got := mustRoutes(t, p, 1); len(got) != 1 {
		t.Errorf("after the failover: got %v", got)
	}
}

// While Redis is away calls fail, and after the first ones at once.
func TestPresenceAway(t *testing.T) {
	server := engines.Redis(t)
	p := redis.NewPresence(connect(t, redis.Options{Config: redis.Config{Addresses: []string{server.Addr()}}}), presence.Leases{})
	r := routeOf(1, "edge", 10)
	if err := p.Attach(t.Context(), r.Life()); err != nil {
		t.Fatal(err)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	calls := map[string]func() error{
		"Attach":     func() error { return p.Attach(t.Context(), r.Life()) },
		"Keep":       func() error { _, err := p.Keep(t.Context(), r.Life()); return err },
		"Register":   func() error { _, _, err := p.Register(t.Context(), r); return err },
		"Restore":    func() error { _, err := p.Restore(t.Context(), []presence.Route{r}); return err },
		"Unregister": func() error { _, err := p.Unregister(t.Context(), r); return err },
		"Routes":     func() error { _, err := p.Routes(t.Context(), 1, 2); return err },
		"Generation": func() error { _, err := p.Generation(t.Context()); return err },
	}
	until(t, "Redis is known to be away", func() bool { return errors.Is(calls["Register"](), redis.ErrAway) })
	for range 50 { // a second each would be too long
		for name, call := range calls {
			if err := call(); !errors.Is(err, redis.ErrAway) {
				t.Fatalf("%s: got %v, want ErrAway", name, err)
			}
		}
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	until(t, "Redis is back", func() bool { return calls["Register"]() == nil })
	if got := mustRoutes(t, p, 1); len(got) != 1 {
		t.Errorf("got %v", got)
	}
}

// A Cluster that misses a master still gives the routes that the others hold.
func TestRoutesOfWhatIsThere(t *testing.T) {
	cluster := engines.RedisCluster(t)
	p := redis.NewPresence(connect(t, redis.Options{Config: redis.Config{Addresses: cluster.Addrs()}}), presence.Leases{Life: time.Hour})
	var users []im.UserID
	for u := range im.UserID(50) {
		users = append(users, u+1)
		if _, _, err := p.Register(t.Context(), routeOf(u+1, "edge", 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Nodes[1].Pause(); err != nil {
		t.Fatal(err)
	}
	defer cluster.Nodes[1].Resume()
	until(t, "some routes", func() bool {
		all, err := p.Routes(t.Context(), users...)
		found := 0
		for _, routes := range all {
			found += len(routes)
		}
		return errors.Is(err, redis.ErrAway) && len(all) == len(users) && 0 < found && found < len(users)
	})
	if _, err := p.Generation(t.Context()); err == nil {
		t.Error("the generation of a Cluster that misses a master: got no error")
	}
}
