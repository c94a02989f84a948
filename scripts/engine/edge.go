package engine

import (
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// This file is hooks at the edge, beside connections: they see scalars only, have a
// part of the budget of others on the way of each frame, and reach nothing but memory.
// The core ignores them, and an edge (Options.Edge) those of the core; both check all.

// DefaultPool is the name of the pool that an action goes to when no hook says another.
const DefaultPool = "default"

// atEdge reports whether hooks at the point run at the edge.
func (p Point) atEdge() bool { return p >= Connect && p <= Route }

// AtEdge reports whether a function registers hooks at the edge: "im.on_frame".
func AtEdge(function string) bool {
	for p := Connect; p <= Route; p++ {
		if p.function() == function {
			return true
		}
	}
	return false
}

// policed reports whether hooks at the point say by on_error what their failure means.
// When on_route fails an action goes where it goes without it.
func (p Point) policed() bool { return p.deciding() && p != Route }

// takes reports whether a decision is one of the point's.
func (p Point) takes(d Decision) bool {
	switch {
	case p == Route:
		return d == Reroute
	case p.atEdge():
		return d == Deny
	}
	return true // those that an action cannot have raise
}

// phase is what a VM does while it runs a hook at the point.
func (p Point) phase() phase {
	if p.atEdge() {
		return phaseEdge
	}
	return phaseRunning
}

// On the way of each frame a hook may do a fifth of the usual work, in two fifths of the
// usual time.
const (
	frameWork = 5
	frameTime = 2
)

// work is a hook's part of units of work.
func (p Point) work(units int) int {
	switch p {
	case Frame, Route:
		return units / frameWork
	case After, Tick:
		return units * asideWork
	case Act:
		return units * actionWork
	}
	return units
}

// time is its part of a time.
func (p Point) time(wall time.Duration) time.Duration {
	if p == Frame || p == Route {
		return max(wall*frameTime/frameWork, time.Millisecond)
	}
	return wall
}

// Asks reports whether a question at a point of the edge would ask any hook. It costs a
// load, and is for hosts to which making the question is too much.
func (e *Engine) Asks(p Point) bool {
	now := e.active.now.Load()
	return len(now.active.at[p]) > 0 || now.candidate != nil
}

// Header is a field of a WebSocket's request, its name in lower case.
type Header struct{ Name, Value string }

// edgeSymbols are the points of the edge, the verdict that only they have, and what
// their hooks see.
func edgeSymbols() []symbol {
	hook := param{"fn", "fun(c: im.Call): im.Verdict?", ""}
	options := deciding("", "")
	options.doc = "as those of im.before"
	routing := param{"options", `{name: string, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]}`,
		"name is unique; when: as of im.before; there is no on_error: when the hook fails the action goes where it goes without it"}
	field := func(name, typ, doc string) symbol {
		return symbol{name: "Call." + name, in: inEdge, results: []param{{"", typ, ""}}, doc: doc}
	}
	return []symbol{
		{name: "im.on_connect", in: inLoad, fn: registering(Connect), args: []param{hook, options},
			doc:     "Registers a hook at the edge, on connections before they become sessions. A denial closes with the reason, or refuses a WebSocket's handshake; tags stay with the session.",
			example: `im.on_connect(function(c) if c.transport == "websocket" and not c.tls then return im.deny("rejected", "use wss") end end, {name = "wss_only", on_error = "open"})`},
		{name: "im.on_frame", in: inLoad, fn: registering(Frame), args: []param{hook, options},
			doc:     "Registers a hook at the edge, on the frames of actions before they go to a core: their sizes, not their bodies. It has a fifth of the usual work and two fifths of the usual time.",
			example: `im.on_frame(function(c) if c.action == "chat.send" and c.size > 20000 then return im.deny("rejected") end end, {name = "short", on_error = "open"})`},
		{name: "im.on_route", in: inLoad, fn: registering(Route), args: []param{{"fn", "fun(c: im.Call): im.Verdict?", ""}, routing},
			doc: "Registers a hook at the edge that chooses a pool of cores by im.reroute. It is asked about a session's first action, again when it has signed in and when the rules change, " +
				"and its answer holds for all actions until then. It has the budget of im.on_frame.",
			example: `im.on_route(function(c) if c:tagged("tester") then return im.reroute("green") end end, {name = "testers"})`},
		field("transport", "string?", `At the edge: "tcp", "websocket" or "http".`),
		field("tls", "boolean?", "At the edge: whether the client came over TLS."),
		field("path", "string?", "In on_connect: the path of an HTTP request, a WebSocket's too, without a query."),
		field("size", "number?", "In on_frame: octets of the body."),
		field("codec", "string?", `In on_frame: "protobuf" or "json".`),
		field("sequence", "number?", "In on_frame: the client's number of the frame."),
		field("waiting", "number?", "In on_frame: frames of the session that wait behind it."),
		field("excess", "number?", "In on_frame: frames of the session that the limits refused, less those let pass since."),
		{name: "Call:header", in: inEdge, args: []param{{"name", "string", "in lower case"}}, results: []param{{"value", "string?", "1 KiB of each line at most, joined by \", \"; nil: it was not sent, or is not shown"}}, fn: func(v *vm, L *lua.LState) int { return v.proxy.header(L) },
			doc: "In on_connect: a field of an HTTP request, a WebSocket's too: host, origin, user-agent, accept-language, referer, sec-websocket-protocol, or one that begins with x-.", example: `assert(c:header("user-agent") == nil or c:header("cookie") == nil)`},
		{name: "Call:tagged", in: inEdge, args: []param{{"name", "string", ""}}, results: []param{{"", "boolean", ""}}, fn: func(v *vm, L *lua.LState) int { return v.proxy.tagged(L) },
			doc: "Whether on_connect gave the session's connection a tag.", example: `assert(not c:tagged("nobody"))`},
	}
}

// toPool is im.reroute(pool).
func (v *vm) toPool(L *lua.LState) int {
	pool := L.CheckString(1)
	opts := v.b.opts
	if !hookName.MatchString(pool) || opts.trying == nil && len(opts.Pools) > 0 && !slices.Contains(opts.Pools, pool) {
		known := "none is declared"
		if len(opts.Pools) > 0 {
			known = "there are " + strings.Join(opts.Pools, ", ")
		}
		L.RaiseError("im.reroute: no pool is named %q: %s", clip(pool, 64), known)
	}
	L.Push(v.handle(&answer{ruling{Decision: Reroute, Target: pool}, v.proxy.turn}, v.opaque))
	return 1
}

// header is c:header("name").
func (p *proxy) header(L *lua.LState) int {
	p.receiver(L)
	name := L.CheckString(2)
	p.v.spend(L, 4+len(p.c.Headers)/4)
	var lines []string
	for _, h := range p.c.Headers {
		if h.Name == name {
			lines = append(lines, h.Value)
		}
	}
	if lines == nil {
		L.Push(lua.LNil)
	} else {
		L.Push(lua.LString(strings.Join(lines, ", "))) // as RFC 9110 §5.2 has it
	}
	return 1
}

// tagged is c:tagged("name").
func (p *proxy) tagged(L *lua.LState) int {
	p.receiver(L)
	p.v.spend(L, 4+len(p.c.Tags)/4)
	L.Push(lua.LBool(slices.Contains(p.c.Tags, L.CheckString(2))))
	return 1
}

// edgeTestSymbols ask hooks at the edge, in tests.
func edgeTestSymbols() []symbol {
	verdict := []param{{"", "im.Told", ""}}
	return []symbol{
		{name: "Test.connect", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.connect(L) },
			args: []param{{"fields", "table<string, any>", "fields of im.Call, and headers, a table by name"}}, results: verdict,
			doc: "What the hooks say about somebody who connects."},
		{name: "Test.frame", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.frame(L) },
			args: []param{{"fields", "table<string, any>", "fields of im.Call, and tags, a list"}}, results: verdict,
			doc: "What the hooks say about a frame."},
		{name: "Test.route", in: inTest, tests: true, fn: func(v *vm, L *lua.LState) int { return v.tester.route(L) },
			args: []param{{"fields", "table<string, any>", "fields of im.Call, and tags, a list"}}, results: verdict,
			doc: "Where a session's actions go: target of the result is the pool."},
	}
}

