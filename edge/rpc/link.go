package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"freeim/edge/session"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/corepb/core"
)

const (
	// greeting bounds the time from dialling to the first sign of a core. Kitex
	// does not notice that a connection ends on which nothing came yet, as one does
	// that the kernel took for a core that was killed before it did.
	greeting = 3 * time.Second
	// handshake bounds the time from there to Welcome. A core registers every live
	// session of the edge in it.
	handshake = 30 * time.Second
	// loud is the attempt in a row whose failure is worth a warning, and each as
	// many later.
	loud = 10
)

var (
	errNoWelcome = errors.New("the core's first message was not Welcome")
	errTwin      = errors.New("the same core is linked at another address")
)

// phase is how far a link has come.
type phase int

const (
	idle        phase = iota // not connected
	registering              // the core is being told of the live sessions
	open                     // calls go up
	leaving                  // the core drains: what is under way comes to its end
)

// result says what became of a call that was offered to a link.
type result int

const (
	taken result = iota
	full
	down
)

// link is the way to one core, over one stream after the other. Each stream has
// a receiver, which is the goroutine of run, and a sender.
type link struct {
	// Static after New.
	links   *Links
	index   int // none is used twice
	address string
	dial    func(context.Context) (core.Core_LinkClient, error)
	limit   int // of pending

	pool    atomic.Pointer[pool] // that the core is in; written under Links.mu
	heard   atomic.Uint32        // messages that came
	silence silence              // owned by the attendant

	catalogue *catalogue // of the core that answered last; guarded by Links.mu

	mu       sync.Mutex // guards the fields below
	instance string     // of the core that answered last
	phase    phase
	suspect  bool                   // it is silent: it takes no calls until something comes
	joins    bool                   // the core that answered last joins calls of some action
	pending  map[uint32]pendingCall // by the number that the call was given
	outbox   outbox
	drop     context.CancelFunc // ends the stream; nil: there is none
	unwanted bool               // discovery does not name it any more: not dialled again
	gave     chan struct{}      // has one token when unwanted changed
}

func newLink(l *Links, index int, address string, dial func(context.Context) (core.Core_LinkClient, error)) *link {
	return &link{
		links: l, index: index, address: address, dial: dial, limit: l.options.Pending,
		pending: make(map[uint32]pendingCall), outbox: outbox{wake: make(chan struct{}, 1)}, gave: make(chan struct{}, 1),
	}
}

