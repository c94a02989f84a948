// Package cluster runs edges and cores with real listeners, real Kitex and real
// stores: in this process (Cluster, the same wiring that the mains do), or as
// processes of their own (Site), with bad weather between them (Proxy). Scenarios,
// fault tests and bench use it; it holds no logic of a server.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"freeim/core/server"
	"freeim/edge/api"
	"freeim/edge/files"
	"freeim/edge/gateway"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/edge/web"
	home "freeim/idl/files"
	"freeim/plugins"
	"freeim/plugins/file"

	"go.opentelemetry.io/otel/trace"
)

// Options describes a cluster.
type Options struct {
	Dir   string       // for stores, scripts and sockets; it must exist
	Rules bool         // watch Dir/rules for Lua files; the directory is made if missing
	Log   *slog.Logger // nil: warnings and errors to standard error
	Edges int          // 0: 1
	Cores int          // 0: 1; more need stores that they share
	// Core changes how the i-th core is made, each time it starts: with the
	// production stores, with a clock of its own. Nil: the embedded stores.
	Core func(i int, o *server.Options)
	// Via is where edges reach the i-th core, through a proxy perhaps. Nil: where it
	// listens.
	Via func(i int) string
	// Hub sets limits that differ from the edges' defaults; Core is ignored.
	Hub session.Options
	// Requests is how many actions over HTTP may be under way at an edge; 0: its default.
	Requests int
	// Tracer makes the spans of the actions, of all of them; nil: there are none.
	Tracer trace.Tracer
	// Stores are the origins, beside an edge's own, to which the demo may send files.
	Stores []string
	// TLS is what the edges show on ports of their own for tls:// and wss://,
	// beside the plain ones; nil: there are no such ports.
	TLS *tls.Config
}

// Cluster is cores and edges in this process. It and its parts are used by one
// goroutine.
type Cluster struct {
	Cores []*Core
	Edges []*Edge // each linked to every core

	opts Options
	log  *slog.Logger
}

