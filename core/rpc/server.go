// Package rpc is the core's end of the links to the edges: a Kitex server whose
// Link stream brings calls up and takes replies, pushes and kicks down, both in
// batches. It turns RPC into plugin.Calls for dispatch, is the Pusher of fanout,
// and alone tells the presence registry of edges that come and live on. It decides
// nothing about actions. README.md beside it tells the flow, the queues and the
// failure cases; edge/rpc is the other end, core/server builds it.
package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/dispatch"
	"freeim/core/fanout"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultInFlight = 8192
	defaultOutbox   = 64 << 20
	defaultLease    = 10 * time.Second
	minKey          = 16 // octets of a link key
	bulkEach        = 4  // long replies under way for one edge, for each processor
)

// Dispatcher runs calls; dispatch.Dispatcher implements it.
type Dispatcher interface {
	// Do runs one call to its end and always gives a reply. It reads body, and
	// not after it has returned.
	Do(ctx context.Context, call *plugin.Call, body []byte) dispatch.Reply
	// Actions are all actions there are; the edges learn them from Welcome.
	Actions() []plugin.Spec
}

// Options configures a Server.
type Options struct {
	// Listen is "unix:/path" or "host:port". The network is trusted: whoever
	// reaches it, and knows the link key, speaks for any user.
	Listen string
	// LinkKey is what an edge must show, 16 octets or more. It keeps out who reaches
	// the port, not who reads the network. Empty: any edge may link.
	LinkKey  string
	CoreID   string            // names this core to edges and in logs; required
	Registry presence.Registry // required
	// Admit is asked about the sessions of each page that an edge lists and that had no
	// route: they may have missed a kick. False ends a session with idl.CloseSignedOut.
	// nil admits all. Safe for concurrent use.
	Admit func(ctx context.Context, routes []presence.Route) []bool
	// Register is how edges find this core by discovery; zero: not at all.
	Register Register
	// Rooms hears what edges say of rooms; nil: nobody does. It must not block.
	Rooms func(life presence.Life, told []fanout.RoomState)
	// StoreEpoch names the life of the timeline store whose seqs Wake and replies tell; nil: it has none. It must not block.
	StoreEpoch func() string
	Log        *slog.Logger // nil: slog.Default
	// Figures is where the metrics are registered; nil: nowhere.
	Figures prometheus.Registerer
	// Traced attaches Kitex's own tracing, which uses the process's provider
	// (conf/tracing): a span for each stream and each call of Exchange. An action's
	// span goes on in dispatch, with what its Call says, also without it.
	Traced bool

	InFlight int           // calls handled at once, all edges together; 0: 8,192
	Outbox   int           // octets queued for one edge before its link is dropped; 0: 64 MiB
	Lease    time.Duration // the registry's for lives: each is kept three times in it; 0: 10 s
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.InFlight == 0 {
		o.InFlight = defaultInFlight
	}
	if o.Outbox == 0 {
		o.Outbox = defaultOutbox
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.Rooms == nil {
		o.Rooms = func(presence.Life, []fanout.RoomState) {}
	}
	if o.Admit == nil {
		o.Admit = func(_ context.Context, routes []presence.Route) []bool {
			return slices.Repeat([]bool{true}, len(routes))
		}
	}
}

func (o *Options) validate() error {
	if o.Listen == "" || o.Registry == nil || o.CoreID == "" {
		return errors.New("core RPC needs an address, a registry and a core ID")
	}
	if o.InFlight < 0 || o.Outbox < 0 || o.Lease < 0 {
		return fmt.Errorf("limits below zero: in flight %d, outbox %d, lease %s", o.InFlight, o.Outbox, o.Lease)
	}
	if o.LinkKey != "" && len(o.LinkKey) < minKey {
		return fmt.Errorf("the link key has %d octets: it needs %d or more", len(o.LinkKey), minKey)
	}
	return o.Register.validate(o.Listen)
}

// Server is safe for concurrent use. It implements fanout.Pusher from New on;
// before an edge has linked, pushes have nowhere to go and are dropped.
type Server struct {
	// Static after New.
	options  Options
	instance string // no other run of a core has it
	log      *slog.Logger
	listener *listener
	edges    *edges
	work     context.Context // of the handlers: ended by Close
	stopWork context.CancelFunc
	exit     chan error // tells Kitex to stop; closed by Close

	// Static after Start.
	dispatcher Dispatcher
	bulky      map[idl.Action]bool // those whose replies may be long
	entry      *registration       // nil: none
	started    bool

	catalogue catalogue

	counts   counts
	told     atomic.Int64   // when a stranger was last told of, in seconds
	inFlight atomic.Int64   // calls being handled
	tasks    chan task      // unbuffered, to a goroutine that waits for a call; never closed
	idle     atomic.Int64   // goroutines that wait for one
	links    sync.WaitGroup // the goroutines of all links
	kitex    sync.WaitGroup // the goroutine that runs the Kitex server
	close    func()
}

// New opens the listener; edges that connect wait for Start.
func New(o Options) (*Server, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	listener, err := listen(o.Listen)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, instance: rand.Text(), log: o.Log, listener: listener, exit: make(chan error), tasks: make(chan task)}
	s.edges = newEdges(s)
	s.work, s.stopWork = context.WithCancel(context.Background())
	s.close = sync.OnceFunc(s.shut)
	if o.Figures != nil {
		if err := o.Figures.Register(newFigures(s)); err != nil {
			s.close()
			return nil, fmt.Errorf("register the figures of the links: %w", err)
		}
	}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Start serves with d. It is called once, when all plugins have registered their
// actions, and returns when edges are being served.
func (s *Server) Start(d Dispatcher) error {
	s.dispatcher, s.started = d, true
	s.bulky = map[idl.Action]bool{}
	for _, spec := range d.Actions() {
		if spec.Bulky {
			s.bulky[spec.Action] = true
		}
	}
	s.catalogue.setCompiled(d.Actions())
	s.links.Go(s.edges.keep)
	if err := s.serve(); err != nil {
		return err
	}
	s.entry = s.register()
	return nil
}

func (s *Server) welcome(l *link) *corepb.Welcome {
	return &corepb.Welcome{CoreId: s.options.CoreID, Instance: s.instance, Actions: s.catalogue.all().Actions, Missed: l.missed}
}

// draining is how often Drain looks whether the work is done.
const draining = 5 * time.Millisecond

// Drain leaves discovery, tells every edge to send no new calls, refuses new
// links, and waits until the calls under way are answered and every edge, having
// its answers, has closed its side of the link. It returns ctx's error when that
// takes too long. Close comes after it, and sends what is still queued.
func (s *Server) Drain(ctx context.Context) error {
	s.entry.leave()
	s.edges.drain()
	tick := time.NewTicker(draining)
	defer tick.Stop()
	for s.inFlight.Load() > 0 || s.edges.linked() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("drain with %d calls and %d links left: %w", s.inFlight.Load(), s.edges.linked(), ctx.Err())
		}
	}
	return nil
}

// Close drops all links, ends the context of the handlers still at work, and
// waits for them (see closing). Without Drain before it, the edges answer
// UNAVAILABLE to what was under way.
func (s *Server) Close() { s.close() }

// closing is how long Close waits for handlers that ignore their context.
const closing = 5 * time.Second

func (s *Server) shut() {
	s.entry.leave()
	s.edges.close()
	s.stopWork()
	close(s.exit)
	if !s.started {
		_ = s.listener.Close() // nothing served it, nothing is lost
		s.listener.release()
		return
	}
	s.kitex.Wait()
	s.listener.release()
	s.links.Wait()
	for late := time.Now().Add(closing); s.inFlight.Load() > 0 && time.Now().Before(late); {
		time.Sleep(draining)
	}
}
