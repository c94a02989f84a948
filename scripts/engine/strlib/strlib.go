// Package strlib is Lua 5.1's string library for scripts that nobody trusts: the same functions
// with the same results, each of them bounded in time and in size before it does anything.
// string.dump and gfind are left out; patterns are package pattern's.
//
// What work costs, and what is too much, its Host says: here is neither a budget nor a clock.
// The engine (scripts/engine) installs it in each of its VMs, and its other libraries read
// their arguments by the functions of args.go.
package strlib

import (
	"strings"

	"freeim/scripts/engine/pattern"

	lua "github.com/yuin/gopher-lua"
)

// Host is the VM that the library is for. The library calls it on the goroutine that runs the
// VM. Where it refuses it raises a Lua error.
type Host interface {
	Spend(L *lua.LState, units int)              // pays for work
	Claim(L *lua.LState, octets int)             // pays for a string before it is made; refuses one that is too long
	Results(L *lua.LState, n int)                // pays for so many results; refuses too many
	Search(L *lua.LState, text string)           // refuses a text that is too long to search
	Text(L *lua.LState, value lua.LValue) string // a value as tostring shows it
}

// Functions are the library for one VM, by their names in the table string; no string that
// they make has more than maxString octets. They belong to that VM: they keep the patterns
// that it used lately, 64 at most.
func Functions(h Host, maxString int) map[string]lua.LGFunction {
	l := &library{host: h, maxString: maxString, patterns: map[written]*pattern.Pattern{}}
	return map[string]lua.LGFunction{
		"byte": l.byte, "char": l.char, "find": l.find, "format": l.format,
		"gmatch": l.gmatch, "gsub": l.gsub, "len": length, "lower": l.lower,
		"match": l.match, "rep": l.rep, "reverse": l.reverse, "sub": l.sub, "upper": l.upper,
	}
}

// written is a pattern as a script gives it: gmatch reads an anchor otherwise.
type written struct {
	text   string
	gmatch bool
}

type library struct {
	host      Host
	maxString int
	patterns  map[written]*pattern.Pattern
}

func length(L *lua.LState) int {
	L.Push(lua.LNumber(len(L.CheckString(1))))
	return 1
}

func (l *library) lower(L *lua.LState) int { return l.mapped(L, strings.ToLower) }
func (l *library) upper(L *lua.LState) int { return l.mapped(L, strings.ToUpper) }

func (l *library) reverse(L *lua.LState) int {
	return l.mapped(L, func(text string) string {
		out := []byte(text)
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
		return string(out)
	})
}

// mapped answers with fn of the first argument. Case mapping may lengthen a
// text, by three times at most.
func (l *library) mapped(L *lua.LState, fn func(string) string) int {
	text := L.CheckString(1)
	l.host.Claim(L, len(text))
	text = fn(text)
	l.host.Claim(L, len(text))
	L.Push(lua.LString(text))
	return 1
}

func (l *library) rep(L *lua.LState) int {
	text, n := L.CheckString(1), max(0, Int(L, 2))
	if len(text) > 0 && n > l.maxString/len(text) {
		L.RaiseError("string would be longer than %d octets", l.maxString)
	}
	if text == "" {
		n = 0
	}
	l.host.Claim(L, n*len(text))
	L.Push(lua.LString(strings.Repeat(text, n)))
	return 1
}

func (l *library) sub(L *lua.LState) int {
	text := L.CheckString(1)
	from, to := Slice(len(text), Int(L, 2), OptInt(L, 3, -1))
	L.Push(lua.LString(text[from:to]))
	return 1
}

func (l *library) byte(L *lua.LState) int {
	text := L.CheckString(1)
	first := OptInt(L, 2, 1)
	from, to := Slice(len(text), first, OptInt(L, 3, first))
	l.host.Results(L, to-from)
	for _, c := range []byte(text[from:to]) {
		L.Push(lua.LNumber(c))
	}
	return to - from
}

