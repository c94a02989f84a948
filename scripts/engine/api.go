package engine

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxLogs    = 8   // lines that one call may log
	maxReason  = 256 // octets
	maxLogText = 1024
	maxFields  = 8
)

// hookSymbols are the hook points and what a hook may return.
func hookSymbols() []symbol {
	return []symbol{
		{name: "im.on_message", in: inLoad, fn: (*vm).onMessage,
			args: []param{{"fn", "fun(c: im.Call): im.Verdict?", "is called for each message after it was validated, before it is stored"},
				{"options", `{name: string, on_error: "open"|"closed", priority?: integer}`, "name is unique; on_error says what happens when the hook fails: open goes on, closed denies; higher priority runs first"}},
			doc:     "Registers a hook on messages.",
			example: `im.on_message(function(c) c.text = im.text.trim(c.text) end, {name = "trim", on_error = "open"})`},
		{name: "im.allow", in: anywhere, fn: (*vm).allowed, results: []param{{"", "im.Verdict", ""}},
			doc: "The verdict to go on with the next hook; returning nothing is the same.", example: `return im.allow()`},
		{name: "im.pass", in: anywhere, fn: (*vm).passed, results: []param{{"", "im.Verdict", ""}},
			doc: "The verdict to allow, and ask no further hook.", example: `return im.pass()`},
		{name: "im.deny", in: inCalls, fn: (*vm).deny,
			args: []param{{"code", "string", `lower-case name of a wire code that rules may use, mostly "rejected" or "rate_limited"`},
				{"reason?", "string", "for operators and the client's developer"}, {"options?", "{retry_after?: number}", "retry_after: advice in milliseconds"}},
			results: []param{{"", "im.Verdict", ""}},
			doc:     "The verdict to refuse. The first denial ends the chain.", example: `return im.deny("rejected", "no links here")`},
		{name: "im.now", in: inCalls, fn: (*vm).imNow, results: []param{{"ms", "integer", ""}},
			doc: "Milliseconds since 1970; stands still during a call.", example: `assert(im.now() == im.now())`},
	}
}

// callSymbols are the fields of what a hook is called with.
func callSymbols() []symbol {
	field := func(name, doc string) symbol {
		return symbol{name: "Call." + name, in: inHook, results: []param{{"", "string", ""}}, doc: doc}
	}
	return []symbol{
		field("text", "The text; may be assigned: not empty, UTF-8, at most 5,000 characters. Later hooks see it."),
		field("user", "ID of the sender."),
		field("device", "ID of the sender's device."),
		field("device_type", `"web", "mobile", "desktop" or "tablet".`),
		field("conversation", "ID of the conversation."),
		field("conversation_type", `"chat", "group" or "room".`),
		field("kind", `What the message is: "text".`),
		field("action", `Name of the action: "chat.send".`),
		field("client_addr", "Address and port of the client."),
	}
}

// logSymbols are im.log.
func logSymbols() []symbol {
	line := func(name string, level slog.Level) symbol {
		return symbol{name: "im.log." + name, in: anywhere,
			args: []param{{"text", "string", ""}, {"fields?", "table<string, any>", "8 at most"}},
			doc:  "Writes a line to the log at level " + name + ": 8 lines per call, the rest is counted.", example: `im.log.` + name + `("seen", {user = "1"})`,
			fn: func(v *vm, L *lua.LState) int {
				text := L.CheckString(1)
				v.say(L, level, text, fields(L, 2))
				return 0
			}}
	}
	return []symbol{
		line("debug", slog.LevelDebug), line("info", slog.LevelInfo), line("warn", slog.LevelWarn), line("error", slog.LevelError),
		{name: "print", in: anywhere, fn: (*vm).print, args: []param{{"...", "any", ""}},
			doc: "Is im.log.info of its arguments as one text.", example: `print("seen", 1)`},
	}
}

func (v *vm) allowed(L *lua.LState) int {
	L.Push(v.allow)
	return 1
}

func (v *vm) passed(L *lua.LState) int {
	L.Push(v.pass)
	return 1
}

// denial is the verdict that im.deny makes. It is good for one call.
type denial struct {
	code, reason string
	retry        time.Duration
	call         int
}

// deny is im.deny(code, reason [, {retry_after = ms}]).
func (v *vm) deny(L *lua.LState) int {
	d := &denial{code: L.CheckString(1), reason: clip(L.OptString(2, ""), maxReason), call: v.calls}
	if !v.b.opts.knows(d.code) {
		L.RaiseError("im.deny: unknown code %q", clip(d.code, 64))
	}
	if L.GetTop() >= 3 {
		eachOption(L, 3, "im.deny", map[string]func(lua.LValue) bool{
			"retry_after": func(value lua.LValue) bool {
				ms, ok := value.(lua.LNumber)
				d.retry = time.Duration(float64(ms)) * time.Millisecond
				return ok && ms >= 0 && ms <= 86_400_000
			},
		})
	}
	L.Push(v.handle(d, v.opaque))
	return 1
}

