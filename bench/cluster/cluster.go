// Package cluster runs edges and cores in one process, joined by real Kitex over
// a unix socket, with real listeners and real stores: for scenarios, fault tests
// and measurements. It is wiring only, the same that the mains do; tests and
// bench use it.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"freeim/core/plugin"
	"freeim/core/server"
	"freeim/edge/gateway"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/edge/web"
	"freeim/plugins/account"
	"freeim/plugins/chat"

	"go.opentelemetry.io/otel/trace"
)

// Options describes a cluster.
type Options struct {
	Dir   string       // for stores, scripts and the socket; it must exist
	Rules bool         // watch Dir/rules for Lua files; the directory is made if missing
	Log   *slog.Logger // nil: warnings and errors to standard error
	// Hub sets limits that differ from the edge's defaults; Core is ignored.
	Hub session.Options
	// Tracer makes the spans of the actions, of all of them; nil: there are none.
	Tracer trace.Tracer
}

// Cluster is one core and one edge. Its methods are called by one goroutine.
type Cluster struct {
	opts Options
	log  *slog.Logger

	core  *server.Server // nil while it is down
	links *rpc.Links     // these three are nil while the edge is down
	hub   *session.Hub
	gate  *gateway.Gateway
	tcp   string // the edge's addresses, kept over restarts
	http  string
}

// Start starts a core and an edge.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{opts: o, log: o.Log, tcp: "127.0.0.1:0", http: "127.0.0.1:0"}
	if c.log == nil {
		c.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if err := gateway.Tune(0, c.log); err != nil { // before Kitex uses netpoll
		return nil, err
	}
	if err := os.MkdirAll(c.RulesDir(), 0o755); err != nil {
		return nil, err
	}
	if err := c.StartCore(ctx); err != nil {
		return nil, err
	}
	if err := c.StartEdge(); err != nil {
		return nil, errors.Join(err, c.StopCore(ctx))
	}
	return c, nil
}

// RulesDir is where the core's Lua rules are.
func (c *Cluster) RulesDir() string { return filepath.Join(c.opts.Dir, "rules") }

// TCP is the address for frames over TCP, as the client SDK takes it.
func (c *Cluster) TCP() string { return "tcp://" + c.tcp }

// WebSocket is the address for WebSockets, as the client SDK takes it.
func (c *Cluster) WebSocket() string { return "ws://" + c.http + "/ws" }

// Page is the address of the demo chat.
func (c *Cluster) Page() string { return "http://" + c.http + "/" }

// Core is the running core; nil while it is down.
func (c *Cluster) Core() *server.Server { return c.core }

// StartCore starts the core again after StopCore, on the same stores.
func (c *Cluster) StartCore(ctx context.Context) (err error) {
	o := server.Options{Log: c.log, Tracer: c.opts.Tracer, Plugins: []plugin.Plugin{account.New(), chat.New()}, Config: server.Config{
		ID: "core", Listen: "unix:" + filepath.Join(c.opts.Dir, "core.sock"), Data: filepath.Join(c.opts.Dir, "data"),
	}}
	if c.opts.Rules {
		o.Config.Scripts = c.RulesDir()
	}
	core, err := server.New(ctx, o)
	if err != nil {
		return fmt.Errorf("build the core: %w", err)
	}
	if err := core.Start(); err != nil {
		return errors.Join(err, core.Close(ctx))
	}
	c.core = core
	return nil
}

// StopCore drains and closes the core.
func (c *Cluster) StopCore(ctx context.Context) error {
	if c.core == nil {
		return nil
	}
	core := c.core
	c.core = nil
	return core.Close(ctx)
}

// StartEdge starts the edge again after StopEdge, on the same addresses.
func (c *Cluster) StartEdge() error {
	links, err := rpc.New(rpc.Options{
		Cores: []string{"unix:" + filepath.Join(c.opts.Dir, "core.sock")}, EdgeID: "edge", Epoch: time.Now().UnixMicro(), Traced: c.opts.Tracer != nil, Log: c.log})
	if err != nil {
		return fmt.Errorf("build the links: %w", err)
	}
	o := c.opts.Hub
	o.Core, o.Log = links, c.log
	o.Tracer, o.Sample = c.opts.Tracer, 1
	if o.RetryAfter == 0 { // clients here are few: let them come back at once
		o.RetryAfter, o.Jitter = 10*time.Millisecond, 50*time.Millisecond
	}
	hub, err := session.New(o)
	if err != nil {
		links.Close()
		return fmt.Errorf("build the hub: %w", err)
	}
	gate, err := gateway.New(gateway.Options{TCP: c.tcp, HTTP: c.http, Hub: hub, Web: web.Handler(), Log: c.log})
	if err != nil {
		hub.Close()
		links.Close()
		return fmt.Errorf("build the gateway: %w", err)
	}
	c.links, c.hub, c.gate = links, hub, gate
	links.Start(hub)
	if err := gate.Start(); err != nil {
		c.KillEdge()
		return err
	}
	c.tcp, c.http = gate.TCPAddr().String(), gate.HTTPAddr().String()
	return nil
}

// StopEdge tells the clients to come back and closes the edge.
func (c *Cluster) StopEdge(ctx context.Context) error {
	if c.gate == nil {
		return nil
	}
	err := errors.Join(c.gate.Drain(ctx), c.hub.Drain(ctx))
	c.KillEdge()
	return err
}

// KillEdge ends the edge, if it is up, without a word to its clients.
func (c *Cluster) KillEdge() {
	if c.gate == nil {
		return
	}
	c.gate.Close()
	c.links.Close()
	c.hub.Close()
	c.gate, c.links, c.hub = nil, nil, nil
}

// Close stops everything.
func (c *Cluster) Close(ctx context.Context) error {
	return errors.Join(c.StopEdge(ctx), c.StopCore(ctx))
}
