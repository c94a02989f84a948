package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	corerpc "freeim/core/rpc"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// shared is a registry as several cores have it: that one of them links to an
// edge takes no routes away. It can fail, and lose what it holds.
type shared struct {
	mu   sync.Mutex // guards the fields below
	here *presence.Memory
	lost int
	away bool
}

var errAway = errors.New("the registry is away")

func newShared() *shared {
	return &shared{here: presence.NewMemoryFor(presence.Leases{Life: time.Minute})}
}

// lose drops all it holds, as a server that was restarted empty.
func (s *shared) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.here = presence.NewMemoryFor(presence.Leases{Life: time.Minute})
	s.lost++
}

func (s *shared) fail(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *shared) registry() (*presence.Memory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errAway
	}
	return s.here, nil
}

func (s *shared) Attach(ctx context.Context, life presence.Life) error {
	over, err := s.Keep(ctx, life)
	if len(over) > 0 {
		return presence.ErrFenced
	}
	return err
}

func (s *shared) Keep(ctx context.Context, lives ...presence.Life) ([]presence.Life, error) {
	r, err := s.registry()
	if err != nil {
		return nil, err
	}
	return r.Keep(ctx, lives...)
}

func (s *shared) Register(ctx context.Context, route presence.Route) ([]presence.Route, bool, error) {
	r, err := s.registry()
	if err != nil {
		return nil, false, err
	}
	return r.Register(ctx, route)
}

func (s *shared) Restore(ctx context.Context, routes []presence.Route) ([]presence.Restored, error) {
	r, err := s.registry()
	if err != nil {
		return nil, err
	}
	return r.Restore(ctx, routes)
}

func (s *shared) Unregister(ctx context.Context, routes ...presence.Route) ([]presence.Route, error) {
	r, err := s.registry()
	if err != nil {
		return nil, err
	}
	return r.Unregister(ctx, routes...)
}

func (s *shared) Routes(ctx context.Context, users ...im.UserID) ([][]presence.Route, error) {
	r, err := s.registry()
	if err != nil {
		return make([][]presence.Route, len(users)), err
	}
	return r.Routes(ctx, users...)
}

func (s *shared) Generation(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return "", errAway
	}
	return fmt.Sprint(s.lost), nil
}

// named answers every call with its core's name.
func named(name string) doing {
	return func(_ context.Context, call *plugin.Call, _ []byte) dispatch.Reply {
		return dispatch.Reply{Action: call.Action, Body: []byte(name)}
	}
}

// startNode starts one of several cores.
func startNode(t *testing.T, address string, registry presence.Registry, do doing, change func(*corerpc.Options)) *core {
	t.Helper()
	o := corerpc.Options{Listen: address, CoreID: address, Registry: registry, Log: quietLog(), Lease: 300 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	s, err := corerpc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Start(do); err != nil {
		t.Fatal(err)
	}
	return &core{Server: s, address: address, registry: registry}
}

// reaches finds a session whose calls are answered by the core of that name.
func reaches(t *testing.T, h *hub, l *rpc.Links, name string) session.ID {
	t.Helper()
	var found session.ID
	next := session.ID(100000)
	poll(t, "a call answered by "+name, func() bool {
		next++
		l.Call(message(next, ""))
		found = next
		return string(h.reply(t, next, 1).Body) == name
	})
	return found
}

func brief(o *rpc.Options) { o.Silence = 300 * time.Millisecond }

// TestSilentCore: what a core that says nothing was sent is refused long before
// its deadline, new calls go to the other core, and back when it speaks again.
func TestSilentCore(t *testing.T) {
	first := startNode(t, newAddress(t), newShared(), named("first"), nil)
	second := startNode(t, newAddress(t), newShared(), named("second"), nil)
	p := newProxy(t, first.address)
	h := newHub()
	l := startLinks(t, h, brief, p.address(), second.address)
	s := reaches(t, h, l, "first")
	p.freeze(true)
	l.Call(message(s, ""))
	r := h.reply(t, s, 2)
	unavailable(t, r)
	if e := refused(t, r); !strings.Contains(e.Message, "does not answer") {
		t.Errorf("refused with %q", e.Message)
	}
	l.Call(message(s, ""))
	if r := h.reply(t, s, 3); string(r.Body) != "second" {
		t.Errorf("while the first core is silent: got %+v, want the second to answer", r)
	}
	p.freeze(false)
	reaches(t, h, l, "first")
}

// TestSilentForGood: the link is dropped in the end; calls that wait for the only
// core there is are parked meanwhile.
func TestSilentForGood(t *testing.T) {
	c := startNode(t, newAddress(t), newShared(), named("only"), nil)
	p := newProxy(t, c.address)
	h := newHub()
	l := startLinks(t, h, brief, p.address())
	reaches(t, h, l, "only")
	p.freeze(true)
	l.Call(message(1, ""))
	unavailable(t, h.reply(t, 1, 1))
	if l.Ready() {
		t.Error("ready with a silent core")
	}
	l.Call(message(2, ""))
	poll(t, "the link is dropped, and the edge tries anew", func() bool { return p.accepted() > 1 })
	p.freeze(false)
	if r := h.reply(t, 2, 1); string(r.Body) != "only" {
		t.Errorf("parked meanwhile: got %+v", r)
	}
	h.await(t, "resync", func() bool { return h.resyncs > 0 })
}

// TestSlowIsNotSilent: a call may take its time while its core is there.
func TestSlowIsNotSilent(t *testing.T) {
	c := startNode(t, newAddress(t), newShared(), func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		select {
		case <-time.After(1500 * time.Millisecond):
		case <-ctx.Done():
		}
		return echo(ctx, call, body)
	}, nil)
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Silence = 400 * time.Millisecond }, c.address)
	l.Call(message(1, "slow"))
	if r := h.reply(t, 1, 1); string(r.Body) != "slow" {
		t.Errorf("got %+v", r)
	}
}

