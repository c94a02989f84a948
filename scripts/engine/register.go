package engine

import (
	"regexp"
	"slices"

	lua "github.com/yuin/gopher-lua"
)

var (
	hookName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)
	globText = regexp.MustCompile(`^[a-z0-9_.*]{1,64}$`)
)

// pointSymbols are the points, as functions that register hooks.
func pointSymbols() []symbol {
	hook := param{"fn", "fun(c: im.Call): im.Verdict?", ""}
	options := param{"options", `{name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, ` +
		`phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]}`,
		"name is unique; on_error says what happens when the hook fails: open goes on, closed denies; higher priority runs first"}
	return []symbol{
		{name: "im.before", in: inLoad, fn: registering(Before),
			args:    []param{{"action", "string", `"chat.send", or several: "chat.*", "*"`}, hook, options},
			doc:     "Registers a hook before actions, when they are valid and permitted.",
			example: `im.before("chat.*", function(c) c:tag("seen") end, {name = "seen", on_error = "open", phase = "observe"})`},
		{name: "im.on_message", in: inLoad, fn: registering(Message), args: []param{hook, options},
			doc:     "Registers a hook on messages, before they are stored.",
			example: `im.on_message(function(c) c.text = im.text.trim(c.text) end, {name = "trim", on_error = "open"})`},
	}
}

// registering is the function that registers hooks at a point.
func registering(p Point) func(*vm, *lua.LState) int {
	return func(v *vm, L *lua.LState) int {
		r, fn := registered{point: p}, 1
		if p == Before {
			r.glob, fn = L.CheckString(1), 2
			if !globText.MatchString(r.glob) {
				L.ArgError(1, `must be an action's name, or several: "chat.send", "chat.*", "*"`)
			}
		}
		v.take(L, p.function(), r, fn)
		return 0
	}
}

// take reads the arguments from the hook's function on, and files the hook.
func (v *vm) take(L *lua.LState, function string, said registered, n int) {
	r := &registration{registered: said, fn: L.CheckFunction(n)}
	r.phase = usualPhase
	policed := false
	options := map[string]func(lua.LValue) bool{
		"name": func(value lua.LValue) bool {
			r.name = lua.LVAsString(value)
			return hookName.MatchString(r.name)
		},
		"priority": func(value lua.LValue) bool {
			n, ok := value.(lua.LNumber)
			r.priority = int(n)
			return ok && lua.LNumber(r.priority) == n
		},
		"phase": func(value lua.LValue) bool {
			r.phase = slices.Index(chainPhases(), lua.LVAsString(value))
			return r.phase >= 0
		},
		"before": func(value lua.LValue) (ok bool) {
			r.runsBefore, ok = names(value)
			return ok
		},
		"after": func(value lua.LValue) (ok bool) {
			r.runsAfter, ok = names(value)
			return ok
		},
	}
	if r.point.deciding() {
		options["on_error"] = func(value lua.LValue) (ok bool) {
			policed = true
			r.onError, r.fallback, ok = v.policy(value)
			return ok
		}
	}
	eachOption(L, n+1, function, options)
	if r.name == "" || r.point.deciding() && !policed {
		L.RaiseError(`%s: options need name = "…" and on_error = "open" or "closed"`, function)
	}
	r.file, r.line = caller(L)
	v.hooks = append(v.hooks, r)
}

// names reads one name, or a list of them.
func names(value lua.LValue) (list []string, ok bool) {
	switch value := value.(type) {
	case lua.LString:
		return []string{string(value)}, true
	case *lua.LTable:
		for i := 1; i <= value.Len(); i++ {
			name, ok := value.RawGetInt(i).(lua.LString)
			if !ok {
				return nil, false
			}
			list = append(list, string(name))
		}
		return list, len(list) > 0
	}
	return nil, false
}

// policy reads on_error: "open", "closed", {code = "…"} or {fallback = fn}.
func (v *vm) policy(value lua.LValue) (p policy, fallback *lua.LFunction, ok bool) {
	p.code = FaultCode
	switch value := value.(type) {
	case lua.LString:
		p.open = value == "open"
		return p, nil, p.open || value == "closed"
	case *lua.LTable:
		code, isCode := value.RawGetString("code").(lua.LString)
		fn, isFallback := value.RawGetString("fallback").(*lua.LFunction)
		n := 0
		value.ForEach(func(lua.LValue, lua.LValue) { n++ })
		switch {
		case n != 1:
		case isCode && v.b.opts.knows(string(code)):
			p.code = string(code)
			return p, nil, true
		case isFallback:
			p.fallback = true
			return p, fn, true
		}
	}
	return p, nil, false
}
