package fanout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pusher notes what it is given, a line for each, and can be made to wait.
type pusher struct {
	gate chan struct{} // nil: open; else each call takes one token

	mu    sync.Mutex // guards the fields below
	lines []string
	sent  []fanout.Delivery
}

func (p *pusher) note(d fanout.Delivery, format string, args ...any) {
	if p.gate != nil {
		<-p.gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
	p.sent = append(p.sent, d)
}

func (p *pusher) Push(edge presence.EdgeID, epoch int64, d fanout.Delivery) {
	p.note(d, "push %s/%d %v %v", edge, epoch, d.Sessions, d.InboxSeqs)
}

func (p *pusher) Kick(edge presence.EdgeID, epoch int64, sessions []uint64, reason idl.CloseReason, message string, _ time.Duration) {
	p.note(fanout.Delivery{}, "kick %s/%d %v %d %s", edge, epoch, sessions, reason, message)
}

func (p *pusher) Wake(log im.ConversationID, seq int64) {
	p.note(fanout.Delivery{}, "wake %s %d", log, seq)
}

func (p *pusher) Resync() { p.note(fanout.Delivery{}, "resync") }

func route(user im.UserID, edge presence.EdgeID, session uint64, codec idl.Codec) presence.Route {
	return presence.Route{SessionRef: presence.SessionRef{Edge: edge, Epoch: 5, Session: session},
		User: user, Device: im.DeviceID(fmt.Sprint("device-", session)), Codec: codec, Since: time.UnixMilli(1)}
}

func registry(t *testing.T, routes ...presence.Route) presence.Registry {
	r := presence.NewMemory()
	for _, route := range routes {
		if _, ok, err := r.Register(t.Context(), route); !ok || err != nil {
			t.Fatalf("Register: %v, %v", ok, err)
		}
	}
	return r
}

func start(t *testing.T, o fanout.Options) *fanout.Fanout {
	t.Helper()
	f, err := fanout.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

var (
	phone  = route(1, "a", 11, idl.CodecProtobuf)
	laptop = route(1, "b", 12, idl.CodecJSON)
	peer   = route(2, "a", 21, idl.CodecJSON)
	third  = route(3, "b", 31, idl.CodecJSON)
)

func TestPush(t *testing.T) {
	body := &chatpb.InboxEntry{Message: &chatpb.Message{Text: "hi"}}
	for _, test := range []struct {
		name string
		push plugin.Push
		want []string
	}{
		{"grouped by edge", plugin.Push{Users: []im.UserID{1, 2, 3}},
			[]string{"push a/5 [11 21] []", "push b/5 [12 31] []"}},
		{"inbox seqs of each user", plugin.Push{Users: []im.UserID{3, 1}, InboxSeqs: []int64{30, 10}},
			[]string{"push b/5 [31 12] [30 10]", "push a/5 [11] [10]"}},
		{"sender's own session left out", plugin.Push{Users: []im.UserID{1, 2}, Except: phone.SessionRef},
			[]string{"push b/5 [12] []", "push a/5 [21] []"}},
		{"number of the session on another edge", plugin.Push{Users: []im.UserID{2}, Except: presence.SessionRef{Edge: "b", Epoch: 5, Session: 21}},
			[]string{"push a/5 [21] []"}},
		{"nobody online", plugin.Push{Users: []im.UserID{9}}, nil},
		{"nobody", plugin.Push{}, nil},
		{"seqs that do not fit", plugin.Push{Users: []im.UserID{1, 2}, InboxSeqs: []int64{1}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := new(pusher)
			f := start(t, fanout.Options{Registry: registry(t, phone, laptop, peer, third), Pusher: p, Log: slog.New(slog.DiscardHandler)})
			test.push.Action, test.push.Body = idl.ActionMessage, body
			f.Push(test.push)
			f.Close()
			if !reflect.DeepEqual(p.lines, test.want) {
				t.Errorf("got %q, want %q", p.lines, test.want)
			}
		})
	}
}

func TestBodyInWantedCodecs(t *testing.T) {
	p := new(pusher)
	f := start(t, fanout.Options{Registry: registry(t, phone, laptop, peer), Pusher: p})
	body := &chatpb.InboxEntry{Message: &chatpb.Message{Text: "hi"}}
	f.Push(plugin.Push{Action: idl.ActionMessage, Body: body, Users: []im.UserID{1, 2}})
	f.Push(plugin.Push{Action: idl.ActionSync, Body: &chatpb.SyncPush{}, Users: []im.UserID{1}, Except: laptop.SessionRef})
	f.Close()
	inProtobuf, _ := body.Marshal(nil)
	inJSON, _ := json.Marshal(body)
	onA, onB, empty := p.sent[0], p.sent[1], p.sent[2]
	if !bytes.Equal(onA.Protobuf, inProtobuf) || !bytes.Equal(onA.JSON, inJSON) {
		t.Errorf("for edge a: got %q and %q, want %q and %q", onA.Protobuf, onA.JSON, inProtobuf, inJSON)
	}
	if onB.Protobuf != nil || !bytes.Equal(onB.JSON, inJSON) {
		t.Errorf("for edge b, JSON only: got %q and %q", onB.Protobuf, onB.JSON)
	}
	if &onA.JSON[0] != &onB.JSON[0] {
		t.Error("the body was encoded twice in one codec")
	}
	if empty.Protobuf == nil || len(empty.Protobuf) != 0 || empty.JSON != nil || empty.Action != idl.ActionSync {
		t.Errorf("empty body: got %+v, want protobuf, empty but not nil", empty)
	}
}

// TestOrder: kicks and pushes leave in the order of the calls.
func TestOrder(t *testing.T) {
	p := new(pusher)
	f := start(t, fanout.Options{Registry: registry(t, phone), Pusher: p})
	var want []string
	for i := range int64(100) {
		f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}, InboxSeqs: []int64{i}})
		f.Kick([]presence.Route{phone, laptop}, idl.CloseKicked, fmt.Sprint(i))
		want = append(want, fmt.Sprintf("push a/5 [11] [%d]", i), fmt.Sprintf("kick a/5 [11] 4501 %d", i), fmt.Sprintf("kick b/5 [12] 4501 %d", i))
	}
	f.Kick(nil, idl.CloseKicked, "nobody")
	f.Close()
	if !reflect.DeepEqual(p.lines, want) {
		t.Errorf("got %q\nwant %q", p.lines, want)
	}
}

