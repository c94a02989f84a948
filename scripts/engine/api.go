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

// installAPI builds what require("im") gives. scripts/README.md documents it.
func (v *vm) installAPI() {
	im := v.L.CreateTable(0, 16)
	v.set(im, map[string]lua.LGFunction{
		"on_message": v.onMessage, "deny": v.deny, "allow": v.allowed, "pass": v.passed,
		"now": v.imNow, "words": v.words,
	})
	im.RawSetString("log", v.readOnly(v.logLibrary(), "im.log"))
	im.RawSetString("text", v.readOnly(v.textLibrary(), "im.text"))
	v.im = v.readOnly(im, "im")
	v.opaque = v.metatable(nil, nil)
	v.wordType = v.wordMethods()
	v.allow, v.pass = v.handle(nil, v.opaque), v.handle(nil, v.opaque)
	v.message = v.handle(nil, v.messageType())
}

// handle is a userdata that scripts can hold and use only through mt.
func (v *vm) handle(value any, mt *lua.LTable) *lua.LUserData {
	return &lua.LUserData{Value: value, Env: v.env, Metatable: mt}
}

// hookOnly raises unless a hook runs: what a file does while loading is done
// once per VM, and must not depend on anything but the files.
func (v *vm) hookOnly(L *lua.LState, name string) {
	if v.phase == phaseLoading {
		L.RaiseError("%s is for hooks, not for loading", name)
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
	v.hookOnly(L, "im.deny")
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
	if v.phase != phaseLoading {
		L.RaiseError("im.on_message is for loading, not for hooks")
	}
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
	v.hookOnly(L, "im.now")
	L.Push(lua.LNumber(v.frozen().UnixMilli()))
	return 1
}

func (v *vm) logLibrary() *lua.LTable {
	library := v.L.CreateTable(0, 4)
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		v.set(library, map[string]lua.LGFunction{name: func(L *lua.LState) int {
			text := L.CheckString(1)
			v.say(L, level, text, fields(L, 2))
			return 0
		}})
	}
	return library
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
