package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/core/presence"
	corerpc "freeim/core/rpc"
	"freeim/edge/room"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// doing is a Dispatcher that does the same with every call.
type doing func(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply

func (do doing) Do(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
	return do(ctx, call, body)
}

func (doing) Actions() []plugin.Spec {
	return []plugin.Spec{{Action: idl.ActionMessage, Name: "chat.send", MaxBody: 4096, Joins: true}, {Action: idl.ActionAuth, Name: "account.auth", Open: true}}
}

func echo(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
	return dispatch.Reply{Action: call.Action, Body: body}
}

// hub is a Receiver that remembers. Its sessions are the live ones.
type hub struct {
	changed chan struct{} // has a token after each change

	mu       sync.Mutex // guards the fields below
	replies  map[session.ID][]session.Reply
	pushes   []session.Push
	kicks    []string
	resyncs  int
	unlinked int
	rooms    []string     // what came for rooms
	states   []room.State // of the rooms that there are
	sessions map[session.ID]session.Identity
	onReply  func(session.Reply) // called without mu
	hold     <-chan struct{}     // what a new core is told of rooms waits for it; nil: it does not
}

func newHub() *hub {
	return &hub{changed: make(chan struct{}, 1), replies: map[session.ID][]session.Reply{}, sessions: map[session.ID]session.Identity{}}
}

func (h *hub) change(fn func()) {
	h.mu.Lock()
	fn()
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *hub) Reply(r session.Reply) {
	h.mu.Lock()
	then := h.onReply
	h.mu.Unlock()
	h.change(func() { h.replies[r.Session] = append(h.replies[r.Session], r) })
	if then != nil {
		then(r)
	}
}

func (h *hub) Resync()   { h.change(func() { h.resyncs++ }) }
func (h *hub) Unlinked() { h.change(func() { h.unlinked++ }) }

func (h *hub) Deliver(d session.Delivery) {
	for _, r := range d.Replies {
		h.Reply(r)
	}
	h.change(func() {
		h.pushes = append(h.pushes, d.Pushes...)
		h.rooms = append(h.rooms, fmt.Sprintf("%+v %+v %+v %+v", d.Broadcasts, d.Answers, d.Expels, d.Policies))
		for _, k := range d.Kicks {
			h.kicks = append(h.kicks, fmt.Sprintf("%v %d %s %s", k.Sessions, k.Reason, k.Message, k.RetryAfter))
		}
	})
}

func (h *hub) Live(yield func(session.ID, session.Identity, idl.Codec) bool) {
	h.mu.Lock()
	all := maps.Clone(h.sessions)
	h.mu.Unlock()
	for s, who := range all {
		if !yield(s, who, idl.CodecJSON) {
			return
		}
	}
}

func (h *hub) RoomStates(want bool, yield func(room.State) bool) {
	h.mu.Lock()
	all, hold := slices.Clone(h.states), h.hold
	h.mu.Unlock()
	if want && hold != nil {
		<-hold
	}
	for _, s := range all {
		s.Want = want
		if !yield(s) {
			return
		}
	}
}

// await waits until ok holds; it is asked with mu held.
func (h *hub) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		h.mu.Lock()
		done := ok()
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-h.changed:
		case <-late:
			t.Fatalf("%s: did not happen", what)
		}
	}
}

// reply waits for the session's n-th reply, from 1.
func (h *hub) reply(t *testing.T, s session.ID, n int) (r session.Reply) {
	t.Helper()
	h.await(t, fmt.Sprintf("reply %d of session %d", n, s), func() bool {
		if len(h.replies[s]) >= n {
			r = h.replies[s][n-1]
		}
		return len(h.replies[s]) >= n
	})
	return r
}

// refused gives the code of a refusal, and fails for any other reply.
func refused(t *testing.T, r session.Reply) *wirepb.Error {
	t.Helper()
	e := new(wirepb.Error)
	if r.Action != idl.ActionError {
		t.Fatalf("reply has action %d, want a refusal", r.Action)
	}
	if err := idl.Decode(r.Body, idl.CodecJSON, e); err != nil {
		t.Fatal(err)
	}
	return e
}

func unavailable(t *testing.T, r session.Reply) {
	t.Helper()
	if e := refused(t, r); e.Code != idl.CodeUnavailable || e.RetryAfterMs < 500 || e.RetryAfterMs >= 1500 {
		t.Errorf("got %+v, want UNAVAILABLE with advice to come back", e)
	}
}

// core is a place where cores live, one after the other.
type core struct {
	*corerpc.Server
	address  string
	registry presence.Registry
}

func newAddress(t *testing.T) string { return "unix:" + filepath.Join(t.TempDir(), "core.sock") }

func startCore(t testing.TB, address string, do doing) *core {
	t.Helper()
	return startCoreWith(t, address, presence.NewMemory(), do)
}

func startCoreWith(t testing.TB, address string, registry presence.Registry, do doing) *core {
	t.Helper()
	c := &core{address: address, registry: registry}
	s, err := corerpc.New(corerpc.Options{Listen: address, CoreID: "core-1", Registry: c.registry, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Start(do); err != nil {
		t.Fatal(err)
	}
	c.Server = s
	if !strings.HasPrefix(address, "unix:") {
		c.address = s.Addr().String()
	}
	return c
}

func startLinks(t *testing.T, h *hub, change func(*rpc.Options), cores ...string) *rpc.Links {
	t.Helper()
	o := rpc.Options{Cores: cores, EdgeID: "edge-a", Epoch: 7, Log: quietLog(), Backoff: func(int) time.Duration { return 5 * time.Millisecond }}
	if change != nil {
		change(&o)
	}
	links, err := rpc.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(links.Close)
	links.Start(h)
	return links
}

// ready waits until calls can go up.
func ready(t testing.TB, l *rpc.Links, want bool) {
	t.Helper()
	poll(t, fmt.Sprintf("Ready() == %v", want), func() bool { return l.Ready() == want })
}

func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(late) {
			t.Fatalf("%s: did not happen", what)
		}
	}
}

func someone(user int64) session.Identity {
	return session.Identity{User: user, Device: "phone", DeviceType: idl.DeviceMobile, TokenID: 5, Since: 1000}
}

func message(s session.ID, body string) session.Call {
	who := someone(int64(s))
	return session.Call{Session: s, Action: idl.ActionMessage, Sequence: 77, Codec: idl.CodecJSON, Body: []byte(body), Identity: &who, Address: "192.0.2.1:9"}
}
