package session_test

import (
	"errors"
	"strings"
	"testing"

	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/idl"
)

func TestEdgeRefuses(t *testing.T) {
	rows := []struct {
		name string
		live bool
		in   frame.Frame
		want idl.Code
	}{
		{"before Auth", false, frame.Frame{Action: idl.ActionMessage, Sequence: 3}, idl.CodeUnauthenticated},
		{"before Auth, no answer asked", false, frame.Frame{Action: idl.ActionMessage}, idl.CodeUnauthenticated},
		{"unknown action", true, frame.Frame{Action: 77, Sequence: 4}, idl.CodeUnknownAction},
		{"unknown name", true, frame.Frame{Action: frame.Unnamed, Sequence: 4}, idl.CodeUnknownAction},
		{"Error is no request", true, frame.Frame{Action: idl.ActionError, Sequence: 4}, idl.CodeUnknownAction},
		{"Auth again", true, frame.Frame{Action: idl.ActionAuth, Sequence: 5}, idl.CodePermissionDenied},
		{"over the action's limit", true, frame.Frame{Action: shortBodies, Sequence: 6, Body: []byte("123456789")}, idl.CodeTooLarge},
	}
	for _, row := range rows {
		for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
			t.Run(row.name+" "+codec.String(), func(t *testing.T) {
				w := newWorld(t, session.Options{})
				c := w.open()
				if row.live {
					c = w.live(codec, false)
				}
				row.in.Codec = codec
				c.send(row.in, false)
				c.wantRefusal(row.want, row.in.Sequence)
				if calls := w.core.take(); len(calls) > 0 {
					t.Fatalf("calls: got %+v, want none", calls)
				}
			})
		}
	}
}

func TestAnswersKeepTheFormOfTheirRequest(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.live(idl.CodecProtobuf, false)
	c.send(frame.Frame{Action: idl.ActionHeartbeat, Sequence: 2}, true)
	if f := c.want(idl.ActionHeartbeat, 2); !f.text || f.Codec != idl.CodecJSON {
		t.Fatalf("heartbeat asked in text: got %+v", f)
	}
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 3, Body: []byte(`{"a":1}`)}, true)
	w.hub.Reply(answer(c.oneCall(idl.ActionMessage)))
	if f := c.want(idl.ActionMessage, 3); !f.text || string(f.Body) != `{"a":1}` {
		t.Fatalf("message asked in text: got %+v", f)
	}
	w.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: []session.ID{c.id}, Protobuf: []byte{8, 1}})
	if f := c.want(idl.ActionMessage, 0); f.text || f.Codec != idl.CodecProtobuf {
		t.Fatalf("push: got %+v, want the form of Auth", f)
	}
}

func TestSequenceZeroIsNotAnswered(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.live(idl.CodecProtobuf, false)
	c.send(frame.Frame{Action: idl.ActionHeartbeat}, false)
	c.send(frame.Frame{Action: idl.ActionMessage}, false)
	w.hub.Reply(answer(c.oneCall(idl.ActionMessage)))
	c.wantNothing()
	c.send(frame.Frame{Action: idl.ActionMessage}, false)
	call := c.oneCall(idl.ActionMessage)
	w.hub.Reply(session.Reply{Session: call.Session, Action: idl.ActionError})
	c.want(idl.ActionError, 0)
}

func TestFramesAreHandledInOrderOneAtATime(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.live(idl.CodecProtobuf, false)
	body := []byte("first")
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 10, Body: body}, false)
	body2 := []byte("second")
	c.send(frame.Frame{Action: idl.ActionHeartbeat, Sequence: 11}, false)
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 12, Body: body2}, false)
	c.send(frame.Frame{Action: 77, Sequence: 13}, false)
	c.send(frame.Frame{Action: idl.ActionQuit, Sequence: 14}, false)
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 15}, false)
	copy(body, "xxxxx") // the gateway's buffer is used again
	copy(body2, "xxxxxx")
	c.wantNothing()

	first := c.oneCall(idl.ActionMessage)
	if string(first.Body) != "first" || first.Identity == nil || first.Identity.User != 5 || first.Address == "" {
		t.Fatalf("call: got %+v", first)
	}
	w.hub.Reply(answer(first))
	out := c.line.take()
	if len(out) != 2 || out[0].Sequence != 10 || out[1].Sequence != 11 {
		t.Fatalf("after the first reply: got %+v, want 10 and 11", out)
	}
	second := c.oneCall(idl.ActionMessage)
	if string(second.Body) != "second" {
		t.Fatalf("body: got %q, want second", second.Body)
	}
	w.hub.Reply(answer(second))
	out = c.line.take()
	if len(out) != 3 || out[0].Sequence != 12 || out[1].Action != idl.ActionError || out[2].Action != idl.ActionQuit {
		t.Fatalf("after the second reply: got %+v, want 12, a refusal, Quit", out)
	}
	if calls := w.core.take(); len(calls) != 0 {
		t.Fatalf("frames behind Quit: got %+v, want none handled", calls)
	}
}

