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
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freeim/conf/etcd"
	"freeim/edge/room"
	"freeim/edge/session"
	"freeim/idl"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultCallTimeout = 15 * time.Second
	defaultPending     = 65536
	defaultParked      = 16384
	defaultSilence     = 2 * time.Second
	defaultCensus      = 5 * time.Second
	sweepEvery         = 100 * time.Millisecond
)

// Receiver takes what comes from the cores; session.Hub implements it. Deliver and
// Reply must not block for long: they hold up the link that it came by.
type Receiver interface {
	// Deliver takes what one core said at once; the slices are used again.
	Deliver(session.Delivery)
	// Reply answers an earlier Call that no core has. A Bind for a session that has
	// ended must be answered with Gone.
	Reply(session.Reply)
	// Live calls yield for every bound session, until it returns false. yield takes
	// its time, so no lock may be held meanwhile.
	Live(yield func(session.ID, session.Identity, idl.Codec) bool)
	// Resync says that pushes may have been lost: every bound client should sync.
	Resync()
	// RoomStates calls yield for every room that has members, until it returns false;
	// want is for each State. yield takes its time.
	RoomStates(want bool, yield func(room.State) bool)
	// Unlinked says that no core is linked any more.
	Unlinked()
}

// Options configures Links.
type Options struct {
	// Cores are "unix:/path" or "host:port", one core each, or places to look for
	// cores again and again: "dns:name:port", "etcd:service". One or more. They are the
	// default pool.
	Cores  []string
	Pools  []Pool      // further cores, for calls that name them
	EdgeID string      // stable across restarts; required
	Epoch  int64       // grows with each start of this edge; required
	Key    string      // the cores' link key; empty: none is shown
	Etcd   etcd.Config // for "etcd:" among Cores
	// Lookup is how often the places are asked. 0: 5 s.
	Lookup time.Duration
	// LookupHost finds the addresses of a name. nil: net.DefaultResolver's.
	LookupHost func(ctx context.Context, name string) ([]string, error)

	// CallTimeout is after how long a call that no core has answered is refused.
	// Longer than the cores' own deadlines, which know more. 0: 15 s.
	CallTimeout time.Duration
	Pending     int // calls under way on one link; 0: 65,536
	Parked      int // calls that may wait for a link; 0: 16,384
	// Silence is after how long a core that calls wait for, and that says nothing,
	// gets no more of them; watch.go has what follows. 0: 2 s.
	Silence time.Duration
	// Census is how long it takes at least to list all live sessions to a core once
	// more, which is done on and on; census.go. 0: 5 s.
	Census time.Duration
	// Backoff gives the pause before the attempt-th try in a row to link, from 1.
	// nil: 50 ms, doubled up to 2 s, the half of it at random.
	Backoff func(attempt int) time.Duration
	Log     *slog.Logger // nil: slog.Default
	// Figures is where the metrics are registered; nil: nowhere.
	Figures prometheus.Registerer
	// Traced attaches Kitex's own tracing, which uses the process's provider
	// (conf/tracing): a span for each stream. An action's spans need it not.
	Traced bool
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
	if o.Lookup == 0 {
		o.Lookup = defaultLookup
	}
	if o.LookupHost == nil {
		o.LookupHost = net.DefaultResolver.LookupHost
	}
	if o.Silence == 0 {
		o.Silence = defaultSilence
	}
	if o.Census == 0 {
		o.Census = defaultCensus
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
	if err := o.validatePools(); err != nil {
		return err
	}
	if o.EdgeID == "" || o.Epoch <= 0 {
		return errors.New("an edge needs an ID and an epoch")
	}
	if o.CallTimeout < 0 || o.Pending < 0 || o.Parked < 0 || o.Silence < 0 || o.Census < 0 || o.Lookup < 0 {
		return fmt.Errorf("limits below zero: call timeout %s, pending %d, parked %d, silence %s, census %s, lookup %s",
			o.CallTimeout, o.Pending, o.Parked, o.Silence, o.Census, o.Lookup)
	}
	return nil
}

// Links is safe for concurrent use.
type Links struct {
	// Static after New.
	options Options
	log     *slog.Logger
	pools   []*pool      // the default one first
	seed    maphash.Seed // by which rooms are spread over the links

	receiver  Receiver // static after Start
	catalogue atomic.Pointer[catalogue]
	numbers   atomic.Uint32           // of calls: the last one given
	known     atomic.Pointer[[]*link] // one per core, by index; written under mu
	up        atomic.Pointer[[]*link] // those that take calls, of all pools, by index; written under mu
	listing   atomic.Pointer[link]    // the one that a census goes by; nil: none now
	asked     chan struct{}           // has one token when a core wants a census
	counts    counts

	mu     sync.Mutex // guards the fields below
	parked []waiting  // oldest first
	closed bool
	missed bool // a link ended with none left: clients must sync when one is up
	last   int  // index of the link made last

	refusals refusals
	running  context.Context // ended by Close
	stop     context.CancelFunc
	close    func()
	rest     sync.WaitGroup // the goroutines of the links, the attendant and the census
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
	l := &Links{options: o, log: o.Log, seed: maphash.MakeSeed(), asked: make(chan struct{}, 1), refusals: refusals{wake: make(chan struct{}, 1)}}
	l.running, l.stop = context.WithCancel(context.Background())
	l.known.Store(&[]*link{})
	l.up.Store(&[]*link{})
	l.close = sync.OnceFunc(l.shut)
	quiet(o.Log)
	if err := l.makePools(); err != nil {
		return nil, err
	}
	if o.Figures != nil {
		if err := o.Figures.Register(newFigures(l)); err != nil {
			return nil, fmt.Errorf("register the figures of the links: %w", err)
		}
	}
	return l, nil
}

// add makes a link to the core at address; it runs if the others do. The caller
// holds mu, or is New.
func (l *Links) add(p *pool, address string) error {
	if l.closed {
		return nil
	}
	dial, err := dialer(address, l.options.Traced)
	if err != nil {
		return err
	}
	l.last++
	k := newLink(l, l.last, address, dial)
	k.pool.Store(p)
	known := append(slices.Clone(*l.known.Load()), k)
	l.known.Store(&known)
	if l.receiver != nil {
		l.rest.Go(k.run)
	}
	return nil
}

// Start links to the cores, on and on until Close. It is called once.
func (l *Links) Start(r Receiver) {
	l.receiver = r
	l.rest.Go(l.attend)
	l.rest.Go(l.takeCensus)
	for _, link := range *l.known.Load() {
		l.rest.Go(link.run)
	}
	if slices.ContainsFunc(l.pools, func(p *pool) bool { return len(p.sources) > 0 }) {
		l.rest.Go(l.seek)
	}
}

// Ready reports whether a core takes calls now.
func (l *Links) Ready() bool { return len(*l.up.Load()) > 0 }

// Up reports whether a core of a pool takes calls now.
func (l *Links) Up(name string) bool { return len(*l.pool(name).up.Load()) > 0 }

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
		l.refuse(pendingOf(w), stopping)
	}
	l.rest.Wait()
	l.answerRefusals(true)
}

