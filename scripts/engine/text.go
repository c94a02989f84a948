package engine

import (
	"strings"
	"unicode"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// textLibrary is im.text: what Lua's octet strings cannot do with people's texts.
// Positions count characters, from 1.
func (v *vm) textLibrary() *lua.LTable {
	library := v.L.CreateTable(0, 8)
	v.set(library, map[string]lua.LGFunction{
		"len":      v.textLen,
		"sub":      v.textSub,
		"lower":    func(L *lua.LState) int { return v.mapString(L, strings.ToLower) },
		"trim":     func(L *lua.LState) int { return v.mapString(L, strings.TrimSpace) },
		"fold":     func(L *lua.LState) int { return v.mapString(L, fold) },
		"contains": v.textContains,
	})
	return library
}

// foldRune maps what readers take for the same character to one: upper to lower
// case, full-width forms to ASCII. One character stays one character.
func foldRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	case r >= '！' && r <= '～': // U+FF01 to U+FF5E
		return foldRune(r - '！' + '!')
	case r == '\u3000': // the ideographic space
		return ' '
	}
	return unicode.ToLower(r)
}

func fold(text string) string { return strings.Map(foldRune, text) }

func (v *vm) textLen(L *lua.LState) int {
	text := L.CheckString(1)
	v.spend(L, len(text)/64)
	L.Push(lua.LNumber(utf8.RuneCountInString(text)))
	return 1
}

func (v *vm) textSub(L *lua.LState) int {
	text := L.CheckString(1)
	v.spend(L, len(text)/16)
	runes := []rune(text)
	from, to := slice(len(runes), argInt(L, 2), optInt(L, 3, -1))
	L.Push(lua.LString(string(runes[from:to])))
	return 1
}

// textContains is im.text.contains(text, part): part occurs, folded.
func (v *vm) textContains(L *lua.LState) int {
	text, part := L.CheckString(1), L.CheckString(2)
	v.spend(L, (len(text)+len(part))/16)
	L.Push(lua.LBool(strings.Contains(fold(text), fold(part))))
	return 1
}