func TestFlood(t *testing.T) {
	big := []byte(strings.Repeat("x", 1000))
	rows := []struct {
		name string
		opts session.Options
		body []byte
		fits int
	}{
		{"frames", session.Options{QueueFrames: 5}, nil, 5},
		{"octets", session.Options{QueueBytes: 3*(len(big)+frame.HeaderSize) - 1}, big, 2},
		{"by default frames", session.Options{}, nil, 1024},
		{"by default octets", session.Options{}, big, 258},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, row.opts)
			c := w.live(idl.CodecProtobuf, false)
			for i := range row.fits {
				if err := c.Receive(frame.Frame{Action: idl.ActionMessage, Body: row.body}, false); err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
			}
			// One answer makes room for one frame.
			c.hub.Reply(answer(c.oneCall(idl.ActionMessage)))
			c.send(frame.Frame{Action: idl.ActionMessage, Body: row.body}, false)
			err := c.Receive(frame.Frame{Action: idl.ActionMessage, Body: row.body}, false)
			fault, ok := errors.AsType[*frame.CloseError](err)
			if !ok || fault.Reason != idl.CloseFlood {
				t.Fatalf("one too many: got %v, want FLOOD", err)
			}
			c.Fail(fault)
			c.wantQuit(idl.CloseFlood)
		})
	}
}

func TestMaxBodyGrowsWithAuth(t *testing.T) {
	w := newWorld(t, session.Options{})
	if got := w.open().MaxBody(); got != 4096 {
		t.Fatalf("before Auth: got %d, want 4096", got)
	}
	if got := w.live(idl.CodecJSON, false).MaxBody(); got != 65536 {
		t.Fatalf("after Auth: got %d, want 65536", got)
	}
}

func TestStrayReplies(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.live(idl.CodecProtobuf, false)
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
	call := c.oneCall(idl.ActionMessage)
	rows := []struct {
		name  string
		reply session.Reply
	}{
		{"another sequence", session.Reply{Session: c.id, Action: idl.ActionMessage, Sequence: 3}},
		{"another action", session.Reply{Session: c.id, Action: idl.ActionSync, Sequence: 2}},
		{"no such session", session.Reply{Session: c.id + 100, Action: idl.ActionMessage, Sequence: 2}},
	}
	for i, row := range rows {
		w.hub.Reply(row.reply)
		c.wantNothing()
		if got := w.hub.Stats().Stray; got != int64(i+1) {
			t.Fatalf("%s: got %d stray replies, want %d", row.name, got, i+1)
		}
	}
	w.hub.Reply(answer(call))
	c.want(idl.ActionMessage, 2)
	w.hub.Reply(answer(call))
	c.wantNothing()
	if got := w.hub.Stats().Stray; got != int64(len(rows)+1) {
		t.Fatalf("after a double: got %d stray replies, want %d", got, len(rows)+1)
	}
}

