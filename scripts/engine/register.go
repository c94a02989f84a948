package engine

import (
	"regexp"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

var (
	hookName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)
	globText = regexp.MustCompile(`^[a-z0-9_.*]{1,64}$`)
)

// pointSymbols are the points, as functions that register hooks.
func pointSymbols() []symbol {
	hook := param{"fn", "fun(c: im.Call): im.Verdict?", ""}
	options := deciding("", "")
	messages := deciding(`, conversations?: string|string[], younger?: string, words?: im.Words, faster?: {than: string, per: string}, again?: {more: string, within: string, alike: string, longer: string}`, `; conversations: "chat", "group" or "room", or several, which it is for; younger: a duration of im.config: it is for accounts that are younger; words: it is for texts with one of these words; faster: it is for messages of who sends more than so many per that time; again: it is for texts that their sender said, nearly, more often within that time; both name settings of im.config`)
	aside := param{"fn", "fun(c: im.Call)", ""}
	named := param{"options", `{name: string, when?: string, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]}`, "name is unique; when: as of im.before"}
	action := param{"action", "string", `"chat.send", or several: "chat.*", "*"`}
	return []symbol{
		{name: "im.before", in: inLoad, fn: registering(Before), args: []param{action, hook, options},
			doc:     "Registers a hook before actions, when they are valid and permitted.",
			example: `im.before("chat.*", function(c) c:tag("seen") end, {name = "seen", on_error = "open", phase = "observe"})`},
		{name: "im.on_message", in: inLoad, fn: registering(Message), args: []param{hook, messages},
			doc:     "Registers a hook on messages, before they are stored.",
			example: `im.on_message(function(c) c.text = im.text.trim(c.text) end, {name = "trim", on_error = "open"})`},
		{name: "im.on_login", in: inLoad, fn: registering(Login), args: []param{hook, options},
			doc:     "Registers a hook on people who sign in or connect, when their credentials were right.",
			example: `im.on_login(function(c) if c.device_type == "tablet" then return im.deny("rejected") end end, {name = "no_tablets", on_error = "open"})`},
		{name: "im.on_join", in: inLoad, fn: registering(Join), args: []param{hook, options},
			doc:     "Registers a hook on people who come into a room or a group, c.conversation, and may.",
			example: `im.on_join(function(c) if c.conversation == "r_staff" then return im.deny("rejected") end end, {name = "staff", on_error = "closed"})`},
		{name: "im.on_room_create", in: inLoad, fn: aboutAction(Before, "im.on_room_create", "room.create"), args: []param{hook, options},
			doc:     `Is im.before("room.create", …).`,
			example: `im.on_room_create(function(c) return im.throttle(1000) end, {name = "slowly", on_error = "open"})`},
		{name: "im.on_sign_up", in: inLoad, fn: aboutAction(Before, "im.on_sign_up", "account.sign_up"), args: []param{hook, options},
			doc:     `Is im.before("account.sign_up", …).`,
			example: `im.on_sign_up(function(c) return im.deny("rejected", "closed for now") end, {name = "closed", on_error = "open"})`},
		{name: "im.after", in: inLoad, fn: registering(After), args: []param{action, aside, named},
			doc:     "Registers a hook that follows actions aside, when they are answered. It decides nothing.",
			example: `im.after("chat.send", function(c) if c.code ~= "ok" then im.log.info("refused", {code = c.code}) end end, {name = "refusals"})`},
		{name: "im.on_leave", in: inLoad, fn: aboutAction(After, "im.on_leave", "room.leave"), args: []param{aside, named},
			doc:     `Is im.after("room.leave", …).`,
			example: `im.on_leave(function(c) im.log.debug("left", {room = c.req.room}) end, {name = "leaving"})`},
		{name: "im.on_tick", in: inLoad, fn: registering(Tick), args: []param{{"every", "string", `"1s" or more, as "30s", "5m", "1h30m"`}, {"fn", "fun()", ""}, named},
			doc:     "Registers a function that is called again and again, by every core, while the bundle is active.",
			example: `im.on_tick("5m", function() im.log.info("still here") end, {name = "alive"})`},
	}
}

// deciding are the options of hooks that decide, and more.
func deciding(more, doc string) param {
	return param{"options", `{name: string, on_error: "open"|"closed"|{code: string}|{fallback: fun(c: im.Call): im.Verdict?}, when?: string` + more +
		`, phase?: "security"|"limits"|"content"|"business"|"observe", priority?: integer, before?: string|string[], after?: string|string[]}`,
		"name is unique; on_error says what happens when the hook fails: open goes on, closed denies; when: a setting, as \"flood.enabled\", a boolean or a set of im.config: while it is false, or empty, the hook is not asked and costs nothing" + doc + "; higher priority runs first"}
}

// registering is the function that registers hooks at a point.
func registering(p Point) func(*vm, *lua.LState) int {
	return func(v *vm, L *lua.LState) int {
		r, fn := registered{point: p}, 1
		switch p {
		case Before, After:
			r.glob, fn = L.CheckString(1), 2
			if !globText.MatchString(r.glob) {
				L.ArgError(1, `must be an action's name, or several: "chat.send", "chat.*", "*"`)
			}
		case Tick:
			fn = 2
			var err error
			if r.every, err = time.ParseDuration(L.CheckString(1)); err != nil || r.every < minTick {
				L.ArgError(1, `must be a time of 1s or more: "30s", "5m"`)
			}
		}
		v.take(L, p.function(), r, fn)
		return 0
	}
}

// minTick is the shortest time between two calls of an on_tick hook.
const minTick = time.Second

// aboutAction is the function that registers hooks about one action.
func aboutAction(p Point, function, action string) func(*vm, *lua.LState) int {
	return func(v *vm, L *lua.LState) int {
		v.take(L, function, registered{point: p, glob: action, sugar: true}, 1)
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
	if r.point.policed() {
		options["on_error"] = func(value lua.LValue) (ok bool) {
			policed = true
			r.onError, r.fallback, ok = v.policy(value)
			return ok
		}
	}
	if r.point != Act {
		options["when"] = func(value lua.LValue) bool { return v.gateWhen(&r.gate, value) }
	}
	if r.point == Message {
		options["younger"] = func(value lua.LValue) bool { return v.bounded(&r.gate.younger, value, "duration") }
		options["faster"] = func(value lua.LValue) bool { return v.gateFaster(&r.gate, value) }
		options["again"] = func(value lua.LValue) bool { return v.gateAgain(&r.gate, value) }
		options["words"] = func(value lua.LValue) bool { return gateWords(&r.gate, value) }
		options["conversations"] = func(value lua.LValue) bool { return gateKinds(&r.gate, value) }
	}
	eachOption(L, n+1, function, options)
	r.onError.open = r.onError.open || !r.point.policed()
	switch {
	case r.point.policed() && (r.name == "" || !policed):
		L.RaiseError(`%s: options need name = "…" and on_error = "open" or "closed"`, function)
	case r.name == "":
		L.RaiseError(`%s: options need name = "…"`, function)
	}
	if len(v.hooks) == maxHooks {
		L.RaiseError("%s: a bundle has at most %d hooks", function, maxHooks)
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
		for i := 1; i <= value.Len() && i <= maxNames+1; i++ {
			name, ok := value.RawGetInt(i).(lua.LString)
			if !ok {
				return nil, false
			}
			list = append(list, string(name))
		}
		return list, len(list) > 0 && len(list) <= maxNames
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
