package rpc_test

import (
	"context"
	"sync/atomic"
	"testing"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/idl/kitex_gen/corepb"
)

// TestWakes: that a log has grown is told to every edge once, whoever follows it; an edge that links to a core which has told
// others before, and may be older than it, has its clients sync.
func TestWakes(t *testing.T) {
	h := open(t, echo, nil)
	a, b := h.link("edge-a", 1), h.link("edge-b", 1)
	h.Wake("g_5", 7)
	for _, e := range []*edge{a, b} {
		if d := e.recv(); len(d.Wakes) != 1 || d.Wakes[0].Log != "g_5" || d.Wakes[0].Seq != 7 {
			t.Errorf("got %+v", d)
		}
	}
	c := h.dial("edge-c", 1)
	c.send(&corepb.Uplink{})
	if w := c.recv().Welcome; w == nil || !w.Missed {
		t.Errorf("Welcome %+v, want that something was missed", w)
	}
}

// TestFollowsOfReplies: which logs a session follows comes with the reply, also that it follows none; or nothing is said.
func TestFollowsOfReplies(t *testing.T) {
	var follows atomic.Pointer[[]plugin.Followed]
	h := open(t, func(_ context.Context, c *plugin.Call, _ []byte) dispatch.Reply {
		return dispatch.Reply{Action: c.Action, Follows: *follows.Load()}
	}, nil)
	e := h.link("edge-a", 1)
	for i, want := range [][]plugin.Followed{nil, {}, {{Log: "g_5", Seq: 7}, {Log: "g_6", Seq: 0}}} {
		follows.Store(&want)
		e.send(&corepb.Uplink{Calls: []*corepb.Call{call(uint64(i+1), "x")}})
		got := e.replies(1)[0].Follows
		switch {
		case want == nil && got == nil:
		case want == nil || got == nil || len(got.Logs) != len(want):
			t.Errorf("got %+v, want %+v", got, want)
		default:
			for j, f := range want {
				if got.Logs[j] != string(f.Log) || got.Seqs[j] != f.Seq {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		}
	}
}
