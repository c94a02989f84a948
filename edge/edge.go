package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"freeim/conf/tracing"
	"freeim/edge/certs"
	"freeim/edge/gateway"
	"freeim/edge/rpc"
	"freeim/edge/session"
	"freeim/edge/web"
)

// edge is the parts of this process that clients connect to.
type edge struct {
	config  edgeConfig
	certs   *certs.Source // nil: no port with TLS
	links   *rpc.Links
	hub     *session.Hub
	gateway *gateway.Gateway
}

// newEdge joins links, hub and gateway; nothing is served before start. When it
// fails, nothing is left running.
func newEdge(c edgeConfig, log *slog.Logger, traces *tracing.Tracing) (e *edge, err error) {
	shown, err := c.certificates(log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && shown != nil {
			shown.Close()
		}
	}()
	links, err := rpc.New(rpc.Options{
		Cores: c.Cores, EdgeID: c.ID, Epoch: time.Now().UnixMicro(), CallTimeout: c.CallTimeout, Traced: traces.Tracer() != nil, Log: log})
	if err != nil {
		return nil, fmt.Errorf("prepare the links to the cores: %w", err)
	}
	hub, err := session.New(session.Options{
		Core: links, Log: log, MaxSessions: c.MaxSessions, AuthTimeout: c.AuthTimeout, Heartbeat: c.Heartbeat,
		MaxBodyFresh: int(c.MaxBodyFresh), MaxBody: int(c.MaxBody), QueueFrames: c.QueueFrames, QueueBytes: int(c.QueueBytes),
		RetryAfter: c.RetryAfter, Jitter: c.Jitter, Tracer: traces.Tracer(), Sample: traces.Sample(),
	})
	if err != nil {
		links.Close()
		return nil, fmt.Errorf("prepare the hub: %w", err)
	}
	e = &edge{config: c, certs: shown, links: links, hub: hub}
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
		Hub: e.hub, Log: log, Web: e.pages(), AllowOrigin: c.allowOrigin(), ProxyProtocol: c.ProxyProtocol,
		HeadTimeout: c.HeadTimeout, MaxHTTP: c.MaxHTTP, Backlog: int(c.Backlog), Stall: c.Stall, ReadBuffer: int(c.ReadBuffer),
	}
	o.TrustedProxies, _ = prefixes("", c.TrustedProxies) // complete has looked at them
	if e.certs != nil {
		o.TLS = e.certs.Config()
	}
	return o
}

// pages is what the HTTP port serves beside WebSockets: the demo chat with the
// browser SDK, and the health of this edge.
func (e *edge) pages() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.HandleFunc("GET /healthz", e.health)
	return mux
}

// health answers 200 while clients can be served, 503 while no core is reached.
func (e *edge) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	ready := e.links.Ready()
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(map[string]bool{"ok": ready})
}

// ready says what keeps the edge from serving; nil: nothing.
func (e *edge) ready(context.Context) error {
	if !e.links.Ready() {
		return errors.New("no core is reached")
	}
	return nil
}

// start serves clients; when it fails, nothing is left running.
func (e *edge) start() error {
	e.links.Start(e.hub)
	if err := e.gateway.Start(); err != nil {
		e.stop()
		return fmt.Errorf("listen for clients: %w", err)
	}
	return nil
}

func (e *edge) stop() {
	e.gateway.Close()
	e.links.Close()
	e.hub.Close()
	if e.certs != nil {
		e.certs.Close()
	}
}

// close stops accepting, sends the clients elsewhere, and ends. Sessions do not
// wait for somebody who takes his time over a page.
func (e *edge) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, e.config.DrainTimeout)
	defer cancel()
	pages := make(chan error, 1)
	go func() { pages <- e.gateway.Drain(ctx) }()
	err := errors.Join(e.hub.Drain(ctx), <-pages)
	e.stop()
	return err
}
