package rpc_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
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
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"
)

var _ session.Core = (*rpc.Links)(nil)

func TestCallAndReply(t *testing.T) {
	for name, address := range map[string]string{"unix": newAddress(t), "tcp": "127.0.0.1:0"} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan plugin.Call, 2)
			c := startCore(t, address, func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
				seen <- *call
				return echo(ctx, call, body)
			})
			h := newHub()
			l := startLinks(t, h, nil, c.address)
			l.Call(message(3, "hello"))
			want := session.Reply{Session: 3, Action: idl.ActionMessage, Sequence: 77, Body: []byte("hello")}
			if got := h.reply(t, 3, 1); !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			got := <-seen
			ref := presence.SessionRef{Edge: "edge-a", Epoch: 7, Session: 3}
			if got.Session != ref || got.User != 3 || got.Device != "phone" || got.DeviceType != idl.DeviceMobile || got.TokenID != 5 ||
				got.Codec != idl.CodecJSON || got.Address != "192.0.2.1:9" {
				t.Errorf("dispatched: got %+v", got)
			}
			stranger := message(4, "")
			stranger.Identity = nil
			l.Call(stranger)
			if got := <-seen; got.User != 0 || got.Device != "" {
				t.Errorf("before Auth: dispatched as %+v", got)
			}
		})
	}
}

// TestEveryBodyArrives: sizes around every bound, many sessions at once.
func TestEveryBodyArrives(t *testing.T) {
	c := startCore(t, newAddress(t), echo)
	h := newHub()
	l := startLinks(t, h, nil, c.address)
	const sessions = 3000
	body := func(s session.ID) string {
		size := int(s % 200)
		if s%20 == 0 {
			size = int(s) * 30
		}
		return strings.Repeat(fmt.Sprint(s%10), size)
	}
	for s := range session.ID(sessions) {
		l.Call(message(s+1, body(s+1)))
	}
	for s := range session.ID(sessions) {
		if r := h.reply(t, s+1, 1); string(r.Body) != body(s+1) || r.Session != s+1 {
			t.Fatalf("session %d: got %d octets for session %d, want %d", s+1, len(r.Body), r.Session, len(body(s+1)))
		}
	}
}

func TestCatalogue(t *testing.T) {
	address := newAddress(t)
	h := newHub()
	l := startLinks(t, h, nil, address)
	if info, ok := l.Action(99); !ok || !info.Open {
		t.Errorf("no core reached yet: got %+v, %v, want every action open", info, ok)
	}
	if _, ok := l.ActionNamed("chat.send"); ok {
		t.Error("no core reached yet, and a name is known")
	}
	startCore(t, address, echo)
	ready(t, l, true)
	want := session.ActionInfo{Action: idl.ActionMessage, Name: "chat.send", MaxBody: 4096, Joins: true}
	if info, ok := l.Action(idl.ActionMessage); !ok || info != want {
		t.Errorf("got %+v, %v, want %+v", info, ok, want)
	}
	if info, ok := l.Action(idl.ActionAuth); !ok || !info.Open {
		t.Errorf("Auth: got %+v, %v", info, ok)
	}
	if _, ok := l.Action(99); ok {
		t.Error("an action that no core has is known")
	}
	if a, ok := l.ActionNamed("account.auth"); !ok || a != idl.ActionAuth {
		t.Errorf("got %v, %v", a, ok)
	}
}

func TestPushAndKick(t *testing.T) {
	c := startCore(t, newAddress(t), echo)
	h := newHub()
	l := startLinks(t, h, nil, c.address)
	ready(t, l, true)
	c.Push("edge-a", 7, fanout.Delivery{Action: idl.ActionMessage, Sessions: []uint64{1, 2}, InboxSeqs: []int64{5, 6}, Protobuf: []byte("p"), JSON: []byte("j")})
	c.Kick("edge-a", 7, []uint64{2}, idl.CloseKicked, "newer", 2*time.Second)
	h.await(t, "the kick", func() bool { return len(h.kicks) == 1 })
	want := session.Push{Action: idl.ActionMessage, Sessions: []session.ID{1, 2}, InboxSeqs: []int64{5, 6}, Protobuf: []byte("p"), JSON: []byte("j")}
	if len(h.pushes) != 1 || !reflect.DeepEqual(h.pushes[0], want) {
		t.Errorf("got %+v, want %+v", h.pushes, want)
	}
	if h.kicks[0] != "[2] 4501 newer 2s" {
		t.Errorf("got kick %q", h.kicks[0])
	}
}

