package session_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

func TestPushIsEncodedOncePerForm(t *testing.T) {
	w := newWorld(t, session.Options{})
	forms := []struct {
		codec idl.Codec
		text  bool
		want  string
	}{{idl.CodecJSON, false, `{"a":1}`}, {idl.CodecProtobuf, false, "\x08\x01"}, {idl.CodecJSON, true, `{"a":1}`}}
	var clients []*client
	var ids []session.ID
	for range 2 {
		for _, f := range forms {
			c := w.live(f.codec, f.text)
			clients, ids = append(clients, c), append(ids, c.id)
		}
	}
	ids = append(ids, 1_000_000) // long gone
	w.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: ids, JSON: []byte(`{"a":1}`), Protobuf: []byte("\x08\x01")})
	shared := make([][]byte, len(forms))
	for i, c := range clients {
		f, got := forms[i%len(forms)], c.want(idl.ActionMessage, 0)
		if got.Codec != f.codec || got.text != f.text || string(got.Body) != f.want {
			t.Errorf("client %d: got %+v, want %+v", i, got, f)
		}
		if first := shared[i%len(forms)]; first != nil && &first[0] != &got.raw[0] {
			t.Errorf("client %d: the push was encoded again", i)
		}
		shared[i%len(forms)] = got.raw
	}
	if got := w.hub.Stats(); got.Pushed != int64(len(clients)) || got.Lost != 1 {
		t.Errorf("got %d pushed and %d lost, want %d and 1", got.Pushed, got.Lost, len(clients))
	}
}

func TestPushIsStamped(t *testing.T) {
	w := newWorld(t, session.Options{})
	a, b, c := w.live(idl.CodecJSON, false), w.live(idl.CodecProtobuf, false), w.live(idl.CodecJSON, true)
	w.hub.Push(session.Push{
		Action: idl.ActionMessage, Sessions: []session.ID{a.id, b.id, c.id}, InboxSeqs: []int64{3, 4, 5},
		JSON: []byte(`{"x":1}`), Protobuf: []byte("\x10\x01"),
	})
	for _, row := range []struct {
		c    *client
		want string
	}{{a, `{"inbox_seq":3,"x":1}`}, {b, "\x08\x04\x10\x01"}, {c, `{"inbox_seq":5,"x":1}`}} {
		if got := row.c.want(idl.ActionMessage, 0); string(got.Body) != row.want {
			t.Errorf("got %q, want %q", got.Body, row.want)
		}
	}
}

func TestPushMissesSessionsItCannotReach(t *testing.T) {
	w := newWorld(t, session.Options{})
	fresh, onlyProtobuf := w.open(), w.live(idl.CodecProtobuf, false)
	fresh.send(frame.Frame{Action: idl.ActionAuth, Sequence: 1}, false)
	id := fresh.oneCall(idl.ActionAuth).Session
	w.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: []session.ID{id, onlyProtobuf.id}, JSON: []byte(`{"a":1}`)})
	fresh.wantNothing()
	onlyProtobuf.wantNothing()
	if got := w.hub.Stats().Lost; got != 2 {
		t.Fatalf("lost: got %d, want 2", got)
	}
}

// The core knows a session before the edge knows that it does. What it pushes in
// between is made good: the client is told to sync, right after its answer.
func TestPushDuringAuthIsMadeGood(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.open()
	c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1}, false)
	call := c.oneCall(idl.ActionAuth)
	w.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: []session.ID{call.Session}, Protobuf: []byte{0x12, 0}})
	c.wantNothing()
	w.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Sequence: 1, Bind: &session.Identity{User: 5}})
	out := c.line.take()
	if len(out) != 2 || out[0].Action != idl.ActionAuth || out[1].Action != idl.ActionSync || out[1].Sequence != 0 {
		t.Fatalf("sent: got %+v, want the answer and a Sync push", out)
	}
}

func TestResyncReachesEveryLiveSession(t *testing.T) {
	w := newWorld(t, session.Options{})
	fresh, live := w.open(), w.live(idl.CodecProtobuf, false)
	w.hub.Resync()
	fresh.wantNothing()
	if got := live.want(idl.ActionSync, 0); len(got.Body) != 0 {
		t.Fatalf("body: got %q, want none", got.Body)
	}
}

func TestKick(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.live(idl.CodecProtobuf, false)
	w.hub.Kick([]session.ID{c.id, 1_000_000}, idl.CloseKicked, "a newer sign-in", 0)
	if quit := c.wantQuit(idl.CloseKicked); quit.Message != "a newer sign-in" || quit.RetryAfterMs != 0 {
		t.Fatalf("quit: got %+v", quit)
	}
	c = w.live(idl.CodecProtobuf, false)
	w.hub.Kick([]session.ID{c.id}, idl.CloseShutdown, "", 7*time.Second)
	if quit := c.wantQuit(idl.CloseShutdown); quit.RetryAfterMs != 7000 || quit.JitterMs != 5000 {
		t.Fatalf("quit: got %+v, want the core's advice", quit)
	}
	if got := w.hub.Stats().Closed; got[idl.CloseKicked] != 1 || got[idl.CloseShutdown] != 1 {
		t.Fatalf("counted: got %v", got)
	}
}

