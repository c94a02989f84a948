package people_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/people"
	"freeim/core/heap"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/edge/room"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/idl/kitex_gen/chatpb"
)

// sink stands for an edge: its sessions are real to the core, which they reach by a real link, and what is pushed to them ends
// here. So a measurement has the whole server but for frames and sockets.
type sink struct {
	links    *rpc.Links
	sessions []*caller // by their IDs, from 1
	measured int       // measurements that were begun
}

// caller is one session, of the person of that index. It has one call under way, or several that go up together.
type caller struct {
	sink  *sink
	index int
	who   *session.Identity // set by Auth

	answered chan session.Reply    // to call
	done     func(r session.Reply) // instead, if it is set: runs on the link's goroutine
	pushed   func(body []byte)     // likewise; may be nil
}

// startSink starts a core with embedded stores, and so many sessions that have passed Auth.
func startSink(b *testing.B, sessions int) *sink {
	b.Helper()
	dir := b.TempDir()
	if err := people.Prepare(b.Context(), filepath.Join(dir, "data"), "seed", sessions); err != nil {
		b.Fatal(err)
	}
	c, err := cluster.Start(b.Context(), cluster.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close(context.WithoutCancel(b.Context())) })
	b.Cleanup(heap.Floor(server.DefaultConfig().HeapFloor))
	s := &sink{}
	s.links, err = rpc.New(rpc.Options{Cores: []string{c.Cores[0].Server().Addr()}, EdgeID: "sink", Epoch: time.Now().UnixMicro(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for i := range sessions {
		s.sessions = append(s.sessions, &caller{sink: s, index: i, answered: make(chan session.Reply, 1)})
	}
	s.links.Start(s)
	b.Cleanup(s.links.Close)
	s.each(b, len(s.sessions), func(c *caller) error {
		var rep accountpb.AuthReply
		return c.call(idl.ActionAuth, &accountpb.AuthRequest{Token: people.Token("seed", c.index)}, &rep)
	})
	return s
}

// each does the same for the first so many sessions, for some at the same time.
func (s *sink) each(b *testing.B, n int, do func(c *caller) error) {
	b.Helper()
	var wg sync.WaitGroup
	const atOnce = 64
	for first := range min(atOnce, n) {
		wg.Go(func() {
			for i := first; i < n; i += atOnce {
				if err := do(s.sessions[i]); err != nil {
					b.Errorf("session %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// request is a call of this session's.
func (c *caller) request(action idl.Action, req idl.Message) session.Call {
	body, err := idl.Append(nil, idl.CodecProtobuf, req)
	if err != nil {
		panic(err) // it is one of ours
	}
	return session.Call{Session: session.ID(c.index + 1), Action: action, Codec: idl.CodecProtobuf, Body: body, Identity: c.who, Address: "192.0.2.1:12345"}
}

// call calls an action and waits for its answer.
func (c *caller) call(action idl.Action, req, rep idl.Message) error {
	c.sink.links.Call(c.request(action, req))
	r := <-c.answered
	if r.Action != action {
		return &client.Refusal{Message: string(r.Body)}
	}
	if r.Bind != nil {
		c.who = r.Bind
	}
	return idl.Decode(r.Body, idl.CodecProtobuf, rep)
}

// Deliver implements rpc.Receiver.
func (s *sink) Deliver(d session.Delivery) {
	for _, r := range d.Replies {
		s.Reply(r)
	}
	for _, p := range d.Pushes {
		for _, id := range p.Sessions {
			if c := s.sessions[id-1]; c.pushed != nil && p.Action == idl.ActionMessage {
				c.pushed(p.Protobuf)
			}
		}
	}
}

// Reply implements rpc.Receiver.
func (s *sink) Reply(r session.Reply) {
	c := s.sessions[r.Session-1]
	if c.done != nil {
		c.done(r)
		return
	}
	c.answered <- r
}

// Live implements rpc.Receiver.
func (s *sink) Live(yield func(session.ID, session.Identity, idl.Codec) bool) {
	for i, c := range s.sessions {
		if c.who != nil && !yield(session.ID(i+1), *c.who, idl.CodecProtobuf) {
			return
		}
	}
}

// Resync implements rpc.Receiver.
func (s *sink) Resync() {}

// RoomStates implements rpc.Receiver.
func (s *sink) RoomStates(bool, func(room.State) bool) {}

// Unlinked implements rpc.Receiver.
func (s *sink) Unlinked() {}

// traffic is a measurement under way: messages that sessions send, each of which one session is timed to be pushed.
type traffic struct {
	*sink
	b       *testing.B
	number  int                                // of the measurement, for client IDs
	request func(from int) *chatpb.SendRequest // whom a session writes to

	next     atomic.Int64 // messages that were sent
	left     atomic.Int64 // answers and pushes that are awaited
	finished chan struct{}

	sent []time.Time     // by message; each before it is sent
	took []time.Duration // by the link's goroutine, as all callbacks

	refused int // likewise
}

// begin makes a measurement of so many messages, of which the watchers are pushed each one to one of them.
func (s *sink) begin(b *testing.B, messages int, watchers []*caller, request func(from int) *chatpb.SendRequest) *traffic {
	s.measured++
	t := &traffic{sink: s, b: b, number: s.measured, request: request, finished: make(chan struct{}), sent: make([]time.Time, messages), took: make([]time.Duration, 0, messages)}
	t.left.Store(2 * int64(messages))
	for _, w := range watchers {
		w.pushed = t.seen
	}
	return t
}

// marked is what the number of a message stands behind in its text.
const marked = "message "

// message is the next one of a session, if there is to be one more.
func (t *traffic) message(from int) (call session.Call, more bool) {
	n := t.next.Add(1) - 1
	if n >= int64(len(t.sent)) {
		return call, false
	}
	req := t.request(from)
	req.ClientId, req.Text = fmt.Sprintf("%d.%d", t.number, n), fmt.Sprintf("%s%010d: a text as people write them, some forty characters", marked, n)
	t.sent[n] = time.Now()
	return t.sessions[from].request(idl.ActionMessage, req), true
}

// seen finds which message was pushed without decoding it, which would cost as much as a part of what is measured.
func (t *traffic) seen(body []byte) {
	at := bytes.Index(body, []byte(marked)) + len(marked)
	n, err := strconv.Atoi(string(body[at : at+10]))
	if err != nil {
		t.b.Errorf("a push of something else: %q", body)
		return
	}
	t.took = append(t.took, time.Since(t.sent[n]))
	t.over()
}

// accepted takes an answer.
func (t *traffic) accepted(r session.Reply) {
	if r.Action != idl.ActionMessage {
		if t.refused++; t.refused == 1 {
			t.b.Errorf("refused: %q", r.Body)
		}
		t.over() // nobody will be pushed it
	}
	t.over()
}

func (t *traffic) over() {
	if t.left.Add(-1) == 0 {
		close(t.finished)
	}
}

// closed has so many sessions send as they are answered, several messages each time.
func (t *traffic) closed(senders, together int) {
	starts := make([]func(), senders)
	for i, c := range t.sessions[:senders] {
		waits := 0 // answers, of what went up together
		next := func() {
			calls := make([]session.Call, 0, together)
			for range together {
				if call, more := t.message(c.index); more {
					calls = append(calls, call)
				}
			}
			waits = len(calls)
			if waits > 1 && t.links.CallTogether(calls) {
				return
			}
			for _, call := range calls {
				t.links.Call(call)
			}
		}
		c.done = func(r session.Reply) {
			t.accepted(r)
			if waits--; waits == 0 {
				next()
			}
		}
		starts[i] = next
	}
	for _, start := range starts {
		start()
	}
	<-t.finished
}

// paced has so many sessions send one after the other, so many messages a second of all, whatever is answered.
func (t *traffic) paced(senders, perSecond int) {
	for _, c := range t.sessions[:senders] {
		c.done = t.accepted
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, from := time.Now(), 0
	for sent, all := 0, len(t.sent); sent < all; <-tick.C {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); sent < min(due, all); sent++ {
			call, _ := t.message(from)
			t.links.Call(call)
			from = (from + 1) % senders
		}
	}
	<-t.finished
}

// measure runs a load and reports what it did: messages a second, how long each took from being sent until it was pushed, and the
// processor time of the server and this sink.
func (t *traffic) measure(load func()) {
	began, used := time.Now(), cpu()
	load()
	elapsed, spent := time.Since(began), cpu()-used
	slices.Sort(t.took)
	ms := func(percent int) float64 { return float64(t.took[(len(t.took)-1)*percent/100].Microseconds()) / 1000 }
	t.b.ReportMetric(float64(len(t.sent))/elapsed.Seconds(), "msgs/s")
	t.b.ReportMetric(ms(50), "p50-ms")
	t.b.ReportMetric(ms(99), "p99-ms")
	t.b.ReportMetric(float64(spent.Nanoseconds())/1000/float64(len(t.sent)), "cpu-µs/msg")
	for _, c := range t.sessions {
		c.done, c.pushed = nil, nil
	}
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
