package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
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
	"freeim/core/rpc"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/corepb/core"
	"freeim/idl/kitex_gen/wirepb"

	"github.com/cloudwego/kitex/client"
	"github.com/prometheus/client_golang/prometheus"
)

var _ fanout.Pusher = (*rpc.Server)(nil)

// dispatcher is made of functions; do decides what a call does.
type dispatcher struct {
	do func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply
}

func (d dispatcher) Do(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
	return d.do(ctx, call, body)
}

func (dispatcher) Actions() []plugin.Spec {
	return []plugin.Spec{{Action: idl.ActionMessage, Name: "chat.send", MaxBody: 100}, {Action: idl.ActionAuth, Name: "account.auth", Open: true},
		{Action: idl.ActionSync, Name: "chat.sync", Bulky: true}}
}

func echo(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
	return dispatch.Reply{Action: call.Action, Body: body}
}

// house is a core with its registry, and the address it listens on.
type house struct {
	*rpc.Server
	t        *testing.T
	registry presence.Registry
	path     string
}

func open(t *testing.T, do func(context.Context, *plugin.Call, []byte) dispatch.Reply, change func(*rpc.Options)) *house {
	t.Helper()
	h := &house{t: t, registry: presence.NewMemory(), path: filepath.Join(t.TempDir(), "core.sock")}
	o := rpc.Options{Listen: "unix:" + h.path, CoreID: "core-1", Registry: h.registry, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
		h.registry = o.Registry
	}
	var err error
	if h.Server, err = rpc.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if err := h.Start(dispatcher{do}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) client() core.Client {
	h.t.Helper()
	stub, err := core.NewClient("freeim.core", client.WithHostPorts(h.path), client.WithShortConnection())
	if err != nil {
		h.t.Fatal(err)
	}
	return stub
}

// edge is one link as an edge has it.
type edge struct {
	core.Core_LinkClient
	t   *testing.T
	cut context.CancelFunc
}

// dial opens a stream and says Hello, no more.
func (h *house) dial(id string, epoch int64) *edge {
	h.t.Helper()
	ctx, cut := context.WithCancel(context.Background())
	h.t.Cleanup(cut)
	stream, err := h.client().Link(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	e := &edge{stream, h.t, cut}
	e.send(&corepb.Uplink{Hello: &corepb.Hello{EdgeId: id, Epoch: epoch}})
	if d := e.recv(); d.Welcome != nil {
		h.t.Fatalf("Hello is answered with %+v, want nothing but a Downlink", d)
	}
	return e
}

// link opens a stream as far as Welcome, with these sessions live.
func (h *house) link(id string, epoch int64, live ...*corepb.Register) *edge {
	h.t.Helper()
	e := h.dial(id, epoch)
	for _, r := range live {
		e.send(&corepb.Uplink{Registers: []*corepb.Register{r}})
	}
	e.send(&corepb.Uplink{})
	first := e.recv()
	if first.Welcome == nil || first.Welcome.CoreId != "core-1" {
		h.t.Fatalf("first Downlink: got %+v, want Welcome", first)
	}
	return e
}

func (e *edge) send(up *corepb.Uplink) {
	e.t.Helper()
	if err := e.Send(up); err != nil {
		e.t.Fatalf("send: %v", err)
	}
}

func (e *edge) recv() *corepb.Downlink {
	e.t.Helper()
	d, err := e.Recv()
	if err != nil {
		e.t.Fatalf("receive: %v", err)
	}
	return d
}

// ended waits for the end of the stream, whatever comes before.
func (e *edge) ended() {
	for {
		if _, err := e.Recv(); err != nil {
			return
		}
	}
}

// replies collects n replies.
func (e *edge) replies(n int) (all []*corepb.Reply) {
	e.t.Helper()
	for len(all) < n {
		all = append(all, e.recv().Replies...)
	}
	return all
}

func call(session uint64, body string) *corepb.Call {
	return &corepb.Call{Session: session, Action: uint32(idl.ActionMessage), Sequence: uint32(session) + 100, Codec: 1, Body: []byte(body), Identity: who(session), Address: "192.0.2.1:9"}
}

// who is the identity of a session: user and device follow from its number.
func who(session uint64) *corepb.Identity {
	return &corepb.Identity{UserId: int64(session), DeviceId: "phone", DeviceType: idl.DeviceMobile, TokenId: 5, SinceMs: 1000}
}

func live(session uint64) *corepb.Register {
	return &corepb.Register{Session: session, Identity: who(session), Codec: 1}
}

// online waits until exactly these users are online.
func (h *house) online(want ...im.UserID) {
	h.t.Helper()
	var got []im.UserID
	for late := time.Now().Add(5 * time.Second); ; {
		got = nil
		for user := im.UserID(1); user < 10; user++ {
			if routes, _ := h.registry.Routes(context.Background(), user); len(routes[0]) > 0 {
				got = append(got, user)
			}
		}
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(late) {
			h.t.Fatalf("online: got users %v, want %v", got, want)
		}
	}
}

func code(t *testing.T, r *corepb.Reply) wirepb.Error {
	t.Helper()
	var e wirepb.Error
	if r.Action != uint32(idl.ActionError) {
		t.Fatalf("reply has action %d, want a refusal", r.Action)
	}
	if err := e.Unmarshal(r.Body); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestCallsAndReplies(t *testing.T) {
	seen := make(chan plugin.Call, 1)
	h := open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		if c.Session.Session == 1 {
			seen <- *c
		}
		return echo(ctx, c, body)
	}, nil)
	e := h.link("edge-a", 7)
	const calls = 500
	for first := uint64(1); first < calls; first += 100 {
		up := new(corepb.Uplink)
		for s := first; s < first+100; s++ {
			up.Calls = append(up.Calls, call(s, strings.Repeat("x", int(s))))
		}
		e.send(up)
	}
	for _, r := range e.replies(calls) {
		if r.Sequence != uint32(r.Session)+100 || len(r.Body) != int(r.Session) || r.Action != uint32(idl.ActionMessage) || r.Bind != nil {
			t.Errorf("reply of session %d: got %+v", r.Session, r)
		}
	}
	want := plugin.Call{Action: idl.ActionMessage, Sequence: 101, Codec: idl.CodecProtobuf, Address: "192.0.2.1:9",
		Session: presence.SessionRef{Edge: "edge-a", Epoch: 7, Session: 1}, User: 1, Device: "phone", DeviceType: idl.DeviceMobile, TokenID: 5}
	if got := <-seen; !reflect.DeepEqual(got, want) {
		t.Errorf("dispatched: got %+v, want %+v", got, want)
	}
}

func TestWelcomeListsActions(t *testing.T) {
	h := open(t, echo, nil)
	e := h.dial("edge-a", 1)
	e.send(&corepb.Uplink{})
	w := e.recv().Welcome
	if len(w.Actions) != 3 || *w.Actions[0] != (corepb.ActionInfo{Action: 3, Name: "chat.send", MaxBody: 100}) ||
		*w.Actions[1] != (corepb.ActionInfo{Action: 10, Name: "account.auth", Open: true}) {
		t.Errorf("got actions %+v", w.Actions)
	}
}

func TestHelloRequired(t *testing.T) {
	h := open(t, echo, nil)
	for name, hello := range map[string]*corepb.Hello{"none": nil, "without an ID": {Epoch: 1}} {
		stream, err := h.client().Link(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e := &edge{stream, t, nil}
		e.send(&corepb.Uplink{Hello: hello, Calls: []*corepb.Call{call(1, "x")}})
		if d, err := e.Recv(); err == nil {
			t.Errorf("%s: got %+v, want the end of the stream", name, d)
		}
	}
}

// TestSlowHandlerHoldsNobodyUp: a handler that hangs delays no other call of the
// same link and no push.
func TestSlowHandlerHoldsNobodyUp(t *testing.T) {
	release := make(chan struct{})
	h := open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		if c.Session.Session == 1 {
			<-release
		}
		return echo(ctx, c, body)
	}, nil)
	e := h.link("edge-a", 1)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "slow"), call(2, "quick")}})
	if r := e.replies(1)[0]; r.Session != 2 {
		t.Errorf("first reply is for session %d, want 2", r.Session)
	}
	h.Push("edge-a", 1, fanout.Delivery{Action: idl.ActionMessage, Sessions: []uint64{1}, Protobuf: []byte("p")})
	if d := e.recv(); len(d.Pushes) != 1 {
		t.Errorf("got %+v, want the push", d)
	}
	close(release)
	if r := e.replies(1)[0]; r.Session != 1 {
		t.Errorf("last reply is for session %d, want 1", r.Session)
	}
}

