package hooks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
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

// preparePage is the one page that takes a body.
const preparePage = "POST /hooks/prepare"

// noteTime is how long a switch waits to be written into the journal.
const noteTime = 5 * time.Second

// Pages are the rules' pages, of the core named node. Everything is JSON; an error is
// {"errors": ["…"]}. What changes something is POST, and may say who= and why=.
func (r *Rules) Pages(node string) []Page {
	p := &pages{r, node}
	return []Page{
		p.page("GET /hooks/status", "the active rules: bundle, hooks with their counts, what was refused", p.status),
		p.page("GET /hooks/order", "the hooks that an action meets, in their order: ?action=chat.send", p.order, "action"),
		p.page("GET /hooks/errors", "where hooks fail: file:line, how often, when, at what", p.faults),
		p.page("GET /hooks/tail", "decisions while they are made, a line of JSON each: ?action= &verdict= &hook= &user=", p.tail, "action", "verdict", "hook", "user"),
		p.page("GET /hooks/trace", "what each hook says about one user, for a while: ?user=42&ttl=10m", p.trace, "user", "ttl"),
		p.page("GET /hooks/store", "the bundles that are kept, and what was decided about them", p.store),
		p.page("GET /hooks/bundle", "the files of a bundle: ?hash=; without it, of the active one", p.bundle, "hash"),
		p.page("GET /hooks/recording", "what rules were asked and said, as core hooks replay reads it", p.recording),
		p.page("POST /hooks/off", "ask no hook any more, or not this one: ?hook=NAME", p.off, "hook", "who", "why"),
		p.page("POST /hooks/on", "undo off: ?hook=NAME", p.on, "hook", "who", "why"),
		p.page("POST /hooks/reload", "read the files now", p.reload),
		p.page(preparePage, `check the files in the body, {"files": {"PATH": "TEXT"}}, and keep them`, p.prepare, "who", "why"),
		p.page("POST /hooks/activate", "a kept bundle, or the candidate: ?hash= &mode=now, shadow or canary &percent=", p.activate, "hash", "mode", "percent", "who", "why"),
		p.page("POST /hooks/rollback", "end a trial, ?trial=HASH, or go back: ?hash=; without it, to the bundle before", p.rollback, "hash", "trial", "who", "why"),
		p.page("POST /hooks/resume", "what is on disk decides again", p.resume, "who", "why"),
	}
}

// page is one that takes these parameters in its address, and no others: one that is
// misspelt, or in the body, could mean the opposite, as off without a hook does.
func (p *pages) page(pattern, about string, serve http.HandlerFunc, parameters ...string) Page {
	return Page{pattern, about, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && pattern != preparePage {
			refuse(w, http.StatusBadRequest, errors.New("a body has no meaning here: parameters go into the address, behind ?"))
			return
		}
		for name := range r.URL.Query() {
			if !slices.Contains(parameters, name) {
				refuse(w, http.StatusBadRequest, fmt.Errorf("there is no parameter %q here, but: %s", name, cmp.Or(strings.Join(parameters, ", "), "none")))
				return
			}
		}
		serve(w, r)
	})}
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

func (p *pages) off(w http.ResponseWriter, r *http.Request) { p.turn(w, r, "off", p.engine.Off) }

func (p *pages) on(w http.ResponseWriter, r *http.Request) { p.turn(w, r, "on", p.engine.On) }

// turn pulls the switch: for all hooks, or for those that are named. The journal can
// wait for a reload, the switch does not.
func (p *pages) turn(w http.ResponseWriter, r *http.Request, what string, pull func(names ...string) error) {
	names := r.URL.Query()["hook"]
	if err := pull(names...); err != nil {
		refuse(w, http.StatusConflict, fmt.Errorf("%w; status names them", err))
		return
	}
	by := decider(r)
	if len(names) > 0 {
		by.Why = strings.TrimSpace(strings.Join(names, ", ") + ". " + by.Why)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), noteTime)
	defer cancel()
	if err := p.engine.Note(ctx, what, by); err != nil {
		p.log.Warn("a switch of the rules is not in their journal", "what", what, "by", by.Who, "err", err)
	}
	p.status(w, r)
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
	p.log.Warn("what the rules say about a user is traced, with texts", "user", user, "ttl", ttl, "from", r.RemoteAddr)
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
	send := func(line Line) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // HTTP/1 can
		return out.Encode(line) == nil
	}
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
