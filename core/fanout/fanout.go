// Package fanout brings what plugins push to the edges that hold the recipients'
// sessions: it resolves users to routes, groups these by edge and encodes the
// body once in each codec that somebody wants. It knows no RPC: core/rpc is the
// Pusher below it; core/server calls it for the plugins' Host.
//
// One goroutine does all of it, taking pushes and kicks from one queue, so what
// was called first also leaves first, for every user and every session. The
// queue is bounded. When it is full the caller waits: dropping pushes would only
// turn them into syncs, which cost the core more than the push did. A caller may
// be the store's committer (timeline.Draft.OnCommit), and then all senders wait;
// so the worker never waits for an edge, and for the registry with a bound.
//
// Best effort: a push that finds no route, or that the registry or the Pusher
// loses, is lost. Its entry is in the inbox, and the next push, or the edge's
// resync, makes the client ask for it.
package fanout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
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
}

// Options configures a Fanout.
type Options struct {
	Registry presence.Registry // required
	Pusher   Pusher            // required
	Log      *slog.Logger      // nil: slog.Default
	Queue    int               // pushes and kicks that may wait; 0: 4,096
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
}

// job is a push, or a kick when routes is set.
type job struct {
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
	f.close = sync.OnceFunc(func() { close(f.closed) })
	f.worker.Go(f.work)
	return f, nil
}

// Push queues p. It waits while the queue is full, and drops p after Close.
func (f *Fanout) Push(p plugin.Push) {
	if len(p.Users) > 0 {
		f.enqueue(job{push: p})
	}
}

// Kick queues the end of these sessions, behind every push before it. It waits
// and drops as Push does. routes must not be changed any more.
func (f *Fanout) Kick(routes []presence.Route, reason idl.CloseReason, message string) {
	if len(routes) > 0 {
		f.enqueue(job{routes: routes, reason: reason, message: message})
	}
}

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
	for {
		select {
		case j := <-f.queue:
			f.do(j)
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
			f.do(j)
		default:
			return
		}
	}
}

// do is also a barrier: a body that panics as it is encoded costs its own push.
func (f *Fanout) do(j job) {
	defer func() {
		if cause := recover(); cause != nil {
			f.log.Error("fan-out panicked", "action", j.push.Action, "cause", cause, "stack", string(debug.Stack()))
		}
	}()
	if j.routes != nil {
		f.kick(j)
	} else if err := f.push(j.push); err != nil {
		f.log.Error("push was lost", "action", j.push.Action, "users", len(j.push.Users), "err", err)
	}
}

// resolving bounds a look-up in the registry, so that one that hangs cannot
// stop every push for good.
const resolving = 5 * time.Second

func (f *Fanout) push(p plugin.Push) error {
	if len(p.InboxSeqs) != 0 && len(p.InboxSeqs) != len(p.Users) {
		return fmt.Errorf("%d inbox seqs for %d users", len(p.InboxSeqs), len(p.Users))
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolving)
	defer cancel()
	routes, err := f.registry.Routes(ctx, p.Users...)
	if err != nil {
		return fmt.Errorf("resolve recipients: %w", err)
	}
	groups := group(p, routes)
	if err := encode(p.Body, groups); err != nil {
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