func TestBusy(t *testing.T) {
	release := make(chan struct{})
	h := open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		<-release
		return echo(ctx, c, body)
	}, func(o *rpc.Options) { o.InFlight = 2 })
	e := h.link("edge-a", 1)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, ""), call(2, ""), call(3, "")}})
	r := e.replies(1)[0]
	refused := code(t, r)
	if r.Session != 3 || refused.Code != idl.CodeUnavailable || refused.RetryAfterMs < 500 || refused.RetryAfterMs >= 1500 {
		t.Errorf("the call past the bound: got session %d, %+v", r.Session, refused)
	}
	close(release)
	e.replies(2)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(4, "after")}})
	if r := e.replies(1)[0]; string(r.Body) != "after" {
		t.Errorf("after the rush: got %+v", r)
	}
}

func TestPanicIsOneCallsInternal(t *testing.T) {
	var log bytes.Buffer
	h := open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		if string(body) == "boom" {
			panic("dispatch is broken")
		}
		return echo(ctx, c, body)
	}, func(o *rpc.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	e := h.link("edge-a", 1)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "boom")}})
	if got := code(t, e.replies(1)[0]); got.Code != idl.CodeInternal || strings.Contains(got.Message, "broken") {
		t.Errorf("got %+v, want INTERNAL without the cause", got)
	}
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "fine")}})
	if r := e.replies(1)[0]; string(r.Body) != "fine" {
		t.Errorf("the next call: got %+v", r)
	}
	h.Close()
	if !strings.Contains(log.String(), "dispatch is broken") {
		t.Errorf("the log does not say why: %s", log.String())
	}
}

