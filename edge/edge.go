package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"freeim/conf/tracing"
	"freeim/edge/api"
	"freeim/edge/certs"
	"freeim/edge/files"
	"freeim/edge/gateway"
	"freeim/edge/hooks"
	"freeim/edge/limits"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/edge/web"
	home "freeim/idl/files"

	"github.com/prometheus/client_golang/prometheus"
)

// edge is the parts of this process that clients connect to.
type edge struct {
	config  edgeConfig
	log     *slog.Logger
	limits  *limits.Guard // with the bans: Bans and Unban are for the administrative port
	certs   *certs.Source // nil: no port with TLS
	rules   *hooks.Rules  // nil: none
	links   *rpc.Links
	hub     *session.Hub
	api     *api.Handler   // nil: none
	files   *files.Handler // nil: none
	gateway *gateway.Gateway

	draining atomic.Bool        // close has begun
	unwatch  context.CancelFunc // ends the watch of the rules
	watching sync.WaitGroup
}

// newEdge joins links, hub and gateway; nothing is served before start. When it
// fails, nothing is left running.
func newEdge(c edgeConfig, log *slog.Logger, traces *tracing.Tracing, figures prometheus.Registerer) (e *edge, err error) {
	shown, err := c.certificates(log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && shown != nil {
			shown.Close()
		}
	}()
	guard, err := c.Limits.guard()
	if err != nil {
		return nil, err
	}
	rules, err := c.rules(log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && rules != nil {
			rules.Close()
		}
	}()
	links, err := rpc.New(rpc.Options{
		Cores: c.Cores, Pools: c.pools(), Key: c.LinkKey, Etcd: c.Etcd, Lookup: c.Lookup, Silence: c.Silence, Census: c.Census, EdgeID: c.ID, Epoch: time.Now().UnixMicro(),
		CallTimeout: c.CallTimeout, Traced: traces.Tracer() != nil, Log: log, Figures: figures})
	if err != nil {
		return nil, fmt.Errorf("prepare the links to the cores: %w", err)
	}
	o := session.Options{
		Core: links, Log: log, MaxSessions: c.MaxSessions, AuthTimeout: c.AuthTimeout, Heartbeat: c.Heartbeat,
		MaxBodyFresh: int(c.MaxBodyFresh), MaxBody: int(c.MaxBody), QueueFrames: c.QueueFrames, QueueBytes: int(c.QueueBytes),
		RetryAfter: c.RetryAfter, Jitter: c.Jitter, Wakes: c.Wakes, DrainRate: c.DrainRate, DrainJitter: c.DrainJitter,
		Limits: guard, AuthFailures: c.Limits.AuthFailures, Patience: c.Limits.Patience, Tracer: traces.Tracer(), Sample: traces.Sample(),
	}
	if rules != nil {
		o.Rules = rules
	}
	hub, err := session.New(o)
	if err != nil {
		links.Close()
		return nil, fmt.Errorf("prepare the hub: %w", err)
	}
	e = &edge{config: c, log: log, limits: guard, certs: shown, rules: rules, links: links, hub: hub}
	if e.api, err = c.API.handler(hub, links, figures); err != nil {
		hub.Close()
		links.Close()
		return nil, fmt.Errorf("prepare the API: %w", err)
	}
	if e.files, err = c.Files.handler(c.API.Origins, log, figures); err != nil {
		hub.Close()
		links.Close()
		return nil, fmt.Errorf("prepare the files: %w", err)
	}
	if e.gateway, err = gateway.New(e.options(log)); err != nil {
		hub.Close()
		links.Close()
		return nil, fmt.Errorf("prepare the gateway: %w", err)
	}
	return e, nil
}

