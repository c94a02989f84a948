// Package server puts a core together: stores, rules, plugins, dispatch, fan-out
// and the Kitex service, in one visible place, and runs their common life. It
// holds no logic of its own. core/main, edge/main (embedded mode) and
// bench/cluster use it.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/archive"
	"freeim/core/dispatch"
	"freeim/core/fanout"
	"freeim/core/hooks"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/rpc"
	"freeim/idl"
	"freeim/scripts/engine"
	"freeim/scripts/pages"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Options is what a core is made of.
type Options struct {
	Config  Config
	Plugins []plugin.Plugin       // configured; usually plugins.All()
	Log     *slog.Logger          // nil: slog.Default
	Figures prometheus.Registerer // nil: figures are kept nowhere
	Tracer  trace.Tracer          // makes the spans of actions that the edge traces; nil: none
	Now     func() time.Time      // the clock of message IDs and of plugins; nil: time.Now
}

// Server is one core. Its methods are called by one goroutine: New, Start, then
// Close once.
type Server struct {
	// Static after Start.
	config    Config
	log       *slog.Logger
	storeErrs *prometheus.CounterVec // of the timelines, by operation
	now       func() time.Time
	ids       *im.IDGenerator
	stores
	rules      *hooks.Rules // nil without scripts
	effects    *hooks.Effects
	posts      *hooks.Posts
	plugins    *plugin.Set
	schemas    []archive.Schema // the plugins' tables
	dispatcher *dispatch.Dispatcher
	fanout     *fanout.Fanout
	rooms      *fanout.Rooms
	rpc        *rpc.Server
	links      atomic.Pointer[rpc.Server] // rpc, for the stores' goroutines: nil until it is made

	started  bool        // Start was called
	draining atomic.Bool // Close has begun
	services *plugin.Services
	work     sync.WaitGroup // goroutines of plugins and the rules' watcher
	stop     context.CancelFunc
	ctx      context.Context // ends when the server stops: for work that outlives Start
}

// New opens the stores, starts the plugins and builds everything else; nothing
// is served before Start. When it fails, whatever was opened is closed again.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	o.Config.setDefaults()
	if err := o.Config.validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{config: o.Config, log: o.Log, now: o.Now, ids: im.NewIDGenerator(o.Now), schemas: schemas(o.Plugins), services: plugin.NewServices()}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(ctx))
		}
	}()
	if err := s.openStores(ctx, o.Figures); err != nil {
		return nil, err
	}
	s.observed = presence.Observe(s.registry)
	s.registry = s.observed
	if err := s.assemble(ctx, o); err != nil {
		return nil, err
	}
	return s, nil
}

// offerRules makes the rules, if there are scripts, and offers them to the plugins.
func (s *Server) offerRules() error {
	if s.config.Scripts == "" {
		return nil
	}
	endpoints, err := s.config.Rules.endpoints()
	if err != nil {
		return err
	}
	s.posts = hooks.NewPosts(hooks.PostOptions{Endpoints: endpoints, Log: s.log})
	s.rules, s.effects = hooks.New(), hooks.NewEffects(s.log, hooks.Means{Kick: s.kickUser, Push: s.fanout.Push, Post: s.posts.Post, Send: s.sendFor})
	s.rules.Limiter, s.rules.Offer = s.limiter("rules.actions", 1, time.Minute), s.rpc.Offer
	for _, service := range []string{"account.rules", "room.rules", "group.rules", "chat.rules"} {
		s.services.Provide("core", service, s.rules)
	}
	return nil
}

// openRules loads the scripts, now that the actions are known, and gives dispatch
// its hooks: nil when there are no scripts.
func (s *Server) openRules(specs []plugin.Spec) (dispatch.Hooks, error) {
	if s.rules == nil {
		return nil, nil
	}
	o := s.config.RuleOptions()
	o.Log, o.Effects, o.Made, o.Shared = s.log, s.effects, s.accountMade, s.shared
	return s.rules, s.rules.Open(specs, o)
}

