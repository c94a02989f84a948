package session_test

import (
	"slices"
	"testing"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// TestDeliverTogether: what comes at once is corked, in order, and let go.
func TestDeliverTogether(t *testing.T) {
	w := newWorld(t, session.Options{})
	a, b, fresh := w.live(idl.CodecJSON, false), w.live(idl.CodecProtobuf, false), w.open()
	a.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
	call := a.oneCall(idl.ActionMessage)
	fresh.send(frame.Frame{Action: idl.ActionAuth, Sequence: 1}, false)
	auth := fresh.oneCall(idl.ActionAuth)
	welcome := answer(auth)
	welcome.Bind = &session.Identity{User: 6, Device: "d"}
	push := session.Push{Action: idl.ActionSync, Sessions: []session.ID{a.id, b.id, auth.Session, 1_000_000}}
	stray := answer(call)
	stray.Session = 1_000_000
	w.hub.Deliver(session.Delivery{
		Replies: []session.Reply{answer(call), welcome, stray},
		Pushes:  []session.Push{push, push},
		Kicks:   []session.Kick{{Sessions: []session.ID{b.id}, Reason: idl.CloseKicked}},
	})
	for _, row := range []struct {
		name string
		to   *client
		want []idl.Action
	}{
		{"reply and pushes", a, []idl.Action{idl.ActionMessage, idl.ActionSync, idl.ActionSync}},
		{"pushes and kick", b, []idl.Action{idl.ActionSync, idl.ActionSync, idl.ActionQuit}},
		{"bound by it", fresh, []idl.Action{idl.ActionAuth, idl.ActionSync, idl.ActionSync}},
	} {
		var got []idl.Action
		for _, f := range row.to.line.take() {
			got = append(got, f.Action)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, got, row.want)
		}
		if left, ever := row.to.line.corksNow(); left != 0 || ever == 0 {
			t.Errorf("%s: corked %d times, %d left", row.name, ever, left)
		}
	}
}

// TestDeliverAloneIsNotHeldUp: a single thing has nothing to wait for.
func TestDeliverAloneIsNotHeldUp(t *testing.T) {
	w := newWorld(t, session.Options{})
	c := w.live(idl.CodecJSON, false)
	c.send(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false)
	w.hub.Deliver(session.Delivery{Replies: []session.Reply{answer(c.oneCall(idl.ActionMessage))}})
	w.hub.Deliver(session.Delivery{Pushes: []session.Push{{Action: idl.ActionSync, Sessions: []session.ID{c.id}}}})
	if _, ever := c.line.corksNow(); ever != 0 {
		t.Errorf("corked %d times", ever)
	}
}

// TestDeliverToVeryMany: at no time more are corked than a bound allows.
func TestDeliverToVeryMany(t *testing.T) {
	const many = 3000
	w := newWorld(t, session.Options{})
	var clients []*client
	push := session.Push{Action: idl.ActionSync}
	for range many {
		c := w.live(idl.CodecJSON, false)
		clients, push.Sessions = append(clients, c), append(push.Sessions, c.id)
	}
	w.hub.Deliver(session.Delivery{Pushes: []session.Push{push, push}})
	for i, c := range clients {
		if got := len(c.line.take()); got != 2 {
			t.Fatalf("session %d: got %d pushes, want 2", i, got)
		}
		if left, ever := c.line.corksNow(); left != 0 || ever != 2 {
			t.Fatalf("session %d: corked %d times, %d left", i, ever, left)
		}
	}
}
