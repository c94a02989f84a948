// Package hooks joins the rule engine, which knows nothing of the edge, to
// sessions: it shows connections and frames to the operators' hooks, and turns
// their verdicts into refusals and pools. It judges nothing itself, and does no
// I/O. edge's main makes one Rules and hands it to the hub.
package hooks

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/scripts/engine"
	"freeim/scripts/pages"
)

// Options says where the rules are.
type Options struct {
	Dir    string                       // of the scripts
	State  string                       // where the last bundles are kept; empty: in memory, and a start with broken scripts fails
	Config map[string]map[string]string // what scripts declare by im.config
	Pools  []string                     // of cores, that im.reroute may name, beside the default one
	Log    *slog.Logger                 // nil: slog.Default
}

// Rules asks the operators' hooks. Its methods are safe for concurrent use.
type Rules struct {
	engine *engine.Engine
	log    *slog.Logger
	routes bool         // there are pools to choose from
	close  func() error // does it once
}

var _ session.Rules = (*Rules)(nil)

// Open loads the scripts. Run follows their changes; Close ends it.
func Open(o Options) (*Rules, error) {
	o.Log = cmp.Or(o.Log, slog.Default())
	e, err := engine.New(engine.Options{
		Dir: o.Dir, StateDir: o.State, Config: o.Config, Log: o.Log, Codes: idl.CodeNames(),
		Edge: true, Pools: append([]string{engine.DefaultPool}, o.Pools...)})
	if err != nil {
		return nil, fmt.Errorf("load the rules of the edge: %w", err)
	}
	return &Rules{e, o.Log, len(o.Pools) > 0, sync.OnceValue(e.Close)}, nil
}

// Run follows the files until ctx ends.
func (r *Rules) Run(ctx context.Context) error { return r.engine.Run(ctx) }

// Engine is the rule engine.
func (r *Rules) Engine() *engine.Engine { return r.engine }

// Pages are the rules' pages for the administrative port of the edge named node.
func (r *Rules) Pages(node string) []pages.Page {
	return pages.New(pages.Options{Engine: r.engine, Node: node, Edge: true, Log: r.log})
}

// Close ends the engine. Nobody asks any more.
func (r *Rules) Close() error { return r.close() }

// Asks implements session.Rules. Where there is one pool of cores nobody is asked for another.
func (r *Rules) Asks(q session.Questions) bool {
	return q&session.AboutFrames != 0 && r.engine.Asks(engine.Frame) ||
		q&session.AboutRoutes != 0 && r.routes && r.engine.Asks(engine.Route) ||
		q&session.AboutConnections != 0 && r.engine.Asks(engine.Connect)
}

// Edition implements session.Rules.
func (r *Rules) Edition() string { return r.engine.Edition() }

// Connect implements session.Rules.
func (r *Rules) Connect(a *session.Arrival) (tags []string, no *session.Refusal) {
	asked := engine.Call{Facts: (*arrival)(a)}
	for _, f := range a.Fields {
		asked.Headers = append(asked.Headers, engine.Header(f))
	}
	verdict := r.ask(engine.Connect, &asked)
	if verdict.Denied() {
		return nil, refusal(verdict)
	}
	return distinct(verdict.Tags), nil
}

// distinct drops what is there twice: many hooks may give the same tag. They are copied,
// for one that was cut out of a field would keep the whole request as long as the session.
func distinct(tags []string) []string {
	slices.Sort(tags)
	tags = slices.Compact(tags)
	for i := range tags {
		tags[i] = strings.Clone(tags[i])
	}
	return tags
}

// Frame implements session.Rules.
func (r *Rules) Frame(f *session.Asked) *session.Refusal {
	verdict := r.ask(engine.Frame, &engine.Call{Action: f.Action, Facts: (*frame)(f), Tags: f.Tags})
	if !verdict.Denied() {
		return nil
	}
	return refusal(verdict)
}

// Route implements session.Rules.
func (r *Rules) Route(f *session.Asked) (pool string) {
	verdict := r.ask(engine.Route, &engine.Call{Action: f.Action, Facts: (*frame)(f), Tags: f.Tags})
	if verdict.Decision != engine.Reroute || verdict.Target == engine.DefaultPool {
		return ""
	}
	return verdict.Target
}

// ask puts a question. The hooks' budgets bound it, the wait for a VM included.
func (r *Rules) ask(p engine.Point, asked *engine.Call) engine.Verdict {
	return r.engine.Ask(context.Background(), p, asked)
}

func refusal(v engine.Verdict) *session.Refusal {
	return &session.Refusal{Code: cmp.Or(idl.CodeNamed(v.Code), idl.CodeRejected), Reason: v.Reason, RetryAfter: v.RetryAfter, Rule: v.Rule, Bundle: v.Bundle}
}
