// Command core runs one core: the plugins behind a Kitex service that edges link
// to. conf/core.yaml is its configuration; edge/main.go runs edge and core in one
// process. With a command, as in "core -config FILE backup OUT", it does not
// serve but does that: see core/command.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
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
	"freeim/plugins"

	"github.com/prometheus/client_golang/prometheus"
)

// config is what conf/core.yaml holds.
type config struct {
	Log     conf.Log       `yaml:"log"`
	Core    server.Config  `yaml:"core"`
	Plugins map[string]any `yaml:"plugins"`
	Admin   conf.Admin     `yaml:"admin"`
	Tracing tracing.Config `yaml:"tracing"`
}

func main() {
	path := flag.String("config", "conf/core.yaml", "configuration file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if flag.NArg() > 0 {
		code := command.Run(ctx, command.Options{
			Program: "core", Config: *path, Args: flag.Args(), Plugins: plugins.All(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		stop()
		os.Exit(code)
	}
	if err := run(ctx, *path, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "core:", err)
		os.Exit(1)
	}
}

// run serves edges until ctx ends, then drains.
func run(ctx context.Context, path string, out io.Writer) (err error) {
	all := plugins.All()
	cfg := config{Log: conf.DefaultLog(), Admin: conf.DefaultAdmin(), Tracing: tracing.Default(), Core: server.DefaultConfig(), Plugins: plugin.Configs(all)}
	if err := conf.Load(path, os.LookupEnv, &cfg); err != nil {
		return err
	}
	key, err := cfg.Admin.Secret()
	if err != nil {
		return err
	}
	log := slog.New(tracing.Handler(cfg.Log.Logger(os.Stderr).Handler()))
	slog.SetDefault(log)
	traces, err := tracing.New(ctx, tracing.Options{Config: cfg.Tracing.For("freeim-core"), Instance: cfg.Core.ID, Log: log})
	if err != nil {
		return err
	}
	defer traces.Close(context.WithoutCancel(ctx))
	registry := prometheus.NewRegistry()
	var adm *admin.Server // ends last: it shows how the rest ends
	defer func() { err = errors.Join(err, adm.Close()) }()
	core, err := server.New(ctx, server.Options{Config: cfg.Core, Plugins: all, Log: log, Figures: registry, Tracer: traces.Tracer()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close(context.WithoutCancel(ctx))) }()
	defer heap.Floor(cfg.Core.HeapFloor)()
	if err := core.Start(); err != nil {
		return err
	}
	fmt.Fprintf(out, "core is running\n  edges link to %s\n", core.Addr())
	if cfg.Admin.Listen != "" {
		routes := map[string]admin.Page{
			"GET /backup":       {Handler: core.Backup(), About: "a backup of the running stores, as an archive: curl -f -o FILE"},
			"GET /rules/events": {Handler: core.RuleEvents(), About: "what rules told by im.emit; ?follow=1 goes on"}}
		for _, p := range core.RulePages() {
			routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
		}
		for _, p := range core.Pages() {
			routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
		}
		adm, err = admin.New(admin.Options{
			Listen: cfg.Admin.Listen, Key: key, Figures: registry, Log: log, Routes: routes,
			Alive:  map[string]admin.Check{"core": core.Alive},
			Checks: map[string]admin.Check{"core": core.Ready},
			Lesser: map[string]admin.Check{"presence": core.Degraded, "durability": core.Durable}})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  admin         %s\n", adm.URL())
	}
	<-ctx.Done()
	fmt.Fprintln(out, "stopping")
	return nil
}
