package hooks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Page is one of the administrative port, which decides who may see it.
type Page struct {
	Pattern string // of http.ServeMux
	About   string
	Handler http.Handler
}

// maxTrace bounds how long one user's actions are traced, and what a trace without
// a time means.
const (
	maxTrace   = time.Hour
	usualTrace = 10 * time.Minute
)

// Pages are the rules' pages, of the core named node. Everything is JSON; an error is
// {"errors": ["…"]}.
func (r *Rules) Pages(node string) []Page {
	p := &pages{r, node}
	return []Page{
		{"GET /hooks/status", "the active rules: bundle, hooks with their counts, what was refused", http.HandlerFunc(p.status)},
		{"GET /hooks/order", "the hooks that an action meets, in their order: ?action=chat.send", http.HandlerFunc(p.order)},
		{"GET /hooks/errors", "where hooks fail: file:line, how often, when, at what", http.HandlerFunc(p.faults)},
		{"GET /hooks/tail", "decisions while they are made, a line of JSON each: ?action= &verdict= &hook= &user=", http.HandlerFunc(p.tail)},
		{"GET /hooks/trace", "what each hook says about one user, for a while: ?user=42&ttl=10m", http.HandlerFunc(p.trace)},
		{"POST /hooks/off", "ask no hook any more, or not this one: ?hook=NAME", http.HandlerFunc(p.off)},
		{"POST /hooks/on", "undo off: ?hook=NAME", http.HandlerFunc(p.on)},
		{"POST /hooks/reload", "read the files now", http.HandlerFunc(p.reload)},
	}
}

type pages struct {
	*Rules
	node string
}

// answer sends a value; its fields are named as JSON's usually are.
func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(plain(value)) // who asked may be gone
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": strings.Split(err.Error(), "\n")})
}

func (p *pages) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"node": p.node, "status": p.engine.Status()})
}

func (p *pages) order(w http.ResponseWriter, r *http.Request) {
	answer(w, p.engine.Order(r.FormValue("action")))
}

func (p *pages) faults(w http.ResponseWriter, _ *http.Request) { answer(w, p.engine.Faults()) }

func (p *pages) off(w http.ResponseWriter, r *http.Request) { p.turn(w, r, p.engine.Off) }

func (p *pages) on(w http.ResponseWriter, r *http.Request) { p.turn(w, r, p.engine.On) }

// turn pulls the switch: for all hooks, or for those that are named.
func (p *pages) turn(w http.ResponseWriter, r *http.Request, pull func(names ...string) error) {
	if err := pull(r.URL.Query()["hook"]...); err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	p.status(w, r)
}

func (p *pages) reload(w http.ResponseWriter, r *http.Request) {
	report, err := p.engine.Reload(r.Context())
	if err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	answer(w, report)
}

func (p *pages) tail(w http.ResponseWriter, r *http.Request) {
	p.stream(w, r, Filter{r.FormValue("action"), r.FormValue("verdict"), r.FormValue("hook"), r.FormValue("user")}, false, 0)
}

func (p *pages) trace(w http.ResponseWriter, r *http.Request) {
	user, ttl := r.FormValue("user"), usualTrace
	if text := r.FormValue("ttl"); text != "" {
		var err error
		if ttl, err = time.ParseDuration(text); err != nil || ttl <= 0 || ttl > maxTrace {
			refuse(w, http.StatusBadRequest, fmt.Errorf("ttl is %q: a time of at most %v, as in 10m", text, maxTrace))
			return
		}
	}
	if user == "" {
		refuse(w, http.StatusBadRequest, fmt.Errorf("whose actions? give user=ID"))
		return
	}
	p.log.Warn("what the rules say about a user is traced, with texts", "user", user, "ttl", ttl, "by", r.RemoteAddr)
	p.stream(w, r, Filter{User: user}, true, ttl)
}

// Line is one line of a stream: a decision, or word of those that were left out
// before it, since the reader was slow.
type Line struct {
	*Decision
	Lost int64 `json:"lost,omitempty"`
}

// stream sends decisions until the reader leaves, or time is over, if it is bounded.
func (p *pages) stream(w http.ResponseWriter, r *http.Request, f Filter, whole bool, ttl time.Duration) {
	reader, err := p.watch.join(f, whole)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer p.watch.leave(reader)
	var over <-chan time.Time
	if ttl > 0 {
		timer := time.NewTimer(ttl)
		defer timer.Stop()
		over = timer.C
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, control := json.NewEncoder(w), http.NewResponseController(w)
	out.SetEscapeHTML(false)
	send := func(line Line) bool { return out.Encode(line) == nil }
	for control.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-over:
			return
		case d := <-reader.queue:
			if lost := reader.lost.Swap(0); lost > 0 && !send(Line{Lost: lost}) {
				return
			}
			if !send(Line{Decision: &d}) {
				return
			}
		}
	}
}