// Start starts the cores, then the edges.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{opts: o, log: o.Log}
	if c.log == nil {
		c.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if err := gateway.Tune(0, c.log); err != nil { // before Kitex uses netpoll
		return nil, err
	}
	if err := os.MkdirAll(c.RulesDir(), 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close(context.WithoutCancel(ctx)))
		}
	}()
	var listen []string
	for i := range max(o.Cores, 1) {
		core := &Core{cluster: c, index: i}
		c.Cores = append(c.Cores, core)
		if o.Via != nil {
			listen = append(listen, o.Via(i))
		} else {
			listen = append(listen, core.listen())
		}
		if err := core.Start(ctx); err != nil {
			return nil, err
		}
	}
	for i := range max(o.Edges, 1) {
		edge := &Edge{cluster: c, id: fmt.Sprintf("edge-%d", i+1), cores: listen, tcp: "127.0.0.1:0", http: "127.0.0.1:0"}
		if o.TLS != nil {
			edge.tcps, edge.https = "127.0.0.1:0", "127.0.0.1:0"
		}
		c.Edges = append(c.Edges, edge)
		if err := edge.Start(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// RulesDir is where the cores' Lua rules are.
func (c *Cluster) RulesDir() string { return filepath.Join(c.opts.Dir, "rules") }

// filesDir is where what people upload is.
func (c *Cluster) filesDir() string { return filepath.Join(c.opts.Dir, "files") }

// Close stops everything.
func (c *Cluster) Close(ctx context.Context) error {
	var errs []error
	for _, e := range c.Edges {
		errs = append(errs, e.Stop(ctx))
	}
	for _, core := range c.Cores {
		errs = append(errs, core.Stop(ctx))
	}
	return errors.Join(errs...)
}

// Core is one core of a cluster.
type Core struct {
	cluster *Cluster
	index   int
	server  *server.Server // nil while it is down
}

// Server is the running core; nil while it is down.
func (c *Core) Server() *server.Server { return c.server }

func (c *Core) listen() string {
	return "unix:" + filepath.Join(c.cluster.opts.Dir, fmt.Sprintf("core-%d.sock", c.index+1))
}

// Start starts the core, again after Stop on the same stores.
func (c *Core) Start(ctx context.Context) (err error) {
	o := server.Options{Log: c.cluster.log, Tracer: c.cluster.opts.Tracer, Plugins: plugins.All(), Config: server.Config{
		ID: fmt.Sprintf("core-%d", c.index+1), Listen: c.listen(), Data: filepath.Join(c.cluster.opts.Dir, "data"),
	}}
	for _, p := range o.Plugins {
		if uploads, ok := p.(*file.File); ok {
			uploads.Config().(*file.Config).Dir = c.cluster.filesDir()
		}
	}
	if c.cluster.opts.Rules {
		o.Config.Scripts = c.cluster.RulesDir()
	}
	if c.cluster.opts.Core != nil {
		c.cluster.opts.Core(c.index, &o)
	}
	core, err := server.New(ctx, o)
	if err != nil {
		return fmt.Errorf("build the core: %w", err)
	}
	if err := core.Start(); err != nil {
		return errors.Join(err, core.Close(ctx))
	}
	c.server = core
	return nil
}

// Stop drains and closes the core.
func (c *Core) Stop(ctx context.Context) error {
	if c.server == nil {
		return nil
	}
	core := c.server
	c.server = nil
	return core.Close(ctx)
}

// Edge is one edge of a cluster.
type Edge struct {
	cluster *Cluster
	id      string
	cores   []string

	links *rpc.Links // these three are nil while the edge is down
	hub   *session.Hub
	gate  *gateway.Gateway
	tcp   string // its addresses, kept over restarts
	http  string
	tcps  string // these two are empty without Options.TLS
	https string
}

// TCP is the address for frames over TCP, as the client SDK takes it.
func (e *Edge) TCP() string { return "tcp://" + e.tcp }

// WebSocket is the address for WebSockets, as the client SDK takes it.
func (e *Edge) WebSocket() string { return "ws://" + e.http + "/ws" }

// TLS is the address for frames under TLS, as the client SDK takes it.
func (e *Edge) TLS() string { return "tls://" + e.tcps }

// API is where the actions are over HTTP.
func (e *Edge) API() string { return "http://" + e.http + api.Prefix }

// SecureAPI is API under TLS.
func (e *Edge) SecureAPI() string { return "https://" + e.https + api.Prefix }

// SecureWebSocket is WebSocket under TLS.
func (e *Edge) SecureWebSocket() string { return "wss://" + e.https + "/ws" }

// Page is the address of the demo chat.
func (e *Edge) Page() string { return "http://" + e.http + "/" }

// SecurePage is Page under TLS.
func (e *Edge) SecurePage() string { return "https://" + e.https + "/" }

// Stats is what the edge's sessions have counted; the edge must be up.
func (e *Edge) Stats() session.Stats { return e.hub.Stats() }

// Start starts the edge, again after Stop or Kill on the same addresses.
func (e *Edge) Start() error {
	log := e.cluster.log
	links, err := rpc.New(rpc.Options{Cores: e.cores, EdgeID: e.id, Epoch: time.Now().UnixMicro(), Traced: e.cluster.opts.Tracer != nil, Log: log})
	if err != nil {
		return fmt.Errorf("build the links: %w", err)
	}
	o := e.cluster.opts.Hub
	o.Core, o.Log = links, log
	o.Tracer, o.Sample = e.cluster.opts.Tracer, 1
	if o.RetryAfter == 0 { // clients here are few: let them come back at once
		o.RetryAfter, o.Jitter, o.DrainJitter = 10*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	}
	hub, err := session.New(o)
	if err != nil {
		links.Close()
		return fmt.Errorf("build the hub: %w", err)
	}
	served := http.NewServeMux()
	served.Handle("/", web.Handler(e.cluster.opts.Stores...))
	actions, err := api.New(api.Options{Hub: hub, Actions: links.Actions, Requests: e.cluster.opts.Requests})
	if err != nil {
		hub.Close()
		links.Close()
		return fmt.Errorf("build the API: %w", err)
	}
	served.Handle(api.Prefix, actions)
	uploads, err := files.New(files.Options{Home: &home.Home{Dir: e.cluster.filesDir()}, Log: log})
	if err != nil {
		hub.Close()
		links.Close()
		return fmt.Errorf("build the files: %w", err)
	}
	served.Handle(home.Prefix, uploads)
	gate, err := gateway.New(gateway.Options{
		TCP: e.tcp, HTTP: e.http, TCPS: e.tcps, HTTPS: e.https, TLS: e.cluster.opts.TLS, Hub: hub, Web: served, Limits: o.Limits, Log: log})
	if err != nil {
		hub.Close()
		links.Close()
		return fmt.Errorf("build the gateway: %w", err)
	}
	e.links, e.hub, e.gate = links, hub, gate
	links.Start(hub)
	if err := gate.Start(); err != nil {
		e.Kill()
		return err
	}
	e.tcp, e.http = gate.TCPAddr().String(), gate.HTTPAddr().String()
	if e.cluster.opts.TLS != nil {
		e.tcps, e.https = gate.TCPSAddr().String(), gate.HTTPSAddr().String()
	}
	return nil
}

// Stop tells the clients to come back and closes the edge.
func (e *Edge) Stop(ctx context.Context) error {
	if e.gate == nil {
		return nil
	}
	err := errors.Join(e.gate.Drain(ctx), e.hub.Drain(ctx))
	e.Kill()
	return err
}

// Kill ends the edge, if it is up, without a word to its clients.
func (e *Edge) Kill() {
	if e.gate == nil {
		return
	}
	e.gate.Close()
	e.links.Close()
	e.hub.Close()
	e.gate, e.links, e.hub = nil, nil, nil
}