// options is how the gateway is to be.
func (e *edge) options(log *slog.Logger) gateway.Options {
	c := &e.config
	o := gateway.Options{
		TCP: c.TCP, TCPS: c.TCPS, HTTP: c.HTTP, HTTPS: c.HTTPS, Echo: c.WSEcho,
		SharePorts: c.Processes > 1,
		Hub:        e.hub, Log: log, Web: e.pages(), AllowOrigin: c.allowOrigin(), ProxyProtocol: c.ProxyProtocol, Limits: e.limits,
		HeadTimeout: c.HeadTimeout, MaxHTTP: c.MaxHTTP, Deflate: c.Deflate, Backlog: int(c.Backlog), Stall: c.Stall, ReadBuffer: int(c.ReadBuffer),
	}
	o.TrustedProxies, _ = prefixes("", c.TrustedProxies) // complete has looked at them
	if e.certs != nil {
		o.TLS = e.certs.Config()
	}
	return o
}

// pages is what the HTTP port serves beside WebSockets: the demo chat with the
// browser SDK, the actions, what people upload, and the health of this edge.
func (e *edge) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler(e.config.Files.stores()...))
	mux.HandleFunc("GET /healthz", e.health)
	if e.api != nil {
		mux.Handle(api.Prefix, e.api)
	}
	if e.files != nil {
		mux.Handle(home.Prefix, e.files)
	}
	return mux
}

// health answers 200 while clients can be served, 503 while no core is reached
// and once the edge drains.
func (e *edge) health(w http.ResponseWriter, in *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	ready := e.ready(in.Context()) == nil
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(map[string]bool{"ok": ready})
}

// ready says what keeps the edge from serving; nil: nothing.
func (e *edge) ready(context.Context) error {
	if e.draining.Load() {
		return errors.New("the edge drains")
	}
	if !e.links.Ready() {
		return errors.New("no core is reached")
	}
	return nil
}

// alive says what only a restart mends: loops that stand still; nil: nothing.
func (e *edge) alive(ctx context.Context) error {
	if e.draining.Load() {
		return nil // it ends anyway
	}
	if err := e.hub.Alive(); err != nil {
		return err
	}
	return e.gateway.Ping(ctx)
}

// start serves clients; when it fails, nothing is left running.
func (e *edge) start() error {
	e.watchRules()
	e.links.Start(e.hub)
	if err := e.gateway.Start(); err != nil {
		e.stop()
		return fmt.Errorf("listen for clients: %w", err)
	}
	return nil
}

// watchRules follows the files of the rules until stop.
func (e *edge) watchRules() {
	if e.rules == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.unwatch = cancel
	e.watching.Go(func() {
		if err := e.rules.Run(ctx); err != nil && ctx.Err() == nil {
			e.log.Error("the rules of the edge are no longer watched", "err", err)
		}
	})
}

func (e *edge) stop() {
	e.gateway.Close()
	e.links.Close()
	e.hub.Close()
	if e.rules != nil {
		e.unwatch()
		e.watching.Wait()
		if err := e.rules.Close(); err != nil {
			e.log.Error("close the rules of the edge", "err", err)
		}
	}
	if e.certs != nil {
		e.certs.Close()
	}
}

// close says that the edge is not ready any more, lets that be seen for
// DrainDelay, stops accepting, sends the clients elsewhere, and ends by
// DrainTimeout. Sessions do not wait for somebody who takes his time over a page.
// Whoever is left at the end is cut off, which is no fault of the edge.
func (e *edge) close(ctx context.Context) {
	e.draining.Store(true)
	if e.config.DrainDelay > 0 {
		e.log.Info("not ready any more", "accepting_for", e.config.DrainDelay)
		time.Sleep(e.config.DrainDelay)
	}
	ctx, cancel := context.WithTimeout(ctx, e.config.DrainTimeout)
	defer cancel()
	pages := make(chan error, 1)
	go func() { pages <- e.gateway.Drain(ctx) }()
	if e.drainSessions(ctx) != nil || <-pages != nil {
		s := e.gateway.Stats()
		e.log.Warn("out of time: the connections that are left are cut off", "sessions", s.Conns, "pages", s.HTTP)
	}
	e.stop()
}

// drainSessions keeps a part of the time for the last answers and Quits to leave.
func (e *edge) drainSessions(ctx context.Context) error {
	early, cancel := context.WithTimeout(ctx, e.config.DrainTimeout-min(time.Second, e.config.DrainTimeout/4))
	defer cancel()
	if e.hub.Drain(early) == nil {
		return nil
	}
	return e.hub.Drain(ctx)
}