func (l *library) char(L *lua.LState) int {
	out := make([]byte, L.GetTop())
	l.host.Claim(L, len(out))
	for i := range out {
		c := Int(L, i+1)
		if c < 0 || c > 255 {
			L.RaiseError("bad argument #%d to char (value out of range)", i+1)
		}
		out[i] = byte(c)
	}
	L.Push(lua.LString(out))
	return 1
}

// matcher prepares argument 2 as a pattern for argument 1.
func (l *library) matcher(L *lua.LState, gmatch bool) *pattern.Matcher {
	text := L.CheckString(1)
	l.host.Search(L, text)
	return pattern.New(l.pattern(L, L.CheckString(2), gmatch), text)
}

// pattern compiles a pattern, or takes it from the few compiled last.
func (l *library) pattern(L *lua.LState, text string, gmatch bool) *pattern.Pattern {
	key := written{text, gmatch}
	if p := l.patterns[key]; p != nil {
		return p
	}
	l.host.Spend(L, 5+len(text))
	p, err := pattern.Compile(text, gmatch)
	if err != nil {
		L.RaiseError("%s", err)
	}
	if len(l.patterns) >= 64 {
		clear(l.patterns)
	}
	l.patterns[key] = p
	return p
}

// settle pays for what m did since units before, and raises when it gave up.
func (l *library) settle(L *lua.LState, m *pattern.Matcher, before int) {
	l.host.Spend(L, m.Used()-before)
	if m.Spent() {
		L.RaiseError("%s", pattern.ErrSteps)
	}
}

func (l *library) find(L *lua.LState) int {
	if lua.LVAsBool(L.Get(4)) {
		return l.findPlain(L)
	}
	m := l.matcher(L, false)
	from, to, ok := m.Find(Start(L, 3, len(m.Subject())))
	l.settle(L, m, 0)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(from + 1))
	L.Push(lua.LNumber(to))
	return 2 + l.pushCaptures(L, m)
}

func (l *library) findPlain(L *lua.LState) int {
	text, part := L.CheckString(1), L.CheckString(2)
	from := Start(L, 3, len(text))
	l.host.Spend(L, len(text)/128)
	at := strings.Index(text[from:], part)
	if at < 0 {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(from + at + 1))
	L.Push(lua.LNumber(from + at + len(part)))
	return 2
}

func (l *library) match(L *lua.LState) int {
	m := l.matcher(L, false)
	from, to, ok := m.Find(Start(L, 3, len(m.Subject())))
	l.settle(L, m, 0)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	return l.pushMatch(L, m, from, to)
}

// pushMatch pushes the captures, or the whole match if the pattern has none.
func (l *library) pushMatch(L *lua.LState, m *pattern.Matcher, from, to int) int {
	if m.Captures() == 0 {
		L.Push(lua.LString(m.Subject()[from:to]))
		return 1
	}
	return l.pushCaptures(L, m)
}

func (l *library) pushCaptures(L *lua.LState, m *pattern.Matcher) int {
	for i := range m.Captures() {
		L.Push(captured(m, i))
	}
	return m.Captures()
}

// captured is capture i: a text or a position.
func captured(m *pattern.Matcher, i int) lua.LValue {
	text, position := m.Capture(i)
	if position > 0 {
		return lua.LNumber(position)
	}
	return lua.LString(text)
}

// gmatch looks for the next match only when it is asked for.
func (l *library) gmatch(L *lua.LState) int {
	m := l.matcher(L, true)
	next := 0
	L.Push(L.NewFunction(func(L *lua.LState) int {
		if next > len(m.Subject()) {
			L.Push(lua.LNil)
			return 1
		}
		before := m.Used()
		from, to, ok := m.Find(next)
		l.settle(L, m, before)
		if !ok {
			next = len(m.Subject()) + 1
			L.Push(lua.LNil)
			return 1
		}
		next = to
		if from == to {
			next++
		}
		return l.pushMatch(L, m, from, to)
	}))
	return 1
}