// run opens one stream after the other until Close, or until discovery does not
// name the core any more.
func (k *link) run() {
	ctx, log := k.links.running, k.links.log
	for attempt := 1; !k.links.forget(k); attempt++ {
		opened, err := false, errTwin
		if !k.hasTwin() {
			opened, err = k.once(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if opened {
			log.Warn("core is gone", "core", k.address, "err", err)
			attempt = 1
		} else {
			level := slog.LevelDebug
			if attempt%loud == 0 {
				level = slog.LevelWarn
			}
			log.Log(ctx, level, "core cannot be reached", "core", k.address, "attempt", attempt, "err", err)
		}
		select {
		case <-time.After(k.links.options.Backoff(attempt)):
		case <-k.gave:
		case <-ctx.Done():
		}
	}
}

// hasTwin reports whether another address leads to the same core, by a link that
// stands. A core has one link of each edge: to dial would end that one.
func (k *link) hasTwin() bool {
	k.mu.Lock()
	instance := k.instance
	k.mu.Unlock()
	return instance != "" && slices.ContainsFunc(*k.links.known.Load(), func(other *link) bool {
		if other == k {
			return false
		}
		other.mu.Lock()
		defer other.mu.Unlock()
		return other.phase >= open && other.instance == instance
	})
}

// once is the life of one stream; opened says whether calls went over it.
func (k *link) once(ctx context.Context) (opened bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(greeting, cancel)
	defer late.Stop()
	stream, err := k.dial(ctx)
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	k.enter(registering, cancel)
	defer func() { k.lost(err) }()
	welcome, err := k.introduce(stream, late)
	if err != nil {
		return false, fmt.Errorf("introduce this edge: %w", err)
	}
	late.Stop()
	var aside sync.WaitGroup
	defer aside.Wait()
	defer cancel()
	aside.Go(func() {
		defer cancel()
		k.send(ctx, stream)
	})
	k.opened(welcome, cancel)
	// Aside: a core answers at once for rooms, and what it says must be taken meanwhile.
	aside.Go(func() {
		k.askRooms()
		k.links.rise(k, welcome.Missed)
	})
	return true, k.receive(stream)
}

// introduce tells the core who this edge is and which sessions are live. An
// Uplink without sessions ends the list; Welcome says that the core has taken it in. late
// ends the stream when it fires.
func (k *link) introduce(stream core.Core_LinkClient, late *time.Timer) (*corepb.Welcome, error) {
	o := &k.links.options
	if err := stream.Send(&corepb.Uplink{Hello: &corepb.Hello{EdgeId: o.EdgeID, Epoch: o.Epoch, Key: o.Key}}); err != nil {
		return nil, err
	}
	if _, err := stream.Recv(); err != nil {
		return nil, err
	}
	late.Reset(handshake)
	_, err := k.links.live(func(sessions []*corepb.Register) error {
		return stream.Send(&corepb.Uplink{Registers: sessions})
	})
	if err != nil {
		return nil, err
	}
	if err := stream.Send(&corepb.Uplink{}); err != nil {
		return nil, err
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if first.Welcome == nil {
		return nil, errNoWelcome
	}
	return first.Welcome, nil
}

// opened lets calls go up.
func (k *link) opened(w *corepb.Welcome, drop context.CancelFunc) {
	k.links.learn(k, newCatalogue(w.Actions))
	k.links.log.Info("core is linked", "core", k.address, "core_id", w.CoreId, "actions", len(w.Actions))
	k.mu.Lock()
	k.instance = strings.Clone(w.Instance)
	k.joins = slices.ContainsFunc(w.Actions, func(a *corepb.ActionInfo) bool { return a.Joins })
	k.mu.Unlock()
	k.enter(open, drop)
}

func (k *link) enter(p phase, drop context.CancelFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.phase, k.drop = p, drop
}

// lost ends what the stream carried. Calls that were never sent go to another
// link. What became of the others is not known: whoever sends again uses the same
// client ID. Pushes were lost too, unless the core ended the stream itself, as it
// does when it has drained, and another core takes over: the only one may come
// back with a registry that knows nobody, and push before this edge has listed
// its sessions again.
func (k *link) lost(err error) {
	k.mu.Lock()
	linked, drained := k.phase >= open, k.phase == leaving && errors.Is(err, io.EOF)
	unsent := k.unsent()
	pending := k.pending
	k.phase, k.suspect, k.drop, k.pending = idle, false, nil, make(map[uint32]pendingCall)
	k.outbox.reset()
	k.mu.Unlock()
	k.links.fall(k)
	for _, p := range pending {
		k.links.refuse(p, lost)
	}
	for _, w := range unsent {
		k.links.place(w)
	}
	if linked && (!drained || !k.links.Ready()) {
		k.links.miss()
	}
}

// unsent takes the calls back that the sender has not taken. One that was to follow another
// goes back to the hub: by itself it could get ahead of that. The caller holds mu.
func (k *link) unsent() (all []waiting) {
	for i := range k.outbox.calls {
		q := &k.outbox.calls[i]
		p, ok := k.pending[q.call.Sequence]
		delete(k.pending, q.call.Sequence)
		switch {
		case !ok: // refused meanwhile
		case q.call.Follows:
			k.links.giveBack(p)
		default:
			all = append(all, q.waiting(p))
		}
	}
	clear(k.outbox.calls)
	k.outbox.calls = k.outbox.calls[:0]
	return all
}

// takes reports whether calls may go up.
func (k *link) takes() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.phase == open && !k.suspect
}

// call queues c, if the link is open and not full.
func (k *link) call(w waiting) result {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.phase != open || k.suspect:
		return down
	case len(k.pending) >= k.limit:
		return full
	}
	number := k.links.numbers.Add(1)
	k.pending[number] = pendingOf(w)
	k.outbox.call(number, w)
	return taken
}

// callTogether queues calls of one session, one right behind the other, if there is room
// for all and the core joins them.
func (k *link) callTogether(calls []session.Call, deadline time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.phase != open || k.suspect || !k.joins || len(k.pending)+len(calls) > k.limit {
		return false
	}
	for i, c := range calls {
		number, w := k.links.numbers.Add(1), waiting{c, deadline}
		k.pending[number] = pendingOf(w)
		k.outbox.call(number, w)
		k.outbox.calls[len(k.outbox.calls)-1].call.Follows = i > 0
	}
	return true
}

// gone queues the end of a session, if the link is in that phase.
func (k *link) gone(s session.ID, who *corepb.Identity, in phase) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.phase == in {
		k.outbox.gone(&corepb.Gone{Session: uint64(s), Identity: who})
	}
}

// overdue takes the calls out whose deadline has passed.
func (k *link) overdue(now time.Time) (late []pendingCall) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for number, p := range k.pending {
		if p.deadline.Before(now) {
			late = append(late, p)
			delete(k.pending, number)
		}
	}
	k.settled()
	return late
}

// settled wakes the sender when a link that is leaving has nothing under way any
// more. The caller holds mu.
func (k *link) settled() {
	if k.phase == leaving && len(k.pending) == 0 {
		k.outbox.signal()
	}
}