// connect is t.connect{…}.
func (t *tester) connect(L *lua.LState) int {
	s := newSample()
	s.Action, s.facts = "", [facts]string{FactClientAddr: "192.0.2.1:4000", FactTransport: "websocket", FactTLS: "true", FactPath: "/ws"}
	t.fillEdge(L, "t.connect", s)
	return t.askAt(L, Connect, s)
}

// frame is t.frame{…}.
func (t *tester) frame(L *lua.LState) int {
	s := newSample()
	s.facts[FactTransport], s.facts[FactTLS], s.facts[FactCodec] = "websocket", "true", "json"
	s.facts[FactSize], s.facts[FactSequence], s.facts[FactWaiting], s.facts[FactExcess] = "100", "1", "0", "0"
	t.fillEdge(L, "t.frame", s)
	return t.askAt(L, Frame, s)
}

// route is t.route{…}.
func (t *tester) route(L *lua.LState) int {
	s := newSample()
	s.facts[FactTransport], s.facts[FactTLS] = "websocket", "true"
	t.fillEdge(L, "t.route", s)
	return t.askAt(L, Route, s)
}

// fillEdge is fill with what only hooks at the edge see.
func (t *tester) fillEdge(L *lua.LState, function string, s *sample) {
	t.v.spend(L, 100)
	L.CheckTable(1).ForEach(func(key, value lua.LValue) {
		name, list := key.String(), (*lua.LTable)(nil)
		if name == "headers" || name == "tags" {
			var ok bool
			if list, ok = value.(*lua.LTable); !ok {
				L.RaiseError("%s: %s must be a table", function, name)
			}
			list.ForEach(func(k, v lua.LValue) {
				if name == "tags" {
					s.Tags = append(s.Tags, v.String())
				} else {
					s.Headers = append(s.Headers, Header{k.String(), v.String()})
				}
			})
			return
		}
		if !s.set(name, value) {
			L.RaiseError("%s: bad field %s", function, clip(name, 64))
		}
	})
}

// leave ends a test that asks hooks of the core's where there is no core: at an edge,
// which neither knows its actions nor asks them. It has passed.
func (t *tester) leave(L *lua.LState, p Point) {
	if t.b.opts.Edge && !p.atEdge() {
		t.left = true
		L.RaiseError("this is for a core")
	}
}
