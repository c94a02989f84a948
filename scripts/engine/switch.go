package engine

import (
	"fmt"
	"slices"
)

// Off is the kill switch: no hook is asked any more, or, with names, not these,
// as if they were not there. It holds until On, whatever bundle becomes active,
// but not over a restart. An error names a hook that the active bundle lacks;
// then nothing was switched.
func (e *Engine) Off(names ...string) error { return e.turn(false, names) }

// On undoes Off: for all hooks, or, with names, for these.
func (e *Engine) On(names ...string) error { return e.turn(true, names) }

func (e *Engine) turn(on bool, names []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, trial := e.active.Load(), e.active.candidate()
	for _, name := range names {
		if !slices.ContainsFunc(b.hooks, func(h *hook) bool { return h.name == name }) && !(on && e.offNames[name]) {
			return fmt.Errorf("no hook is named %q", name)
		}
	}
	switch {
	case len(names) == 0 && on:
		e.off.Store(false)
		clear(e.offNames)
	case len(names) == 0:
		e.off.Store(true)
	}
	for _, name := range names {
		if on {
			delete(e.offNames, name)
		} else {
			e.offNames[name] = true
		}
	}
	e.switchHooks(b)
	if trial != nil {
		e.switchHooks(trial.b)
	}
	e.changed()
	e.opts.Log.Warn("rules were switched", "on", on, "hooks", names, "bundle", b.tree.hash)
	return nil
}

// Edition names what decides now: the active bundle, the trial beside it and the switches.
// It is another after each change of them, for hosts that keep an answer until then. It
// costs a load.
func (e *Engine) Edition() string { return *e.edition.Load() }

// changed makes another edition, when the change can be seen. Guarded by mu.
func (e *Engine) changed() {
	e.editions++
	name := fmt.Sprintf("%s.%d", e.active.Load().tree.hash, e.editions)
	e.edition.Store(&name)
}

// switchHooks puts the switches of single hooks into a bundle. Guarded by mu.
func (e *Engine) switchHooks(b *bundle) {
	for _, h := range b.hooks {
		h.off.Store(e.offNames[h.name])
	}
}

// Ordered is one hook of a chain.
type Ordered struct {
	Rule     string // name@file:line
	Function string // what registered it: "im.before"
	Glob     string // the actions that it is for; empty: the point says it
	Phase    string
	Priority int
	OnError  string
	Gate     string // when it is asked, in words; empty: always
	Asleep   bool   // a setting is off: it is not asked
	Off      bool
}

// Order gives the hooks that an action meets, in the order in which they are
// asked, and behind them those that follow it aside. A point's own hooks are given
// for its function's name, "im.on_login", and all hooks for "".
func (e *Engine) Order(action string) []Ordered { return e.active.Load().order(action) }

func (b *bundle) order(action string) []Ordered {
	var out []Ordered
	add := func(hooks []*hook) {
		for _, h := range hooks {
			out = append(out, Ordered{Rule: h.rule, Function: h.point.function(), Glob: h.glob, Phase: chainPhases()[h.phase],
				Priority: h.priority, OnError: h.onError.String(), Gate: h.gate.String(), Asleep: !h.gate.open(nil), Off: h.off.Load() || b.off.Load()})
		}
	}
	if action == "" {
		add(b.hooks)
		return out
	}
	for p := Login; p < points; p++ {
		if p.function() == action && p != After {
			add(slices.DeleteFunc(slices.Clone(b.hooks), func(h *hook) bool { return h.point != p }))
			return out
		}
	}
	r := routeOf(action, b.hooks)
	if b.opts.commits(action) {
		add(r.message)
	} else {
		add(r.before)
	}
	add(r.after)
	return out
}

// commits reports whether the action is known to commit a message.
func (o *Options) commits(action string) bool {
	return slices.ContainsFunc(o.Actions, func(a Action) bool { return a.Name == action && a.Message })
}
