package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/dispatch"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
)

// Calls that begin at about the same time share a deadline that gives each of them
// its timeout, and no call gets one that another has used up.
func TestDeadlinesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 16 * time.Second
		var seen context.Context
		d, err := dispatch.New(dispatch.Options{Timeout: timeout, Specs: spec(
			func(ctx context.Context, _ *plugin.Call, _ *chatpb.SendRequest) (*chatpb.SendReply, error) {
				seen = ctx
				return &chatpb.SendReply{}, nil
			})})
		if err != nil {
			t.Fatal(err)
		}
		parent, stop := context.WithCancel(t.Context())
		defer stop()
		do := func(parent context.Context) context.Context {
			d.Do(parent, &plugin.Call{Action: idl.ActionMessage, User: 1}, nil)
			if at, _ := seen.Deadline(); time.Until(at) < timeout || time.Until(at) > timeout+timeout/16 {
				t.Errorf("got %v, want %v or a sixteenth more", time.Until(at), timeout)
			}
			return seen
		}
		first := do(parent)
		time.Sleep(timeout / 32)
		if do(parent) != first {
			t.Error("two calls at about the same time do not share a context")
		}
		time.Sleep(timeout / 32)
		second := do(parent)
		if second == first {
			t.Error("a call shares a context whose time is over")
		}
		other, end := context.WithCancel(t.Context())
		if do(other); seen == second {
			t.Error("calls of two parents share a context")
		}
		end()
		if seen.Err() == nil || second.Err() != nil {
			t.Errorf("got %v, %v: a context ends with its parent", seen.Err(), second.Err())
		}
		time.Sleep(2 * timeout)
		if second.Err() != context.DeadlineExceeded {
			t.Errorf("got %v, want the deadline", second.Err())
		}
	})
}

// A call costs what decoding and encoding take, and nothing for its deadline.
func TestDoAllocates(t *testing.T) {
	d, err := dispatch.New(dispatch.Options{Specs: spec(echo)})
	if err != nil {
		t.Fatal(err)
	}
	body := encoded(t, idl.CodecProtobuf, &chatpb.SendRequest{Text: "hello"})
	call := &plugin.Call{Action: idl.ActionMessage, Codec: idl.CodecProtobuf, User: 1}
	if n := testing.AllocsPerRun(100, func() { d.Do(t.Context(), call, body) }); n > 5 {
		t.Errorf("got %v allocations, want 3: the request, the reply, its octets", n)
	}
}
