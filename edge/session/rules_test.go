package session_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// fakeRules answers by functions; those that are nil are not asked. Static but for bundle.
type fakeRules struct {
	connect func(*session.Arrival) ([]string, *session.Refusal)
	frame   func(*session.Asked) *session.Refusal
	route   func(*session.Asked) string
	bundle  atomic.Value // string
}

func (r *fakeRules) Asks(q session.Questions) bool {
	return q&session.AboutConnections != 0 && r.connect != nil || q&session.AboutFrames != 0 && r.frame != nil || q&session.AboutRoutes != 0 && r.route != nil
}

func (r *fakeRules) Edition() string {
	bundle, _ := r.bundle.Load().(string)
	return bundle
}

func (r *fakeRules) Connect(a *session.Arrival) ([]string, *session.Refusal) { return r.connect(a) }
func (r *fakeRules) Frame(f *session.Asked) *session.Refusal                 { return r.frame(f) }
func (r *fakeRules) Route(f *session.Asked) string                           { return r.route(f) }

func say(sequence uint32, action idl.Action, body string) frame.Frame {
	return frame.Frame{Codec: idl.CodecProtobuf, Action: action, Sequence: sequence, Body: []byte(body)}
}

// A frame that a rule refuses is answered in its turn, alone or among those that go up
// together; heartbeats are no matter of rules.
func TestRuleRefusesFrames(t *testing.T) {
	for _, joins := range []bool{false, true} {
		var last atomic.Pointer[session.Asked]
		r := &fakeRules{frame: func(f *session.Asked) *session.Refusal {
			last.Store(f)
			if f.Size > 3 {
				return &session.Refusal{Code: idl.CodeRateLimited, Reason: "long", RetryAfter: 5 * time.Second, Rule: "h@a.lua:1"}
			}
			return nil
		}}
		w := newWorld(t, session.Options{Rules: r})
		w.core.joins = joins
		c := w.live(idl.CodecProtobuf, false)
		c.send(say(2, idl.ActionMessage, "too long"), false)
		c.wantRefusal(idl.CodeRateLimited, 2)
		if f := last.Load(); f.Size != 8 || f.Sequence != 2 || f.Who == nil || f.Who.User != 5 || f.Address != "192.0.2.1:7" || f.Transport != "fake" || f.Codec != idl.CodecProtobuf {
			t.Errorf("asked about %+v", f)
		}
		for n, body := range []string{"a", "too long", "b"} {
			if err := c.Gather(say(uint32(n)+3, idl.ActionMessage, body), false); err != nil {
				t.Fatal(err)
			}
		}
		c.Flush()
		for range 2 {
			var calls []session.Call
			eventually(t, "a call", func() bool { calls = append(calls, w.core.take()...); return len(calls) > 0 })
			for _, call := range calls {
				w.hub.Reply(answer(call))
			}
			if joins {
				break
			}
		}
		var got []uint32
		eventually(t, "three answers", func() bool { got = append(got, c.answered()...); return len(got) == 3 })
		wantSequences(t, "answers", got, 3, 4, 5)
		last.Store(nil)
		c.send(say(9, idl.ActionHeartbeat, ""), false)
		c.want(idl.ActionHeartbeat, 9)
		if last.Load() != nil {
			t.Error("asked about a heartbeat")
		}
	}
}