// scripted finds the actions that scripts define; nil when there are no scripts.
func (s *Server) scripted() func(call *plugin.Call) (plugin.Spec, bool) {
	if s.rules == nil {
		return nil
	}
	return s.rules.Scripted
}

// assemble joins the parts: calls come in by rpc, go through the dispatcher to
// the plugins, and what they push goes out by fan-out and rpc again.
func (s *Server) assemble(ctx context.Context, o Options) (err error) {
	s.rpc, err = rpc.New(rpc.Options{
		Listen: s.config.Listen, LinkKey: s.config.LinkKey, CoreID: s.config.ID, Register: s.config.Register,
		Registry: s.registry, StoreEpoch: s.timelines.Epoch, Admit: s.admit, Rooms: s.hear, Traced: o.Tracer != nil, Log: s.log, Figures: o.Figures})
	if err != nil {
		return fmt.Errorf("listen for edges: %w", err)
	}
	s.links.Store(s.rpc)
	if s.fanout, err = fanout.New(fanout.Options{Registry: s.registry, Pusher: s.rpc, Figures: o.Figures, Log: s.log}); err != nil {
		return fmt.Errorf("prepare fan-out: %w", err)
	}
	if s.rooms, err = fanout.NewRooms(fanout.RoomOptions{Registry: s.inRooms, Pusher: s.rpc, Figures: o.Figures, Log: s.log}); err != nil {
		return fmt.Errorf("prepare rooms: %w", err)
	}
	if s.storeErrs, err = newErrors(o.Figures); err != nil {
		return err
	}
	if s.plugins, err = plugin.NewSet(o.Plugins); err != nil {
		return err
	}
	if err := s.offerRules(); err != nil {
		return err
	}
	specs, err := s.plugins.Start(ctx, s.hostFor, s.directory.Migrate)
	if err != nil {
		return err
	}
	rules, err := s.openRules(specs)
	if err != nil {
		return err
	}
	s.dispatcher, err = dispatch.New(dispatch.Options{
		Specs: specs, Hooks: rules, Tokens: s.tokens(), Scripted: s.scripted(), Log: s.log, Timeout: s.config.ActionTimeout, Figures: o.Figures, Tracer: o.Tracer})
	if err != nil {
		return err
	}
	return s.register(o.Figures)
}

// admit asks the account plugin whether sessions that an edge registers again after a
// lost link still rest on valid sign-ins.
func (s *Server) admit(ctx context.Context, routes []presence.Route) []bool {
	service, ok := s.services.Service("account.admission")
	if !ok {
		return slices.Repeat([]bool{true}, len(routes))
	}
	return service.(Admission).Admit(ctx, routes)
}

// tokens is what says whose tokens are, nil when no plugin does.
func (s *Server) tokens() dispatch.Tokens {
	service, _ := s.services.Service("account.tokens")
	tokens, _ := service.(dispatch.Tokens)
	return tokens
}

// hear takes what an edge says of rooms: edges link when all is assembled.
func (s *Server) hear(life presence.Life, told []fanout.RoomState) { s.rooms.States(life, told) }

// Admission says which sessions may go on; the account plugin provides it as the
// service "account.admission".
type Admission interface {
	Admit(ctx context.Context, routes []presence.Route) []bool
}

// Start serves edges until Close.
func (s *Server) Start() error {
	s.started = true
	if s.rules != nil {
		s.work.Go(func() { s.effects.Run(s.ctx) })
		s.work.Go(func() {
			if err := s.rules.Engine().Run(s.ctx); err != nil && s.ctx.Err() == nil {
				s.log.Error("the rules are no longer watched", "err", err)
			}
		})
	}
	if err := s.rpc.Start(s.dispatcher); err != nil {
		return fmt.Errorf("serve edges on %s: %w", s.config.Listen, err)
	}
	s.log.Info("core serves edges", "core", s.config.ID, "listen", s.config.Listen)
	return nil
}