// TestAfterReply: what a handler does after its reply comes to the session behind
// the reply, and is done as well when the link has ended.
func TestAfterReply(t *testing.T) {
	var h *house
	entered, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	h = open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		c.After(func() { h.Push("edge-a", 1, fanout.Delivery{Sessions: []uint64{1}}) })
		switch string(body) {
		case "held":
			c.After(func() { close(done) })
			close(entered)
			<-release
		case "boom":
			c.After(func() { panic("after the reply") })
		}
		return echo(ctx, c, body)
	}, nil)
	e := h.link("edge-a", 1)
	for _, body := range []string{"boom", "fine"} {
		e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, body)}})
		d := e.recv()
		if len(d.Replies) != 1 {
			t.Fatalf("first came %+v, want the reply", d)
		}
		for len(d.Pushes) == 0 {
			d = e.recv()
		}
	}
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "held")}})
	<-entered
	h.link("edge-a", 1)
	e.ended()
	close(release)
	<-done
}

func TestPushAndKick(t *testing.T) {
	h := open(t, echo, nil)
	e := h.link("edge-a", 3)
	h.Push("edge-b", 3, fanout.Delivery{Action: 1})
	h.Push("edge-a", 2, fanout.Delivery{Action: 1})
	h.Kick("edge-a", 4, []uint64{1}, idl.CloseKicked, "", 0)
	h.Push("edge-a", 3, fanout.Delivery{Action: idl.ActionMessage, Sessions: []uint64{1, 2}, InboxSeqs: []int64{5, 6}, Protobuf: []byte("p"), JSON: []byte("j")})
	h.Kick("edge-a", 3, []uint64{2}, idl.CloseKicked, "newer", 2*time.Second)
	var pushes []*corepb.Push
	var kicks []*corepb.Kick
	for len(kicks) == 0 {
		d := e.recv()
		pushes, kicks = append(pushes, d.Pushes...), append(kicks, d.Kicks...)
	}
	if len(pushes) != 1 || pushes[0].Action != 3 || !slices.Equal(pushes[0].Sessions, []uint64{1, 2}) ||
		!slices.Equal(pushes[0].InboxSeqs, []int64{5, 6}) || string(pushes[0].Protobuf) != "p" || string(pushes[0].Json) != "j" {
		t.Errorf("got pushes %+v", pushes)
	}
	if len(kicks) != 1 || kicks[0].Reason != idl.CloseKicked || kicks[0].Message != "newer" || kicks[0].RetryAfterMs != 2000 || !slices.Equal(kicks[0].Sessions, []uint64{2}) {
		t.Errorf("got kicks %+v", kicks)
	}
}

