package engine

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// arrange turns the first VM's registrations into hooks, in the order in which
// they run: by phase, then by priority, then by file and line, but for what their
// constraints say.
func (b *bundle) arrange(regs []*registration) error {
	if b.opts.RequireRules && len(regs) == 0 {
		return errors.New("the scripts register no hook")
	}
	named := map[string]*registration{}
	for _, r := range regs {
		if other := named[r.name]; other != nil {
			return fmt.Errorf("%s: another hook is named %q, at %s", r.place(), r.name, other.place())
		}
		named[r.name] = r
	}
	order := slices.Clone(regs)
	slices.SortStableFunc(order, func(a, z *registration) int {
		switch {
		case a.phase != z.phase:
			return a.phase - z.phase
		case a.priority != z.priority:
			return z.priority - a.priority
		case a.file != z.file:
			return strings.Compare(a.file, z.file)
		}
		return a.line - z.line
	})
	order, err := constrained(order, named)
	if err != nil {
		return err
	}
	b.scripted = map[int]*Scripted{}
	for _, r := range order {
		h := &hook{registered: r.registered, rule: r.rule(), number: slices.Index(regs, r)}
		b.hooks = append(b.hooks, h)
		if r.point == Act {
			if err := b.define(h); err != nil {
				return err
			}
		}
	}
	for _, h := range b.hooks {
		if h.glob != "" && !h.sugar && !b.opts.anyAction(h.glob) && !b.anyScripted(h.glob) {
			return fmt.Errorf("%s: no action is named %q", h.place(), h.glob)
		}
	}
	b.connect()
	return nil
}

// constrained moves hooks behind those that must run before them, and leaves the
// order otherwise as it is: of the hooks that may run next, the first does.
func constrained(order []*registration, named map[string]*registration) ([]*registration, error) {
	behind := map[*registration][]*registration{} // those that must run before it
	for _, r := range order {
		for _, link := range []struct {
			names []string
			add   func(other *registration)
		}{
			{r.runsAfter, func(other *registration) { behind[r] = append(behind[r], other) }},
			{r.runsBefore, func(other *registration) { behind[other] = append(behind[other], r) }},
		} {
			for _, name := range link.names {
				other := named[name]
				if other == nil {
					return nil, fmt.Errorf("%s: no hook is named %q", r.place(), name)
				}
				if other.phase != r.phase {
					return nil, fmt.Errorf("%s: hook %q, at %s, is in another phase: the phases have their order", r.place(), name, other.place())
				}
				link.add(other)
			}
		}
	}
	if len(behind) == 0 {
		return order, nil
	}
	var out []*registration
	runs := map[*registration]bool{} // what is in out
	for len(order) > 0 {
		next := slices.IndexFunc(order, func(r *registration) bool {
			return !slices.ContainsFunc(behind[r], func(first *registration) bool { return !runs[first] })
		})
		if next < 0 {
			var places []string
			for _, r := range order {
				places = append(places, r.place())
			}
			return nil, fmt.Errorf("%s: these hooks wait for each other: %s", order[0].place(), strings.Join(places, ", "))
		}
		out, runs[order[next]] = append(out, order[next]), true
		order = slices.Delete(order, next, next+1)
	}
	return out, nil
}

// anyAction reports whether a glob names an action, as far as that is known.
func (o *Options) anyAction(glob string) bool {
	return len(o.Actions) == 0 || slices.ContainsFunc(o.Actions, func(a Action) bool { return matches(glob, a.Name) })
}

func matches(glob, action string) bool {
	ok, err := path.Match(glob, action)
	return ok && err == nil
}

// route is what the rules have to do with one action.
type route struct {
	before     []*hook // when it commits no message
	message    []*hook // when it does
	after      []*hook
	rewritable []Field
}

