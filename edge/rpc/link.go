package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/corepb/core"
)

const (
	// page is how many sessions are registered in one message.
	page = 512
	// handshake bounds the time from connecting to Welcome. A core registers
	// every live session of the edge in it.
	handshake = 30 * time.Second
)

var errNoWelcome = errors.New("the core's first message was not Welcome")

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
	index   int
	address string
	dial    func(context.Context) (core.Core_LinkClient, error)
	limit   int // of pending

	linked bool // owned by run: an earlier stream came as far as open

	mu      sync.Mutex // guards the fields below
	phase   phase
	pending map[uint32]pendingCall // by the number that the call was given
	outbox  outbox
}

func newLink(l *Links, address string, dial func(context.Context) (core.Core_LinkClient, error)) *link {
	return &link{
		links: l, index: len(l.links), address: address, dial: dial, limit: l.options.Pending,
		pending: make(map[uint32]pendingCall), outbox: outbox{wake: make(chan struct{}, 1)},
	}
}

// run opens one stream after the other until Close.
func (k *link) run() {
	ctx, log := k.links.running, k.links.log
	for attempt := 1; ; attempt++ {
		opened, err := k.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if opened {
			log.Warn("core is gone", "core", k.address, "err", err)
			attempt = 1
		} else {
			log.Debug("core cannot be reached", "core", k.address, "attempt", attempt, "err", err)
		}
		select {
		case <-time.After(k.links.options.Backoff(attempt)):
		case <-ctx.Done():
		}
	}
}

// once is the life of one stream; opened says whether calls went over it.
func (k *link) once(ctx context.Context) (opened bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(handshake, cancel)
	defer late.Stop()
	stream, err := k.dial(ctx)
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	k.enter(registering)
	defer k.lost()
	welcome, err := k.introduce(stream)
	if err != nil {
		return false, fmt.Errorf("introduce this edge: %w", err)
	}
	late.Stop()
	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel()
	sender.Go(func() {
		defer cancel()
		k.send(ctx, stream)
	})
	k.opened(welcome)
	return true, k.receive(stream)
}

// introduce tells the core who this edge is and which sessions are live. An
// Uplink without sessions ends the list; Welcome says that all are registered.
func (k *link) introduce(stream core.Core_LinkClient) (*corepb.Welcome, error) {
	o := &k.links.options
	if err := stream.Send(&corepb.Uplink{Hello: &corepb.Hello{EdgeId: o.EdgeID, Epoch: o.Epoch}}); err != nil {
		return nil, err
	}
	live := k.live()
	for from := 0; from < len(live); from += page {
		batch := live[from:min(from+page, len(live))]
		if err := stream.Send(&corepb.Uplink{Registers: batch}); err != nil {
			return nil, err
		}
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

// live lists the bound sessions: all of them before the first is sent, since the
// hub may hold a lock meanwhile.
func (k *link) live() (all []*corepb.Register) {
	k.links.receiver.Live(func(s session.ID, who session.Identity, c idl.Codec) bool {
		identity := toWire(who)
		all = append(all, &corepb.Register{Session: uint64(s), Identity: &identity, Codec: uint32(c)})
		return true
	})
	return all
}

// opened lets calls go up. Pushes to this edge were lost if it was linked before.
func (k *link) opened(w *corepb.Welcome) {
	k.links.catalogue.Store(newCatalogue(w))
	k.links.log.Info("core is linked", "core", k.address, "core_id", w.CoreId, "actions", len(w.Actions))
	k.enter(open)
	k.links.rise(k)
	if k.linked {
		k.links.receiver.Resync()
	}
	k.linked = true
}

func (k *link) enter(p phase) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.phase = p
}

// lost ends what the stream carried. What became of the calls under way is not
// known: whoever sends again uses the same client ID.
func (k *link) lost() {
	k.links.fall(k)
	k.mu.Lock()
	pending := k.pending
	k.phase, k.pending = idle, make(map[uint32]pendingCall)
	k.outbox.reset()
	k.mu.Unlock()
	for _, p := range pending {
		k.links.refuse(p, idl.CodeUnavailable, "the core went away")
	}
}

// call queues c, if the link is open and not full.
func (k *link) call(w waiting) result {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.phase != open:
		return down
	case len(k.pending) >= k.limit:
		return full
	}
	number := k.links.numbers.Add(1)
	k.pending[number] = pendingOf(w)
	k.outbox.call(number, w)
	return taken
}

// gone queues the end of a session, if the link is in that phase.
func (k *link) gone(s session.ID, who *corepb.Identity, in phase) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.phase == in {
		k.outbox.gone(&corepb.Gone{Session: uint64(s), Identity: who})
	}
}

// bound tells a core that is just being told of the live sessions of one that
// another core bound meanwhile.
func (k *link) bound(p pendingCall, who *corepb.Identity) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.phase == registering {
		k.outbox.register(&corepb.Register{Session: uint64(p.session), Identity: who, Codec: uint32(p.codec)})
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
