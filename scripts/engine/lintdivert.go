package engine

import "github.com/yuin/gopher-lua/ast"

// checkDivert is about im.shadow, im.hold and im.reroute: targets that nobody declared, and hooks
// none of whose actions can have such a verdict.
func (f *linted) checkDivert(n *ast.FuncCallExpr, s *symbol, fn *function) {
	can := func(a Action) bool { return a.Shadows }
	switch s.name {
	case "im.shadow":
	case "im.hold":
		can = func(a Action) bool { return a.Holds }
	case "im.reroute":
		if hook := fn.hooked(); hook != nil && AtEdge(hook.hook.name) {
			return // which pools there are is an edge's to know
		}
		kind := ""
		if len(n.Args) > 0 && f.opts.Targets != nil {
			if name := f.kindOf(n.Args[0]); name.literal && name.typ == "string" {
				t, declared := f.opts.Targets[name.text]
				if !declared {
					f.fail(fn, n.Args[0].Line(), name.text, "unknown-target", "im.reroute: no target is named %q in core.rules.targets%s",
						clip(name.text, 64), f.nearest(name.text, f.opts.targets()))
					return
				}
				kind = t.kind()
			}
		}
		can = func(a Action) bool { return a.Reroutes != "" && (kind == "" || a.Reroutes == kind) }
	default:
		return
	}
	hook := fn.hooked()
	if hook == nil || hook.named || len(f.opts.Actions) == 0 {
		return // it may be called for others too
	}
	for _, a := range f.opts.Actions {
		if hook.asks(a) && can(a) {
			return
		}
	}
	f.fail(fn, n.Line(), "", "impossible-verdict", "no action that %s asks about can have the verdict of %s", hook.hook.name, s.name)
}

// asks reports whether a hook is asked about an action and decides about it, or may be.
func (fn *function) asks(a Action) bool {
	switch fn.hook.name {
	case "im.before":
		return fn.glob == "" || matches(fn.glob, a.Name)
	case "im.on_message":
		return a.Message
	case "im.on_room_create":
		return a.Name == "room.create"
	case "im.on_sign_up":
		return a.Name == "account.sign_up"
	}
	return false
}
