package rpc_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/edge/session"
)

// Calls that go up together begin in their order at the core: the next one when the one
// before is placed, though it is not answered yet, or when it is answered.
func TestCallTogether(t *testing.T) {
	const sessions, each = 50, 8
	var mu sync.Mutex
	begun := map[uint64][]string{}
	last := make(chan struct{}) // closed when all of session 1 have begun
	h := newHub()
	address := newAddress(t)
	startCore(t, address, func(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
		mu.Lock()
		begun[call.Session.Session] = append(begun[call.Session.Session], string(body))
		all := len(begun[1]) == each
		mu.Unlock()
		if call.Session.Session == 1 {
			if all {
				close(last)
			}
			call.Placed()
			<-last // none is answered before all have begun
		}
		return dispatch.Reply{Action: call.Action, Body: body}
	})
	l := startLinks(t, h, nil, address)
	ready(t, l, true)
	for s := range session.ID(sessions) {
		var calls []session.Call
		for n := range each {
			c := message(s+1, fmt.Sprint(n))
			c.Sequence = uint32(n + 1)
			calls = append(calls, c)
		}
		if !l.CallTogether(calls) {
			t.Fatal("the link does not take calls together")
		}
	}
	for s := range session.ID(sessions) {
		h.reply(t, s+1, each)
	}
	for s, bodies := range begun {
		for n, body := range bodies {
			if body != fmt.Sprint(n) {
				t.Fatalf("session %d began %v", s, bodies)
			}
		}
	}
}

// Without a link, or with more than it may have under way, none is taken.
func TestCallTogetherAllOrNone(t *testing.T) {
	h := newHub()
	calls := []session.Call{message(1, "a"), message(1, "b")}
	l := startLinks(t, h, nil, newAddress(t))
	if l.CallTogether(calls) {
		t.Error("taken without a link")
	}
}
