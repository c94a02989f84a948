package rpc_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"
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
	mu.Lock()
	defer mu.Unlock()
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

// Of calls that a silent core was never sent the first is answered by another core, and those
// that follow it go back to the hub: by themselves they could get ahead.
func TestUnsentTogether(t *testing.T) {
	first := startNode(t, newAddress(t), newShared(), named("first"), nil)
	second := startNode(t, newAddress(t), newShared(), named("second"), nil)
	p := newProxy(t, first.address)
	h := newHub()
	l := startLinks(t, h, func(o *rpc.Options) { o.Silence = time.Second }, p.address(), second.address)
	reaches(t, h, l, "first")
	reaches(t, h, l, "second")
	p.freeze(true)
	const sessions, each = 400, 3
	for s := range session.ID(sessions) {
		var calls []session.Call
		for n := range uint32(each) {
			c := message(s+1, strings.Repeat("x", 100<<10/each)) // far more than all windows hold
			c.Sequence = n
			calls = append(calls, c)
		}
		if !l.CallTogether(calls) {
			t.Fatal("not taken")
		}
	}
	counts := map[string]int{}
	for s := range session.ID(sessions) {
		h.reply(t, s+1, each)
		var got [each]string
		for _, r := range h.replies[s+1] {
			switch {
			case r.Unsent:
				got[r.Sequence] = "unsent"
			case r.Action == idl.ActionError:
				unavailable(t, r)
				got[r.Sequence] = "refused"
			default:
				got[r.Sequence] = string(r.Body)
			}
		}
		counts[strings.Join(got[:], " ")]++
	}
	whole, sent, moved := counts["second second second"], counts["refused refused refused"], counts["second unsent unsent"]
	if whole == 0 || sent == 0 || moved == 0 || whole+sent+moved != sessions {
		t.Errorf("got answers %v", counts)
	}
}
