package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/edge/rpc"
	"freeim/edge/session"

	"github.com/prometheus/client_golang/prometheus"
)

// to is a call for a pool.
func to(pool string, s session.ID) session.Call {
	c := message(s, "")
	c.Pool = pool
	return c
}

// linked waits until so many links stand.
func linked(t *testing.T, figures *prometheus.Registry, n float64) {
	t.Helper()
	poll(t, fmt.Sprint(n, " links"), func() bool { return figure(t, figures, "freeim_link_up") == n })
}

// TestPools: calls go to the cores of their pool, and where its declaration says when
// none of them is there; the default pool waits for its own.
func TestPools(t *testing.T) {
	registry := newShared()
	start := func(address, name string) *core { return startNode(t, address, registry, named(name), nil) }
	blue, green, strict := newAddress(t), newAddress(t), newAddress(t)
	start(blue, "blue")
	greenCore, strictCore := start(green, "green"), start(strict, "strict")
	h, figures := newHub(), prometheus.NewRegistry()
	l := startLinks(t, h, func(o *rpc.Options) {
		o.Figures = figures
		o.Pools = []rpc.Pool{{Name: "green", Cores: []string{green}}, {Name: "strict", Cores: []string{strict}, Refuse: true}}
	}, blue)
	linked(t, figures, 3)
	s := session.ID(0)
	ask := func(pool string) string {
		t.Helper()
		s++
		l.Call(to(pool, s))
		return string(h.reply(t, s, 1).Body)
	}
	for range 20 {
		for pool, want := range map[string]string{"": "blue", "green": "green", "strict": "strict", "nobody": "blue"} {
			if got := ask(pool); got != want {
				t.Fatalf("pool %q: answered by %q, want %q", pool, got, want)
			}
		}
	}
	greenCore.Server.Close()
	strictCore.Server.Close()
	linked(t, figures, 1)
	if got := ask("green"); got != "blue" {
		t.Errorf("green without a core: answered by %q", got)
	}
	s++
	l.Call(to("strict", s))
	unavailable(t, h.reply(t, s, 1))
	if l.CallTogether([]session.Call{to("strict", s), to("strict", s)}) {
		t.Error("calls together were taken for a pool without a core")
	}
	start(green, "green")
	start(strict, "strict")
	linked(t, figures, 3)
	if a, b := ask("green"), ask("strict"); a != "green" || b != "strict" {
		t.Errorf("back again: answered by %q and %q", a, b)
	}
	s += 2
	if !l.CallTogether([]session.Call{to("green", s), to("green", s)}) {
		t.Error("calls together were not taken")
	}
	if r := h.reply(t, s, 2); string(r.Body) != "green" {
		t.Errorf("together: answered by %q", r.Body)
	}
	if n := figure(t, figures, "freeim_link_pool_astray_total"); n != 2 {
		t.Errorf("got %v calls that their pool could not take, want 2", n)
	}
}

// TestDefaultPoolWaits: while the default pool has no core its calls are parked, whatever
// other pools have.
func TestDefaultPoolWaits(t *testing.T) {
	registry, blue, green := newShared(), newAddress(t), newAddress(t)
	startNode(t, green, registry, named("green"), nil)
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Pools = []rpc.Pool{{Name: "green", Cores: []string{green}}} }, blue)
	ready(t, l, true)
	l.Call(to("", 1))
	l.Call(to("green", 2))
	if r := h.reply(t, 2, 1); string(r.Body) != "green" {
		t.Errorf("got %+v", r)
	}
	startNode(t, blue, registry, named("blue"), nil)
	if r := h.reply(t, 1, 1); string(r.Body) != "blue" {
		t.Errorf("got %+v", r)
	}
}

// byName is a resolver of several names.
type byName map[string]*names

func (b byName) lookup(ctx context.Context, name string) ([]string, error) {
	return b[name].lookup(ctx, "cores.test")
}