// TestOverflowDropsTheLink: an edge that does not read loses its link; whoever
// pushes never waits, and other edges notice nothing.
func TestOverflowDropsTheLink(t *testing.T) {
	h := open(t, echo, func(o *rpc.Options) { o.Outbox = 1 << 20 })
	stuck, fine := h.link("stuck", 1), h.link("fine", 1)
	body := make([]byte, 32<<10)
	for range 1000 { // 32 MiB: far more than windows and outbox hold
		h.Push("stuck", 1, fanout.Delivery{Sessions: []uint64{1}, Protobuf: body})
	}
	h.Push("fine", 1, fanout.Delivery{Sessions: []uint64{1}, Protobuf: body})
	if d := fine.recv(); len(d.Pushes) != 1 {
		t.Errorf("the other edge: got %+v", d)
	}
	stuck.ended()
	h.link("stuck", 1)
}

func TestPresenceFollowsTheEdge(t *testing.T) {
	h := open(t, echo, nil)
	e := h.link("edge-a", 1, live(1), live(2), live(3))
	h.online(1, 2, 3)
	e.send(&corepb.Uplink{Gone: []*corepb.Gone{{Session: 2, Identity: who(2)}, {Session: 9, Identity: who(1)}}})
	h.online(1, 3) // session 9 was not user 1's
	routes, _ := h.registry.Routes(t.Context(), 1)
	want := presence.Route{SessionRef: presence.SessionRef{Edge: "edge-a", Epoch: 1, Session: 1}, User: 1, Device: "phone",
		DeviceType: idl.DeviceMobile, TokenID: 5, Codec: idl.CodecProtobuf, Since: time.UnixMilli(1000)}
	if routes[0][0] != want {
		t.Errorf("registered: got %+v, want %+v", routes[0][0], want)
	}
}

// TestRelinkStartsFromNone: a route that the edge does not list again is a ghost.
func TestRelinkStartsFromNone(t *testing.T) {
	h := open(t, echo, nil)
	first := h.link("edge-a", 1, live(1), live(2))
	second := h.link("edge-a", 1, live(2), live(3)) // displaces the first
	h.online(2, 3)
	first.ended()
	second.send(&corepb.Uplink{Calls: []*corepb.Call{call(2, "x")}})
	second.replies(1)
}

func TestEpochIsAFence(t *testing.T) {
	h := open(t, echo, nil)
	h.link("edge-a", 2, live(1))
	late := h.dial("edge-a", 1)
	if d, err := late.Recv(); err == nil {
		t.Errorf("an earlier life of the edge got %+v", d)
	}
	h.online(1)
	h.link("edge-a", 3, live(2))
	h.online(2)
	h.link("edge-b", 1, live(1))
	h.online(1, 2)
}

// lapsing is a registry with a short lease, and a core that keeps to it.
func lapsing(o *rpc.Options) {
	o.Lease = 300 * time.Millisecond
	o.Registry = presence.NewMemoryFor(presence.Leases{Life: o.Lease})
}

// TestRoutesOutliveTheLinkByTheLease: a core that has lost its link to an edge
// stops keeping it, no more; the routes of the edge that it does reach stay.
func TestRoutesOutliveTheLinkByTheLease(t *testing.T) {
	h := open(t, echo, lapsing)
	e := h.link("edge-a", 1, live(1))
	h.link("edge-b", 1, live(2))
	e.cut()
	e.ended()
	h.online(2) // the lease ran out

	e = h.link("edge-a", 1, live(1))
	h.online(1, 2)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "x")}})
	e.replies(1)
}

