package rpc_test

import (
	"context"
	"fmt"
	"testing"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/core/rpc"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

// Calls that follow each other begin in their order, each when the one before is placed
// or answered; those of other sessions wait for none of them.
func TestCallsThatFollow(t *testing.T) {
	begun, placed, answer := make(chan string, 8), make(chan struct{}), make(chan struct{})
	h := open(t, func(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		begun <- string(body)
		if call.Session.Session == 1 {
			<-placed
			call.Placed()
			call.Placed() // again: nothing happens
			<-answer
		}
		return dispatch.Reply{Action: call.Action, Body: body}
	}, nil)
	e := h.link("edge-a", 1)
	up := &corepb.Uplink{Calls: []*corepb.Call{call(1, "a"), call(1, "b"), call(1, "c"), call(2, "other")}}
	up.Calls[1].Follows, up.Calls[2].Follows = true, true
	up.Calls[3].Follows = true // of another session: it follows nothing
	e.send(up)
	if got := map[string]bool{<-begun: true, <-begun: true}; !got["a"] || !got["other"] {
		t.Fatalf("began %v, want a and other", got)
	}
	for _, want := range []string{"b", "c"} {
		placed <- struct{}{}
		if got := <-begun; got != want {
			t.Fatalf("began %q, want %q", got, want)
		}
	}
	placed <- struct{}{}
	close(answer)
	e.replies(4)
}

// What follows a call that is refused for lack of room is refused too.
func TestBusyForThoseThatFollow(t *testing.T) {
	begun, answer := make(chan struct{}, 8), make(chan struct{})
	h := open(t, func(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		begun <- struct{}{}
		<-answer
		return dispatch.Reply{Action: call.Action, Body: body}
	}, func(o *rpc.Options) { o.InFlight = 1 })
	e := h.link("edge-a", 1)
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "a")}})
	<-begun
	up := &corepb.Uplink{}
	for n := range 3 {
		up.Calls = append(up.Calls, call(2, fmt.Sprint(n)))
		up.Calls[n].Follows = n > 0
	}
	e.send(up)
	for _, r := range e.replies(3) {
		if no := code(t, r); no.Code != idl.CodeUnavailable {
			t.Errorf("got %v, want UNAVAILABLE", no.Code)
		}
	}
	close(answer)
	e.replies(1)
}

// A call whose handler panics before it has its place, or that is refused, is answered,
// and the next begins all the same.
func TestPanicBeforeThoseThatFollow(t *testing.T) {
	h := open(t, func(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		if string(body) == "0" {
			panic("as asked")
		}
		return dispatch.Reply{Action: call.Action, Body: body}
	}, nil)
	e := h.link("edge-a", 1)
	up := &corepb.Uplink{}
	for n := range 3 {
		up.Calls = append(up.Calls, call(1, fmt.Sprint(n)))
		up.Calls[n].Follows = n > 0
	}
	e.send(up)
	all := e.replies(3)
	if no := code(t, all[0]); no.Code != idl.CodeInternal {
		t.Errorf("got %v, want INTERNAL", no.Code)
	}
	for n, r := range all[1:] {
		if string(r.Body) != fmt.Sprint(n+1) {
			t.Errorf("call %d is answered with %q", n+1, r.Body)
		}
	}
}

// What follows a call is not begun when its link has ended meanwhile: the edge has refused
// it, and the client sends it again.
func TestLinkEndsBeforeThoseThatFollow(t *testing.T) {
	begun, ended := make(chan string, 8), make(chan struct{})
	h := open(t, func(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		begun <- string(body)
		if string(body) == "a" {
			<-ended
		}
		return dispatch.Reply{Action: call.Action, Body: body}
	}, nil)
	e := h.link("edge-a", 1)
	up := &corepb.Uplink{Calls: []*corepb.Call{call(1, "a"), call(1, "b")}}
	up.Calls[1].Follows = true
	e.send(up)
	<-begun
	second := h.link("edge-a", 2) // it displaces the first
	e.ended()
	close(ended)
	second.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, "again")}})
	second.replies(1)
	h.Close() // waits for what is under way
	close(begun)
	var all []string
	for body := range begun {
		all = append(all, body)
	}
	if len(all) != 1 || all[0] != "again" {
		t.Errorf("began %q, want what the new link sent only", all)
	}
}
