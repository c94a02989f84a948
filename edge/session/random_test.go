package session_test

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"freeim/edge/frame"
	"freeim/edge/session"
	"freeim/idl"
)

// crowdCore answers every call from one of a few goroutines, like rpc does, and
// checks that no session has two calls with it at a time but those that came together.
type crowdCore struct {
	fakeCore
	t     *testing.T
	hub   *session.Hub
	queue chan crowdCall // room for every call there can be: Call must not block
	done  chan struct{}  // closed when no session is left; a frame may still be on its way here

	mu    sync.Mutex // guards the fields below
	busy  map[session.ID]int
	bound map[session.ID]bool
	last  map[session.ID]uint32
}

func (c *crowdCore) Call(call session.Call) { c.take([]session.Call{call}) }

func (c *crowdCore) CallTogether(calls []session.Call) bool {
	if rand.IntN(4) == 0 {
		return false
	}
	if rand.IntN(4) == 0 { // it turns out that they were not sent
		for _, call := range calls[1:] {
			c.put(crowdCall{call, true})
		}
		calls = calls[:1]
	}
	c.take(slices.Clone(calls))
	return true
}

// crowdCall is a call to be answered, or to be said not to be sent.
type crowdCall struct {
	session.Call
	unsent bool
}

func (c *crowdCore) take(calls []session.Call) {
	c.mu.Lock()
	if c.busy[calls[0].Session] > 0 {
		c.t.Errorf("session %d has two calls at the core", calls[0].Session)
	}
	c.busy[calls[0].Session] += len(calls)
	c.mu.Unlock()
	for _, call := range calls {
		c.enqueue(call)
	}
}

func (c *crowdCore) enqueue(call session.Call) {
	c.mu.Lock()
	if call.Action == idl.ActionMessage {
		if call.Sequence <= c.last[call.Session] {
			c.t.Errorf("session %d: %d after %d", call.Session, call.Sequence, c.last[call.Session])
		}
		c.last[call.Session] = call.Sequence
	}
	c.mu.Unlock()
	c.put(crowdCall{call, false})
}

func (c *crowdCore) put(call crowdCall) {
	select {
	case c.queue <- call:
	case <-c.done:
	}
}

func (c *crowdCore) serve() {
	for {
		select {
		case call := <-c.queue:
			c.reply(call)
		case <-c.done:
			return
		}
	}
}

func (c *crowdCore) reply(call crowdCall) {
	if call.unsent {
		c.hub.Reply(unsent(call.Call))
		return
	}
	r := answer(call.Call)
	c.mu.Lock()
	c.busy[call.Session]--
	if call.Action == idl.ActionAuth {
		r.Bind = &session.Identity{User: int64(call.Session)}
		c.bound[call.Session] = true
	}
	c.mu.Unlock()
	c.hub.Reply(r)
	if r.Bind == nil && rand.IntN(50) == 0 {
		c.hub.Reply(r) // a double, which must change nothing
	}
}

// TestManyThingsAtOnce lets sessions come, talk, stall and go while replies,
// pushes and kicks arrive, and counts in the end: every bound session is gone
// once, and nothing is left.
func TestManyThingsAtOnce(t *testing.T) {
	const clients, lives = 32, 40
	core := &crowdCore{
		t: t, queue: make(chan crowdCall, clients*lives*64), done: make(chan struct{}), busy: make(map[session.ID]int),
		bound: make(map[session.ID]bool), last: make(map[session.ID]uint32),
	}
	core.joins = true
	hub, err := session.New(session.Options{Core: core, Log: slog.New(slog.DiscardHandler), AuthTimeout: 20 * time.Millisecond, Heartbeat: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	core.hub = hub

	var serving, disturbing, living sync.WaitGroup
	for range 4 {
		serving.Go(core.serve)
	}
	stop := make(chan struct{})
	disturbing.Go(func() { disturb(hub, stop) })
	for range clients {
		living.Go(func() {
			for range lives {
				live1(t, hub)
			}
		})
	}
	living.Wait()
	close(stop)
	disturbing.Wait()
	close(core.done)
	serving.Wait()

	for id := range core.bound {
		if got := core.gones(id); got != 1 {
			t.Errorf("session %d: gone %d times, want once", id, got)
		}
	}
	if got := hub.Stats(); got.Sessions != 0 || got.Live != 0 {
		t.Errorf("left over: %+v", got)
	}
}

// disturb pushes to and kicks sessions at random.
func disturb(hub *session.Hub, stop chan struct{}) {
	for i := uint64(0); ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		ids := []session.ID{session.ID(1 + i%2000), session.ID(1 + (i*7)%2000)}
		hub.Push(session.Push{Action: idl.ActionMessage, Sessions: ids, JSON: []byte("{}"), InboxSeqs: []int64{1, 2}})
		switch {
		case i%64 == 0:
			hub.Kick(ids[:1], idl.CloseKicked, "", 0)
		case i%512 == 1:
			hub.Resync()
			hub.Live(func(session.ID, session.Identity, idl.Codec) bool { return true })
		}
	}
}

// live1 is one session's life, as a gateway drives it.
func live1(t *testing.T, hub *session.Hub) {
	line := new(fakeTransport)
	s := hub.Open(line)
	s.Receive(frame.Frame{Action: idl.ActionAuth, Sequence: 1}, false)
	for i := range uint32(rand.IntN(60)) {
		action := idl.ActionMessage
		if i%5 == 0 {
			action = idl.ActionHeartbeat
		}
		if i%7 == 0 {
			s.Flush()
		}
		if err := s.Gather(frame.Frame{Action: action, Sequence: i + 2, Body: []byte("{}")}, i%3 == 0); err != nil {
			fault, ok := errors.AsType[*frame.CloseError](err)
			if !ok {
				t.Errorf("receive: %v", err)
			}
			s.Fail(fault)
		}
		if i == 40 && rand.IntN(4) == 0 {
			line.fill()
		}
	}
	s.Closed()
	if _, n := line.closed(); n > 1 {
		t.Errorf("closed %d times", n)
	}
}

// BenchmarkFind is what a push needs of the hub's table: one of 100,000 sessions
// by ID, from every processor, while one in a hundred finds a connect and a
// closing in its way.
func BenchmarkFind(b *testing.B) {
	hub, err := session.New(session.Options{Core: new(fakeCore), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer hub.Close()
	for range 100_000 {
		hub.Open(deafTransport{})
	}
	b.RunParallel(func(pb *testing.PB) {
		ids := make([]session.ID, 1)
		for i := 0; pb.Next(); i++ {
			ids[0] = session.ID(1 + rand.IntN(100_000))
			hub.Push(session.Push{Action: idl.ActionMessage, Sessions: ids})
			if i%100 == 0 {
				hub.Open(deafTransport{}).Closed()
			}
		}
	})
}