// TestLaterLifeEndsTheLink: that an edge has started again is known to the
// registry, from another core; what its earlier life still has is not kept.
func TestLaterLifeEndsTheLink(t *testing.T) {
	h := open(t, echo, lapsing)
	e := h.link("edge-a", 1, live(1))
	if err := h.registry.Attach(t.Context(), presence.Life{Edge: "edge-a", Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	e.ended()
	h.online()
	if d, err := h.dial("edge-a", 1).Recv(); err == nil {
		t.Errorf("the earlier life links again: got %+v", d)
	}
	h.link("edge-a", 2, live(2))
	h.online(2)
}

// TestNewerSessionStays: a session that was replaced while its edge was away is
// told so when it comes back, and so is one that it replaces itself.
func TestNewerSessionStays(t *testing.T) {
	h := open(t, echo, nil)
	newer := live(1)
	newer.Session, newer.Identity.SinceMs = 11, 2000
	b := h.link("edge-b", 1, newer)
	a := h.link("edge-a", 1, live(1), live(2))
	if d := a.recv(); len(d.Kicks) != 1 || d.Kicks[0].Reason != idl.CloseReplaced || !slices.Equal(d.Kicks[0].Sessions, []uint64{1}) {
		t.Errorf("the older session's edge: got %+v, want a kick", d)
	}
	newest := live(1)
	newest.Session, newest.Identity.SinceMs = 12, 3000
	h.link("edge-c", 1, newest)
	if d := b.recv(); len(d.Kicks) != 1 || !slices.Equal(d.Kicks[0].Sessions, []uint64{11}) {
		t.Errorf("the displaced session's edge: got %+v, want a kick", d)
	}
}

// A session that may not come back is signed out. Whether it may is asked when its
// route is there, or a sign-out in between would miss it.
func TestAdmit(t *testing.T) {
	h := open(t, echo, func(o *rpc.Options) {
		registry := o.Registry
		o.Admit = func(ctx context.Context, routes []presence.Route) (in []bool) {
			for _, r := range routes {
				if there, err := registry.Routes(ctx, r.User); err != nil || len(there[0]) != 1 {
					t.Errorf("asked about %+v, registered is %+v, %v", r, there, err)
				}
				in = append(in, r.User != 2)
			}
			return in
		}
	})
	e := h.link("edge-a", 1, live(1), live(2))
	h.online(1)
	if d := e.recv(); len(d.Kicks) != 1 || d.Kicks[0].Reason != idl.CloseSignedOut || !slices.Equal(d.Kicks[0].Sessions, []uint64{2}) {
		t.Errorf("got %+v, want session 2 signed out", d)
	}
	h.online(1)
}

// Whoever has a route was reached by every kick: nothing is asked about it again.
func TestAdmitIsAskedOnlyWhatHadNoRoute(t *testing.T) {
	var asked atomic.Int64
	h := open(t, echo, func(o *rpc.Options) {
		o.Admit = func(_ context.Context, routes []presence.Route) []bool {
			asked.Add(int64(len(routes)))
			return slices.Repeat([]bool{true}, len(routes))
		}
	})
	first := h.link("edge-a", 1, live(1), live(2))
	if got := asked.Load(); got != 2 {
		t.Errorf("at the start of the link: asked about %d sessions, want 2", got)
	}
	first.send(&corepb.Uplink{Registers: []*corepb.Register{live(1), live(2), live(3)}, Census: &corepb.Census{Sessions: 3}})
	h.online(1, 2, 3)
	first.send(&corepb.Uplink{Gone: []*corepb.Gone{{Session: 3, Identity: who(3)}}})
	h.online(1, 2)
	if got := asked.Load(); got != 3 {
		t.Errorf("after a census with one that had no route: asked about %d sessions, want 3", got)
	}
}

// figure is the value of a metric without labels.
func figure(t *testing.T, figures prometheus.Gatherer, name string) float64 {
	t.Helper()
	all, err := figures.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if m := family.Metric; family.GetName() == name && len(m) == 1 {
			return m[0].GetCounter().GetValue() + m[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// hanging is a registry that answers nothing about sessions until it is released.
type hanging struct {
	presence.Registry
	release chan struct{}
}

func (r *hanging) wait(ctx context.Context) error {
	select {
	case <-r.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *hanging) Restore(ctx context.Context, routes []presence.Route) ([]presence.Restored, error) {
	if err := r.wait(ctx); err != nil {
		return nil, err
	}
	return r.Registry.Restore(ctx, routes)
}

func (r *hanging) Unregister(ctx context.Context, routes ...presence.Route) ([]presence.Route, error) {
	if err := r.wait(ctx); err != nil {
		return nil, err
	}
	return r.Registry.Unregister(ctx, routes...)
}

// TestRegistryHangs: calls that come by the same link are served, however much is
// said of sessions meanwhile; what is dropped is counted, and clients whose pushes
// were lost hear of it although the end of their census was dropped too.
func TestRegistryHangs(t *testing.T) {
	registry := &hanging{presence.NewMemory(), make(chan struct{})}
	figures := prometheus.NewRegistry()
	h := open(t, echo, func(o *rpc.Options) { o.Registry, o.Figures = registry, figures })
	e := h.link("edge-a", 1)
	for s := range uint64(1000) {
		e.send(&corepb.Uplink{Registers: []*corepb.Register{live(1)}, Gone: []*corepb.Gone{{Session: s + 10, Identity: who(9)}}})
	}
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "served")}})
	if r := e.replies(1)[0]; string(r.Body) != "served" {
		t.Errorf("got %+v", r)
	}
	if n := figure(t, figures, "freeim_link_unlisted_total"); n < 1000 || n > 2000 {
		t.Errorf("of 2,000 registers and gones %v were counted as dropped, want all but those of 256 Uplinks", n)
	}
	e.send(&corepb.Uplink{Census: &corepb.Census{Sessions: 1, Asked: true}})
	if d := e.recv(); !d.Missed {
		t.Errorf("got %+v, want to be told that pushes were missed", d)
	}
	close(registry.release)
	h.online(1)
}

// TestCoreIsAskedWhetherItIsThere: an empty Uplink is answered with something.
func TestCoreIsAskedWhetherItIsThere(t *testing.T) {
	h := open(t, echo, nil)
	e := h.link("edge-a", 1)
	for range 3 {
		e.send(&corepb.Uplink{})
		e.recv()
	}
}

// auth binds the session as the account plugin does: registered first, then told.
func (h *house) auth(c *plugin.Call) dispatch.Reply {
	id := plugin.Identity{User: 1, Device: "phone", DeviceType: idl.DeviceMobile, TokenID: 5, Since: time.UnixMilli(1000)}
	if _, _, err := h.registry.Register(context.Background(), c.Route(id)); err != nil {
		h.t.Error(err)
	}
	return dispatch.Reply{Action: c.Action, Bound: &id}
}

func TestBind(t *testing.T) {
	var h *house
	h = open(t, func(_ context.Context, c *plugin.Call, _ []byte) dispatch.Reply { return h.auth(c) }, nil)
	e := h.link("edge-a", 1)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{{Session: 4, Action: uint32(idl.ActionAuth), Codec: 1}}})
	r := e.replies(1)[0]
	if r.Bind == nil || *r.Bind != *who(1) {
		t.Errorf("got %+v, want the identity", r.Bind)
	}
	h.online(1)
}