// TestCoreChangesPool: discovery names a core in another pool, and its calls follow
// without a new link.
func TestCoreChangesPool(t *testing.T) {
	only := startNode(t, "127.0.0.1:0", newShared(), named("only"), nil)
	_, port, err := net.SplitHostPort(only.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	blue, green := new(names), new(names)
	blue.set(nil, "127.0.0.1")
	green.set(errors.New("nobody yet"))
	h, figures := newHub(), prometheus.NewRegistry()
	l := startLinks(t, h, func(o *rpc.Options) {
		o.Lookup, o.Figures = 10*time.Millisecond, figures
		o.LookupHost = byName{"blue.test": blue, "green.test": green}.lookup
		o.Pools = []rpc.Pool{{Name: "blue", Cores: []string{"dns:blue.test:" + port}, Refuse: true}, {Name: "green", Cores: []string{"dns:green.test:" + port}, Refuse: true}}
	}, newAddress(t))
	linked(t, figures, 1)
	s := session.ID(0)
	served := func(pool string) bool {
		s++
		l.Call(to(pool, s))
		return string(h.reply(t, s, 1).Body) == "only"
	}
	poll(t, "blue serves", func() bool { return served("blue") && !served("green") })
	blue.set(nil, "127.0.0.9")
	green.set(nil, "127.0.0.1")
	poll(t, "green serves", func() bool { return served("green") && !served("blue") })
	if n := figure(t, figures, "freeim_link_up"); n != 1 {
		t.Errorf("got %v links, want the one", n)
	}
}

func TestPoolOptions(t *testing.T) {
	for name, pools := range map[string][]rpc.Pool{
		"no name":    {{Cores: []string{"unix:/a"}}},
		"default":    {{Name: "default", Cores: []string{"unix:/a"}}},
		"twice":      {{Name: "a", Cores: []string{"unix:/a"}}, {Name: "a", Cores: []string{"unix:/b"}}},
		"no cores":   {{Name: "a"}},
		"an address": {{Name: "a", Cores: []string{"no port"}}},
		"one core":   {{Name: "a", Cores: []string{"unix:/x"}}},
		"two pools":  {{Name: "a", Cores: []string{"unix:/a"}}, {Name: "b", Cores: []string{"unix:/a"}}},
	} {
		if l, err := rpc.New(rpc.Options{Cores: []string{"unix:/x"}, Pools: pools, EdgeID: "e", Epoch: 1}); err == nil {
			l.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}

// flipping are rules that send sessions to a pool, which a test changes all the time.
type flipping struct{ pool atomic.Pointer[string] }

func (f *flipping) Asks(q session.Questions) bool                                { return q&session.AboutRoutes != 0 }
func (f *flipping) Edition() string                                              { return *f.pool.Load() }
func (f *flipping) Connect(*session.Arrival) (tags []string, _ *session.Refusal) { return nil, nil }
func (f *flipping) Frame(*session.Asked) *session.Refusal                        { return nil }
func (f *flipping) Route(*session.Asked) string                                  { return *f.pool.Load() }

func (f *flipping) flip(pool string) { f.pool.Store(&pool) }

// TestOrderOverPools: routes change all the time between pools whose cores come and go,
// while sessions send ahead of their answers. All is answered once and in order, and what
// is acknowledged was committed in the order in which each session sent it.
func TestOrderOverPools(t *testing.T) {
	const sessions = 30
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	registry, book := newShared(), &ledger{place: map[string]int{}}
	pools := []string{"", "green", "slow"}
	addresses, lives := make([]string, len(pools)), make([]*core, len(pools))
	for i := range pools {
		addresses[i] = newAddress(t)
		lives[i] = startNode(t, addresses[i], registry, book.serve, nil)
	}
	figures := prometheus.NewRegistry()
	l, err := rpc.New(rpc.Options{Cores: addresses[:1], EdgeID: "edge-a", Epoch: 7, Log: quietLog(), Figures: figures,
		Pools:   []rpc.Pool{{Name: "green", Cores: addresses[1:2]}, {Name: "slow", Cores: addresses[2:], Refuse: true}},
		Backoff: func(int) time.Duration { return 5 * time.Millisecond }})
	if err != nil {
		t.Fatal(err)
	}
	rules := new(flipping)
	rules.flip("")
	hub, err := session.New(session.Options{Core: l, Log: quietLog(), Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	l.Start(hub)
	t.Cleanup(l.Close)
	linked(t, figures, float64(len(pools)))
	var over atomic.Bool
	var sent atomic.Int64
	var talking sync.WaitGroup
	talkers := make([]*talker, sessions)
	for i := range talkers {
		c := &talker{t: t, changed: make(chan struct{}, 1)}
		c.Session = hub.Open(c)
		talkers[i] = c
		talking.Go(func() { c.talk(i, &over, &sent) })
	}
	for _, c := range talkers {
		poll(t, "Auth, before anything goes wrong", c.passed)
	}
	for round := range rounds {
		i := round % len(pools)
		rules.flip(pools[i])
		if round%4 == 3 {
			lives[i].Server.Close()
			lives[i] = startNode(t, addresses[i], registry, book.serve, nil)
		}
		upTo := sent.Load() + 1000
		poll(t, "messages sent", func() bool { return sent.Load() > upTo })
	}
	over.Store(true)
	talking.Wait()
	acked, committed := 0, book.committed()
	for i, c := range talkers {
		acked += c.inOrder(i, committed)
		c.Closed()
	}
	all, err := figures.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, f := range all {
		if f.GetName() == "freeim_link_pool_calls_total" {
			for _, m := range f.GetMetric() {
				if m.GetCounter().GetValue() == 0 {
					t.Errorf("no call went to pool %s", m.GetLabel()[0].GetValue())
				}
				calls = append(calls, fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetCounter().GetValue()))
			}
		}
	}
	t.Logf("%d sent, %d acknowledged, %d committed; %s", sent.Load(), acked, len(committed), strings.Join(calls, ", "))
}
