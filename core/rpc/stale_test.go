package rpc

import (
	"context"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

// noting is a Dispatcher that notes what it was asked.
type noting chan string

func (n noting) Do(_ context.Context, call *plugin.Call, body []byte) dispatch.Reply {
	n <- string(body)
	return dispatch.Reply{Action: call.Action}
}

func (noting) Actions() []plugin.Spec { return nil }

// What has waited for too long for a call that it follows is refused, with all behind it,
// and not begun; what was in time is begun.
func TestStale(t *testing.T) {
	for _, row := range []struct {
		name string
		ago  time.Duration
		want int // replies that are refusals
	}{{"in time", stale / 2, 0}, {"too late", stale + time.Second, 2}} {
		t.Run(row.name, func(t *testing.T) {
			asked := make(noting, 8)
			s := &Server{options: Options{InFlight: 8}, dispatcher: asked, work: t.Context(), tasks: make(chan task), exit: make(chan error)}
			defer close(s.exit)
			l := newLink(&edge{id: "edge-a"}, 1, 1<<20)
			l.out.held = false
			calls := []*corepb.Call{{Session: 1, Body: []byte("a")}, {Session: 1, Body: []byte("b"), Follows: true}, {Session: 1, Body: []byte("c"), Follows: true}}
			s.handle(task{l, calls, time.Now().Add(-row.ago)})
			refused := 0
			for got := 0; got < len(calls); {
				<-l.out.wake
				for _, b := range l.out.take() {
					got += len(b.Replies)
					for _, r := range b.Replies {
						if r.Action == uint32(idl.ActionError) {
							refused++
						}
					}
				}
			}
			if refused != row.want || len(asked) != len(calls)-row.want {
				t.Errorf("%d were refused and %d begun, want %d refused", refused, len(asked), row.want)
			}
		})
	}
}