// TestUnsentGoesElsewhere: calls that a silent core was never sent are answered
// by another; those that it was sent are refused. Each has one reply.
func TestUnsentGoesElsewhere(t *testing.T) {
	first := startNode(t, newAddress(t), newShared(), named("first"), nil)
	second := startNode(t, newAddress(t), newShared(), named("second"), nil)
	p := newProxy(t, first.address)
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Silence = time.Second }, p.address(), second.address)
	reaches(t, h, l, "first")
	reaches(t, h, l, "second")
	p.freeze(true)
	const sessions = 400
	for s := range session.ID(sessions) {
		c := message(s+1, strings.Repeat("x", 100<<10)) // far more than all windows hold
		l.Call(c)
	}
	counts := map[string]int{}
	for s := range session.ID(sessions) {
		r := h.reply(t, s+1, 1)
		if r.Action == idl.ActionError {
			unavailable(t, r)
			counts["refused"]++
		} else {
			counts[string(r.Body)]++
		}
	}
	// Half of them were for the first core, and some megabytes of these were sent.
	if counts["first"] != 0 || counts["refused"] == 0 || counts["second"] <= sessions*6/10 {
		t.Errorf("got answers %v", counts)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s, replies := range h.replies {
		if s <= sessions && len(replies) != 1 {
			t.Errorf("session %d has %d replies", s, len(replies))
		}
	}
}

// TestCensusFindsWhatIsMissing: a route that was lost is there again by the next
// census, and counted; a session that may not go on is ended.
func TestCensusFindsWhatIsMissing(t *testing.T) {
	registry := newShared()
	figures := prometheus.NewRegistry()
	c := startNode(t, newAddress(t), registry, echo, func(o *corerpc.Options) {
		o.Figures = figures
		o.Admit = func(_ context.Context, routes []presence.Route) (in []bool) {
			for _, r := range routes {
				in = append(in, r.User != 2 || r.TokenID != 5)
			}
			return in
		}
	})
	h := newHub()
	h.sessions[1], h.sessions[3] = someone(1), someone(3)
	l := startLinks(t, h, func(o *rpc.Options) { o.Census = 50 * time.Millisecond }, c.address)
	ready(t, l, true)
	if online(registry, 1) != 1 || online(registry, 3) != 1 {
		t.Fatal("the sessions at the start of the link have no routes")
	}
	unroutable := func(want string) error {
		return testutil.GatherAndCompare(figures, strings.NewReader(`
# HELP freeim_unroutable_found_total Connected sessions that a census found without a route, and made routable.
# TYPE freeim_unroutable_found_total counter
freeim_unroutable_found_total `+want+`
# HELP freeim_unroutable_sessions Connected sessions without a route, as the last census through this core found them.
# TYPE freeim_unroutable_sessions gauge
freeim_unroutable_sessions 0
`), "freeim_unroutable_found_total", "freeim_unroutable_sessions")
	}
	if err := unroutable("0"); err != nil {
		t.Error(err)
	}
	route, _ := registry.Routes(t.Context(), 1)
	if removed, err := registry.Unregister(t.Context(), route[0][0]); len(removed) != 1 || err != nil {
		t.Fatalf("Unregister: %v, %v", removed, err)
	}
	poll(t, "the lost route is back", func() bool { return online(registry, 1) == 1 })
	poll(t, "it was counted, and the next census finds nothing", func() bool { return unroutable("1") == nil })
	h.await(t, "the session is told to sync", func() bool {
		return len(h.pushes) == 1 && h.pushes[0].Action == idl.ActionSync && slices.Equal(h.pushes[0].Sessions, []session.ID{1})
	})
	h.change(func() { h.sessions[2] = someone(2) }) // signed out by whom no link led to its edge
	h.await(t, "the kick", func() bool { return len(h.kicks) > 0 })
	h.mu.Lock()
	defer h.mu.Unlock()
	if !strings.HasPrefix(h.kicks[0], "[2] ") || online(registry, 2) != 0 {
		t.Errorf("got kicks %q, and %d routes of user 2", h.kicks, online(registry, 2))
	}
}

