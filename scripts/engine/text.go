package engine

import (
	"strings"
	"unicode"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// textSymbols are im.text: what Lua's octet strings cannot do with people's
// texts. Positions count characters, from 1.
func textSymbols() []symbol {
	mapped := func(name, doc, example string, fn func(string) string) symbol {
		return symbol{name: "im.text." + name, in: anywhere, args: []param{{"text", "string", ""}}, results: []param{{"", "string", ""}},
			doc: doc, example: example, fn: func(v *vm, L *lua.LState) int { return v.mapString(L, fn) }}
	}
	return []symbol{
		{name: "im.text.len", in: anywhere, fn: (*vm).textLen, args: []param{{"text", "string", ""}}, results: []param{{"n", "integer", ""}},
			doc: "How many characters a text has.", example: `assert(im.text.len("héllo") == 5)`},
		{name: "im.text.sub", in: anywhere, fn: (*vm).textSub,
			args:    []param{{"text", "string", ""}, {"from", "integer", "counts from 1, or from the end when negative"}, {"to?", "integer", "-1 if left out"}},
			results: []param{{"", "string", ""}},
			doc:     "Is string.sub by characters.", example: `assert(im.text.sub("héllo", 2, 3) == "él")`},
		mapped("lower", "Lower case, of all scripts.", `assert(im.text.lower("ÀB") == "àb")`, strings.ToLower),
		mapped("trim", "Without the white space around it.", `assert(im.text.trim("  a b ") == "a b")`, strings.TrimSpace),
		mapped("fold", "Lower case, full-width to ASCII: compare folded texts.", `assert(im.text.fold("ＦＲＥＥ　Im") == "free im")`, fold),
		{name: "im.text.contains", in: anywhere, fn: (*vm).textContains,
			args: []param{{"text", "string", ""}, {"part", "string", ""}}, results: []param{{"", "boolean", ""}},
			doc: "Whether part occurs, both folded.", example: `assert(im.text.contains("Join ＦＲＥＥ", "free"))`},
	}
}

// foldRune maps what readers take for the same character to one: upper to lower
// case, full-width forms to ASCII. One character stays one character.
func foldRune(r rune) rune {
	if r >= utf8.RuneSelf {
		return foldOdd(r)
	}
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// foldOdd is foldRune of what is not ASCII.
func foldOdd(r rune) rune {
	switch {
	case r >= '！' && r <= '～': // U+FF01 to U+FF5E
		return foldRune(r - '！' + '!')
	case r == '\u3000': // the ideographic space
		return ' '
	case ideographic(r):
		return r
	}
	return unicode.ToLower(r)
}

// ideographic reports the characters of most Chinese and Japanese texts: letters without
// case, which stand for themselves only.
func ideographic(r rune) bool { return r >= '\u4E00' && r <= '\u9FFF' }

func fold(text string) string {
	for _, r := range text {
		if r == utf8.RuneError || foldRune(r) != r {
			return strings.Map(foldRune, text)
		}
	}
	return text
}

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