// TestAlone: a call of no session says whose its token was, and binds nothing.
func TestAlone(t *testing.T) {
	var h *house
	h = open(t, func(_ context.Context, c *plugin.Call, _ []byte) dispatch.Reply {
		if !c.Alone || c.Bearer != "token" {
			t.Errorf("got %+v", c)
		}
		answer := h.auth(c)
		c.User, c.Device, c.TokenID = 7, "script", 3
		return answer
	}, nil)
	e := h.link("edge-a", 1)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{{Session: 4, Action: uint32(idl.ActionAuth), Codec: 1, Alone: true, Bearer: "token"}}})
	r := e.replies(1)[0]
	if want := (corepb.Identity{UserId: 7, DeviceId: "script", TokenId: 3}); r.Bind != nil || r.Caller == nil || *r.Caller != want || r.Session != 4 {
		t.Errorf("got %+v", r)
	}
	h.online()
}

// TestBoundWithoutALink: the link ends while Auth is under way, so the edge never
// hears of the binding; no ghost is left.
func TestBoundWithoutALink(t *testing.T) {
	var h *house
	entered, release := make(chan struct{}), make(chan struct{})
	h = open(t, func(_ context.Context, c *plugin.Call, _ []byte) dispatch.Reply {
		close(entered)
		<-release
		return h.auth(c)
	}, nil)
	e := h.link("edge-a", 1)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{{Session: 4, Action: uint32(idl.ActionAuth), Codec: 1}}})
	<-entered
	h.link("edge-a", 1, live(2)) // the edge has linked again, without session 4
	e.ended()
	close(release)
	if err := h.Drain(contextDone(t)); err == nil {
		t.Error("Drain with a link open: got no error")
	}
	h.online(2)
}

