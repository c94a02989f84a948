package rpc_test

import (
	"context"
	"runtime"
	"testing"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

// Of calls with long replies only so many are under way for one edge; the next begins when
// a reply has left, short ones and other edges wait for none of them.
func TestLongRepliesTakeTurns(t *testing.T) {
	most := 4 * runtime.GOMAXPROCS(0)
	begun, answer := make(chan uint64, 4*most), make(chan struct{})
	h := open(t, func(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		if call.Action == idl.ActionSync {
			begun <- call.Session.Session
			<-answer
		}
		return dispatch.Reply{Action: call.Action, Body: body}
	}, nil)
	sync := func(session uint64) *corepb.Call {
		c := call(session, "page")
		c.Action = uint32(idl.ActionSync)
		return c
	}
	e := h.link("edge-a", 1)
	up := &corepb.Uplink{}
	for n := range 2 * most {
		up.Calls = append(up.Calls, sync(uint64(n+1)))
	}
	e.send(up)
	for range most {
		<-begun
	}
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1000, "short")}})
	if r := e.replies(1); string(r[0].Body) != "short" {
		t.Fatalf("answered %q, want the short one", r[0].Body)
	}
	other := h.link("edge-b", 1)
	other.send(&corepb.Uplink{Calls: []*corepb.Call{sync(1)}})
	<-begun
	if len(begun) > 0 {
		t.Errorf("%d more than %d long replies of one edge are being made", len(begun), most)
	}
	for range most {
		answer <- struct{}{} // one leaves, and another begins
		<-begun
	}
	close(answer)
	replied := len(e.replies(2 * most))
	if other.replies(1); replied != 2*most {
		t.Errorf("%d answers, want %d", replied, 2*most)
	}
}

// Who waits with a long reply when the link ends is not begun, and the core closes.
func TestLinkEndsBeforeLongReplies(t *testing.T) {
	most := 4 * runtime.GOMAXPROCS(0)
	begun, answer := make(chan struct{}, 4*most), make(chan struct{})
	h := open(t, func(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		begun <- struct{}{}
		<-answer
		return dispatch.Reply{Action: call.Action, Body: body}
	}, nil)
	e := h.link("edge-a", 1)
	up := &corepb.Uplink{}
	for n := range most + 5 {
		c := call(uint64(n+1), "page")
		c.Action = uint32(idl.ActionSync)
		up.Calls = append(up.Calls, c)
	}
	e.send(up)
	for range most {
		<-begun
	}
	second := h.link("edge-a", 2) // it displaces the first
	e.ended()
	close(answer)
	second.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "again")}})
	second.replies(1)
	<-begun
	h.Close() // waits for what is under way
	if len(begun) > 0 {
		t.Errorf("%d were begun though their link has ended", len(begun))
	}
}