// What a rule refuses is in the log with the hook and the bundle that did, of a connection as of a frame.
func TestRefusalsNameTheBundle(t *testing.T) {
	var log lockedBuffer
	refuse := func(reason string) *session.Refusal {
		return &session.Refusal{Code: idl.CodeRejected, Reason: reason, Rule: reason + "@a.lua:7", Bundle: "5e1f"}
	}
	r := &fakeRules{
		connect: func(a *session.Arrival) ([]string, *session.Refusal) {
			if a.Path == "/no" {
				return nil, refuse("arrival")
			}
			return nil, nil
		},
		frame: func(f *session.Asked) *session.Refusal {
			if f.Who == nil { // it authenticates
				return nil
			}
			return refuse("asked")
		},
	}
	w := newWorld(t, session.Options{Rules: r, Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if a := w.hub.Admit(&session.Arrival{Address: "192.0.2.9:1", Transport: "tcp", Path: "/no"}); a == nil || a.Refused == nil {
		t.Fatalf("got %+v", a)
	}
	c := w.live(idl.CodecProtobuf, false)
	c.send(say(2, idl.ActionMessage, "x"), false)
	c.wantRefusal(idl.CodeRejected, 2)
	for message, want := range map[string]map[string]any{
		"a rule refuses a connection": {"rule": "arrival@a.lua:7", "bundle": "5e1f", "code": float64(idl.CodeRejected), "reason": "arrival", "address": "192.0.2.9:1", "transport": "tcp"},
		"a rule refuses a frame":      {"rule": "asked@a.lua:7", "bundle": "5e1f", "code": float64(idl.CodeRejected), "reason": "asked", "address": "192.0.2.1:7"},
	} {
		lines := log.lines(t, message)
		if len(lines) != 1 {
			t.Errorf("%s: got %v, want one line", message, lines)
			continue
		}
		for key, value := range want {
			if got := lines[0][key]; got != value {
				t.Errorf("%s: %s is %v, want %v", message, key, got, value)
			}
		}
	}
}

// lockedBuffer is a log of JSON lines.
type lockedBuffer struct {
	mu  sync.Mutex // guards all
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// lines are those with that message.
func (b *lockedBuffer) lines(t *testing.T, message string) (found []map[string]any) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range bytes.Lines(b.all.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		if fields["msg"] == message {
			found = append(found, fields)
		}
	}
	return found
}

// Whoever brings an answer does not wait for rules about the next frame.
func TestRulesHoldUpNobody(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	r := &fakeRules{frame: func(f *session.Asked) *session.Refusal {
		if f.Sequence == 3 {
			close(inside)
			<-leave
		}
		return nil
	}}
	w := newWorld(t, session.Options{Rules: r})
	c := w.live(idl.CodecProtobuf, false)
	for n := range uint32(4) {
		c.send(say(n+2, idl.ActionMessage, "x"), false)
	}
	w.hub.Reply(answer(c.oneCall(idl.ActionMessage))) // returns though a rule is at the next
	<-inside
	c.want(idl.ActionMessage, 2)
	other := w.live(idl.CodecProtobuf, false)
	other.send(say(2, idl.ActionMessage, "y"), false)
	other.oneCall(idl.ActionMessage)
	close(leave)
	for n := range uint32(3) {
		var calls []session.Call
		eventually(t, "the next call", func() bool { calls = w.core.take(); return len(calls) == 1 })
		if calls[0].Sequence != n+3 {
			t.Fatalf("got call %d, want %d", calls[0].Sequence, n+3)
		}
		w.hub.Reply(answer(calls[0]))
		c.want(idl.ActionMessage, n+3)
	}
}

// A session's route is asked for with its first action, again when it is somebody's and
// when the rules are others, and holds in between; what goes up together goes to one pool.
func TestRoutes(t *testing.T) {
	var asked atomic.Int64
	r := &fakeRules{}
	r.bundle.Store("one")
	r.route = func(f *session.Asked) string {
		asked.Add(1)
		switch {
		case f.Who == nil:
			return "fresh"
		case len(f.Tags) == 1 && f.Tags[0] == "vip":
			return "fast"
		}
		return r.Edition()
	}
	r.connect = func(a *session.Arrival) ([]string, *session.Refusal) {
		if a.Path == "/vip" {
			return []string{"vip"}, nil
		}
		return nil, nil
	}
	w := newWorld(t, session.Options{Rules: r})
	w.core.joins = true
	enter := func(path string) *client {
		c := &client{world: w, line: new(fakeTransport)}
		c.Session = w.hub.OpenAs(c.line, w.hub.Admit(&session.Arrival{Address: "192.0.2.1:7", Path: path}))
		c.send(say(1, idl.ActionAuth, ""), false)
		call := c.oneCall(idl.ActionAuth)
		if call.Pool != "fresh" {
			t.Errorf("Auth went to %q", call.Pool)
		}
		w.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Sequence: 1, Bind: &session.Identity{User: 5, Device: "d"}})
		c.want(idl.ActionAuth, 1)
		return c
	}
	goes := func(c *client, first uint32, want string) {
		t.Helper()
		c.gather(first, first+1)
		calls := w.core.take()
		if len(calls) != 2 {
			t.Fatalf("got %d calls", len(calls))
		}
		for _, call := range calls {
			if call.Pool != want {
				t.Errorf("went to %q, want %q", call.Pool, want)
			}
			w.hub.Reply(answer(call))
		}
		wantSequences(t, "answers", c.answered(), first, first+1)
	}
	ordinary, vip := enter("/ws"), enter("/vip")
	goes(ordinary, 2, "one")
	goes(ordinary, 4, "one")
	goes(vip, 2, "fast")
	before := asked.Load()
	goes(ordinary, 6, "one")
	if asked.Load() != before {
		t.Error("asked again with nothing new")
	}
	r.bundle.Store("two")
	goes(ordinary, 8, "two")
	goes(ordinary, 10, "two")
	goes(vip, 4, "fast")
	if n := asked.Load() - before; n != 2 {
		t.Errorf("asked %d times by two sessions", n)
	}
}