// TestParked: calls made while no core is there wait for one.
func TestParked(t *testing.T) {
	address := newAddress(t)
	h := newHub()
	l := startLinks(t, h, nil, address)
	for s := range session.ID(100) {
		l.Call(message(s+1, "waiting"))
	}
	if l.Ready() {
		t.Error("ready without a core")
	}
	startCore(t, address, echo)
	for s := range session.ID(100) {
		if r := h.reply(t, s+1, 1); string(r.Body) != "waiting" {
			t.Errorf("got %+v", r)
		}
	}
}

func TestParkedTooLongOrTooMany(t *testing.T) {
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Parked, o.CallTimeout = 2, 100*time.Millisecond }, newAddress(t))
	for s := range session.ID(3) {
		h.mu.Lock() // an answer from within Call would hang here
		l.Call(message(s+1, ""))
		h.mu.Unlock()
	}
	unavailable(t, h.reply(t, 3, 1)) // past the bound: at once
	unavailable(t, h.reply(t, 1, 1)) // after the deadline
	unavailable(t, h.reply(t, 2, 1))
}

func TestPendingBound(t *testing.T) {
	release := make(chan struct{})
	c := startCore(t, newAddress(t), func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		<-release
		return echo(ctx, call, body)
	})
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Pending = 2 }, c.address)
	ready(t, l, true)
	for s := range session.ID(3) {
		l.Call(message(s+1, ""))
	}
	unavailable(t, h.reply(t, 3, 1))
	close(release)
	for s := range session.ID(2) {
		if r := h.reply(t, s+1, 1); r.Action != idl.ActionMessage {
			t.Errorf("got %+v", r)
		}
	}
}

// TestDeadline: the edge answers when no core does, and what the core says later
// is not taken for the answer to the next call.
func TestDeadline(t *testing.T) {
	release := make(chan struct{})
	c := startCore(t, newAddress(t), func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		if string(body) == "slow" {
			<-release
		}
		return echo(ctx, call, body)
	})
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.CallTimeout = 100 * time.Millisecond }, c.address)
	l.Call(message(1, "slow"))
	if e := refused(t, h.reply(t, 1, 1)); e.Code != idl.CodeDeadlineExceeded {
		t.Errorf("got %+v, want DEADLINE_EXCEEDED", e)
	}
	close(release) // now the late reply is on its way, before the next one
	l.Call(message(1, "next"))
	if r := h.reply(t, 1, 2); string(r.Body) != "next" {
		t.Errorf("got %q, want the answer to the second call", r.Body)
	}
}

// auth binds the session as the account plugin does: registered first, then told.
func auth(registry presence.Registry, call *plugin.Call) dispatch.Reply {
	id := plugin.Identity{User: 1, Device: "phone", DeviceType: idl.DeviceMobile, TokenID: 5, Since: time.UnixMilli(1000)}
	_, _, _ = registry.Register(context.Background(), call.Route(id)) // in memory: has no errors
	return dispatch.Reply{Action: call.Action, Bound: &id}
}

func online(registry presence.Registry, user im.UserID) int {
	routes, _ := registry.Routes(context.Background(), user)
	return len(routes[0])
}

func TestBindAndGone(t *testing.T) {
	registry := presence.NewMemory()
	c := startCoreWith(t, newAddress(t), registry, func(_ context.Context, call *plugin.Call, _ []byte) dispatch.Reply { return auth(registry, call) })
	h := newHub()
	l := startLinks(t, h, nil, c.address)
	l.Call(session.Call{Session: 4, Action: idl.ActionAuth, Codec: idl.CodecJSON})
	r := h.reply(t, 4, 1)
	if r.Bind == nil || *r.Bind != someone(1) {
		t.Fatalf("got %+v, want the identity", r.Bind)
	}
	if online(registry, 1) != 1 {
		t.Error("user 1 is not online")
	}
	l.Gone(4, *r.Bind)
	poll(t, "user 1 offline", func() bool { return online(registry, 1) == 0 })
}

// TestLateBind: Auth succeeds after the edge has given up on it. The hub never
// hears of it, so the route must go.
func TestLateBind(t *testing.T) {
	registry := presence.NewMemory()
	release := make(chan struct{})
	c := startCoreWith(t, newAddress(t), registry, func(_ context.Context, call *plugin.Call, _ []byte) dispatch.Reply {
		<-release
		defer close(release)
		return auth(registry, call)
	})
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.CallTimeout = 50 * time.Millisecond }, c.address)
	l.Call(session.Call{Session: 4, Action: idl.ActionAuth, Codec: idl.CodecJSON})
	h.reply(t, 4, 1)
	release <- struct{}{}
	<-release
	poll(t, "no ghost", func() bool { return online(registry, 1) == 0 })
	if len(h.replies[4]) != 1 {
		t.Errorf("got %d replies, want 1", len(h.replies[4]))
	}
}