// contextDone is a context that is over soon.
func contextDone(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestExchange(t *testing.T) {
	var h *house
	h = open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		if c.Action == idl.ActionAuth {
			return h.auth(c)
		}
		return echo(ctx, c, body)
	}, nil)
	stub := h.client()
	batch := &corepb.CallBatch{Calls: []*corepb.Call{{Action: uint32(idl.ActionAuth), Codec: 1}}}
	for s := uint64(1); s < 50; s++ {
		batch.Calls = append(batch.Calls, call(s, "x"))
	}
	got, err := stub.Exchange(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got.Replies {
		if r.Session != uint64(i) || r.Bind != nil {
			t.Errorf("reply %d: got %+v", i, r)
		}
	}
	if len(got.Replies) != 50 {
		t.Errorf("got %d replies, want 50", len(got.Replies))
	}
	h.online() // no connection, nothing bound
}

func TestDrain(t *testing.T) {
	release := make(chan struct{})
	h := open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		select {
		case <-release:
		case <-ctx.Done():
			t.Error("the context ended while the call was under way")
		}
		return echo(ctx, c, body)
	}, nil)
	e := h.link("edge-a", 1, live(1))
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "last")}})
	drained := make(chan error)
	go func() { drained <- h.Drain(t.Context()) }()
	if d := e.recv(); !d.Drain {
		t.Fatalf("got %+v, want drain", d)
	}
	if _, err := h.dial("edge-b", 1).Recv(); err == nil {
		t.Error("an edge could link to a core that drains")
	}
	close(release)
	if r := e.replies(1)[0]; string(r.Body) != "last" {
		t.Errorf("got %+v", r)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained before the edge closed its link: %v", err)
	default:
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	// What fan-out still has of what was answered goes down before the end.
	h.Push("edge-a", 1, fanout.Delivery{Action: 3, Sessions: []uint64{1}})
	h.Server.Close()
	for pushes := 0; ; {
		d, err := e.Recv()
		if err != nil {
			if pushes != 1 || !errors.Is(err, io.EOF) {
				t.Errorf("the stream ended after %d pushes with %v, want one push and the end", pushes, err)
			}
			break
		}
		pushes += len(d.Pushes)
	}
}

// TestClose: without Drain the handlers' context ends, and the links.
func TestClose(t *testing.T) {
	entered := make(chan struct{})
	h := open(t, func(ctx context.Context, c *plugin.Call, body []byte) dispatch.Reply {
		close(entered)
		<-ctx.Done()
		return echo(ctx, c, body)
	}, nil)
	e := h.link("edge-a", 1, live(1))
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "x")}})
	<-entered
	var all sync.WaitGroup
	all.Go(h.Close)
	all.Go(e.ended)
	all.Wait()
	h.Close()
	h.online(1) // the core's end says nothing about the edge
	h.Push("edge-a", 1, fanout.Delivery{Sessions: []uint64{1}})
	if _, err := os.Stat(h.path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "core.sock")
	options := func(listen string) rpc.Options {
		return rpc.Options{Listen: listen, CoreID: "x", Registry: presence.NewMemory(), Log: slog.New(slog.DiscardHandler)}
	}
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rpc.New(options("unix:" + path)); err == nil {
		t.Error("a socket that is served was taken over")
	}
	old.SetUnlinkOnClose(false)
	_ = old.Close()
	s, err := rpc.New(options("unix:" + path))
	if err != nil {
		t.Fatalf("a stale socket was not replaced: %v", err)
	}
	s.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{"unix:" + path, "unix:" + dir, "nonsense", ""} {
		if s, err := rpc.New(options(listen)); err == nil {
			s.Close()
			t.Errorf("Listen %q: got no error", listen)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a file that is no socket was removed: %v", err)
	}
	tcp, err := rpc.New(options("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if tcp.Addr().Network() != "tcp" {
		t.Errorf("got %v", tcp.Addr())
	}
}

func TestOptions(t *testing.T) {
	good := rpc.Options{Listen: "127.0.0.1:0", CoreID: "x", Registry: presence.NewMemory()}
	for name, change := range map[string]func(*rpc.Options){
		"no registry":       func(o *rpc.Options) { o.Registry = nil },
		"no core ID":        func(o *rpc.Options) { o.CoreID = "" },
		"negative inflight": func(o *rpc.Options) { o.InFlight = -1 },
		"negative outbox":   func(o *rpc.Options) { o.Outbox = -1 },
		"negative lease":    func(o *rpc.Options) { o.Lease = -1 },
	} {
		o := good
		change(&o)
		if s, err := rpc.New(o); err == nil {
			s.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}