// TestFullQueueWaits: past the bound, what the queue holds and as much in the
// worker's hands, the caller waits, and nothing is lost.
func TestFullQueueWaits(t *testing.T) {
	p := &pusher{gate: make(chan struct{})}
	const queue, pushes = 2, 50
	f := start(t, fanout.Options{Registry: registry(t, phone), Pusher: p, Queue: queue})
	var pushed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range pushes {
			f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}})
			pushed.Add(1)
		}
	}()
	for delivered := range int64(pushes) {
		if ahead := pushed.Load() - delivered; ahead > 2*queue+1 {
			t.Fatalf("%d pushes went ahead of delivery", ahead)
		}
		p.gate <- struct{}{}
	}
	<-done
	f.Close()
	if len(p.lines) != pushes {
		t.Errorf("got %d deliveries, want %d", len(p.lines), pushes)
	}
}

// counting is a registry that counts look-ups and can be away. The first waits
// until the gate opens, so that the rest queue behind it.
type counting struct {
	presence.Registry
	gate    chan struct{}
	lookups atomic.Int64
	away    atomic.Bool
}

func (c *counting) Routes(ctx context.Context, users ...im.UserID) ([][]presence.Route, error) {
	away := c.away.Load()
	if c.lookups.Add(1) == 1 {
		<-c.gate
	}
	if away {
		return nil, errors.New("away")
	}
	return c.Registry.Routes(ctx, users...)
}

// TestPassingIsDroppedFirst: while more than half of the queue waits, what is passing is dropped at once and counted; all else
// waits for its place and arrives, in order.
func TestPassingIsDroppedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r, figures := new(pusher), &counting{Registry: registry(t, phone), gate: make(chan struct{})}, prometheus.NewRegistry()
		f := start(t, fanout.Options{Registry: r, Pusher: p, Queue: 4, Figures: figures})
		push := func(seq int64, passing bool) {
			f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}, InboxSeqs: []int64{seq}, Passing: passing})
		}
		push(1, false)
		synctest.Wait() // the worker has it, and the registry does not answer
		push(2, false)
		push(3, false)
		push(4, true) // half of the queue is free
		push(5, true)
		push(6, false)
		waits := make(chan struct{})
		go func() {
			defer close(waits)
			push(7, false)
		}()
		synctest.Wait()
		push(8, true)
		select {
		case <-waits:
			t.Error("a push that is not passing did not wait for a place")
		default:
		}
		close(r.gate)
		<-waits
		synctest.Wait()
		push(9, true)
		f.Close()
		var want []string
		for _, seq := range []int64{1, 2, 3, 4, 6, 7, 9} {
			want = append(want, fmt.Sprintf("push a/5 [11] [%d]", seq))
		}
		if !slices.Equal(p.lines, want) {
			t.Errorf("got %q\nwant %q", p.lines, want)
		}
		lost := `
			# HELP freeim_fanout_lost_total Pushes and kicks that no edge was given: the registry or the encoding failed, or they were passing and much waited.
			# TYPE freeim_fanout_lost_total counter
			freeim_fanout_lost_total 2
		`
		if err := testutil.GatherAndCompare(figures, strings.NewReader(lost), "freeim_fanout_lost_total"); err != nil {
			t.Error(err)
		}
	})
}