// TestGoneBehindTheCensus: a session that ends while it is listed leaves no route.
func TestGoneBehindTheCensus(t *testing.T) {
	registry := newShared()
	h := newHub()
	var addresses []string
	for range 2 {
		addresses = append(addresses, startNode(t, newAddress(t), registry, echo, nil).address)
	}
	l := startLinks(t, h, func(o *rpc.Options) { o.Census = time.Millisecond }, addresses...)
	ready(t, l, true)
	for s := session.ID(1); s <= 300; s++ {
		who := someone(int64(s))
		h.change(func() { h.sessions[s] = who })
		poll(t, "the session is listed", func() bool { return online(registry, im.UserID(s)) == 1 })
		h.change(func() { delete(h.sessions, s) })
		l.Gone(s, who)
	}
	poll(t, "no routes of sessions that have ended", func() bool {
		for s := im.UserID(1); s <= 300; s++ {
			if online(registry, s) > 0 {
				l.Gone(session.ID(s), someone(int64(s))) // the hub of this test may have listed it an instant too late
				return false
			}
		}
		return true
	})
}

// TestRegistryEmptied: all routes are there again soon after the registry has
// lost them, long before the next census was due.
func TestRegistryEmptied(t *testing.T) {
	registry := newShared()
	first := startNode(t, newAddress(t), registry, echo, nil)
	second := startNode(t, newAddress(t), registry, echo, nil)
	h := newHub()
	const sessions = 2000
	for s := range session.ID(sessions) {
		h.sessions[s+1] = someone(int64(s) + 1)
	}
	l := startLinks(t, h, func(o *rpc.Options) { o.Census = time.Hour }, first.address, second.address)
	ready(t, l, true)
	all := func() bool {
		for user := range im.UserID(sessions) {
			if online(registry, user+1) != 1 {
				return false
			}
		}
		return true
	}
	poll(t, "all sessions have routes", all)
	for range 3 {
		began := time.Now()
		resyncs := 0
		h.change(func() { resyncs = h.resyncs })
		registry.lose()
		poll(t, "all sessions have routes again", all)
		h.await(t, "then clients are told to sync", func() bool { return h.resyncs > resyncs })
		t.Logf("%d routes were there again after %v", sessions, time.Since(began))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.kicks) > 0 {
		t.Errorf("got kicks %q", h.kicks)
	}
}

