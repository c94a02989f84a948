package engine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Target is a conversation that messages can be sent to instead of where they were meant
// for: a user's chat with their sender, or a room. One of both is set.
type Target struct {
	User int64
	Room string
}

// kind is what Action.Reroutes calls it.
func (t Target) kind() string {
	if t.Room != "" {
		return "room"
	}
	return "user"
}

// Holding is how a message waits for somebody's decision.
type Holding struct {
	Queue     string        // which reviewers it is for
	Deadline  time.Duration // from now; then Otherwise happens
	Otherwise Decision      // Allow or Deny
}

const (
	usualHold   = 24 * time.Hour
	longestHold = 7 * 24 * time.Hour
)

func (o *Options) validateTargets() error {
	for name, t := range o.Targets {
		switch {
		case !hookName.MatchString(name):
			return fmt.Errorf("scripts: a target is named like support, not %q", name)
		case (t.User != 0) == (t.Room != "") || t.User < 0:
			return fmt.Errorf("scripts: target %s must be a user or a room", name)
		}
	}
	return nil
}

// targets are the declared names.
func (o *Options) targets() []string { return slices.Sorted(maps.Keys(o.Targets)) }

// divertSymbols are the verdicts that have an action succeed, for its sender, without
// those whom it was for. Whether an action can have one is the host's to say.
func divertSymbols() []symbol {
	verdict := []param{{"", "im.Verdict", ""}}
	return []symbol{
		{name: "im.shadow", in: inHook, fn: (*vm).shadowed, results: verdict,
			doc:     "The verdict to have a message succeed for its sender, who sees it on all his devices, and keep it from everybody else for ever. Of messages only. It ends the chain.",
			example: `return im.shadow()`},
		{name: "im.reroute", in: inHook | inEdge, fn: (*vm).rerouted, results: verdict,
			args: []param{{"target", "string", "a name of core.rules.targets in the server's configuration: of a user for messages of chats, of a room for those of rooms; in on_route a pool of edge.pools, or \"default\""}},
			doc:  "The verdict to send a message elsewhere, of which the answer tells its sender; in on_route to send a session's actions to a pool of cores. It ends the chain.", example: `return im.reroute("support")`},
		{name: "im.hold", in: inHook, fn: (*vm).held, results: verdict,
			args: []param{{"queue", "string", "for the reviewers to tell them apart: `[a-z][a-z0-9_.-]*`"},
				{"options?", `{deadline?: string|number, otherwise?: "allow"|"deny"}`, `deadline: "30m", 7 days at most, 24h if left out; otherwise: what happens then, deny if left out`}},
			doc:     "The verdict to have a message wait until a reviewer decides, or the deadline does. Its sender sees it wait, and what he sends to the same conversation meanwhile waits behind it. Of messages of chats. It ends the chain.",
			example: `return im.hold("newcomers", {deadline = "1h", otherwise = "allow"})`},
	}
}

// shadowed is im.shadow().
func (v *vm) shadowed(L *lua.LState) int {
	if a := v.diverted(L, "im.shadow"); a != nil && !a.Shadows {
		L.RaiseError("im.shadow: %s cannot be kept from others", a.Name)
	}
	L.Push(v.handle(&answer{ruling{Decision: Shadow}, v.proxy.turn}, v.opaque))
	return 1
}

// rerouted is im.reroute(target).
func (v *vm) rerouted(L *lua.LState) int {
	if v.phase == phaseEdge {
		return v.toPool(L)
	}
	name := L.CheckString(1)
	a, opts := v.diverted(L, "im.reroute"), v.b.opts
	t, declared := opts.Targets[name]
	switch {
	case opts.Targets != nil && !declared:
		L.RaiseError("im.reroute: no target is named %q in core.rules.targets", clip(name, 64))
	case a != nil && a.Reroutes == "":
		L.RaiseError("im.reroute: %s cannot go elsewhere", a.Name)
	case a != nil && declared && a.Reroutes != t.kind():
		L.RaiseError("im.reroute: %s goes to a %s, and %q is a %s", a.Name, a.Reroutes, clip(name, 64), t.kind())
	}
	L.Push(v.handle(&answer{ruling{Decision: Reroute, Target: name}, v.proxy.turn}, v.opaque))
	return 1
}

// held is im.hold(queue [, {deadline =, otherwise =}]).
func (v *vm) held(L *lua.LState) int {
	h := &Holding{Queue: L.CheckString(1), Deadline: usualHold, Otherwise: Deny}
	if L.GetTop() >= 2 && L.Get(2) != lua.LNil {
		eachOption(L, 2, "im.hold", map[string]func(lua.LValue) bool{
			"deadline": func(value lua.LValue) bool {
				h.Deadline = spanOf(value)
				return h.Deadline > 0 && h.Deadline <= longestHold
			},
			"otherwise": func(value lua.LValue) bool {
				if value.String() == "allow" {
					h.Otherwise = Allow
				}
				return h.Otherwise == Allow || value.String() == "deny"
			},
		})
	}
	if !hookName.MatchString(h.Queue) {
		L.ArgError(1, `a queue is named like newcomers: of a-z, 0-9, ".", "_" and "-", 64 at most`)
	}
	if a := v.diverted(L, "im.hold"); a != nil && !a.Holds {
		L.RaiseError("im.hold: %s cannot wait", a.Name)
	}
	L.Push(v.handle(&answer{ruling{Decision: Hold, Holding: h}, v.proxy.turn}, v.opaque))
	return 1
}

// diverted is the action that is asked about, nil if nobody knows which there are.
func (v *vm) diverted(L *lua.LState, function string) *Action {
	c := v.proxy.c
	if c == nil || v.proxy.late {
		L.RaiseError("%s: nothing is decided here", function)
	}
	if len(v.b.opts.Actions) == 0 {
		return nil
	}
	for i := range v.b.opts.Actions {
		if a := &v.b.opts.Actions[i]; a.Name == c.Action {
			return a
		}
	}
	return &Action{Name: c.Action}
}