// TestLookUpsAreJoined: what queues while the registry is asked is resolved in
// one look-up, and still leaves in order.
func TestLookUpsAreJoined(t *testing.T) {
	p, r := new(pusher), &counting{Registry: registry(t, phone, peer), gate: make(chan struct{})}
	f := start(t, fanout.Options{Registry: r, Pusher: p, Queue: 100})
	var want []string
	for i := range int64(60) {
		f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{im.UserID(1 + i%2)}, InboxSeqs: []int64{i}})
		want = append(want, fmt.Sprintf("push a/5 [%d] [%d]", []int{11, 21}[i%2], i))
	}
	close(r.gate)
	f.Close()
	if !reflect.DeepEqual(p.lines, want) {
		t.Errorf("got %q\nwant %q", p.lines, want)
	}
	if n := r.lookups.Load(); n > 3 {
		t.Errorf("60 pushes took %d look-ups", n)
	}
}

func (c *counting) Generation(ctx context.Context) (string, error) {
	if c.away.Load() {
		return "", errors.New("away")
	}
	return c.Registry.Generation(ctx)
}

// halved is a registry of which a part is away: that of user 2.
type halved struct {
	presence.Registry
	whole, sick atomic.Bool // sick: it says it is whole, and is not
}

func (h *halved) Routes(ctx context.Context, users ...im.UserID) ([][]presence.Route, error) {
	all, err := h.Registry.Routes(ctx, users...)
	if i := slices.Index(users, 2); i >= 0 && !h.whole.Load() {
		all[i], err = nil, errors.New("away")
	}
	return all, err
}

func (h *halved) Generation(ctx context.Context) (string, error) {
	if !h.whole.Load() && !h.sick.Load() {
		return "", errors.New("away")
	}
	return h.Registry.Generation(ctx)
}

// TestPartOfTheRegistryAway: who is in the other part is reached, in the same batch
// and at once after it, and no client syncs before all of it is back.
func TestPartOfTheRegistryAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := new(pusher), &halved{Registry: registry(t, phone, peer)}
		f := start(t, fanout.Options{Registry: r, Pusher: p, Log: slog.New(slog.DiscardHandler)})
		var want []string
		time.Sleep(time.Millisecond) // so that nothing below is at the instant of a tick
		wants := func(what string, lines ...string) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if want = append(want, lines...); !slices.Equal(p.lines, want) {
				t.Errorf("%s: got %q, want %q", what, p.lines, want)
			}
		}
		f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1, 2}})
		wants("both parts", "push a/5 [11] []")
		for range 10 {
			f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{2}})
			f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}})
			wants("one part after the other", "push a/5 [11] []")
			time.Sleep(time.Second)
		}
		r.whole.Store(true)
		time.Sleep(time.Second)
		wants("when it is whole", "resync")
		r.whole.Store(false)
		r.sick.Store(true)
		for range 3 {
			f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{2}})
			time.Sleep(time.Second)
		}
		wants("soon after a resync")
		time.Sleep(2 * time.Second)
		wants("later", "resync")
		f.Close()
	})
}

// TestResync: a registry that was away has lost pushes; when it is back, without
// any further push, the edges are asked to have their clients sync, once.
func TestResync(t *testing.T) {
	p, r := new(pusher), &counting{Registry: registry(t, phone), gate: make(chan struct{})}
	close(r.gate)
	r.away.Store(true)
	f := start(t, fanout.Options{Registry: r, Pusher: p, Log: slog.New(slog.DiscardHandler)})
	f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}})
	for r.lookups.Load() == 0 {
		runtime.Gosched()
	}
	r.away.Store(false)
	for late := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		p.mu.Lock()
		lines := slices.Clone(p.lines)
		p.mu.Unlock()
		if slices.Equal(lines, []string{"resync"}) {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("got %q, want one resync", lines)
		}
	}
	f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}})
	f.Close()
	if want := []string{"resync", "push a/5 [11] []"}; !reflect.DeepEqual(p.lines, want) {
		t.Errorf("got %q, want %q", p.lines, want)
	}
}

