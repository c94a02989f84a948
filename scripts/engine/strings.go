package engine

import (
	"strings"

	"freeim/scripts/engine/pattern"

	lua "github.com/yuin/gopher-lua"
)

// strings is the string library: Lua 5.1's functions, every one of them bounded
// in time and size before it does anything. dump and gfind are left out.
func (v *vm) strings() *lua.LTable {
	library := v.L.CreateTable(0, 16)
	v.set(library, map[string]lua.LGFunction{
		"byte": v.strByte, "char": v.strChar, "find": v.strFind, "format": v.strFormat,
		"gmatch": v.strGmatch, "gsub": v.strGsub, "len": strLen, "lower": v.strLower,
		"match": v.strMatch, "rep": v.strRep, "reverse": v.strReverse, "sub": v.strSub, "upper": v.strUpper,
	})
	return library
}

func strLen(L *lua.LState) int {
	L.Push(lua.LNumber(len(L.CheckString(1))))
	return 1
}

func (v *vm) strLower(L *lua.LState) int { return v.mapString(L, strings.ToLower) }
func (v *vm) strUpper(L *lua.LState) int { return v.mapString(L, strings.ToUpper) }

func (v *vm) strReverse(L *lua.LState) int {
	return v.mapString(L, func(text string) string {
		out := []byte(text)
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
		return string(out)
	})
}

// mapString answers with fn of the first argument. Case mapping may lengthen a
// text, by three times at most.
func (v *vm) mapString(L *lua.LState, fn func(string) string) int {
	text := L.CheckString(1)
	v.claim(L, len(text))
	text = fn(text)
	v.claim(L, len(text))
	L.Push(lua.LString(text))
	return 1
}

func (v *vm) strRep(L *lua.LState) int {
	text, n := L.CheckString(1), max(0, argInt(L, 2))
	if len(text) > 0 && n > maxString/len(text) {
		L.RaiseError("string would be longer than %d octets", maxString)
	}
	if text == "" {
		n = 0
	}
	v.claim(L, n*len(text))
	L.Push(lua.LString(strings.Repeat(text, n)))
	return 1
}

// slice turns Lua's from and to, which count from 1 or from the end, into Go's.
func slice(length, from, to int) (int, int) {
	if from < 0 {
		from = max(length+from+1, 1)
	}
	if to < 0 {
		to = length + to + 1
	}
	from, to = max(from, 1), min(to, length)
	if from > to {
		return 0, 0
	}
	return from - 1, to
}

func (v *vm) strSub(L *lua.LState) int {
	text := L.CheckString(1)
	from, to := slice(len(text), argInt(L, 2), optInt(L, 3, -1))
	L.Push(lua.LString(text[from:to]))
	return 1
}

func (v *vm) strByte(L *lua.LState) int {
	text := L.CheckString(1)
	first := optInt(L, 2, 1)
	from, to := slice(len(text), first, optInt(L, 3, first))
	v.results(L, to-from)
	for _, c := range []byte(text[from:to]) {
		L.Push(lua.LNumber(c))
	}
	return to - from
}

// results pays for n return values and refuses too many.
func (v *vm) results(L *lua.LState, n int) {
	if n > maxResults {
		L.RaiseError("%d results, the limit is %d", n, maxResults)
	}
	v.spend(L, n/8)
}

func (v *vm) strChar(L *lua.LState) int {
	out := make([]byte, L.GetTop())
	v.claim(L, len(out))
	for i := range out {
		c := argInt(L, i+1)
		if c < 0 || c > 255 {
			L.RaiseError("bad argument #%d to char (value out of range)", i+1)
		}
		out[i] = byte(c)
	}
	L.Push(lua.LString(out))
	return 1
}

// matcher prepares argument 2 as a pattern for argument 1.
func (v *vm) matcher(L *lua.LState, gmatch bool) *pattern.Matcher {
	text := L.CheckString(1)
	v.subject(L, text)
	return pattern.New(v.pattern(L, L.CheckString(2), gmatch), text)
}

// minSubject is how long a text may be, in octets, that is searched; 4 octets times
// Options.MaxText when that is more, so that no message can make a rule fail by its length alone.
const minSubject = 16 << 10

// subject refuses texts that are longer than any message.
func (v *vm) subject(L *lua.LState, text string) {
	if limit := max(minSubject, 4*v.b.opts.MaxText); len(text) > limit {
		L.RaiseError("text of %d octets is too long to search, the limit is %d", len(text), limit)
	}
}

// pattern compiles a pattern, or takes it from the few compiled last.
func (v *vm) pattern(L *lua.LState, text string, gmatch bool) *pattern.Pattern {
	key := text
	if gmatch {
		key = "gmatch " + text
	}
	if p := v.pats[key]; p != nil {
		return p
	}
	v.spend(L, 5+len(text))
	p, err := pattern.Compile(text, gmatch)
	if err != nil {
		L.RaiseError("%s", err)
	}
	if len(v.pats) >= 64 {
		clear(v.pats)
	}
	v.pats[key] = p
	return p
}

// settle pays for what m did since units before, and raises when it gave up.
func (v *vm) settle(L *lua.LState, m *pattern.Matcher, before int) {
	v.spend(L, m.Used()-before)
	if m.Spent() {
		L.RaiseError("%s", pattern.ErrSteps)
	}
}

// start is argument n as the offset to begin at.
func start(L *lua.LState, n, length int) int {
	from := optInt(L, n, 1)
	if from < 0 {
		from = max(length+from+1, 1)
	}
	return min(max(from, 1)-1, length)
}

func (v *vm) strFind(L *lua.LState) int {
	if lua.LVAsBool(L.Get(4)) {
		return v.findPlain(L)
	}
	m := v.matcher(L, false)
	from, to, ok := m.Find(start(L, 3, len(m.Subject())))
	v.settle(L, m, 0)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(from + 1))
	L.Push(lua.LNumber(to))
	return 2 + v.pushCaptures(L, m)
}

func (v *vm) findPlain(L *lua.LState) int {
	text, part := L.CheckString(1), L.CheckString(2)
	from := start(L, 3, len(text))
	v.spend(L, len(text)/128)
	at := strings.Index(text[from:], part)
	if at < 0 {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(from + at + 1))
	L.Push(lua.LNumber(from + at + len(part)))
	return 2
}

func (v *vm) strMatch(L *lua.LState) int {
	m := v.matcher(L, false)
	from, to, ok := m.Find(start(L, 3, len(m.Subject())))
	v.settle(L, m, 0)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	return v.pushMatch(L, m, from, to)
}

// pushMatch pushes the captures, or the whole match if the pattern has none.
func (v *vm) pushMatch(L *lua.LState, m *pattern.Matcher, from, to int) int {
	if m.Captures() == 0 {
		L.Push(lua.LString(m.Subject()[from:to]))
		return 1
	}
	return v.pushCaptures(L, m)
}

func (v *vm) pushCaptures(L *lua.LState, m *pattern.Matcher) int {
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

// strGmatch looks for the next match only when it is asked for.
func (v *vm) strGmatch(L *lua.LState) int {
	m := v.matcher(L, true)
	next := 0
	L.Push(L.NewFunction(func(L *lua.LState) int {
		if next > len(m.Subject()) {
			L.Push(lua.LNil)
			return 1
		}
		before := m.Used()
		from, to, ok := m.Find(next)
		v.settle(L, m, before)
		if !ok {
			next = len(m.Subject()) + 1
			L.Push(lua.LNil)
			return 1
		}
		next = to
		if from == to {
			next++
		}
		return v.pushMatch(L, m, from, to)
	}))
	return 1
}
