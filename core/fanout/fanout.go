// Package fanout brings what plugins push to the edges that hold the recipients'
// sessions: it resolves users to routes, groups these by edge and encodes the
// body once in each codec that somebody wants. It knows no RPC: core/rpc is the
// Pusher below it; core/server calls it for the plugins' Host. Rooms does the same for
// the members of rooms, with a queue and workers of its own.
//
// One goroutine does all of it, taking pushes and kicks from one queue, so what
// was called first also leaves first, for every user and every session. It takes
// all that is queued at once and resolves it in one look-up, so a registry across
// a network costs a round trip for many messages. The queue is bounded. When it
// is full the caller waits: dropping pushes would only turn them into syncs, which
// cost the core more than the push did. A caller may be the store's committer
// (timeline.Draft.OnCommit), and then all senders wait; so the worker never waits
// for an edge, and for the registry with a bound, past which it is left alone for
// a moment and what comes is lost at once. When a part of the registry is away, the
// pushes to those whom the rest knows go out.
//
// Best effort: a push that finds no route, or that the registry or the Pusher
// loses, is lost. Its entry is in the inbox, and the next push makes the client
// ask for it. When the registry had lost pushes and the whole of it answers again,
// every edge is asked to have its clients sync.
package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"

	"github.com/prometheus/client_golang/prometheus"
)

// defaultQueue is how many pushes and kicks may wait.
const defaultQueue = 4096

// Delivery is one push for sessions of one edge. It is the Pusher's to keep; the
// bodies are shared with the deliveries to other edges and must not be changed.
type Delivery struct {
	Action    idl.Action
	Sessions  []uint64
	InboxSeqs []int64 // none, or one per session
	Protobuf  []byte  // nil when no session of the delivery wants it
	JSON      []byte
}

// Pusher hands things to an edge. Its methods never block; what they are given
// leaves in the order of the calls. An edge that has no link, or lives under
// another epoch, gets nothing.
type Pusher interface {
	Push(edge presence.EdgeID, epoch int64, d Delivery)
	Kick(edge presence.EdgeID, epoch int64, sessions []uint64, reason idl.CloseReason, message string, retryAfter time.Duration)
	// Wake tells every edge that a log has grown up to that seq.
	Wake(log im.ConversationID, seq int64)
	// Resync asks every edge to have its clients sync: pushes were lost, and
	// nobody knows whose.
	Resync()
}

// Options configures a Fanout.
type Options struct {
	Registry presence.Registry     // required
	Pusher   Pusher                // required
	Log      *slog.Logger          // nil: slog.Default
	Queue    int                   // pushes and kicks that may wait; 0: 4,096
	Figures  prometheus.Registerer // nil: figures are kept nowhere
}

// Fanout is safe for concurrent use.
type Fanout struct {
	// Static after New.
	registry presence.Registry
	pusher   Pusher
	log      *slog.Logger
	queue    chan job      // never closed
	closed   chan struct{} // closed by Close
	close    func()
	worker   sync.WaitGroup
	figures  *figures

	began atomic.Int64 // when the batch under way was begun, in unix nanoseconds; 0: none is

	// Owned by the worker.
	jobs    []job       // the batch
	users   []im.UserID // of the batch's pushes, one after the other
	scratch []byte      // for encoding
	away    time.Time   // until then the registry is not asked
	lost    bool        // pushes were lost since the last Resync
	calm    time.Time   // until then no Resync
}

// job is a push, or a kick when routes is set.
type job struct {
	at      time.Time // when it was queued
	push    plugin.Push
	routes  []presence.Route
	reason  idl.CloseReason
	message string
}

