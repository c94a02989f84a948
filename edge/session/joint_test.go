package session_test

import (
	"slices"
	"testing"

	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/edge/session"
	"freeim/idl"
)

// gather is what a client has said at once: messages with these sequences.
func (c *client) gather(sequences ...uint32) {
	c.Helper()
	for _, n := range sequences {
		if err := c.Gather(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionMessage, Sequence: n, Body: []byte{byte(n)}}, false); err != nil {
			c.Fatal(err)
		}
	}
	c.Flush()
}

func (c *client) answered() (sequences []uint32) {
	for _, f := range c.line.take() {
		sequences = append(sequences, f.Sequence)
	}
	return sequences
}

func joining(t *testing.T, o session.Options) *client {
	w := newWorld(t, o)
	w.core.joins = true
	return w.live(idl.CodecProtobuf, false)
}

func sequences(calls []session.Call) (all []uint32) {
	for _, call := range calls {
		all = append(all, call.Sequence)
	}
	return all
}

func wantSequences(t *testing.T, what string, got []uint32, want ...uint32) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// What has come at once goes up at once, in order; the answers leave in that order too,
// whichever comes first, and then what has come meanwhile goes up.
func TestJoint(t *testing.T) {
	c := joining(t, session.Options{})
	c.gather(2, 3, 4)
	calls := c.core.take()
	wantSequences(t, "calls", sequences(calls), 2, 3, 4)
	for i, call := range calls {
		if len(call.Body) != 1 || call.Body[0] != byte(i+2) {
			t.Errorf("call %d has the body %v", i, call.Body)
		}
	}
	c.gather(5)
	c.gather(6)
	c.hub.Reply(answer(calls[1]))
	c.wantNothing()
	c.hub.Reply(answer(calls[1])) // doubled
	c.hub.Reply(answer(calls[0]))
	wantSequences(t, "answers", c.answered(), 2, 3)
	if calls := c.core.take(); len(calls) > 0 {
		t.Fatalf("went up before all were answered: %v", sequences(calls))
	}
	c.hub.Reply(answer(calls[2]))
	wantSequences(t, "answers", c.answered(), 4)
	calls = c.core.take()
	wantSequences(t, "calls that came meanwhile", sequences(calls), 5, 6)
	c.hub.Reply(answer(calls[0]))
	c.hub.Reply(answer(calls[1]))
	wantSequences(t, "answers", c.answered(), 5, 6)
}

// A joint ends before what may not be joined, and before a sequence that it has.
func TestJointEnds(t *testing.T) {
	c := joining(t, session.Options{})
	for _, f := range []frame.Frame{
		{Action: idl.ActionMessage, Sequence: 2}, {Action: idl.ActionMessage, Sequence: 3},
		{Action: idl.ActionHeartbeat, Sequence: 4},
		{Action: idl.ActionMessage, Sequence: 5}, {Action: idl.ActionMessage, Sequence: 6}, {Action: idl.ActionMessage, Sequence: 5},
		{Action: idl.ActionSync, Sequence: 7}, {Action: idl.ActionMessage, Sequence: 8},
	} {
		if err := c.Gather(f, false); err != nil {
			t.Fatal(err)
		}
	}
	c.Flush()
	for _, want := range [][]uint32{{2, 3}, {5, 6}, {5}, {7}, {8}} {
		calls := c.core.take()
		wantSequences(t, "calls", sequences(calls), want...)
		for _, call := range calls {
			c.hub.Reply(answer(call))
		}
	}
	wantSequences(t, "answers", c.answered(), 2, 3, 4, 5, 6, 5, 7, 8)
	var many []uint32
	for n := range uint32(100) {
		many = append(many, n+1)
	}
	c.gather(many...)
	for done := 0; done < len(many); {
		calls := c.core.take()
		if len(calls) != min(32, len(many)-done) {
			t.Fatalf("%d calls at once after %d", len(calls), done)
		}
		for _, call := range calls {
			c.hub.Reply(answer(call))
		}
		done += len(calls)
	}
	wantSequences(t, "answers", c.answered(), many...)
}

// Calls that no link takes together go up one by one.
func TestJointAlone(t *testing.T) {
	c := joining(t, session.Options{})
	c.core.apart = true
	c.gather(2, 3, 4)
	for _, n := range []uint32{2, 3, 4} {
		call := c.oneCall(idl.ActionMessage)
		wantSequences(t, "call", []uint32{call.Sequence}, n)
		c.hub.Reply(answer(call))
	}
	wantSequences(t, "answers", c.answered(), 2, 3, 4)
}

// A frame that the edge refuses is answered in its turn, and the others go up.
func TestJointWithRefusals(t *testing.T) {
	g := newGuard(t, limits.Options{UserFrames: 3})
	c := joining(t, session.Options{Limits: g})
	c.gather(2, 3, 4)
	for _, call := range c.core.take() {
		c.hub.Reply(answer(call))
	}
	c.line.take()
	var many []uint32
	for n := range uint32(30) {
		many = append(many, n+2)
	}
	for c.gather(many...); ; {
		calls := c.core.take()
		if len(calls) == 0 {
			break
		}
		for _, call := range slices.Backward(calls) {
			c.hub.Reply(answer(call))
		}
	}
	refused := 0
	for i, f := range c.line.take() {
		if f.Sequence != uint32(i+2) {
			t.Errorf("answer %d is to %d", i, f.Sequence)
		}
		if f.Action == idl.ActionError {
			refused++
		}
	}
	if refused < 10 { // five seconds' worth passes
		t.Errorf("%d of %d were refused, want 10 or more", refused, len(many))
	}
}

// A session that ends or drains with a joint at the core, or held, leaves nothing.
func TestJointAtTheEnd(t *testing.T) {
	c := joining(t, session.Options{})
	c.gather(2, 3)
	calls := c.core.take()
	c.Closed()
	for _, call := range calls {
		c.hub.Reply(answer(call))
	}
	c.wantNothing()

	c = joining(t, session.Options{})
	if err := c.Gather(frame.Frame{Action: idl.ActionMessage, Sequence: 2}, false); err != nil {
		t.Fatal(err)
	}
	c.Closed()
	c.Flush()
	if calls := c.core.take(); len(calls) > 0 {
		t.Errorf("went up after the end: %v", sequences(calls))
	}
}
