// Package admin serves the administrative port: health, readiness, figures and
// profiles, for operators and their tools. It is for loopback or a closed
// network: it has no access control of its own. The mains start it and hand in
// what it shows.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkTime bounds each readiness check.
const checkTime = 2 * time.Second

// Check says what keeps a part from serving; nil: nothing.
type Check func(ctx context.Context) error

// Options says what to serve and where.
type Options struct {
	Listen string // "host:port"; required
	// AllowRemote permits an address that is not a loopback one. Whoever reaches
	// the port can read profiles, and so memory.
	AllowRemote bool
	Checks      map[string]Check     // by the name that /readyz shows
	Figures     *prometheus.Registry // /metrics, with Go's and the process's own added; nil: only these
	Log         *slog.Logger         // nil: slog.Default
}

// Server is the running port.
type Server struct {
	listener net.Listener
	http     *http.Server
	serving  sync.WaitGroup
}

// New listens and serves until Close. It returns an error for an address that
// others could reach unless that is allowed.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Figures == nil {
		o.Figures = prometheus.NewRegistry()
	}
	if !o.AllowRemote && !loopback(o.Listen) {
		return nil, fmt.Errorf("admin.listen %q can be reached from outside: use a loopback address, or set admin.allow_remote", o.Listen)
	}
	for _, c := range []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := o.Figures.Register(c); err != nil {
			return nil, fmt.Errorf("register figures: %w", err)
		}
	}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("open the administrative port: %w", err)
	}
	s := &Server{listener: listener, http: &http.Server{Handler: handler(o), ReadHeaderTimeout: 5 * time.Second}}
	s.serving.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("the administrative port ended", "err", err)
		}
	})
	return s, nil
}

// loopback reports whether an address is this machine's own only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close ends the port and waits for it.
func (s *Server) Close() error {
	err := s.http.Close()
	s.serving.Wait()
	return err
}

func handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", index)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, o.Checks) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Figures, promhttp.HandlerOpts{Registry: o.Figures}))
	mux.Handle("GET /debug/vars", expvar.Handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func index(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "/healthz  the process lives\n/readyz   what keeps it from serving\n/metrics  Prometheus figures\n"+
		"/debug/vars\n/debug/pprof/")
}

// ready runs all checks: 200 when none has an objection, 503 otherwise.
func ready(w http.ResponseWriter, r *http.Request, checks map[string]Check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	status, parts := http.StatusOK, map[string]string{}
	for name, check := range checks {
		parts[name] = "ok"
		if err := check(ctx); err != nil {
			status, parts[name] = http.StatusServiceUnavailable, err.Error()
		}
	}
	answer(w, status, map[string]any{"ready": status == http.StatusOK, "parts": parts})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a reader that went away is nobody's fault here
}