func TestLiveGivesWhoIsThere(t *testing.T) {
	w := newWorld(t, session.Options{})
	w.open()
	a, b := w.live(idl.CodecJSON, false), w.live(idl.CodecProtobuf, false)
	got := map[session.ID]idl.Codec{}
	w.hub.Live(func(id session.ID, who session.Identity, codec idl.Codec) bool {
		if who.User != 5 {
			t.Errorf("identity: got %+v", who)
		}
		got[id] = codec
		return true
	})
	if len(got) != 2 || got[a.id] != idl.CodecJSON || got[b.id] != idl.CodecProtobuf {
		t.Fatalf("got %v", got)
	}
	n := 0
	w.hub.Live(func(session.ID, session.Identity, idl.Codec) bool { n++; return false })
	if n != 1 {
		t.Fatalf("stopped after %d, want 1", n)
	}
}

func TestDeadlines(t *testing.T) {
	auth := session.Options{AuthTimeout: 10 * time.Second, Heartbeat: 30 * time.Second}
	many := session.Options{AuthTimeout: time.Second, Heartbeat: time.Minute} // several turns of the wheel
	rows := []struct {
		name     string
		opts     session.Options
		live     bool
		speak    []time.Duration // pauses before each heartbeat
		min, max time.Duration   // after the last of them
		want     idl.CloseReason
	}{
		{"no Auth", auth, false, nil, 10 * time.Second, 11 * time.Second, idl.CloseAuthTimeout},
		{"talk is no Auth", auth, false, []time.Duration{9 * time.Second}, time.Second, 2 * time.Second, idl.CloseAuthTimeout},
		{"silent", auth, true, nil, 90 * time.Second, 92 * time.Second, idl.CloseIdle},
		{"silent in the end", auth, true, []time.Duration{80 * time.Second, 89 * time.Second, 45 * time.Second},
			90 * time.Second, 92 * time.Second, idl.CloseIdle},
		{"silent for several turns", many, true, []time.Duration{100 * time.Second}, 180 * time.Second, 181 * time.Second, idl.CloseIdle},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, row.opts)
				c := w.open()
				if row.live {
					c = w.live(idl.CodecProtobuf, false)
				}
				for _, pause := range row.speak {
					time.Sleep(pause)
					c.send(frame.Frame{Action: idl.ActionHeartbeat, Sequence: 1}, false)
					c.want(idl.ActionHeartbeat, 1)
				}
				time.Sleep(row.min - time.Millisecond)
				synctest.Wait()
				c.wantNothing()
				time.Sleep(row.max - row.min + time.Millisecond)
				synctest.Wait()
				c.wantQuit(row.want)
				c.Closed()
				time.Sleep(time.Hour)
				c.wantNothing()
			})
		})
	}
}

func TestManySessionsShareOneClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{})
		clients := make([]*client, 1000)
		for i := range clients {
			clients[i] = w.open()
			time.Sleep(time.Millisecond)
		}
		for _, c := range clients[:500] { // leaving must not disturb the others' places
			c.Closed()
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		for i, c := range clients {
			if _, n := c.line.closed(); (n == 1) != (i >= 500) {
				t.Fatalf("session %d: closed %d times", i, n)
			}
		}
	})
}

