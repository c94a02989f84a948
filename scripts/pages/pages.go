// Package pages makes the administrative pages of a rule engine: what is active, what
// was decided and by whom, the switches, new files, trials, and the way back. Everything
// is JSON; an error is {"errors": ["…"]}. What changes something is POST, and may say who=
// and why=. It asks nobody who he is: the administrative port has let him in. core/hooks
// has the pages of a core below /hooks, beside streams of its own, edge/hooks those of an
// edge below /edge/hooks: one port may have both. core/hooktool asks them.
package pages

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"freeim/scripts/engine"
)

// Page is one of the administrative port.
type Page struct {
	Pattern string // of http.ServeMux
	About   string
	Handler http.Handler
}

// Options says whose pages they are.
type Options struct {
	Engine *engine.Engine
	Node   string // the name of the core or the edge, in answers
	Edge   bool   // the engine is an edge's
	Log    *slog.Logger
}

// Root is the path that all pages are below.
func Root(edge bool) string {
	if edge {
		return "/edge/hooks/"
	}
	return "/hooks/"
}

// preparePage is the one page that takes a body.
const preparePage = "prepare"

// noteTime is how long a switch waits to be written into the journal.
const noteTime = 5 * time.Second

// New makes the pages that every engine has.
func New(o Options) []Page {
	s := &set{o}
	all := []Page{
		s.get("status", "the active rules: bundle, hooks with their counts, what was refused", s.status),
		s.get("order", "the hooks that an action meets, in their order: ?action=chat.send", s.order, "action"),
		s.get("errors", "where hooks fail: file:line, how often, when, at what", s.faults),
		s.get("store", "the bundles that are kept, and what was decided about them", s.store),
		s.get("bundle", "the files of a bundle: ?hash=; without it, of the active one", s.bundle, "hash"),
		s.post("off", "ask no hook any more, or not this one: ?hook=NAME", s.off, "hook", "who", "why"),
		s.post("on", "undo off: ?hook=NAME", s.on, "hook", "who", "why"),
		s.post("reload", "read the files now", s.reload),
		s.post(preparePage, `check the files in the body, {"files": {"PATH": "TEXT"}}, and keep them`, s.prepare, "who", "why"),
		s.post("activate", "a kept bundle, or the candidate: ?hash= &mode=now, shadow or canary &percent=", s.activate, "hash", "mode", "percent", "who", "why"),
		s.post("rollback", "end a trial, ?trial=HASH, or go back: ?hash=; without it, to the bundle before", s.rollback, "hash", "trial", "who", "why"),
		s.post("resume", "what is on disk decides again", s.resume, "who", "why"),
	}
	if !o.Edge {
		return append(all, s.get("recording", "what rules were asked and said, as core hooks replay reads it", s.recording))
	}
	for _, name := range []string{"tail", "trace", "recording"} {
		all = append(all, Page{"GET " + Root(true) + name, "only a core has it", http.HandlerFunc(absent)})
	}
	return all
}

// absent answers for what an edge does not have.
func absent(w http.ResponseWriter, _ *http.Request) {
	Refuse(w, http.StatusNotFound, errors.New("an edge neither shows nor records single decisions, only cores do (tail, trace, recording): look at status, errors, "+
		"the metrics freeim_edge_rules_* and, at log.level debug, the log; a trial in shadow shows examples"))
}

func (s *set) get(name, about string, serve http.HandlerFunc, parameters ...string) Page {
	return Make("GET "+Root(s.Edge)+name, about, serve, parameters...)
}

func (s *set) post(name, about string, serve http.HandlerFunc, parameters ...string) Page {
	return Page{"POST " + Root(s.Edge) + name, about, strict(serve, name == preparePage, parameters)}
}

// Make makes a page that takes these parameters in its address, and no others.
func Make(pattern, about string, serve http.HandlerFunc, parameters ...string) Page {
	return Page{pattern, about, strict(serve, false, parameters)}
}

// strict refuses what a page does not know: a parameter that is misspelt, or in the body,
// could mean the opposite, as off without a hook does.
func strict(serve http.HandlerFunc, body bool, parameters []string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && !body {
			Refuse(w, http.StatusBadRequest, errors.New("a body has no meaning here: parameters go into the address, behind ?"))
			return
		}
		for name := range r.URL.Query() {
			if !slices.Contains(parameters, name) {
				Refuse(w, http.StatusBadRequest, fmt.Errorf("there is no parameter %q here, but: %s", name, cmp.Or(strings.Join(parameters, ", "), "none")))
				return
			}
		}
		serve(w, r)
	}
}

// set is one engine's pages.
type set struct{ Options }

// answer sends a value; its fields are named as JSON's usually are.
func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(plain(value)) // who asked may be gone
}

// Refuse answers with an error, a line of its text each.
func Refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": strings.Split(err.Error(), "\n")})
}

func (s *set) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"node": s.Node, "status": s.Engine.Status()})
}

func (s *set) order(w http.ResponseWriter, r *http.Request) {
	answer(w, s.Engine.Order(r.FormValue("action")))
}

func (s *set) faults(w http.ResponseWriter, _ *http.Request) { answer(w, s.Engine.Faults()) }

func (s *set) off(w http.ResponseWriter, r *http.Request) { s.turn(w, r, "off", s.Engine.Off) }

func (s *set) on(w http.ResponseWriter, r *http.Request) { s.turn(w, r, "on", s.Engine.On) }

// turn pulls the switch: for all hooks, or for those that are named. The journal can
// wait for a reload, the switch does not.
func (s *set) turn(w http.ResponseWriter, r *http.Request, what string, pull func(names ...string) error) {
	names := r.URL.Query()["hook"]
	if err := s.elsewhere(names); err != nil && what == "off" {
		Refuse(w, http.StatusConflict, err)
		return
	}
	if err := pull(names...); err != nil {
		Refuse(w, http.StatusConflict, fmt.Errorf("%w; status names them", err))
		return
	}
	by := decider(r)
	if len(names) > 0 {
		by.Why = strings.TrimSpace(strings.Join(names, ", ") + ". " + by.Why)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), noteTime)
	defer cancel()
	if err := s.Engine.Note(ctx, what, by); err != nil {
		s.Log.Warn("a switch of the rules is not in their journal", "what", what, "by", by.Who, "err", err)
	}
	s.status(w, r)
}

// elsewhere is an error if one of the hooks is never asked by this engine: it would look
// as if it were off, and be asked where it is.
func (s *set) elsewhere(names []string) error {
	for _, h := range s.Engine.Status().Hooks {
		switch at := engine.AtEdge(h.Function); {
		case at == s.Edge || !slices.Contains(names, h.Name):
		case at:
			return fmt.Errorf("%s is registered by %s, and only edges ask it: switch it off there (--edge)", h.Rule, h.Function)
		default:
			return fmt.Errorf("%s is registered by %s, and only cores ask it: switch it off there", h.Rule, h.Function)
		}
	}
	return nil
}
