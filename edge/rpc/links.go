// Package rpc is the edge's end of the links to the cores: it implements
// session.Core over one Kitex stream per core. Calls of all sessions go up joined
// into batches, and replies, pushes and kicks come down the same stream. It knows
// neither frames nor sockets nor what an action means. The flow, the queues and
// the failure cases are told once for both ends, in core/rpc/README.md; edge/main
// builds it, the hub calls it and is called by it.
//
// For every Call there is exactly one Reply: a call is in one of two places, in
// the queue of those that wait for a link or in the pending table of the link it
// was given to, and whoever takes it out of there answers it.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freeim/edge/session"
	"freeim/idl"
)

const (
	defaultCallTimeout = 15 * time.Second
	defaultPending     = 65536
	defaultParked      = 16384
	sweepEvery         = 100 * time.Millisecond
)

// Receiver takes what comes from the cores; session.Hub implements it. Reply,
// Push and Kick must not block for long: they hold up the link they came by.
type Receiver interface {
	// Reply answers an earlier Call. A Bind for a session that has ended must be
	// answered with Gone.
	Reply(session.Reply)
	Push(session.Push)
	Kick(sessions []session.ID, reason idl.CloseReason, message string, retryAfter time.Duration)
	// Live calls yield for every bound session, until it returns false.
	Live(yield func(session.ID, session.Identity, idl.Codec) bool)
	// Resync says that pushes may have been lost: every bound client should sync.
	Resync()
}

// Options configures Links.
type Options struct {
	Cores  []string // "unix:/path" or "host:port", one or more
	EdgeID string   // stable across restarts; required
	Epoch  int64    // grows with each start of this edge; required
	// CallTimeout is after how long a call that no core has answered is refused.
	// Longer than the cores' own deadlines, which know more. 0: 15 s.
	CallTimeout time.Duration
	Pending     int // calls under way on one link; 0: 65,536
	Parked      int // calls that may wait for a link; 0: 16,384
	// Backoff gives the pause before the attempt-th try in a row to link, from 1.
	// nil: 50 ms, doubled up to 2 s, the half of it at random.
	Backoff func(attempt int) time.Duration
	Log     *slog.Logger // nil: slog.Default
}