// TestCoreRestart: calls under way are refused, live sessions are registered with
// the new core before calls go to it, and clients are told to sync.
func TestCoreRestart(t *testing.T) {
	address := newAddress(t)
	entered := make(chan struct{})
	first := startCore(t, address, func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		close(entered)
		<-ctx.Done()
		return echo(ctx, call, body)
	})
	h := newHub()
	const sessions = 1200 // more than two pages
	for s := range session.ID(sessions) {
		h.sessions[s+1] = someone(int64(s) + 1)
	}
	l := startLinks(t, h, nil, address)
	l.Call(message(1, "under way"))
	<-entered
	if h.resyncs != 0 {
		t.Error("resync at the first link: nothing was lost")
	}
	first.Close()
	unavailable(t, h.reply(t, 1, 1))
	l.Call(message(1, "parked"))
	h.change(func() { delete(h.sessions, 2) })
	registry := presence.NewMemory()
	startCoreWith(t, address, registry, func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		for user := range im.UserID(sessions) {
			if got, want := online(registry, user+1), 1; got != want && user+1 != 2 {
				t.Errorf("user %d has %d routes at the first call, want %d", user+1, got, want)
			}
		}
		return echo(ctx, call, body)
	})
	if r := h.reply(t, 1, 2); string(r.Body) != "parked" {
		t.Errorf("got %+v", r)
	}
	h.await(t, "one resync, and that no core was there", func() bool { return h.resyncs == 1 && h.unlinked == 1 })
	routes, _ := registry.Routes(t.Context(), 1, 2)
	if len(routes[1]) != 0 {
		t.Errorf("session 2 ended while no core was there, and has the route %+v", routes[1])
	}
	want := presence.Route{SessionRef: presence.SessionRef{Edge: "edge-a", Epoch: 7, Session: 1}, User: 1, Device: "phone",
		DeviceType: idl.DeviceMobile, TokenID: 5, Codec: idl.CodecJSON, Since: time.UnixMilli(1000)}
	if routes[0][0] != want {
		t.Errorf("registered again as %+v, want %+v", routes[0][0], want)
	}
}

// TestDrain: what is under way is answered, new calls go elsewhere.
func TestDrain(t *testing.T) {
	release := make(chan struct{})
	slow := func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		<-release
		return dispatch.Reply{Action: call.Action, Body: []byte("from the first")}
	}
	first := startCore(t, newAddress(t), slow)
	h := newHub()
	second := newAddress(t)
	l := startLinks(t, h, nil, first.address, second)
	ready(t, l, true)
	const calls = 50
	for s := range session.ID(calls) {
		l.Call(message(s+1, ""))
	}
	startCore(t, second, func(_ context.Context, call *plugin.Call, _ []byte) dispatch.Reply {
		return dispatch.Reply{Action: call.Action, Body: []byte("from the second")}
	})
	poll(t, "a call answered by the second core", func() bool {
		l.Call(message(1000+session.ID(rand.N(1000)), ""))
		h.mu.Lock()
		defer h.mu.Unlock()
		for s, replies := range h.replies {
			if s >= 1000 && string(replies[0].Body) == "from the second" {
				return true
			}
		}
		return false
	})
	drained := make(chan error)
	go func() { drained <- first.Drain(t.Context()) }()
	for s := session.ID(5000); ; s++ { // until it is known that the first core takes none
		l.Call(message(s, ""))
		if s > 5100 && string(h.reply(t, s, 1).Body) == "from the second" {
			break
		}
	}
	close(release)
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	for s := range session.ID(calls) {
		if r := h.reply(t, s+1, 1); string(r.Body) != "from the first" {
			t.Errorf("session %d: got %q", s+1, r.Body)
		}
	}
	first.Close()
	l.Call(message(9999, ""))
	if r := h.reply(t, 9999, 1); string(r.Body) != "from the second" {
		t.Errorf("after the drain: got %q", r.Body)
	}
}

func TestSpreadOverCores(t *testing.T) {
	var counts [2]atomic.Int64
	var addresses []string
	for i := range counts {
		c := startCore(t, newAddress(t), func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
			counts[i].Add(1)
			return echo(ctx, call, body)
		})
		addresses = append(addresses, c.address)
	}
	h := newHub()
	l := startLinks(t, h, nil, addresses...)
	poll(t, "both links", func() bool {
		l.Call(message(session.ID(rand.N(1000)+1), ""))
		return counts[0].Load() > 0 && counts[1].Load() > 0
	})
	counts[0].Store(0)
	counts[1].Store(0)
	for s := session.ID(2000); s < 4000; s++ {
		l.Call(message(s, ""))
	}
	for s := session.ID(2000); s < 4000; s++ {
		h.reply(t, s, 1)
	}
	if a, b := counts[0].Load(), counts[1].Load(); a < 800 || b < 800 {
		t.Errorf("2,000 sessions in a row went %d to one core and %d to the other", a, b)
	}
}

