// Command edge runs an edge: the TCP and HTTP ports that clients connect to, and
// the links to the cores. With a core section in its configuration it is the
// whole server in one process (embedded mode), joined over a unix socket. With a
// command, as in "edge -config FILE backup OUT", it does not serve but does that to
// the stores of that core: see core/command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"syscall"

	"freeim/conf"
	"freeim/conf/tracing"
	"freeim/core/admin"
	"freeim/core/command"
	"freeim/core/heap"
	"freeim/core/plugin"
	"freeim/core/server"
	"freeim/edge/gateway"
	"freeim/plugins"

	"github.com/prometheus/client_golang/prometheus"
)

func main() {
	var o options
	flag.StringVar(&o.config, "config", "conf/embedded.yaml", "configuration file")
	flag.StringVar(&o.echo, "ws-echo", "", "also serve a WebSocket echo for conformance suites on this address")
	flag.IntVar(&o.processes, "processes", 0, "run so many edges that share the ports; 0: edge.processes")
	flag.IntVar(&o.process, "process", -1, "which of several processes this is; set by their parent")
	flag.Parse()
	signals, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	// A second signal ends the process at once, from before anything says that it stops.
	context.AfterFunc(signals, func() { stop(); end() })
	if flag.NArg() > 0 {
		code := command.Run(ctx, command.Options{
			Program: "edge", Config: o.config, Args: flag.Args(), Plugins: plugins.All(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		stop()
		os.Exit(code)
	}
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(1)
	}
}

// options is what the command line says.
type options struct {
	config, echo       string
	processes, process int
}

// run serves until ctx ends, then drains; or it is the parent of those that serve.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	all := plugins.All()
	cfg := defaults(all)
	if err := conf.Load(o.config, os.LookupEnv, &cfg); err != nil {
		return err
	}
	if o.echo != "" {
		cfg.Edge.WSEcho = o.echo
	}
	if o.processes > 0 {
		cfg.Edge.Processes = o.processes
	}
	if err := cfg.complete(); err != nil {
		return err
	}
	log := slog.New(tracing.Handler(cfg.Log.Logger(os.Stderr).Handler()))
	serving := func() {}
	switch {
	case o.process >= 0:
		log = log.With("process", o.process)
		ctx, serving = ofParent(ctx)
		if err := cfg.part(o.process); err != nil {
			return err
		}
		if o.process > 0 {
			out = io.Discard // the first one says what there is to say
		}
	case cfg.Edge.Processes > 1:
		return newParent(log, out).run(ctx, cfg.Edge.Processes)
	}
	slog.SetDefault(log)
	if err := gateway.Tune(int(cfg.Edge.ReadBuffer), log); err != nil {
		return err
	}
	return serve(ctx, cfg, all, log, out, serving)
}

// serve starts the parts in the order of their needs and stops them in reverse. It
// calls serving when all of them have started.
func serve(ctx context.Context, cfg config, all []plugin.Plugin, log *slog.Logger, out io.Writer, serving func()) (err error) {
	key, err := cfg.Admin.Secret()
	if err != nil {
		return err
	}
	last := context.WithoutCancel(ctx)
	traces, err := tracing.New(ctx, tracing.Options{Config: cfg.Tracing.For(cfg.kind()), Instance: cfg.Edge.ID, Log: log})
	if err != nil {
		return err
	}
	defer traces.Close(last)
	registry := prometheus.NewRegistry()
	shown := admin.Options{Listen: cfg.Admin.Listen, Key: key, Figures: registry, Log: log,
		Alive: map[string]admin.Check{}, Checks: map[string]admin.Check{}, Lesser: map[string]admin.Check{}, Routes: map[string]admin.Page{}}
	var adm *admin.Server // ends last: it shows how the rest ends
	defer func() { err = errors.Join(err, adm.Close()) }()
	if cfg.Core != nil {
		core, err := startCore(ctx, cfg, all, log, registry, traces)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, core.Close(last)) }()
		defer heap.Floor(cfg.Core.HeapFloor)()
		shown.Alive["core"], shown.Checks["core"], shown.Lesser["presence"] = core.Alive, core.Ready, core.Degraded
		shown.Lesser["durability"] = core.Durable
		shown.Routes["GET /backup"] = admin.Page{Handler: core.Backup(), About: "a backup of the running stores, as an archive: curl -f -o FILE"}
		shown.Routes["GET /rules/events"] = admin.Page{Handler: core.RuleEvents(), About: "what rules told by im.emit; ?follow=1 goes on"}
		for _, p := range core.RulePages() {
			shown.Routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
		}
		for _, p := range core.Pages() {
			shown.Routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
		}
	}
	e, err := newEdge(cfg.Edge, log, traces, registry)
	if err != nil {
		return err
	}
	if err := e.start(); err != nil {
		return err
	}
	defer e.close(last)
	shown.Alive["edge"], shown.Checks["edge"] = e.alive, e.ready
	maps.Copy(shown.Routes, banPages(e.limits))
	registry.MustRegister(newFigures(e))
	if e.rules != nil {
		registry.MustRegister(e.rules.Figures())
		for _, p := range e.rules.Pages(cfg.Edge.ID) {
			shown.Routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
		}
	}
	e.announce(out, cfg)
	if cfg.Admin.Listen != "" {
		if adm, err = admin.New(shown); err != nil {
			return err
		}
		fmt.Fprintf(out, "  admin     %s   (healthz, readyz, metrics, debug/pprof)\n", adm.URL())
	}
	serving()
	tidy(ctx)
	fmt.Fprintln(out, "stopping; a second signal ends at once")
	return nil
}

