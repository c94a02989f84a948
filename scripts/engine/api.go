package engine

import (
	"log/slog"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

const (
	maxLogs    = 8   // lines that one call may log
	maxReason  = 256 // octets
	maxLogText = 1024
	maxFields  = 8
)

// logSymbols are im.log, and the clock.
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
		{name: "im.now", in: inCalls, fn: (*vm).imNow, results: []param{{"ms", "integer", ""}},
			doc: "Milliseconds since 1970; stands still during a call.", example: `assert(im.now() == im.now())`},
		{name: "print", in: anywhere, fn: (*vm).print, args: []param{{"...", "any", ""}},
			doc: "Is im.log.info of its arguments as one text.", example: `print("seen", 1)`},
	}
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
	if v.phase == phaseLoading && v.quiet || v.world != nil && v.world.trial {
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
