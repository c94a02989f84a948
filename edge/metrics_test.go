package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/admin"
	"freeim/core/server"
	"freeim/plugins"

	"github.com/prometheus/client_golang/prometheus"
)

// row is a metric as conf/METRICS.md lists it.
type row struct {
	kind   string
	labels []string
}

// rows are those of the sections that an embedded process shows.
func rows(t *testing.T) map[string]row {
	t.Helper()
	page, err := os.ReadFile("../conf/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	shown, _, _ := strings.Cut(string(page), "## A core with MySQL and Redis")
	all := map[string]row{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ([a-z]+) \\|([^|]*)\\|").FindAllStringSubmatch(shown, -1) {
		var labels []string
		for _, l := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		all[m[1]] = row{m[2], labels}
	}
	return all
}

// whole is everything that an embedded process is made of, as serve makes it.
func whole(t *testing.T) (*edge, *server.Server, *prometheus.Registry) {
	t.Helper()
	dir, log, figures := t.TempDir(), slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	cfg, core := defaults(plugins.All()), server.DefaultConfig()
	core.Listen, core.Data, core.Scripts = "unix:"+filepath.Join(dir, "core.sock"), filepath.Join(dir, "data"), "../scripts"
	cfg.Core, cfg.Edge.TCP, cfg.Edge.HTTP, cfg.Edge.DrainDelay = &core, "127.0.0.1:0", "127.0.0.1:0", 0
	cert, key := pair(t, 1)
	cfg.Edge.TCPS, cfg.Edge.TLS.Cert, cfg.Edge.TLS.Key = "127.0.0.1:0", filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, data := range map[string][]byte{cfg.Edge.TLS.Cert: cert, cfg.Edge.TLS.Key: key} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	s, err := startCore(t.Context(), cfg, plugins.All(), log, figures, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.Ready(context.WithoutCancel(t.Context())) == nil { // the test has not closed it
			s.Close(context.WithoutCancel(t.Context()))
		}
	})
	e, err := newEdge(cfg.Edge, log, nil, figures)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.close(context.WithoutCancel(t.Context())) })
	figures.MustRegister(newFigures(e), e.rules.Figures())
	adm, err := admin.New(admin.Options{Listen: "127.0.0.1:0", Figures: figures, Log: log, Checks: map[string]admin.Check{"core": s.Ready}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { adm.Close() })
	for late := time.Now().Add(patience); e.ready(t.Context()) != nil; runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("the edge is not ready in time")
		}
	}
	return e, s, figures
}

// An embedded process shows what conf/METRICS.md lists, in type and labels too,
// and nothing else.
func TestMetricsAreListed(t *testing.T) {
	e, _, figures := whole(t)
	dial(t, e.gateway.TCPAddr()).Write([]byte("no frame at all")) // somebody is closed
	for late := time.Now().Add(patience); len(e.hub.Stats().Closed) == 0; runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("a malformed frame does not close its session")
		}
	}
	want, has := rows(t), descriptions(figures)
	got, err := figures.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range got {
		name := family.GetName()
		if !strings.HasPrefix(name, "freeim_") && !strings.HasPrefix(name, "go_sql_") {
			continue
		}
		r, ok := want[name]
		if kind := strings.ToLower(family.GetType().String()); !ok || r.kind != kind {
			t.Errorf("%s: got a %s, the list has %q", name, kind, r.kind)
		}
		has[name] = true
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			if slices.Sort(labels); !slices.Equal(labels, r.labels) {
				t.Errorf("%s: got the labels %v, the list has %v", name, labels, r.labels)
			}
		}
	}
	for name := range want {
		if !has[name] {
			t.Errorf("%s is in the list, and the process has none", name)
		}
	}
}

// descriptions are the names that collectors tell of, also of those that have no
// value yet.
func descriptions(figures *prometheus.Registry) map[string]bool {
	out, names := make(chan *prometheus.Desc), map[string]bool{}
	go func() { figures.Describe(out); close(out) }()
	for d := range out {
		if m := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String()); m != nil {
			names[m[1]] = true
		}
	}
	return names
}

// Ready and alive are what they say, from the start to the end: a process that
// drains is not ready, and alive.
func TestHealth(t *testing.T) {
	e, core, _ := whole(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(e.ready(ctx), e.alive(ctx), core.Ready(ctx), core.Alive(ctx), core.Degraded(ctx)); err != nil {
		t.Errorf("at work: %v", err)
	}
	if err := core.Close(ctx); err != nil {
		t.Error(err)
	}
	if core.Ready(ctx) == nil || core.Alive(ctx) != nil {
		t.Errorf("a core that has ended: ready %v, alive %v", core.Ready(ctx), core.Alive(ctx))
	}
	for late := time.Now().Add(patience); e.ready(ctx) == nil; runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatal("an edge without a core is ready")
		}
	}
	if err := e.alive(ctx); err != nil {
		t.Errorf("an edge without a core: %v", err)
	}
	e.close(ctx)
	if e.ready(ctx) == nil || e.alive(ctx) != nil {
		t.Errorf("an edge that has ended: ready %v, alive %v", e.ready(ctx), e.alive(ctx))
	}
}