func TestDrain(t *testing.T) {
	w := newWorld(t, session.Options{})
	idle, busy := w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false)
	busy.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
	busy.send(frame.Frame{Action: idl.ActionMessage, Sequence: 3}, false)
	call := busy.oneCall(idl.ActionMessage)

	done := make(chan error, 1)
	go func() { done <- w.hub.Drain(t.Context()) }()
	eventually(t, "the idle session to close", func() bool { _, n := idle.line.closed(); return n > 0 })
	if quit := idle.wantQuit(idl.CloseShutdown); quit.RetryAfterMs != 0 || quit.JitterMs != 1000 {
		t.Fatalf("quit: got %+v, want up to a second, since turns spread the clients", quit)
	}
	idle.Closed()
	late := w.open()
	if late.Session != nil {
		t.Fatal("a session was opened while draining")
	}
	if quit := late.wantQuit(idl.CloseShutdown); quit.RetryAfterMs != 1000 || quit.JitterMs != 5000 {
		t.Fatalf("quit: got %+v, want the usual advice for who had no turn", quit)
	}

	busy.send(frame.Frame{Action: idl.ActionMessage, Sequence: 4}, false)
	busy.wantNothing()
	w.hub.Reply(answer(call))
	out := busy.line.take()
	eventually(t, "the busy session to be told", func() bool { // it may be its turn only now
		out = append(out, busy.line.take()...)
		return len(out) > 1
	})
	if len(out) != 2 || out[0].Sequence != 2 || out[1].Action != idl.ActionQuit {
		t.Fatalf("got %+v, want the answer under way, then Quit", out)
	}
	if quit := busy.quit(out[1]); quit.RetryAfterMs != 0 || quit.JitterMs != 1000 {
		t.Fatalf("quit: got %+v, want up to a second after the answer too", quit)
	}
	busy.Closed()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestDrainGivesUpOnAnswers(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.live(idl.CodecProtobuf, false)
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.hub.Drain(ctx); err != context.Canceled {
		t.Fatalf("got %v, want canceled", err)
	}
	if quit := c.wantQuit(idl.CloseShutdown); quit.RetryAfterMs != 1000 || quit.JitterMs != 5000 {
		t.Fatalf("quit: got %+v, want the usual advice: all that are left are told at once", quit)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	rows := []struct {
		name string
		opts session.Options
	}{
		{"no core", session.Options{}},
		{"negative limit", session.Options{Core: new(fakeCore), QueueFrames: -1}},
		{"negative duration", session.Options{Core: new(fakeCore), Heartbeat: -1}},
	}
	for _, row := range rows {
		if _, err := session.New(row.opts); err == nil {
			t.Errorf("%s: got no error", row.name)
		}
	}
}

func TestNamesOfTheEdgesOwnActions(t *testing.T) {
	w := newWorld(t, session.Options{})
	got := []idl.Action{}
	for _, name := range []string{"heartbeat", "quit", "chat.send"} {
		a, ok := w.hub.Named(name)
		if !ok {
			t.Errorf("%s is not known", name)
		}
		got = append(got, a)
	}
	if want := []idl.Action{idl.ActionHeartbeat, idl.ActionQuit, idl.ActionMessage}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Sessions are told at the rate that was set, or spread over half of the time.
func TestDrainIsSpread(t *testing.T) {
	for _, row := range []struct {
		name    string
		rate    int
		timeout time.Duration
		n       int
		after   time.Duration // which of them must have been told by then
		min     int
		max     int
	}{
		{"at a rate", 100, time.Hour, 1000, 5 * time.Second, 490, 520},
		{"over half the time", 0, 20 * time.Second, 4000, 5 * time.Second, 1980, 2040},
		{"few go soon", 0, time.Hour, 100, time.Second, 100, 100},
		{"less than one a step", 2, time.Hour, 100, 10 * time.Second, 20, 22},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, session.Options{DrainRate: row.rate, AuthTimeout: 2 * time.Hour})
				clients := make([]*client, row.n)
				for i := range clients {
					clients[i] = w.open()
				}
				ctx, cancel := context.WithTimeout(t.Context(), row.timeout)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- w.hub.Drain(ctx) }()
				time.Sleep(row.after)
				synctest.Wait()
				told := 0
				for _, c := range clients {
					if _, n := c.line.closed(); n > 0 {
						told++
						c.Closed()
					}
				}
				if told < row.min || told > row.max {
					t.Errorf("told %d in %v, want %d to %d", told, row.after, row.min, row.max)
				}
				cancel()
				<-done
				for _, c := range clients {
					if reason, n := c.line.closed(); n != 1 || reason != idl.CloseShutdown {
						t.Fatalf("closed %d times with %v, want once", n, reason)
					}
					c.Closed()
				}
				if err := w.hub.Drain(t.Context()); err != nil {
					t.Errorf("again: %v", err)
				}
			})
		})
	}
}

// Until its turn comes a session is served as ever.
func TestServedUntilToldToGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, session.Options{DrainRate: 1})
		a, b := w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false)
		go w.hub.Drain(t.Context())
		synctest.Wait()
		stays := a
		if _, n := a.line.closed(); n > 0 {
			stays = b
		}
		stays.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionMessage, Sequence: 2}, false)
		call := w.core.take()
		if len(call) != 1 {
			t.Fatalf("calls: got %+v, want one", call)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if _, n := stays.line.closed(); n > 0 {
			t.Fatal("closed with a frame under way")
		}
		w.hub.Reply(answer(call[0]))
		out := stays.line.take()
		if len(out) != 2 || out[0].Sequence != 2 || out[1].Action != idl.ActionQuit {
			t.Fatalf("got %+v, want the answer, then Quit", out)
		}
		a.Closed()
		b.Closed()
	})
}