// Call implements session.Core.
func (l *Links) Call(c session.Call) {
	l.place(waiting{c, time.Now().Add(l.options.CallTimeout)})
}

// CallTogether implements session.Core: the session's link takes the calls, if it is up
// and its core joins calls.
func (l *Links) CallTogether(calls []session.Call) bool {
	pool := l.pool(calls[0].Pool)
	up, _ := l.reach(pool)
	if len(up) == 0 {
		return false
	}
	link, n := up[choice(calls[0].Session, len(up))], len(calls)
	if !link.callTogether(calls, time.Now().Add(l.options.CallTimeout)) {
		return false
	}
	pool.went(link, n)
	return true
}

// place gives the call to a link, parks it or refuses it. A session keeps to one
// link while the same ones are up; when that one is full the next is tried.
func (l *Links) place(w waiting) {
	pool := l.pool(w.Pool)
	for {
		up, err := l.reach(pool)
		if err != nil {
			pool.astray.Add(1)
			l.refuse(pendingOf(w), unreachable)
			return
		}
		crowded := false
		for i := range up {
			link := up[(choice(w.Session, len(up))+i)%len(up)]
			switch link.call(w) {
			case taken:
				pool.went(link, 1)
				return
			case full:
				crowded = true
			case down: // it went down since up was read
			}
		}
		if crowded {
			l.refuse(pendingOf(w), busy)
			return
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
	up, err := l.reach(l.pool(w.Pool))
	switch {
	case l.closed:
		l.refuse(pendingOf(w), stopping)
	case err != nil || len(up) > 0:
		return false
	case len(l.parked) >= l.options.Parked:
		l.refuse(pendingOf(w), unreachable)
	default:
		l.parked = append(l.parked, w)
	}
	return true
}

// rise makes a link one that takes calls, if it still is, and gives it what was
// parked. Clients sync when a link has ended meanwhile, with none left, or when
// the core says that pushes for this edge found no link: missed.
func (l *Links) rise(k *link, missed bool) {
	l.mu.Lock()
	if !k.takes() {
		l.missed = l.missed || missed
		l.mu.Unlock()
		return
	}
	if with(&l.up, k) {
		l.merge(k) // another core may have told of its actions since k did
	}
	with(&k.pool.Load().up, k)
	parked := l.parked
	l.parked = nil
	missed = missed || l.missed
	l.missed = false
	l.mu.Unlock()
	for _, w := range parked {
		l.place(w)
	}
	if missed {
		l.resync()
	}
}

// fall takes a link out that takes no calls any more.
func (l *Links) fall(k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	without(&l.up, k)
	without(&k.pool.Load().up, k)
}

// miss says that a link ended, and with it what was pushed by it last: clients
// sync, at once when there is another link.
func (l *Links) miss() {
	l.mu.Lock()
	later := !l.Ready()
	l.missed = l.missed || later
	l.mu.Unlock()
	if later {
		l.receiver.Unlinked()
	} else {
		l.resync()
	}
}

func (l *Links) resync() {
	l.counts.resyncs.Add(1)
	l.receiver.Resync()
}

// Gone implements session.Core. One core that takes calls is told, and each that
// was just told that the session lives: at the start of a link, or by a census.
// While no link is up nobody needs to be: the next link lists what lives.
func (l *Links) Gone(s session.ID, who session.Identity) {
	identity := toWire(who)
	var told *link
	if up := *l.up.Load(); len(up) > 0 {
		told = up[choice(s, len(up))]
		told.gone(s, &identity, open)
	}
	if listing := l.listing.Load(); listing != nil && listing != told {
		listing.gone(s, &identity, open)
	}
	for _, link := range *l.known.Load() {
		link.gone(s, &identity, registering)
	}
}