// startCore starts the core of embedded mode.
func startCore(ctx context.Context, cfg config, all []plugin.Plugin, log *slog.Logger, figures prometheus.Registerer, traces *tracing.Tracing) (*server.Server, error) {
	core, err := server.New(ctx, server.Options{Config: *cfg.Core, Plugins: all, Log: log, Figures: figures, Tracer: traces.Tracer()})
	if err != nil {
		return nil, fmt.Errorf("start the core: %w", err)
	}
	if err := core.Start(); err != nil {
		return nil, errors.Join(err, core.Close(context.WithoutCancel(ctx)))
	}
	return core, nil
}

// announce says what to open.
func (e *edge) announce(out io.Writer, cfg config) {
	fmt.Fprintln(out, "freeim is running")
	if http := e.gateway.HTTPAddr(); http != nil {
		fmt.Fprintf(out, "  chat      http://%s/   (open it in two tabs)\n", reachable(http))
		fmt.Fprintf(out, "  websocket ws://%s/ws\n", reachable(http))
	}
	if https := e.gateway.HTTPSAddr(); https != nil {
		fmt.Fprintf(out, "  chat      https://%s/\n", reachable(https))
		fmt.Fprintf(out, "  websocket wss://%s/ws\n", reachable(https))
	}
	if tcps := e.gateway.TCPSAddr(); tcps != nil {
		fmt.Fprintf(out, "  tls       tls://%s\n", reachable(tcps))
	}
	if tcp := e.gateway.TCPAddr(); tcp != nil {
		fmt.Fprintf(out, "  tcp       tcp://%s\n", reachable(tcp))
		fmt.Fprintf(out, "  terminal  go run ./edge/client/chat -addr tcp://%s -account NAME -password PASSWORD -signup\n", reachable(tcp))
	}
	if echo := e.gateway.EchoAddr(); echo != nil {
		fmt.Fprintf(out, "  ws echo   ws://%s/\n", reachable(echo))
	}
	if fit, files := room(); fit < cfg.Edge.MaxSessions {
		fmt.Fprintf(out, "  sessions  %d fit at once into a process: open files are limited to %d (raise that, or set edge.processes)\n", fit, files)
	}
	if cfg.Core != nil {
		if cfg.Core.Scripts != "" {
			fmt.Fprintf(out, "  rules     %s   (save a file, and the next message obeys)\n", cfg.Core.Scripts)
		}
		fmt.Fprintf(out, "  data      %s\n", cfg.Core.Data)
	}
}