// Addr is where edges link to, in the form of Config.Listen: with the port that
// was chosen, if it was 0.
func (s *Server) Addr() string {
	addr := s.rpc.Addr()
	if addr.Network() == "unix" {
		return "unix:" + addr.String()
	}
	return addr.String()
}

// accountMade asks the account plugin, for rules, when an account was made. It does
// not wait for a database that is slow: then it is not known.
func (s *Server) accountMade(user string) (time.Time, bool) {
	service, ok := s.services.Service("account.directory")
	directory, knows := service.(interface {
		Made(ctx context.Context, u im.UserID) (at time.Time, exists bool, err error)
		MadeKnown(u im.UserID) (at time.Time, known bool)
	})
	id, err := strconv.ParseInt(user, 10, 64)
	if !ok || !knows || err != nil {
		return time.Time{}, false
	}
	if at, known := directory.MadeKnown(im.UserID(id)); known { // for every message: a deadline would cost more
		return at, true
	}
	ctx, cancel := context.WithTimeout(s.ctx, madeTime)
	defer cancel()
	at, exists, err := directory.Made(ctx, im.UserID(id))
	return at, exists && err == nil
}

// madeTime bounds what an action waits for that, once.
const madeTime = 3 * time.Millisecond

// kickUser ends the sessions of a person, since a rule wants it.
func (s *Server) kickUser(ctx context.Context, user im.UserID, reason string) error {
	routes, err := s.registry.Routes(ctx, user)
	if err != nil {
		return err
	}
	for _, all := range routes {
		s.fanout.Kick(slices.Clone(all), idl.CloseRemoved, reason)
	}
	return nil
}

// sendFor has the chat plugin commit a message, since a rule wants it.
func (s *Server) sendFor(ctx context.Context, m hooks.Message) error {
	service, _ := s.services.Service("chat.sender")
	sender, ok := service.(interface {
		SendFor(ctx context.Context, from, to im.UserID, clientID, text string) error
	})
	if !ok {
		return im.Errorf(idl.CodeInternal, "no plugin sends messages")
	}
	return sender.SendFor(ctx, m.From, m.To, m.ClientID, m.Text)
}

// RuleEvents is the page of what rules tell operators by im.emit.
func (s *Server) RuleEvents() http.Handler {
	if s.effects == nil {
		return http.NotFoundHandler()
	}
	return s.effects.Page(s.ctx)
}

// RulePages are the rules' pages for the administrative port, none when the core has
// no scripts.
func (s *Server) RulePages() []pages.Page {
	if s.rules == nil {
		return nil
	}
	return s.rules.Pages(s.config.ID)
}

// Pages are those of the plugins, for the administrative port.
func (s *Server) Pages() []plugin.Page { return s.plugins.Pages() }

// Rules is the rule engine, nil when the core has no scripts.
func (s *Server) Rules() *engine.Engine {
	if s.rules == nil {
		return nil
	}
	return s.rules.Engine()
}

// Close drains and stops everything in the reverse order of New, and waits until
// it is done. It also undoes a New that failed half-way.
func (s *Server) Close(ctx context.Context) error {
	s.draining.Store(true)
	drain, cancel := context.WithTimeout(ctx, s.config.DrainTimeout)
	defer cancel()
	var errs []error
	if s.rpc != nil {
		errs = append(errs, s.rpc.Drain(drain))
	}
	if s.plugins != nil {
		errs = append(errs, s.plugins.Drain(drain))
	}
	if s.effects != nil && s.started {
		s.effects.Drain(drain)
	}
	if s.posts != nil {
		s.posts.Drain(drain)
	}
	if s.fanout != nil {
		s.fanout.Close()
	}
	if s.rooms != nil {
		s.rooms.Close()
	}
	if s.rpc != nil {
		s.rpc.Close()
	}
	s.stop()
	if s.plugins != nil {
		errs = append(errs, s.plugins.Stop(ctx))
	}
	s.work.Wait()
	if s.rules != nil {
		errs = append(errs, s.rules.Close())
	}
	return errors.Join(append(errs, s.closeStores())...)
}