func TestClose(t *testing.T) {
	entered := make(chan struct{})
	c := startCore(t, newAddress(t), func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		close(entered)
		<-ctx.Done()
		return echo(ctx, call, body)
	})
	h := newHub()
	l := startLinks(t, h, nil, c.address)
	l.Call(message(1, ""))
	<-entered
	l.Close()
	if len(h.replies[1]) != 1 {
		t.Fatalf("after Close: got %d replies to what was under way, want 1", len(h.replies[1]))
	}
	unavailable(t, h.replies[1][0])
	l.Call(message(2, ""))
	unavailable(t, h.reply(t, 2, 1))
	l.Gone(1, someone(1))
	if l.Ready() {
		t.Error("ready after Close")
	}
	alone := newHub()
	parked := startLinks(t, alone, nil, newAddress(t))
	parked.Call(message(3, ""))
	parked.Close()
	unavailable(t, alone.reply(t, 3, 1))
}

// TestExactlyOneReply: sessions call as fast as they are answered while the core
// is killed, drained and started again at random. Every call gets one reply, and
// one that is not a refusal is the answer to that very call.
func TestExactlyOneReply(t *testing.T) {
	const sessions = 200
	lives := 8
	if testing.Short() {
		lives = 3
	}
	address := newAddress(t)
	var sent [sessions + 1]atomic.Int64 // calls of each session so far
	var served, refusals atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Add(sessions)
	h := newHub()
	l := startLinks(t, h, nil, address)
	next := func(s session.ID) {
		c := message(s, "")
		c.Sequence = uint32(sent[s].Add(1))
		c.Body = fmt.Append(nil, s, "/", c.Sequence)
		l.Call(c)
	}
	h.onReply = func(r session.Reply) {
		if int64(r.Sequence) != sent[r.Session].Load() {
			t.Errorf("session %d: a reply to call %d while call %d is under way", r.Session, r.Sequence, sent[r.Session].Load())
		}
		if r.Action == idl.ActionError {
			refusals.Add(1)
		} else if served.Add(1); string(r.Body) != fmt.Sprint(r.Session, "/", r.Sequence) {
			t.Errorf("session %d, call %d: got the answer %q", r.Session, r.Sequence, r.Body)
		}
		if stop.Load() {
			all.Done()
		} else {
			next(r.Session)
		}
	}
	for s := range session.ID(sessions) {
		next(s + 1)
	}
	slowly := func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		if rand.N(50) == 0 {
			select {
			case <-time.After(rand.N(5 * time.Millisecond)):
			case <-ctx.Done():
			}
		}
		return echo(ctx, call, body)
	}
	for range lives {
		c := startCore(t, address, slowly)
		upTo := served.Load() + rand.N[int64](4000)
		poll(t, "calls served", func() bool { return served.Load() > upTo })
		if rand.N(3) == 0 {
			if err := c.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		}
		c.Close()
	}
	startCore(t, address, echo)
	stop.Store(true)
	all.Wait()
	l.Close()
	for s := range session.ID(sessions) {
		if got, want := int64(len(h.replies[s+1])), sent[s+1].Load(); got != want {
			t.Errorf("session %d: got %d replies to %d calls", s+1, got, want)
		}
	}
	t.Logf("%d served, %d refused over %d lives of the core", served.Load(), refusals.Load(), lives)
}

func TestOptions(t *testing.T) {
	good := rpc.Options{Cores: []string{"127.0.0.1:1"}, EdgeID: "e", Epoch: 1}
	for name, change := range map[string]func(*rpc.Options){
		"no core":         func(o *rpc.Options) { o.Cores = nil },
		"an empty core":   func(o *rpc.Options) { o.Cores = []string{""} },
		"a core no port":  func(o *rpc.Options) { o.Cores = []string{"localhost"} },
		"no edge ID":      func(o *rpc.Options) { o.EdgeID = "" },
		"no epoch":        func(o *rpc.Options) { o.Epoch = 0 },
		"negative bounds": func(o *rpc.Options) { o.Parked = -1 },
	} {
		o := good
		change(&o)
		if l, err := rpc.New(o); err == nil {
			l.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}