// TestRegistryAway: no session is lost while the registry does not answer, neither
// at the start of a link nor later; calls are served.
func TestRegistryAway(t *testing.T) {
	registry := newShared()
	registry.fail(true)
	c := startNode(t, newAddress(t), registry, echo, nil)
	h := newHub()
	h.sessions[1] = someone(1)
	l := startLinks(t, h, func(o *rpc.Options) { o.Census = time.Hour }, c.address)
	l.Call(message(1, "served"))
	if r := h.reply(t, 1, 1); string(r.Body) != "served" {
		t.Errorf("got %+v", r)
	}
	registry.fail(false)
	poll(t, "the session has a route", func() bool { return online(registry, 1) == 1 })
	registry.fail(true)
	h.change(func() { h.sessions[2] = someone(2) })
	l.Gone(99, someone(99)) // cannot be told
	l.Call(message(2, "served"))
	if r := h.reply(t, 2, 1); string(r.Body) != "served" {
		t.Errorf("got %+v", r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.kicks) > 0 {
		t.Errorf("got kicks %q", h.kicks)
	}
}

// TestPushThroughAnyCore: a device on an edge gets what is pushed through the core
// that has a link to it; what is pushed by one that has none is made good.
func TestPushThroughAnyCore(t *testing.T) {
	registry := newShared()
	first := startNode(t, newAddress(t), registry, named("first"), nil)
	figures := prometheus.NewRegistry()
	second := startNode(t, newAddress(t), registry, named("second"), func(o *corerpc.Options) { o.Figures = figures })
	p := newProxy(t, second.address)
	h := newHub()
	h.sessions[1] = someone(1)
	l := startLinks(t, h, nil, first.address, p.address())
	reaches(t, h, l, "first")
	reaches(t, h, l, "second")
	h.mu.Lock()
	if h.resyncs != 0 {
		t.Errorf("got %d resyncs before anything was lost", h.resyncs)
	}
	h.mu.Unlock()
	p.freeze(true) // no new link meanwhile
	p.cut()
	h.await(t, "clients sync when a link ends", func() bool { return h.resyncs == 1 })
	push := fanout.Delivery{Action: idl.ActionMessage, Sessions: []uint64{1}, JSON: []byte("{}")}
	first.Push("edge-a", 7, push)
	h.await(t, "the push through the first core", func() bool { return len(h.pushes) == 1 })
	if online(registry, 1) != 1 {
		t.Error("the session has lost its route")
	}
	poll(t, "the second core notices", func() bool { return figure(t, figures, "freeim_link_up") == 0 })
	second.Push("edge-a", 7, push)
	p.freeze(false)
	h.await(t, "clients sync again, and one core was there all the time", func() bool { return h.resyncs == 2 && h.unlinked == 0 })
	if online(registry, 1) != 1 {
		t.Error("the session has lost its route")
	}
}

// figure is the sum of a metric's values.
func figure(t *testing.T, from prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.Metric {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestRollingReplacement: every core is replaced while sessions call as fast as
// they are answered. No call is refused, no client is kicked or told to sync, and
// what is pushed behind an answer arrives.
func TestRollingReplacement(t *testing.T) {
	const cores, sessions = 3, 100
	registry := newShared()
	addresses := make([]string, cores)
	lives := make([]*core, cores)
	var pushed atomic.Int64
	start := func(i int) *core {
		var c *core
		var up atomic.Pointer[core]
		c = startNode(t, addresses[i], registry, func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
			if here := up.Load(); here != nil {
				call.After(func() {
					pushed.Add(1)
					here.Push("edge-a", 7, fanout.Delivery{Action: idl.ActionMessage, Sessions: []uint64{call.Session.Session}, JSON: []byte("{}")})
				})
			}
			return echo(ctx, call, body)
		}, nil)
		up.Store(c)
		return c
	}
	for i := range cores {
		addresses[i] = newAddress(t)
		lives[i] = start(i)
	}
	h := newHub()
	for s := range session.ID(sessions) {
		h.sessions[s+1] = someone(int64(s) + 1)
	}
	var stop atomic.Bool
	var served atomic.Int64
	var all sync.WaitGroup
	all.Add(sessions)
	l := startLinks(t, h, nil, addresses...)
	h.mu.Lock()
	h.onReply = func(r session.Reply) {
		served.Add(1)
		if r.Action == idl.ActionError {
			t.Errorf("session %d was refused: %s", r.Session, r.Body)
		}
		if stop.Load() {
			all.Done()
		} else {
			l.Call(message(r.Session, "x"))
		}
	}
	h.mu.Unlock()
	for s := range session.ID(sessions) {
		l.Call(message(s+1, "x"))
	}
	for i := range cores {
		upTo := served.Load() + 1000
		poll(t, "calls served", func() bool { return served.Load() > upTo })
		if err := lives[i].Drain(t.Context()); err != nil {
			t.Error(err)
		}
		lives[i].Server.Close()
		lives[i] = start(i)
	}
	stop.Store(true)
	all.Wait()
	h.await(t, "every push", func() bool { return int64(len(h.pushes)) == pushed.Load() })
	h.mu.Lock()
	if len(h.kicks) > 0 || h.resyncs > 0 {
		t.Errorf("got kicks %q and %d resyncs", h.kicks, h.resyncs)
	}
	h.mu.Unlock()
	for user := range im.UserID(sessions) {
		if online(registry, user+1) != 1 {
			t.Errorf("user %d has %d routes", user+1, online(registry, user+1))
		}
	}
	t.Logf("%d calls served", served.Load())
}

// TestTwoAddressesOfOneCore: a core that is known by two addresses is linked by
// one of them, and by the other when that one fails.
func TestTwoAddressesOfOneCore(t *testing.T) {
	c := startNode(t, newAddress(t), newShared(), named("only"), nil)
	left, right := newProxy(t, c.address), newProxy(t, c.address)
	figures := prometheus.NewRegistry()
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Figures = figures }, left.address(), right.address())
	settled := func() (n int) {
		t.Helper()
		poll(t, "one link stands, and stays", func() bool {
			before := left.accepted() + right.accepted()
			for s := range session.ID(50) { // some time for more attempts
				n++
				l.Call(message(s+1, ""))
				h.await(t, "a reply", func() bool { return len(h.replies[s+1]) > 0 })
				h.change(func() { delete(h.replies, s+1) })
			}
			return left.accepted()+right.accepted() == before && figure(t, figures, "freeim_link_up") == 1
		})
		return left.accepted() + right.accepted()
	}
	before := settled()
	left.cut()
	right.cut()
	poll(t, "the core is linked again", func() bool { return left.accepted()+right.accepted() > before })
	settled()
	reaches(t, h, l, "only")
}

