package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"

	// checkTime bounds each check.
	checkTime = 2 * time.Second
	// fresh is how long an answer is given again, so that however many ask cost
	// what one does.
	fresh = time.Second
)

var errNoAnswer = errors.New("no answer in time")

// Check says what is wrong with a part; nil: nothing. It ends soon after ctx.
type Check func(ctx context.Context) error

// probe is a check that is run by one at a time and seldom.
type probe struct {
	server *Server
	name   string
	check  Check
	lesser bool // a fault of it keeps the process from nothing

	mu      sync.Mutex    // guards the fields below
	running chan struct{} // closed when the check under way has ended; nil: none is
	at      time.Time     // of the last answer; zero: none yet
	err     error         // the last answer
}

func (s *Server) probes(checks map[string]Check, lesser bool) (all []*probe) {
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		all = append(all, &probe{server: s, name: name, check: checks[name], lesser: lesser})
	}
	return all
}

// begin gives the channel of the check under way, one that it starts if the last
// answer is old; nil if it is not.
func (p *probe) begin() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		if !p.at.IsZero() && time.Since(p.at) < fresh {
			return nil
		}
		p.running = make(chan struct{})
		p.server.running.Go(p.run)
	}
	return p.running
}

func (p *probe) run() {
	ctx, cancel := context.WithTimeout(p.server.ctx, checkTime)
	defer cancel()
	err := p.check(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err, p.at = err, time.Now()
	close(p.running)
	p.running = nil
}

// wait gives the answer of the check under way.
func (p *probe) wait(ctx context.Context, running <-chan struct{}) error {
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
			return errNoAnswer
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// verdict is what a health page says.
type verdict struct {
	ok    bool
	parts map[string]string // "ok", or what is wrong
}

// ask asks all at once.
func ask(ctx context.Context, probes []*probe) verdict {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	under := make([]<-chan struct{}, len(probes))
	for i, p := range probes {
		under[i] = p.begin()
	}
	v := verdict{ok: true, parts: map[string]string{}}
	for i, p := range probes {
		v.parts[p.name] = "ok"
		switch err := p.wait(ctx, under[i]); {
		case err != nil && p.lesser:
			v.parts[p.name] = "degraded: " + err.Error()
		case err != nil:
			v.ok, v.parts[p.name] = false, err.Error()
		}
	}
	return v
}

// health is liveness: 503 for what only a restart mends.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, "alive", ask(r.Context(), s.alive))
}

// readiness is 200 when nothing keeps the process from serving.
func (s *Server) readiness(w http.ResponseWriter, r *http.Request) {
	s.answer(w, r, "ready", ask(r.Context(), s.ready))
}

// answer tells the verdict, and what is wrong in words to those who may see the
// rest of the port: addresses of stores are nobody else's business.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, word string, v verdict) {
	body := map[string]any{word: v.ok}
	if s.gate.admits(r) {
		body["parts"] = v.parts
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !v.ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // a reader that went away is nobody's fault here
}
