package fanout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"

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

// TestFullQueueWaits: past the bound the caller waits, and nothing is lost.
func TestFullQueueWaits(t *testing.T) {
	p := &pusher{gate: make(chan struct{})}
	f := start(t, fanout.Options{Registry: registry(t, phone), Pusher: p, Queue: 2})
	const pushes = 10
	pushed, done := make(chan int), make(chan struct{})
	go func() {
		defer close(done)
		for i := range pushes {
			f.Push(plugin.Push{Body: &chatpb.SyncPush{}, Users: []im.UserID{1}})
			pushed <- i
		}
	}()
	for range 3 { // two queued, one in the worker's hands
		<-pushed
	}
	select {
	case i := <-pushed:
		t.Fatalf("push %d did not wait for the queue", i)
	case p.gate <- struct{}{}: // one is delivered: one more fits
		<-pushed
	}
	go func() {
		for range pushes - 1 {
			p.gate <- struct{}{}
		}
	}()
	for range pushes - 4 {
		<-pushed
	}
	<-done
	f.Close()
	if len(p.lines) != pushes {
		t.Errorf("got %d deliveries, want %d", len(p.lines), pushes)
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

// broken is a registry that is out of order for one call.
type broken struct {
	presence.Registry
	once sync.Once
}

func (b *broken) Routes(ctx context.Context, users ...im.UserID) (routes [][]presence.Route, err error) {
	b.once.Do(func() { err = errors.New("out of order") })
	if err != nil {
		return nil, err
	}
	return b.Registry.Routes(ctx, users...)
}

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
		{"registry out of order", &broken{Registry: registry(t, phone)}, &chatpb.SyncPush{}, "out of order"},
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