func TestGoneOncePerBoundSession(t *testing.T) {
	bind := func(c *client, call session.Call) {
		r := answer(call)
		r.Bind = &session.Identity{User: 5}
		c.hub.Reply(r)
	}
	kick := func(c *client, id session.ID) { c.hub.Kick([]session.ID{id}, idl.CloseKicked, "", 0) }
	rows := []struct {
		name string
		run  func(c *client, call session.Call)
	}{
		{"bound, then closed", func(c *client, call session.Call) { bind(c, call); c.Closed() }},
		{"bound, kicked, closed", func(c *client, call session.Call) { bind(c, call); kick(c, call.Session); c.Closed() }},
		{"bound, closed twice", func(c *client, call session.Call) { bind(c, call); c.Closed(); c.Closed() }},
		{"closed, then bound", func(c *client, call session.Call) { c.Closed(); bind(c, call) }},
		{"kicked, then bound, then closed", func(c *client, call session.Call) { kick(c, call.Session); bind(c, call); c.Closed() }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, session.Options{})
			c := w.open()
			c.send(frame.Frame{Action: idl.ActionAuth, Sequence: 1}, false)
			call := c.oneCall(idl.ActionAuth)
			row.run(c, call)
			if got := w.core.gones(call.Session); got != 1 {
				t.Fatalf("gone: got %d times, want once", got)
			}
			if got := w.hub.Stats(); got.Sessions != 0 || got.Live != 0 {
				t.Fatalf("left over: got %+v", got)
			}
		})
	}
	t.Run("a double bind is no end", func(t *testing.T) {
		w := newWorld(t, session.Options{})
		c := w.live(idl.CodecJSON, false)
		bind(c, session.Call{Session: c.id, Action: idl.ActionAuth, Sequence: 1})
		if got := w.core.gones(c.id); got != 0 {
			t.Fatalf("gone: got %d times, want none", got)
		}
	})
	t.Run("never bound", func(t *testing.T) {
		w := newWorld(t, session.Options{})
		c := w.open()
		c.send(frame.Frame{Action: idl.ActionAuth, Sequence: 1}, false)
		call := c.oneCall(idl.ActionAuth)
		w.hub.Reply(session.Reply{Session: call.Session, Action: idl.ActionError, Sequence: 1})
		c.Closed()
		if got := w.core.gones(call.Session); got != 0 {
			t.Fatalf("gone: got %d times, want none", got)
		}
	})
}

func TestSlowClientIsClosed(t *testing.T) {
	w := newWorld(t, session.Options{})
	for _, row := range []struct {
		name string
		send func(*client)
	}{
		{"by an answer", func(c *client) { c.send(frame.Frame{Action: idl.ActionHeartbeat, Sequence: 9}, false) }},
		{"by a push", func(c *client) {
			w.hub.Push(session.Push{Action: idl.ActionMessage, Sessions: []session.ID{c.id}, JSON: []byte("{}")})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := w.live(idl.CodecJSON, false)
			c.line.full = true
			row.send(c)
			c.wantQuit(idl.CloseSlow)
			if got := w.core.gones(c.id); got != 1 {
				t.Fatalf("gone: got %d times, want once", got)
			}
		})
	}
}

func TestNoRoom(t *testing.T) {
	w := newWorld(t, session.Options{MaxSessions: 1})
	first := w.open()
	second := w.open()
	if second.Session != nil {
		t.Fatal("a second session was opened, want none")
	}
	quit := second.wantQuit(idl.CloseOverloaded)
	if quit.RetryAfterMs == 0 || quit.JitterMs == 0 {
		t.Fatalf("quit: got %+v, want advice when to come back", quit)
	}
	first.Closed()
	if w.open().Session == nil {
		t.Fatal("there is room again, but no session was opened")
	}
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	w := newWorld(t, session.Options{})
	s := w.hub.Open(deafTransport{})
	beat := frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionHeartbeat, Sequence: 1}
	got := testing.AllocsPerRun(1000, func() {
		if err := s.Receive(beat, false); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 && !raceEnabled {
		t.Fatalf("got %v allocations, want 0", got)
	}
}

// deafTransport takes everything and keeps nothing.
type deafTransport struct{}

func (deafTransport) Send([]byte, bool) bool                      { return true }
func (deafTransport) Broadcast([]byte, session.Waiter) bool       { return true }
func (deafTransport) Behind(session.Waiter) bool                  { return false }
func (deafTransport) Cork()                                       {}
func (deafTransport) Uncork()                                     {}
func (deafTransport) Wire(idl.Codec, bool) session.Wire           { return session.WireJSON }
func (deafTransport) Close(idl.CloseReason, string, []byte, bool) {}
func (deafTransport) Address() string                             { return "192.0.2.1:7" }
func (deafTransport) Kind() string                                { return "deaf" }
func (deafTransport) Peer() *limits.Peer                          { return nil }
