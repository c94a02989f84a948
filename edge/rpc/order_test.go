package rpc_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/edge/frame"
	"freeim/edge/limits"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// ledger is a store that several cores share: it notes what was committed, once each and
// in order.
type ledger struct {
	mu    sync.Mutex     // guards place
	place map[string]int // by body
}

func (l *ledger) commit(body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, again := l.place[body]; !again {
		l.place[body] = len(l.place)
	}
}

// committed returns a copy of what is committed so far: bodies and their places.
func (l *ledger) committed() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.place)
}

// serve is the dispatcher of each of the cores: it binds by Auth, and of messages it
// refuses some, commits the others, and takes its time.
func (l *ledger) serve(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply {
	pause := func() {
		if rand.N(20) == 0 {
			select {
			case <-time.After(rand.N(3 * time.Millisecond)):
			case <-ctx.Done():
			}
		}
	}
	if call.Action == idl.ActionAuth {
		return dispatch.Reply{Action: call.Action, Bound: &plugin.Identity{User: im.UserID(call.Session.Session), Device: "phone", Since: time.Now()}}
	}
	pause()
	if rand.N(100) == 0 {
		no, err := idl.Append(nil, call.Codec, &wirepb.Error{Code: idl.CodePermissionDenied})
		if err != nil {
			panic(err)
		}
		return dispatch.Reply{Action: idl.ActionError, Body: no}
	}
	if ctx.Err() == nil {
		l.commit(string(body))
		call.Placed()
	}
	pause()
	return dispatch.Reply{Action: call.Action, Body: body}
}

// talker is a client that sends messages ahead of their answers.
type talker struct {
	*session.Session
	t       *testing.T
	changed chan struct{} // has a token after each answer

	mu       sync.Mutex // guards the fields below
	answered uint32     // the sequence answered last
	acked    []uint32   // in the order of the answers
}

// Send implements session.Transport.
func (c *talker) Send(p []byte, _ bool) bool {
	var d frame.Decoder
	err := d.Feed(p, 1<<20, func(f frame.Frame) error {
		if f.Sequence == 0 {
			return nil // a push: it should sync
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if f.Sequence != c.answered+1 {
			c.t.Errorf("%d is answered after %d", f.Sequence, c.answered)
		}
		c.answered = f.Sequence
		if f.Action != idl.ActionError {
			c.acked = append(c.acked, f.Sequence)
		}
		select {
		case c.changed <- struct{}{}:
		default:
		}
		return nil
	})
	if err != nil {
		c.t.Error(err)
	}
	return true
}

func (c *talker) Broadcast([]byte, session.Waiter) bool { return true }
func (c *talker) Behind(session.Waiter) bool            { return false }
func (c *talker) Cork()                                 {}
func (c *talker) Uncork()                               {}
func (c *talker) Wire(idl.Codec, bool) session.Wire     { return session.WireProtobuf }
func (c *talker) Address() string                       { return "192.0.2.1:7" }
func (c *talker) Kind() string                          { return "fake" }
func (c *talker) Peer() *limits.Peer                    { return nil }

// Close implements session.Transport: nobody should be closed.
func (c *talker) Close(reason idl.CloseReason, message string, _ []byte, _ bool) {
	if reason != idl.CloseShutdown {
		c.t.Errorf("closed with %v: %s", reason, message)
	}
}

// passed reports whether Auth is answered.
func (c *talker) passed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered > 0
}

// until waits until all but most of the sequences up to last are answered.
func (c *talker) until(last, most uint32) {
	for late := time.After(time.Minute); ; {
		c.mu.Lock()
		left := last - c.answered
		c.mu.Unlock()
		if left <= most {
			return
		}
		select {
		case <-c.changed:
		case <-late:
			c.t.Errorf("%d of %d are not answered", left, last)
			return
		}
	}
}

// talk sends until it is over, a few at once and up to 20 ahead of their answers. The body
// names the session and the sequence, and some are long.
func (c *talker) talk(name int, over *atomic.Bool, sent *atomic.Int64) {
	say := func(n uint32, a idl.Action, body string) {
		if err := c.Gather(frame.Frame{Codec: idl.CodecProtobuf, Action: a, Sequence: n, Body: []byte(body)}, false); err != nil {
			c.t.Error(err)
		}
	}
	say(1, idl.ActionAuth, "")
	c.until(1, 0)
	last := uint32(1)
	for !over.Load() {
		c.until(last, 20)
		for range 1 + rand.N(8) {
			last++
			say(last, idl.ActionMessage, fmt.Sprint(name, "/", last, "/", strings.Repeat("x", rand.N(2)*rand.N(3000))))
			sent.Add(1)
		}
		c.Flush()
	}
	c.until(last, 0)
}

// TestOrderOfJoints: sessions send ahead of their answers while links to several cores are
// cut, freeze and thaw, and cores are drained and killed. All is answered once and in
// order, and what is acknowledged is committed in the order in which each session sent it.
func TestOrderOfJoints(t *testing.T) {
	for _, cores := range []int{1, 3} {
		t.Run(fmt.Sprint(cores, " cores"), func(t *testing.T) { orderOfJoints(t, cores) })
	}
}

func orderOfJoints(t *testing.T, cores int) {
	const sessions = 40
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	registry, book := newShared(), &ledger{place: map[string]int{}}
	addresses, lives, proxies := make([]string, cores), make([]*core, cores), make([]*proxy, cores)
	var dials []string
	for i := range cores {
		addresses[i] = newAddress(t)
		lives[i] = startNode(t, addresses[i], registry, book.serve, nil)
		proxies[i] = newProxy(t, addresses[i])
		dials = append(dials, proxies[i].address())
	}
	l, err := rpc.New(rpc.Options{Cores: dials, EdgeID: "edge-a", Epoch: 7, Log: quietLog(), Silence: 100 * time.Millisecond,
		Backoff: func(int) time.Duration { return 5 * time.Millisecond }})
	if err != nil {
		t.Fatal(err)
	}
	hub, err := session.New(session.Options{Core: l, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	l.Start(hub)
	t.Cleanup(l.Close)
	ready(t, l, true)
	var over atomic.Bool
	var sent atomic.Int64
	var talking sync.WaitGroup
	talkers := make([]*talker, sessions)
	for i := range talkers {
		c := &talker{t: t, changed: make(chan struct{}, 1)}
		c.Session = hub.Open(c)
		talkers[i] = c
		talking.Go(func() { c.talk(i, &over, &sent) })
	}
	for _, c := range talkers {
		poll(t, "Auth, before anything goes wrong", c.passed)
	}
	for round := range rounds {
		i, upTo := round%cores, sent.Load()+2000
		switch rand.N(5) {
		case 0:
			proxies[i].cut()
		case 1:
			proxies[i].freeze(true)
			poll(t, "silence, or calls to other cores", func() bool { return cores == 1 || sent.Load() > upTo })
			proxies[i].freeze(false)
		case 2:
			if err := lives[i].Drain(t.Context()); err != nil {
				t.Error(err)
			}
			fallthrough
		case 3:
			lives[i].Server.Close()
			lives[i] = startNode(t, addresses[i], registry, book.serve, nil)
		}
		poll(t, "messages sent", func() bool { return sent.Load() > upTo })
	}
	over.Store(true)
	talking.Wait()
	acked, committed := 0, book.committed() // a core may still be at calls of a link that was cut
	for i, c := range talkers {
		acked += c.inOrder(i, committed)
		c.Closed()
	}
	t.Logf("%d sent, %d acknowledged, %d committed", sent.Load(), acked, len(committed))
}

// inOrder holds what is acknowledged against what was committed, and returns the number of
// messages acknowledged.
func (c *talker) inOrder(name int, committed map[string]int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	places := map[uint32]int{}
	for body, at := range committed {
		var who int
		var n uint32
		if _, err := fmt.Sscanf(body, "%d/%d/", &who, &n); err != nil {
			c.t.Fatal(err)
		}
		if who == name {
			places[n] = at
		}
	}
	if len(c.acked) == 0 || c.acked[0] != 1 {
		c.t.Fatalf("session %d did not pass Auth", name)
	}
	last := -1
	for _, n := range c.acked[1:] {
		at, found := places[n]
		if !found {
			c.t.Errorf("session %d: %d is acknowledged and was not committed", name, n)
		}
		if at < last {
			c.t.Errorf("session %d: %d was committed before one that was sent before it", name, n)
		}
		last = max(last, at)
	}
	return len(c.acked) - 1
}