// New starts the worker; Close ends it.
func New(o Options) (*Fanout, error) {
	if o.Registry == nil || o.Pusher == nil {
		return nil, errors.New("fanout needs a registry and a pusher")
	}
	if o.Queue < 0 {
		return nil, fmt.Errorf("a queue cannot hold %d", o.Queue)
	}
	if o.Queue == 0 {
		o.Queue = defaultQueue
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	f := &Fanout{
		registry: o.Registry, pusher: o.Pusher, log: o.Log,
		queue: make(chan job, o.Queue), closed: make(chan struct{}),
	}
	var err error
	if f.figures, err = newFigures(o.Figures, func() float64 { return float64(len(f.queue)) }); err != nil {
		return nil, fmt.Errorf("register figures: %w", err)
	}
	f.close = sync.OnceFunc(func() { close(f.closed) })
	f.worker.Go(f.work)
	return f, nil
}

// Push queues p. It waits while the queue is full, and drops p after Close. What is passing is dropped while
// half of the queue waits.
func (f *Fanout) Push(p plugin.Push) {
	if p.Passing && len(f.queue) > cap(f.queue)/2 {
		f.figures.lost.Inc()
		return
	}
	if len(p.Users) > 0 {
		f.enqueue(job{at: time.Now(), push: p})
	}
}

// Kick queues the end of these sessions, behind every push before it. It waits
// and drops as Push does. routes must not be changed any more.
func (f *Fanout) Kick(routes []presence.Route, reason idl.CloseReason, message string) {
	if len(routes) > 0 {
		f.enqueue(job{at: time.Now(), routes: routes, reason: reason, message: message})
	}
}

// Wake tells every edge that a log has grown. It does not wait: nobody is to be resolved.
func (f *Fanout) Wake(log im.ConversationID, seq int64) { f.pusher.Wake(log, seq) }

func (f *Fanout) enqueue(j job) {
	select {
	case f.queue <- j:
	case <-f.closed:
	}
}

// Close hands over what is queued and ends the worker.
func (f *Fanout) Close() {
	f.close()
	f.worker.Wait()
}

func (f *Fanout) work() {
	retry := time.NewTicker(sparing)
	defer retry.Stop()
	for {
		due := retry.C
		if !f.lost {
			due = nil
		}
		select {
		case j := <-f.queue:
			f.batch(j)
		case <-due:
			f.makeGood()
		case <-f.closed:
			f.finish()
			return
		}
	}
}

// finish does what was queued before Close.
func (f *Fanout) finish() {
	for {
		select {
		case j := <-f.queue:
			f.batch(j)
		default:
			return
		}
	}
}

// batchUsers ends a batch: so many people are resolved in one look-up, or those
// of one push. No more jobs are in the worker's hands than the queue holds.
const batchUsers = 1024

// batch does first and what is queued behind it.
func (f *Fanout) batch(first job) {
	f.began.Store(time.Now().UnixNano())
	defer f.began.Store(0)
	f.jobs, f.users = append(f.jobs[:0], first), append(f.users[:0], first.push.Users...)
gather:
	for len(f.users) < batchUsers && len(f.jobs) < cap(f.queue) {
		select {
		case j := <-f.queue:
			f.jobs, f.users = append(f.jobs, j), append(f.users, j.push.Users...)
		default:
			break gather
		}
	}
	routes, err := f.resolve()
	for _, j := range f.jobs {
		n := len(j.push.Users)
		switch {
		case j.routes != nil:
			f.do(j, nil)
		case err != nil:
			f.figures.lost.Inc()
			f.log.Error("push was lost", "action", j.push.Action, "users", n, "err", err)
		default:
			f.do(j, routes[:n])
			routes = routes[n:]
		}
	}
	now := time.Now()
	for _, j := range f.jobs {
		f.figures.seconds.Observe(now.Sub(j.at).Seconds())
	}
	f.figures.pushes.Add(float64(len(f.jobs)))
	clear(f.jobs) // let go of the bodies
}

const (
	// resolving bounds a look-up in the registry, so that one that hangs cannot
	// stop every push for good.
	resolving = time.Second
	// sparing is how long a registry that failed is not asked again.
	sparing = 200 * time.Millisecond
	// calming is the time between two Resyncs at least: one that fails now and then
	// must not have all clients sync without end.
	calming = 5 * time.Second
)

var errAway = errors.New("the registry has just failed")

// resolve gives the routes of the batch's users, as far as the registry knows them.
func (f *Fanout) resolve() ([][]presence.Route, error) {
	if len(f.users) == 0 {
		return nil, nil
	}
	if time.Now().Before(f.away) {
		return nil, errAway
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolving)
	defer cancel()
	routes, err := f.registry.Routes(ctx, f.users...)
	if err == nil && len(routes) != len(f.users) {
		routes, err = nil, fmt.Errorf("the registry answered for %d of %d users", len(routes), len(f.users))
	}
	if err == nil {
		return routes, nil
	}
	f.lost = true
	if len(routes) == len(f.users) {
		f.figures.lost.Inc()
		f.log.Error("pushes were lost: a part of the registry is away", "users", len(f.users), "err", err)
		return routes, nil
	}
	f.away = time.Now().Add(sparing)
	return nil, fmt.Errorf("resolve recipients: %w", err)
}

// makeGood has the edges resync, when all of the registry answers again.
func (f *Fanout) makeGood() {
	if time.Now().Before(f.calm) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolving)
	defer cancel()
	if _, err := f.registry.Generation(ctx); err != nil {
		return // not yet
	}
	f.lost, f.calm = false, time.Now().Add(calming)
	f.away = time.Time{} // it answers: what comes next is not to be lost
	f.pusher.Resync()
}

// do is also a barrier: a body that panics as it is encoded costs its own push.
func (f *Fanout) do(j job, routes [][]presence.Route) {
	defer func() {
		if cause := recover(); cause != nil {
			f.figures.lost.Inc()
			f.log.Error("fan-out panicked", "action", j.push.Action, "cause", cause, "stack", string(debug.Stack()))
		}
	}()
	if j.routes != nil {
		f.kick(j)
	} else if err := f.push(j.push, routes); err != nil {
		f.figures.lost.Inc()
		f.log.Error("push was lost", "action", j.push.Action, "users", len(j.push.Users), "err", err)
	}
}

func (f *Fanout) push(p plugin.Push, routes [][]presence.Route) error {
	if len(p.InboxSeqs) != 0 && len(p.InboxSeqs) != len(p.Users) {
		return fmt.Errorf("%d inbox seqs for %d users", len(p.InboxSeqs), len(p.Users))
	}
	groups := group(p, routes)
	if err := encode(p.Body, groups, &f.scratch); err != nil {
		return err
	}
	for _, g := range groups {
		f.pusher.Push(g.edge, g.epoch, g.Delivery)
	}
	return nil
}

func (f *Fanout) kick(j job) {
	for _, g := range group(plugin.Push{}, [][]presence.Route{j.routes}) {
		f.pusher.Kick(g.edge, g.epoch, g.Sessions, j.reason, j.message, 0)
	}
}