// connect computes the chains, of those hooks that are awake. Those of actions that nobody
// told of follow when they are first asked about.
func (b *bundle) connect() {
	awake := b.awake()
	b.routes = map[string]*route{}
	for _, a := range b.opts.Actions {
		r := routeOf(a.Name, awake)
		r.rewritable = a.Rewritable
		b.routes[a.Name] = r
	}
	b.others.Clear()
	clear(b.at[:])
	for _, h := range awake {
		b.at[h.point] = append(b.at[h.point], h)
	}
}

// awake are the hooks that settings let be asked. Tests change settings, so for them it is all.
func (b *bundle) awake() (hooks []*hook) {
	for _, h := range b.hooks {
		if b.opts.trying != nil || h.gate.open(nil) {
			hooks = append(hooks, h)
		}
	}
	return hooks
}

// routeOf is what some of the hooks have to do with an action.
func routeOf(action string, hooks []*hook) *route {
	r := &route{}
	for _, h := range hooks {
		switch {
		case h.point == Message:
			r.message = append(r.message, h)
		case h.point == Before && matches(h.glob, action):
			r.before, r.message = append(r.before, h), append(r.message, h)
		case h.point == After && matches(h.glob, action):
			r.after = append(r.after, h)
		}
	}
	return r
}

// chain is the hooks that a question is put to.
func (b *bundle) chain(p Point, action string, message bool) []*hook {
	if len(b.hooks) == 0 || b.off.Load() {
		return nil
	}
	if p != Before && p != Message && p != After {
		return b.at[p]
	}
	return b.route(action).chain(p, message)
}

func (r *route) chain(p Point, message bool) []*hook {
	switch {
	case p == After:
		return r.after
	case message:
		return r.message
	}
	return r.before
}

// sleeping are the hooks that would be in a chain, but for settings.
func (b *bundle) sleeping(p Point, action string, message bool) (at []*hook) {
	var all []*hook
	for _, h := range b.hooks {
		if b.opts.trying != nil || h.gate.open(nil) {
			continue
		}
		if all = append(all, h); h.point == p {
			at = append(at, h)
		}
	}
	if p != Before && p != Message && p != After {
		return at
	}
	return routeOf(action, all).chain(p, message)
}

func (b *bundle) route(action string) *route {
	if r := b.routes[action]; r != nil {
		return r
	}
	known, ok := b.others.Load(action)
	if !ok {
		known, _ = b.others.LoadOrStore(action, routeOf(action, b.awake()))
	}
	return known.(*route)
}

// rewritable is a field of the action's request that hooks may assign, nil if they
// may not.
func (b *bundle) rewritable(action, name string) *Field {
	if r := b.routes[action]; r != nil {
		for i := range r.rewritable {
			if r.rewritable[i].Name == name {
				return &r.rewritable[i]
			}
		}
	}
	return nil
}

// registered is what a script said about a hook; it is the same in every VM.
type registered struct {
	name       string
	point      Point
	glob       string // of Before and After
	sugar      bool   // the glob is not the script's
	phase      int
	priority   int
	runsBefore []string
	runsAfter  []string
	onError    policy
	gate       gate
	every      time.Duration // of Tick
	scripted   *Scripted     // of Act
	file       string
	line       int
}

// policy is what happens to the action when a hook fails.
type policy struct {
	open     bool   // the hook is taken to have said nothing
	code     string // of the denial when it is not open
	fallback bool   // another function is asked first
}

func (p policy) String() string {
	switch {
	case p.fallback:
		return "fallback"
	case p.open:
		return "open"
	case p.code == FaultCode:
		return "closed"
	}
	return p.code
}

// same reports whether two registrations at the same place do the same. Names of
// other hooks are not compared: only those of a bundle's first VM say something.
func (r *registered) same(other *registered) bool {
	return r.point == other.point && r.glob == other.glob && r.sugar == other.sugar && r.phase == other.phase &&
		r.priority == other.priority && r.every == other.every && r.onError == other.onError && r.gate.same(&other.gate)
}

func (r *registered) place() string { return fmt.Sprintf("%s:%d", r.file, r.line) }
func (r *registered) rule() string  { return r.name + "@" + r.place() }