// A route that changes leaves what is under way where it is: the next goes up when that is answered.
func TestRouteChangesBetweenActions(t *testing.T) {
	r := &fakeRules{}
	r.bundle.Store("blue")
	r.route = func(*session.Asked) string { return r.Edition() }
	c := newWorld(t, session.Options{Rules: r}).live(idl.CodecProtobuf, false)
	c.send(say(2, idl.ActionMessage, "x"), false)
	first := c.oneCall(idl.ActionMessage)
	r.bundle.Store("green")
	c.send(say(3, idl.ActionMessage, "y"), false)
	if calls := c.core.take(); first.Pool != "blue" || len(calls) > 0 {
		t.Fatalf("got %q, then %+v before it is answered", first.Pool, calls)
	}
	c.hub.Reply(answer(first))
	c.want(idl.ActionMessage, 2)
	var calls []session.Call
	eventually(t, "the next call", func() bool { calls = append(calls, c.core.take()...); return len(calls) > 0 })
	if len(calls) != 1 || calls[0].Pool != "green" || calls[0].Sequence != 3 {
		t.Errorf("got %+v", calls)
	}
}

// A connection that a rule refuses is told why, and whether to come again.
func TestRuleRefusesConnections(t *testing.T) {
	for _, row := range []struct {
		code  idl.Code
		retry time.Duration
		want  idl.CloseReason
		ms    int64
	}{{idl.CodeRejected, 0, idl.CloseRemoved, 0}, {idl.CodeRateLimited, 7 * time.Second, idl.CloseOverloaded, 7000}, {idl.CodeUnavailable, 0, idl.CloseOverloaded, 1000}} {
		w := newWorld(t, session.Options{Rules: &fakeRules{connect: func(*session.Arrival) ([]string, *session.Refusal) {
			return nil, &session.Refusal{Code: row.code, Reason: "not you", RetryAfter: row.retry}
		}}})
		c := &client{world: w, line: new(fakeTransport)}
		if c.Session = w.hub.OpenAs(c.line, w.hub.Admit(&session.Arrival{})); c.Session != nil {
			t.Fatal("got a session")
		}
		if quit := c.wantQuit(row.want); quit.Message != "not you" || quit.RetryAfterMs != row.ms {
			t.Errorf("got %+v", quit)
		}
		if s := w.hub.Stats(); s.Barred != 1 || s.Sessions != 0 {
			t.Errorf("got %+v", s)
		}
	}
}

// Rules that ask nobody cost a frame no allocation.
func TestSilentRulesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("buffers are dropped on purpose")
	}
	spent := func(o session.Options) float64 {
		c := newWorld(t, o).live(idl.CodecProtobuf, false)
		n := uint32(1)
		return testing.AllocsPerRun(500, func() {
			n++
			c.send(say(n, idl.ActionMessage, ""), false)
			c.hub.Reply(answer(c.oneCall(idl.ActionMessage)))
			c.want(idl.ActionMessage, n)
		})
	}
	if without, with := spent(session.Options{}), spent(session.Options{Rules: &fakeRules{}}); with > without {
		t.Errorf("got %v allocations, %v without rules", with, without)
	}
}