func TestClose(t *testing.T) {
	p := new(pusher)
	f := start(t, fanout.Options{Registry: registry(t, phone), Pusher: p, Queue: 1})
	f.Close()
	for range 3 { // more than fit: none may wait
		f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}})
		f.Kick([]presence.Route{phone}, idl.CloseKicked, "")
	}
	f.Close()
	if len(p.lines) != 0 {
		t.Errorf("after Close: got %q", p.lines)
	}
}

// bad is a body that panics, or errs, when it is encoded.
type bad struct{ err error }

func (b bad) Marshal([]byte) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	panic("no body")
}
func (bad) Unmarshal([]byte) error { return nil }

// TestFailuresCostOnePush: whatever goes wrong with one push is logged, and the
// next is delivered.
func TestFailuresCostOnePush(t *testing.T) {
	for _, test := range []struct {
		name     string
		registry presence.Registry
		body     idl.Message
		log      string
	}{
		{"panic in encoding", registry(t, phone), bad{}, "fan-out panicked"},
		{"error in encoding", registry(t, phone), bad{errors.New("not encodable")}, "not encodable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			p := new(pusher)
			f := start(t, fanout.Options{Registry: test.registry, Pusher: p, Log: slog.New(slog.NewTextHandler(&log, nil))})
			f.Push(plugin.Push{Body: test.body, Users: []im.UserID{1}})
			f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}})
			f.Close()
			if len(p.lines) != 1 {
				t.Errorf("got deliveries %q, want the second only", p.lines)
			}
			if !strings.Contains(log.String(), test.log) {
				t.Errorf("log %q does not say %q", log.String(), test.log)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]fanout.Options{
		"no registry":    {Pusher: new(pusher)},
		"no pusher":      {Registry: presence.NewMemory()},
		"negative queue": {Registry: presence.NewMemory(), Pusher: new(pusher), Queue: -1},
	} {
		if f, err := fanout.New(o); err == nil {
			f.Close()
			t.Errorf("%s: got no error", name)
		}
	}
}

// What goes through is timed and counted, and so is what is lost.
func TestFigures(t *testing.T) {
	figures := prometheus.NewRegistry()
	f := start(t, fanout.Options{Registry: registry(t, phone), Pusher: new(pusher), Figures: figures, Log: slog.New(slog.DiscardHandler)})
	f.Push(plugin.Push{Users: []im.UserID{1}, Body: &chatpb.InboxEntry{}})
	f.Push(plugin.Push{Users: []im.UserID{1}, Body: bad{errors.New("not encodable")}})
	f.Kick([]presence.Route{phone}, idl.CloseReplaced, "")
	f.Close()
	want := `
		# HELP freeim_fanout_lost_total Pushes and kicks that no edge was given: the registry or the encoding failed, or they were passing and much waited.
		# TYPE freeim_fanout_lost_total counter
		freeim_fanout_lost_total 1
		# HELP freeim_fanout_pushes_total Pushes and kicks taken from the queue, the lost ones among them.
		# TYPE freeim_fanout_pushes_total counter
		freeim_fanout_pushes_total 3
		# HELP freeim_fanout_queue Pushes and kicks that wait to be handed to the links.
		# TYPE freeim_fanout_queue gauge
		freeim_fanout_queue 0
	`
	if err := testutil.GatherAndCompare(figures, strings.NewReader(want), "freeim_fanout_lost_total", "freeim_fanout_pushes_total", "freeim_fanout_queue"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(figures, "freeim_fanout_seconds"); n != 1 || err != nil {
		t.Errorf("got %d histograms, %v", n, err)
	}
}

// hung is a registry whose look-ups heed no deadline.
type hung struct {
	presence.Registry
	hold chan struct{}
}

func (h hung) Routes(ctx context.Context, users ...im.UserID) ([][]presence.Route, error) {
	<-h.hold
	return make([][]presence.Route, len(users)), nil
}

// Liveness tells a worker that stands still from one that has much to do.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := hung{hold: make(chan struct{})}
		f, err := fanout.New(fanout.Options{Registry: r, Pusher: new(pusher)})
		if err != nil {
			t.Fatal(err)
		}
		f.Push(plugin.Push{Users: []im.UserID{1}, Body: &chatpb.InboxEntry{}})
		synctest.Wait()
		time.Sleep(5 * time.Second)
		if err := f.Alive(); err != nil {
			t.Errorf("after 5 s: got %v", err)
		}
		time.Sleep(15 * time.Second)
		if err := f.Alive(); err == nil {
			t.Error("after 20 s: got no error")
		}
		close(r.hold)
		f.Close()
		if err := f.Alive(); err != nil {
			t.Errorf("when it goes on: got %v", err)
		}
	})
}
