package session

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"freeim/edge/limits"
	"freeim/edge/room"
	"freeim/edge/ws"
	"freeim/idl"

	"go.opentelemetry.io/otel/trace"
)

// Options says how a hub treats its sessions.
type Options struct {
	Core Core         // where actions go; required
	Log  *slog.Logger // nil: slog.Default

	MaxSessions int           // connections at once, authenticated or not; 0: 1,000,000
	AuthTimeout time.Duration // from connecting to a passed Auth; 0: 10 s
	Heartbeat   time.Duration // what AuthReply asks of clients; silent for three of them: closed; 0: 30 s

	MaxBodyFresh int // octets of a frame's body before Auth; 0: 4,096
	MaxBody      int // octets of a frame's body after it; 0: 65,536
	QueueFrames  int // unanswered frames of one session; 0: 1,024
	QueueBytes   int // octets of them, headers included; 0: 262,144

	RetryAfter time.Duration // how long a client that may come back is told to wait at least; 0: 1 s
	Jitter     time.Duration // and how much longer at random; 0: 5 s

	Tracer trace.Tracer // makes the spans of actions that go to a core; nil: none
	Sample float64      // which part of the actions has one, 0 to 1

	Rules Rules // the operators' rules at this edge; nil: none

	// Limits hold for what a user and an address use; nil: no limits.
	Limits *limits.Guard
	// AuthFailures is how many sign-ins may fail on one connection; it is closed
	// then. 0: any number.
	AuthFailures int
	// Patience is how many more frames of one connection may be refused as too many
	// than are let pass; it is closed then, and its address banned. 0: any number.
	Patience int

	// Wakes is how many sessions a second are asked to sync, since a log that they follow has grown, or since something was
	// announced: LeastWakes to MostWakes; 0: 2,000.
	Wakes int

	// DrainRate is how many sessions a second Drain tells to go. 0: as many as it
	// takes to tell all in half of Drain's time, 200 at least.
	DrainRate int
	// DrainJitter is how long at most, at random, a client waits that Drain told to go
	// in its turn, instead of RetryAfter and Jitter. 0: 1 s.
	DrainJitter time.Duration
}

// Bounds of Options.Wakes: in each of 20 ticks of a second followers and everybody have a turn, and few of those whom a tick looks at
// are left for the next.
const (
	LeastWakes = 40
	MostWakes  = 100_000
)

// The wheel's tick is a part of the shortest deadline, so that a session is
// closed at most a few hundredths late, but the hub wakes rarely.
const (
	ticksPerDeadline = 20
	minTick          = 5 * time.Millisecond
	maxTick          = 500 * time.Millisecond
	silentHeartbeats = 3 // idl/README.md, The life of a session
)

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	for _, d := range []struct {
		value  *int
		preset int
	}{
		{&o.MaxSessions, 1_000_000}, {&o.MaxBodyFresh, 4096}, {&o.MaxBody, 65536},
		{&o.QueueFrames, 1024}, {&o.QueueBytes, 256 << 10}, {&o.Wakes, 2000},
	} {
		if *d.value == 0 {
			*d.value = d.preset
		}
	}
	for _, d := range []struct {
		value  *time.Duration
		preset time.Duration
	}{
		{&o.AuthTimeout, 10 * time.Second}, {&o.Heartbeat, 30 * time.Second},
		{&o.RetryAfter, time.Second}, {&o.Jitter, 5 * time.Second}, {&o.DrainJitter, time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.preset
		}
	}
}

func (o *Options) validate() error {
	if o.Core == nil {
		return errors.New("session: no core")
	}
	if min(o.MaxSessions, o.MaxBodyFresh, o.MaxBody, o.QueueFrames, o.QueueBytes, o.DrainRate, o.AuthFailures, o.Patience) < 0 {
		return errors.New("session: a limit is negative")
	}
	if o.Wakes < LeastWakes || o.Wakes > MostWakes {
		return fmt.Errorf("session: %d wakes a second are not %d to %d", o.Wakes, LeastWakes, MostWakes)
	}
	if min(o.AuthTimeout, o.Heartbeat, o.RetryAfter, o.Jitter, o.DrainJitter) < 0 {
		return errors.New("session: a duration is negative")
	}
	return nil
}

// Hub is the live sessions of one edge. Its methods are safe for concurrent use.
type Hub struct {
	opts Options
	core Core
	log  *slog.Logger

	lastID    atomic.Uint64
	sessions  table
	wheel     wheel
	buffers   sync.Pool // *buffer
	corks     sync.Pool // *corks
	queues    sync.Pool // *queue, empty
	joints    sync.Pool // *joint, empty
	deflate   ws.Deflate
	counters  counters
	rooms     *room.Rooms
	followers followers
	traces    traces
	rates     *limits.Actions // of single actions
	requests  requests
	callers   callers

	beat     atomic.Int64 // when the clock last went on, in unix nanoseconds; 0: not yet
	draining atomic.Bool
	empty    chan struct{} // closed by the last session to go while draining
	emptied  sync.Once

	stop    chan struct{}
	stopped sync.Once
	ticking sync.WaitGroup
	asking  sync.WaitGroup // frames whose rules are asked aside
}