// knows reports whether scripts may deny with code.
func (o *Options) knows(code string) bool {
	if len(o.Codes) > 0 {
		return slices.Contains(o.Codes, code)
	}
	for _, r := range code {
		if (r < 'a' || r > 'z') && r != '_' {
			return false
		}
	}
	return code != ""
}

// eachOption reads the table at argument n; a key that set does not have, or a
// value that its function refuses, is an error.
func eachOption(L *lua.LState, n int, function string, set map[string]func(lua.LValue) bool) {
	L.CheckTable(n).ForEach(func(key, value lua.LValue) {
		take, known := set[key.String()]
		if !known {
			L.RaiseError("%s: unknown option '%s'", function, clip(key.String(), 64))
		}
		if !take(value) {
			L.RaiseError("%s: bad value for %s", function, key)
		}
	})
}

var hookName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

// onMessage is im.on_message(fn, {name=, on_error=, priority=}).
func (v *vm) onMessage(L *lua.LState) int {
	r := &registration{fn: L.CheckFunction(1)}
	policy := ""
	eachOption(L, 2, "im.on_message", map[string]func(lua.LValue) bool{
		"name": func(value lua.LValue) bool {
			r.name = lua.LVAsString(value)
			return hookName.MatchString(r.name)
		},
		"priority": func(value lua.LValue) bool {
			n, ok := value.(lua.LNumber)
			r.priority = int(n)
			return ok && lua.LNumber(r.priority) == n
		},
		"on_error": func(value lua.LValue) bool {
			policy = lua.LVAsString(value)
			return policy == "open" || policy == "closed"
		},
	})
	if r.name == "" || policy == "" {
		L.RaiseError(`im.on_message: options need name = "…" and on_error = "open" or "closed"`)
	}
	r.open = policy == "open"
	r.file, r.line = caller(L)
	v.hooks = append(v.hooks, r)
	return 0
}

// imNow is im.now(): milliseconds since 1970, the same for the whole call.
func (v *vm) imNow(L *lua.LState) int {
	L.Push(lua.LNumber(v.frozen().UnixMilli()))
	return 1
}

// print is im.log.info with its arguments as a text.
func (v *vm) print(L *lua.LState) int {
	var parts []string
	size := 0
	for i := 1; i <= L.GetTop() && size < maxLogText; i++ {
		parts = append(parts, v.text(L, L.Get(i)))
		size += len(parts[len(parts)-1])
	}
	v.say(L, slog.LevelInfo, strings.Join(parts, "\t"), nil)
	return 0
}

// say writes a line to the log, at most maxLogs in one call.
func (v *vm) say(L *lua.LState, level slog.Level, text string, attrs []slog.Attr) {
	v.spend(L, 20)
	if v.phase == phaseLoading && v.quiet {
		return
	}
	if v.logs++; v.logs > maxLogs {
		v.b.dropped.Add(1)
		return
	}
	file, line := caller(L)
	attrs = append(attrs, slog.String("script", file), slog.Int("line", line))
	if v.rule != "" {
		attrs = append(attrs, slog.String("rule", v.rule))
	}
	v.b.opts.Log.LogAttrs(L.Context(), level, clip(text, maxLogText), attrs...)
}

// fields reads an optional table {key = value} of argument n.
func fields(L *lua.LState, n int) []slog.Attr {
	if L.Get(n) == lua.LNil {
		return nil
	}
	var attrs []slog.Attr
	L.CheckTable(n).ForEach(func(key, value lua.LValue) {
		if len(attrs) < maxFields && key.Type() == lua.LTString {
			attrs = append(attrs, slog.String(clip(key.String(), 64), clip(plain(value), 256)))
		}
	})
	slices.SortFunc(attrs, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	return attrs
}

// plain is a value for the log: no metatable is asked.
func plain(value lua.LValue) string {
	switch value.Type() {
	case lua.LTString, lua.LTNumber, lua.LTBool, lua.LTNil:
		return value.String()
	}
	return value.Type().String()
}

// caller is the script line that called the running function.
func caller(L *lua.LState) (file string, line int) {
	for level := 1; ; level++ {
		frame, ok := L.GetStack(level)
		if !ok {
			return "", 0
		}
		if _, err := L.GetInfo("Sl", frame, lua.LNil); err == nil && frame.Source != "" {
			return frame.Source, frame.CurrentLine
		}
	}
}
