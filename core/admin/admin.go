// Package admin serves the administrative port: health, readiness, figures,
// profiles and the pages that the mains add, for operators and their tools. Who
// may see them is decided in access.go: this machine, or whoever has the key. It
// knows nothing of what it shows. The mains start it; conf/README.md is the
// operators' side.
package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// minKey is the shortest key, in octets: what 16 random hexadecimal digits have.
const minKey = 16

// idle is how long a connection is kept for its next request: longer than
// Prometheus waits between two.
const idle = 2 * time.Minute

// Options says what to serve and where.
type Options struct {
	Listen string // "host:port"; required
	// Key is what a client must show as "Authorization: Bearer KEY", or as the
	// password of basic authentication, for everything but /healthz and /readyz.
	// At least 16 octets. Empty: no key, which only a loopback address may have.
	Key     string
	Alive   map[string]Check     // /healthz: what only a restart mends, by the name shown
	Checks  map[string]Check     // /readyz: what keeps the process from serving
	Lesser  map[string]Check     // /readyz: what is worth knowing and keeps it from nothing
	Figures *prometheus.Registry // /metrics, to which those of Go, the process and the checks are added; nil: only these
	Routes  map[string]Page      // further pages, by a pattern of http.ServeMux: "POST /bans/lift"
	Log     *slog.Logger         // nil: slog.Default
}

// Page is one that a main adds.
type Page struct {
	Handler http.Handler
	About   string // a line for the index: what it is
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Figures == nil {
		o.Figures = prometheus.NewRegistry()
	}
}

func (o *Options) validate() error {
	switch {
	case o.Key == "" && !loopback(o.Listen):
		return fmt.Errorf("admin.listen %q can be reached from outside: use a loopback address, or set admin.key or admin.key_file", o.Listen)
	case o.Key != "" && len(o.Key) < minKey:
		return fmt.Errorf("the administrative key has %d octets: it needs %d or more", len(o.Key), minKey)
	}
	return nil
}

// loopback reports whether an address is this machine's own only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && ownName(host)
}

// Server is the running port.
type Server struct {
	// Static after New.
	log      *slog.Logger
	listener net.Listener
	http     *http.Server
	gate     gate
	alive    []*probe
	ready    []*probe
	routes   [][2]string // what the index lists beside its own: patterns, and what they are

	ctx     context.Context // of the checks; ended by Close
	stop    context.CancelFunc
	running sync.WaitGroup // the HTTP server, and checks under way
}

// New listens and serves until Close. It returns an error for an address that
// others could reach when there is no key, and for a route that is no pattern or
// is taken.
func New(o Options) (_ *Server, err error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Server{log: o.Log, gate: gate{log: o.Log, local: loopback(o.Listen), keyed: o.Key != "", key: sha256.Sum256([]byte(o.Key))}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.alive, s.ready = s.probes(o.Alive, false), append(s.probes(o.Checks, false), s.probes(o.Lesser, true)...)
	for _, c := range []prometheus.Collector{newBuild(), newPartFigures(s),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := o.Figures.Register(c); err != nil {
			return nil, fmt.Errorf("register figures: %w", err)
		}
	}
	pages, err := s.pages(o)
	if err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", o.Listen); err != nil {
		return nil, fmt.Errorf("open the administrative port: %w", err)
	}
	s.http = &http.Server{Handler: s.gate.guard(pages), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: idle, MaxHeaderBytes: 16 << 10}
	s.running.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("the administrative port ended", "err", err)
		}
	})
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is the index as a person on this machine would open it.
func (s *Server) URL() string {
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return "http://" + s.Addr().String() + "/"
	}
	if net.ParseIP(host).IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// Close ends the port and waits for it. A server that is nil is closed.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	s.stop()
	err := s.http.Close()
	s.running.Wait()
	return err
}

// pages is everything that is served. A pattern that http.ServeMux cannot take
// is the error that it panics with.
func (s *Server) pages(o Options) (_ http.Handler, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("pages of the administrative port: %v", cause)
		}
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET "+healthPath, s.health)
	mux.HandleFunc("GET "+readyPath, s.readiness)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Figures, promhttp.HandlerOpts{Registry: o.Figures}))
	mux.Handle("GET /debug/vars", expvar.Handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	for pattern, page := range o.Routes {
		mux.Handle(pattern, page.Handler)
		s.routes = append(s.routes, [2]string{pattern, page.About})
	}
	slices.SortFunc(s.routes, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return mux, nil
}

// own is the pages that every process has.
var own = [][2]string{
	{"GET " + healthPath, "whether the process lives; 503: only a restart mends it"},
	{"GET " + readyPath, "what keeps it from serving; 503: something does"},
	{"GET /metrics", "figures, for Prometheus"},
	{"GET /debug/pprof/", "Go's profiles"},
	{"GET /debug/vars", "Go's memory figures, as JSON"},
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, page := range slices.Concat(own, s.routes) {
		fmt.Fprintf(w, "%-28s %s\n", page[0], page[1])
	}
}