// New returns a hub whose clock runs until Close.
func New(o Options) (*Hub, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	h := &Hub{
		opts: o, core: o.Core, log: o.Log,
		empty: make(chan struct{}), stop: make(chan struct{}),
		traces: traces{tracer: o.Tracer, sample: o.Sample}, rates: limits.NewActions(),
	}
	h.buffers.New = h.newBuffer
	h.corks.New = func() any { return &corks{hub: h} }
	h.queues.New = func() any { return new(queue) }
	h.joints.New = func() any { return new(joint) }
	h.sessions.init()
	h.rooms = h.newRooms()
	h.followers.init(h, o.Wakes)
	h.wheel.init(o.tick(), o.AuthTimeout, silentHeartbeats*o.Heartbeat)
	h.ticking.Go(h.runClock)
	h.ticking.Go(h.followers.run)
	return h, nil
}

func (o *Options) tick() time.Duration {
	shortest := min(o.AuthTimeout, silentHeartbeats*o.Heartbeat)
	return min(max(shortest/ticksPerDeadline, minTick), maxTick)
}

// Close stops the hub's clock and the passes of rooms. Sessions that are still there
// stay as they are; Drain first.
func (h *Hub) Close() {
	h.rooms.Close()
	h.stopped.Do(func() { close(h.stop) })
	h.ticking.Wait()
	h.asking.Wait()
}

// standstill is how late the clock may be: many times its longest tick.
const standstill = 10 * time.Second

// Alive says that the hub's clock stands still: silent sessions would stay for
// good; nil: it goes.
func (h *Hub) Alive() error {
	if beat := h.beat.Load(); beat != 0 {
		if late := time.Since(time.Unix(0, beat)); late > standstill {
			return fmt.Errorf("the clock of the sessions stands still for %v", late.Round(time.Second))
		}
	}
	return nil
}

// Open makes a session of a connection that has just been accepted. The caller
// gives it every frame with Receive, every fault with Fail, and the end with
// Closed. It is nil when there is no room or the edge drains: then the
// transport has been told to close with the reason, and that is all.
func (h *Hub) Open(t Transport) *Session { return h.OpenAs(t, nil) }

// OpenAs is Open of a connection that the rules were asked about: one that they refuse is
// told so.
func (h *Hub) OpenAs(t Transport, a *Admission) *Session {
	if h.draining.Load() {
		h.turnAway(t, idl.CloseShutdown, shuttingDown)
		return nil
	}
	if a != nil && a.Refused != nil {
		h.close(t, a.Refused.farewell(), form{})
		return nil
	}
	if h.counters.sessions.Add(1) > int64(h.opts.MaxSessions) {
		h.uncount()
		h.turnAway(t, idl.CloseOverloaded, "no room for another session")
		return nil
	}
	s := &Session{hub: h, transport: t, id: h.nextID()}
	if a != nil {
		s.ruled = &ruled{tags: a.tags}
	}
	now := h.wheel.clock.Load()
	s.seen.Store(now)
	s.authBy = now + h.wheel.auth
	h.sessions.add(s)
	h.wheel.arm(s, min(s.authBy, now+h.wheel.idle))
	if h.draining.Load() { // it began meanwhile and may have missed this one
		s.drain()
	}
	return s
}

// uncount takes one session off the count and wakes Drain after the last.
func (h *Hub) uncount() {
	if h.counters.sessions.Add(-1) == 0 && h.draining.Load() {
		h.emptied.Do(func() { close(h.empty) })
	}
}

// Live gives every authenticated session with its identity and the codec of its
// pushes, until yield returns false. Sessions that come or go meanwhile may be
// given or not. yield may block and may call the hub.
func (h *Hub) Live(yield func(ID, Identity, idl.Codec) bool) {
	for s := range h.sessions.all() {
		s.mu.Lock()
		who, f := s.identity, s.pushForm
		live := s.state == live
		s.mu.Unlock()
		if live && !yield(s.id, *who, f.codec) {
			return
		}
	}
}

// Named gives the action that a text frame calls name; for frame.ParseText.
func (h *Hub) Named(name string) (idl.Action, bool) {
	switch name {
	case "heartbeat":
		return idl.ActionHeartbeat, true
	case "quit":
		return idl.ActionQuit, true
	}
	return h.core.ActionNamed(name)
}