// TestExactlyOneReplyOfSeveralCores: sessions call as fast as they are answered
// while links to three cores are cut, freeze and thaw, and cores are drained and
// killed. Every call has one reply, and one that is not a refusal is its own.
func TestExactlyOneReplyOfSeveralCores(t *testing.T) {
	const sessions, cores = 100, 3
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	registry := newShared()
	addresses := make([]string, cores)
	lives := make([]*core, cores)
	proxies := make([]*proxy, cores)
	var dials []string
	for i := range cores {
		addresses[i] = newAddress(t)
		lives[i] = startNode(t, addresses[i], registry, echo, nil)
		proxies[i] = newProxy(t, addresses[i])
		dials = append(dials, proxies[i].address())
	}
	h := newHub()
	for s := range session.ID(sessions) {
		h.sessions[s+1] = someone(int64(s) + 1)
	}
	var sent [sessions + 1]atomic.Int64
	var served, refusals atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Add(sessions)
	l := startLinks(t, h, func(o *rpc.Options) { o.Silence, o.Census = 100*time.Millisecond, 20*time.Millisecond }, dials...)
	next := func(s session.ID) {
		c := message(s, "")
		c.Sequence = uint32(sent[s].Add(1))
		c.Body = fmt.Append(nil, s, "/", c.Sequence)
		l.Call(c)
	}
	h.mu.Lock()
	h.onReply = func(r session.Reply) {
		if int64(r.Sequence) != sent[r.Session].Load() {
			t.Errorf("session %d: a reply to call %d while call %d is under way", r.Session, r.Sequence, sent[r.Session].Load())
		}
		if r.Action == idl.ActionError {
			refusals.Add(1)
		} else if served.Add(1); string(r.Body) != fmt.Sprint(r.Session, "/", r.Sequence) {
			t.Errorf("session %d, call %d: got the answer %q", r.Session, r.Sequence, r.Body)
		}
		h.change(func() { h.replies = map[session.ID][]session.Reply{} }) // they are many
		if stop.Load() {
			all.Done()
		} else {
			next(r.Session)
		}
	}
	h.mu.Unlock()
	for s := range session.ID(sessions) {
		next(s + 1)
	}
	for round := range rounds {
		i := round % cores
		upTo := served.Load() + 1000
		switch rand.N(5) {
		case 0:
			proxies[i].cut()
		case 1:
			proxies[i].freeze(true)
		case 2:
			if err := lives[i].Drain(t.Context()); err != nil {
				t.Error(err)
			}
			fallthrough
		case 3:
			lives[i].Server.Close()
			lives[i] = startNode(t, addresses[i], registry, echo, nil)
		}
		poll(t, "calls served", func() bool { return served.Load() > upTo })
		proxies[i].freeze(false)
	}
	stop.Store(true)
	all.Wait()
	for user := range im.UserID(sessions) {
		poll(t, "every session has a route", func() bool { return online(registry, user+1) == 1 })
	}
	t.Logf("%d served, %d refused", served.Load(), refusals.Load())
}

// TestCoreThatHangsUp: connections that end before anything came are given up
// soon, and a core that is there at last is linked.
func TestCoreThatHangsUp(t *testing.T) {
	c := startNode(t, newAddress(t), newShared(), named("only"), nil)
	p := newProxy(t, "unix:"+t.TempDir()+"/nobody")
	h := newHub()
	l := startLinks(t, h, nil, p.address())
	poll(t, "attempts to link", func() bool { return p.turnedAway() > 1 })
	p.mu.Lock()
	p.target = c.address
	p.mu.Unlock()
	l.Call(message(1, ""))
	if r := h.reply(t, 1, 1); string(r.Body) != "only" {
		t.Errorf("got %+v", r)
	}
}
