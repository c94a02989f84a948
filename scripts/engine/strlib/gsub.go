package strlib

import (
	"strings"

	"freeim/scripts/engine/pattern"

	lua "github.com/yuin/gopher-lua"
)

// replacer is one call of string.gsub.
type replacer struct {
	l    *library
	L    *lua.LState
	m    *pattern.Matcher
	with lua.LValue // string, number, table or function
	out  strings.Builder
}

func (l *library) gsub(L *lua.LState) int {
	r := replacer{l: l, L: L, m: l.matcher(L, false), with: L.Get(3)}
	switch r.with.Type() {
	case lua.LTString, lua.LTNumber, lua.LTTable, lua.LTFunction:
	default:
		L.RaiseError("bad argument #3 to gsub (string, table or function expected, got %s)", r.with.Type())
	}
	count := r.replace(OptInt(L, 4, l.maxString))
	L.Push(lua.LString(r.out.String()))
	L.Push(lua.LNumber(count))
	return 2
}

// replace builds the result and gives the number of replacements.
func (r *replacer) replace(limit int) (count int) {
	text, done := r.m.Subject(), 0
	for at := 0; count < limit && at <= len(text); {
		before := r.m.Used()
		from, to, ok := r.m.Find(at)
		r.l.settle(r.L, r.m, before)
		if !ok {
			break
		}
		count++
		r.write(text[done:from])
		r.one(from, to)
		done, at = to, to
		if from == to { // an empty match moves on by one octet
			at++
		}
		if r.m.Anchored() {
			break
		}
	}
	r.write(text[done:])
	return count
}

func (r *replacer) write(part string) {
	if r.out.Len()+len(part) > r.l.maxString {
		r.L.RaiseError("string would be longer than %d octets", r.l.maxString)
	}
	r.l.host.Spend(r.L, len(part)/64)
	r.out.WriteString(part)
}

// one writes what replaces the match.
func (r *replacer) one(from, to int) {
	r.l.host.Spend(r.L, 1)
	whole := r.m.Subject()[from:to]
	var value lua.LValue
	switch with := r.with.(type) {
	case *lua.LTable:
		value = r.L.GetTable(with, r.key(whole))
	case *lua.LFunction:
		r.L.Push(with)
		n := r.l.pushMatch(r.L, r.m, from, to)
		r.L.Call(n, 1)
		value = r.L.Get(-1)
		r.L.Pop(1)
	default:
		r.template(with.String(), whole)
		return
	}
	switch {
	case lua.LVIsFalse(value):
		r.write(whole)
	case lua.LVCanConvToString(value):
		r.write(value.String())
	default:
		r.L.RaiseError("invalid replacement value (a %s)", value.Type())
	}
}

// key is the first capture, or the whole match if there is none.
func (r *replacer) key(whole string) lua.LValue {
	if r.m.Captures() == 0 {
		return lua.LString(whole)
	}
	return captured(r.m, 0)
}

// template writes a replacement text: %0 is the match, %1 to %9 the captures.
func (r *replacer) template(text, whole string) {
	for {
		plain, rest, found := strings.Cut(text, "%")
		r.write(plain)
		if !found {
			return
		}
		if rest == "" {
			r.L.RaiseError("invalid use of '%%' in replacement string")
		}
		c := rest[0]
		text = rest[1:]
		switch number := int(c) - '1'; {
		case c == '0' || c == '1' && r.m.Captures() == 0:
			r.write(whole)
		case c < '0' || c > '9':
			r.write(string(rest[:1]))
		case number >= r.m.Captures():
			r.L.RaiseError("invalid capture index %%%c", c)
		default:
			r.write(captured(r.m, number).String())
		}
	}
}
