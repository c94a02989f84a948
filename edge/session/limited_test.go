package session_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

var home = netip.MustParseAddr("203.0.113.7")

func newGuard(t *testing.T, o limits.Options) *limits.Guard {
	t.Helper()
	g, err := limits.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// openFrom is a client of an address with limits.
func (w *world) openFrom(g *limits.Guard) *client {
	w.Helper()
	peer, ok := g.Connect(home)
	if !ok {
		w.Fatal("the connection is refused")
	}
	c := &client{world: w, line: &fakeTransport{peer: peer}}
	c.Session = w.hub.Open(c.line)
	return c
}

func heartbeat(sequence uint32) frame.Frame {
	return frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionHeartbeat, Sequence: sequence}
}

// A frame too many is refused with the time to wait, which is then enough; a
// client that does not mind is closed, and its address banned.
func TestFramesOverTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, limits.Options{Frames: 10, Ban: time.Minute})
		w := newWorld(t, session.Options{Limits: g, Patience: 20, AuthTimeout: time.Hour})
		c := w.openFrom(g)
		for i := range uint32(50) {
			c.send(heartbeat(i+1), false)
			c.want(idl.ActionHeartbeat, i+1)
		}
		c.send(heartbeat(51), false)
		no := c.want(idl.ActionError, 51)
		var body wirepb.Error
		if err := idl.Decode(no.Body, no.Codec, &body); err != nil || body.Code != idl.CodeRateLimited || body.RetryAfterMs != 100 {
			t.Fatalf("got %+v, %v", &body, err)
		}
		time.Sleep(time.Duration(body.RetryAfterMs) * time.Millisecond)
		c.send(heartbeat(52), false)
		c.want(idl.ActionHeartbeat, 52)
		for i := range uint32(20) {
			c.send(heartbeat(i+100), false)
			c.wantRefusal(idl.CodeRateLimited, i+100)
		}
		if len(g.Bans()) > 0 {
			t.Fatal("banned already")
		}
		c.send(heartbeat(200), false)
		c.wantQuit(idl.CloseFlood)
		if bans := g.Bans(); len(bans) != 1 || bans[0].Address.Addr() != home {
			t.Fatalf("got %+v, want the address banned", bans)
		}
		if _, ok := g.Connect(home); ok {
			t.Error("let in while banned")
		}
		c.Closed()
	})
}

// A client that is refused frames, and comes back before it is closed for that, is
// banned all the same.
func TestFloodOverManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, limits.Options{Frames: 1, Ban: time.Minute})
		w := newWorld(t, session.Options{Limits: g, Patience: 20})
		over := func(c *client, first, n uint32) {
			t.Helper()
			for i := range n {
				c.send(heartbeat(first+i), false)
				c.wantRefusal(idl.CodeRateLimited, first+i)
			}
		}
		for i := range 4 {
			c := w.openFrom(g)
			for n := uint32(1); i == 0 && n <= 5; n++ {
				c.send(heartbeat(n), false)
				c.want(idl.ActionHeartbeat, n)
			}
			over(c, 10, 5)
			c.Closed()
			c.line.peer.Leave()
		}
		c := w.openFrom(g)
		c.send(heartbeat(1), false)
		c.wantQuit(idl.CloseFlood)
		if len(g.Bans()) != 1 {
			t.Error("the address is not banned")
		}
		c.Closed()
	})
}

// A user's limit is for all sessions of his, and for nobody else's.
func TestUsersLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, limits.Options{UserFrames: 1, UserSessions: 2})
		w := newWorld(t, session.Options{Limits: g})
		a, b := w.live(idl.CodecProtobuf, false), w.live(idl.CodecProtobuf, false)
		for i := range uint32(5) {
			a.send(heartbeat(i+10), false)
			a.want(idl.ActionHeartbeat, i+10)
		}
		b.send(heartbeat(20), false)
		b.wantRefusal(idl.CodeRateLimited, 20)
		b.send(frame.Frame{Action: idl.ActionQuit}, false) // leaving is never refused
		b.wantQuit(idl.CloseBye)
		b.Closed()
		c := w.live(idl.CodecProtobuf, false) // there is room again
		d := w.open()
		d.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 1}, false)
		call := d.oneCall(idl.ActionAuth)
		w.hub.Reply(session.Reply{Session: call.Session, Action: call.Action, Sequence: 1, Bind: &session.Identity{User: 5}})
		out := d.line.take()
		if reason, _ := d.line.closed(); len(out) != 2 || reason != idl.CloseOverloaded {
			t.Fatalf("a third session: got %+v, %v, want it closed as too many", out, reason)
		}
		for _, c := range []*client{a, c, d} {
			c.Closed()
		}
	})
}

// Sign-ins that fail close their connection, and hold up their address.
func TestFailedSignIns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, limits.Options{AuthFailures: 10})
		w := newWorld(t, session.Options{Limits: g, AuthFailures: 5})
		fail := func(c *client, sequence uint32, code idl.Code) {
			t.Helper()
			action := idl.ActionSignIn
			if sequence%2 == 0 {
				action = idl.ActionSignInExternal
			}
			c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: action, Sequence: sequence}, false)
			call := c.oneCall(action)
			body, err := (&wirepb.Error{Code: code}).Marshal(nil)
			if err != nil {
				t.Fatal(err)
			}
			c.hub.Reply(session.Reply{Session: call.Session, Action: idl.ActionError, Sequence: sequence, Body: body})
		}
		for range 2 {
			c := w.openFrom(g)
			fail(c, 1, idl.CodeUnavailable) // not the client's fault
			c.wantRefusal(idl.CodeUnavailable, 1)
			for i := range uint32(4) {
				fail(c, i+2, idl.CodeBadCredentials)
				c.wantRefusal(idl.CodeBadCredentials, i+2)
			}
			fail(c, 9, idl.CodeUnauthenticated)
			if out := c.line.take(); len(out) != 2 || out[0].Action != idl.ActionError || out[1].Action != idl.ActionQuit {
				t.Fatalf("got %+v, want the refusal, then Quit", out)
			}
			c.Closed()
		}
		c := w.openFrom(g)
		fail(c, 1, idl.CodeBadCredentials) // the eleventh
		c.wantRefusal(idl.CodeBadCredentials, 1)
		c.send(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionAuth, Sequence: 2}, false)
		c.wantRefusal(idl.CodeRateLimited, 2)
		if calls := c.core.take(); len(calls) > 0 {
			t.Fatalf("the core was asked: %+v", calls)
		}
		c.send(heartbeat(3), false) // only signing in has to wait
		c.want(idl.ActionHeartbeat, 3)
		time.Sleep(6 * time.Second)
		fail(c, 4, idl.CodeBadCredentials)
		c.wantRefusal(idl.CodeBadCredentials, 4)
		c.Closed()
	})
}
