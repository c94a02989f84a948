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

// unsent says that no core has a call.
func unsent(call session.Call) session.Reply {
	return session.Reply{Session: call.Session, Sequence: call.Sequence, Unsent: true}
}

// Calls that turn out not to be sent go up one by one, each when the one before is
// answered, whenever that is heard of.
func TestJointUnsent(t *testing.T) {
	c := joining(t, session.Options{})
	c.gather(2, 3, 4, 5)
	calls := c.core.take()
	c.hub.Reply(unsent(calls[2]))
	c.hub.Reply(unsent(calls[1]))
	c.hub.Reply(unsent(calls[1])) // doubled
	c.hub.Reply(answer(calls[1])) // of a call that nobody has
	if calls := c.core.take(); len(calls) > 0 {
		t.Fatalf("went up before the first was answered: %v", sequences(calls))
	}
	c.hub.Reply(answer(calls[0]))
	wantSequences(t, "answers", c.answered(), 2)
	again := c.oneCall(idl.ActionMessage)
	if again.Sequence != 3 || len(again.Body) != 1 || again.Body[0] != 3 || again.Identity == nil {
		t.Fatalf("went up again as %+v", again)
	}
	c.hub.Reply(answer(again))
	c.hub.Reply(answer(c.oneCall(idl.ActionMessage)))
	wantSequences(t, "answers", c.answered(), 3, 4)
	if calls := c.core.take(); len(calls) > 0 {
		t.Fatalf("went up before it was known to be unsent: %v", sequences(calls))
	}
	c.hub.Reply(unsent(calls[3])) // it is next
	c.hub.Reply(answer(c.oneCall(idl.ActionMessage)))
	wantSequences(t, "answers", c.answered(), 5)
	c.gather(6, 7)
	wantSequences(t, "calls", sequences(c.core.take()), 6, 7)
}

// A session that drains gives up what was not sent: its sender has no answer.
func TestJointUnsentAtTheEnd(t *testing.T) {
	c := joining(t, session.Options{})
	idle := c.live(idl.CodecProtobuf, false)
	c.gather(2, 3, 4)
	calls := c.core.take()
	c.hub.Reply(unsent(calls[1]))
	c.hub.Reply(unsent(calls[2]))
	done := make(chan error, 1)
	go func() { done <- c.hub.Drain(t.Context()) }()
	eventually(t, "the idle session to close", func() bool { _, n := idle.line.closed(); return n > 0 })
	idle.Closed()
	c.hub.Reply(answer(calls[0]))
	wantSequences(t, "the answer, and Quit", c.answered(), 2, 0)
	if calls := c.core.take(); len(calls) > 0 {
		t.Errorf("went up: %v", sequences(calls))
	}
	c.Closed()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Sign-out waits for the messages before it, Quit for their answers; a kick waits for
// nobody, and nothing is answered after it.
func TestJointBeforeTheEnd(t *testing.T) {
	c := joining(t, session.Options{})
	for _, f := range []frame.Frame{
		{Action: idl.ActionMessage, Sequence: 2}, {Action: idl.ActionMessage, Sequence: 3}, {Action: idl.ActionQuit, Sequence: 4},
		{Action: idl.ActionMessage, Sequence: 5},
	} {
		if err := c.Gather(f, false); err != nil {
			t.Fatal(err)
		}
	}
	c.Flush()
	calls := c.core.take()
	wantSequences(t, "calls", sequences(calls), 2, 3)
	if _, n := c.line.closed(); n > 0 {
		t.Fatal("closed before the messages were answered")
	}
	c.hub.Reply(answer(calls[1]))
	c.hub.Reply(answer(calls[0]))
	wantSequences(t, "answers, and Quit", c.answered(), 2, 3, 0)
	if reason, _ := c.line.closed(); reason != idl.CloseBye {
		t.Errorf("closed with %v", reason)
	}

	c = joining(t, session.Options{})
	c.gather(2, 3, 4)
	calls = c.core.take()
	c.gather(5, 6)
	c.hub.Reply(answer(calls[1]))
	c.hub.Kick([]session.ID{c.id}, idl.CloseKicked, "out", 0)
	for _, call := range calls {
		c.hub.Reply(answer(call))
	}
	c.wantQuit(idl.CloseKicked)
	if calls := c.core.take(); len(calls) > 0 {
		t.Errorf("went up after the kick: %v", sequences(calls))
	}
}

// A body that is too large for the action is refused in its turn, wherever it stands.
func TestJointWithLargeBodies(t *testing.T) {
	c := joining(t, session.Options{})
	c.core.most = 8
	large := make([]byte, 9)
	for n, body := range [][]byte{large, nil, large, nil, large} {
		if err := c.Gather(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionMessage, Sequence: uint32(n + 2), Body: body}, false); err != nil {
			t.Fatal(err)
		}
	}
	c.Flush()
	c.wantRefusal(idl.CodeTooLarge, 2)
	calls := c.core.take()
	wantSequences(t, "calls", sequences(calls), 3, 5)
	c.hub.Reply(answer(calls[1]))
	c.wantNothing()
	c.hub.Reply(answer(calls[0]))
	out := c.line.take()
	for i, want := range []idl.Action{idl.ActionMessage, idl.ActionError, idl.ActionMessage, idl.ActionError} {
		if len(out) != 4 || out[i].Action != want || out[i].Sequence != uint32(i+3) {
			t.Fatalf("answers: got %+v", out)
		}
	}
}

// What a joint takes is used again: a message costs the copy of its body, as it does alone.
func TestJointAllocates(t *testing.T) {
	core := &countingCore{}
	hub, err := session.New(session.Options{Core: core})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	s := hub.Open(deafTransport{})
	if err := s.Receive(frame.Frame{Action: idl.ActionAuth, Sequence: 1}, false); err != nil {
		t.Fatal(err)
	}
	hub.Reply(session.Reply{Session: core.calls[0].Session, Action: idl.ActionAuth, Sequence: 1, Bind: &session.Identity{User: 5}})
	core.joins = true
	body := make([]byte, 100)
	const each = 8
	got := testing.AllocsPerRun(1000, func() {
		core.calls = core.calls[:0]
		for n := range uint32(each) {
			if err := s.Gather(frame.Frame{Codec: idl.CodecProtobuf, Action: idl.ActionMessage, Sequence: n + 1, Body: body}, false); err != nil {
				t.Fatal(err)
			}
		}
		s.Flush()
		if len(core.calls) != each {
			t.Fatalf("%d calls at once, want %d", len(core.calls), each)
		}
		for i := range core.calls {
			hub.Reply(session.Reply{Session: core.calls[i].Session, Action: idl.ActionMessage, Sequence: core.calls[i].Sequence, Body: body})
		}
	})
	if got > each && !raceEnabled {
		t.Fatalf("got %v allocations for %d messages, want one for each", got, each)
	}
}

// countingCore keeps the calls of one goroutine.
type countingCore struct {
	fakeCore
	calls []session.Call
}

func (c *countingCore) Call(call session.Call) { c.calls = append(c.calls, call) }

func (c *countingCore) CallTogether(calls []session.Call) bool {
	c.calls = append(c.calls, calls...)
	return true
}