func (o *Options) setDefaults() {
	if o.CallTimeout == 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.Pending == 0 {
		o.Pending = defaultPending
	}
	if o.Parked == 0 {
		o.Parked = defaultParked
	}
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

func backoff(attempt int) time.Duration {
	pause := 2 * time.Second
	if attempt < 6 {
		pause = 50 * time.Millisecond << (attempt - 1)
	}
	return pause/2 + rand.N(pause/2)
}

func (o *Options) validate() error {
	if len(o.Cores) == 0 || slices.Contains(o.Cores, "") {
		return errors.New("an edge needs the address of at least one core")
	}
	if o.EdgeID == "" || o.Epoch <= 0 {
		return errors.New("an edge needs an ID and an epoch")
	}
	if o.CallTimeout < 0 || o.Pending < 0 || o.Parked < 0 {
		return fmt.Errorf("limits below zero: call timeout %s, pending %d, parked %d", o.CallTimeout, o.Pending, o.Parked)
	}
	return nil
}

// Links is safe for concurrent use.
type Links struct {
	// Static after New.
	options Options
	log     *slog.Logger
	links   []*link // one per core

	receiver  Receiver // static after Start
	catalogue atomic.Pointer[catalogue]
	numbers   atomic.Uint32           // of calls: the last one given
	up        atomic.Pointer[[]*link] // those that take calls; written under mu

	mu     sync.Mutex // guards the fields below
	parked []waiting  // oldest first
	closed bool

	refusals refusals
	running  context.Context // ended by Close
	stop     context.CancelFunc
	close    func()
	rest     sync.WaitGroup // the goroutines of the links and the attendant
}

// waiting is a call that no link has taken yet.
type waiting struct {
	session.Call
	deadline time.Time
}

var _ session.Core = (*Links)(nil)

// New makes Links that reach nobody yet: calls wait for Start, and without it are
// never answered.
func New(o Options) (*Links, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := &Links{options: o, log: o.Log, refusals: refusals{wake: make(chan struct{}, 1)}}
	l.running, l.stop = context.WithCancel(context.Background())
	l.up.Store(&[]*link{})
	l.close = sync.OnceFunc(l.shut)
	quiet(o.Log)
	for _, core := range o.Cores {
		dial, err := dialer(core)
		if err != nil {
			return nil, err
		}
		l.links = append(l.links, newLink(l, core, dial))
	}
	return l, nil
}

// Start links to the cores, on and on until Close. It is called once.
func (l *Links) Start(r Receiver) {
	l.receiver = r
	l.rest.Go(l.attend)
	for _, link := range l.links {
		l.rest.Go(link.run)
	}
}

// Ready reports whether a core takes calls now.
func (l *Links) Ready() bool { return len(*l.up.Load()) > 0 }

// Close drops the links and refuses everything under way, and every later call,
// with UNAVAILABLE. The Receiver must live until it returns.
func (l *Links) Close() { l.close() }

func (l *Links) shut() {
	l.mu.Lock()
	l.closed = true
	left := l.parked
	l.parked = nil
	l.mu.Unlock()
	l.stop()
	for _, w := range left {
		l.refuse(pendingOf(w), idl.CodeUnavailable, "the edge is stopping")
	}
	l.rest.Wait()
	l.answerRefusals(true)
}

// Call implements session.Core.
func (l *Links) Call(c session.Call) {
	l.place(waiting{c, time.Now().Add(l.options.CallTimeout)})
}

// place gives the call to a link, parks it or refuses it.
func (l *Links) place(w waiting) {
	for {
		up := *l.up.Load()
		for i := range up {
			link := up[(choice(w.Session, len(up))+i)%len(up)]
			switch link.call(w) {
			case taken:
				return
			case full:
				l.refuse(pendingOf(w), idl.CodeUnavailable, "the core is busy")
				return
			case down: // it went down since up was read; the next one
			}
		}
		if l.park(w) {
			return
		}
	}
}

// choice spreads sessions evenly over n links; the same one while n is the same.
func choice(s session.ID, n int) int {
	const golden = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio, odd
	return int(uint64(s) * golden >> 32 % uint64(n))
}

// park keeps the call until a link is up; false when one has come up meanwhile.
func (l *Links) park(w waiting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		l.refuse(pendingOf(w), idl.CodeUnavailable, "the edge is stopping")
	case l.Ready():
		return false
	case len(l.parked) >= l.options.Parked:
		l.refuse(pendingOf(w), idl.CodeUnavailable, "no core can be reached")
	default:
		l.parked = append(l.parked, w)
	}
	return true
}

// rise makes a link one that takes calls, and gives it what was parked.
func (l *Links) rise(k *link) {
	l.mu.Lock()
	up := append(slices.Clone(*l.up.Load()), k)
	slices.SortFunc(up, func(a, b *link) int { return a.index - b.index })
	l.up.Store(&up)
	parked := l.parked
	l.parked = nil
	l.mu.Unlock()
	for _, w := range parked {
		l.place(w)
	}
}

// fall makes a link one that takes no calls.
func (l *Links) fall(k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	up := slices.DeleteFunc(slices.Clone(*l.up.Load()), func(other *link) bool { return other == k })
	l.up.Store(&up)
}

// Gone implements session.Core. One core that takes calls is told, and each that
// is just being told of the live sessions. Without any, nothing needs to be: a
// core keeps no route of this edge that the next link does not register.
func (l *Links) Gone(s session.ID, who session.Identity) {
	identity := toWire(who)
	up := *l.up.Load()
	if len(up) > 0 {
		up[choice(s, len(up))].gone(s, &identity, open)
	}
	for _, link := range l.links {
		link.gone(s, &identity, registering)
	}
}
