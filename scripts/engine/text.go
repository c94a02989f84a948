package engine

import (
	"strings"
	"unicode/utf8"

	"freeim/scripts/engine/strlib"
	"freeim/scripts/engine/texts"

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
		mapped("fold", "Lower case, full-width to ASCII: compare folded texts.", `assert(im.text.fold("ＦＲＥＥ　Im") == "free im")`, texts.Fold),
		{name: "im.text.contains", in: anywhere, fn: (*vm).textContains,
			args: []param{{"text", "string", ""}, {"part", "string", ""}}, results: []param{{"", "boolean", ""}},
			doc: "Whether part occurs, both folded.", example: `assert(im.text.contains("Join ＦＲＥＥ", "free"))`},
	}
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
	from, to := strlib.Slice(len(runes), strlib.Int(L, 2), strlib.OptInt(L, 3, -1))
	L.Push(lua.LString(string(runes[from:to])))
	return 1
}

// textContains is im.text.contains(text, part): part occurs, folded.
func (v *vm) textContains(L *lua.LState) int {
	text, part := L.CheckString(1), L.CheckString(2)
	v.spend(L, (len(text)+len(part))/16)
	L.Push(lua.LBool(strings.Contains(texts.Fold(text), texts.Fold(part))))
	return 1
}

// findSymbols are the parts of im.text that know what people write.
func findSymbols() []symbol {
	text := []param{{"text", "string", ""}}
	return []symbol{
		{name: "im.text.normalize", in: anywhere, args: text, results: []param{{"", "string", ""}}, fn: (*vm).textNormalize,
			doc: "The text in NFKC: composed letters, and compatible forms made plain.", example: `assert(im.text.normalize("ﬁ①") == "fi1")`},
		{name: "im.text.skeleton", in: anywhere, args: text, results: []param{{"", "string", ""}}, fn: (*vm).textSkeleton,
			doc:     "What the text looks like: NFKD without marks and invisible characters, lower case, look-alikes of Latin letters (Cyrillic, Greek, digits) made Latin. Compare skeletons, do not show them: i, l and 1 are one.",
			example: `assert(im.text.skeleton("ЅР0ІLЕR") == im.text.skeleton("spoiler"))`},
		{name: "im.text.width", in: anywhere, args: text, results: []param{{"columns", "integer", ""}}, fn: (*vm).textWidth,
			doc: "How many columns the text takes: wide characters 2, marks and invisible ones 0.", example: `assert(im.text.width("日本x") == 5)`},
		{name: "im.text.urls", in: anywhere, args: text, results: []param{{"", "{url: string, host: string}[]", "32 at most"}}, fn: (*vm).textURLs,
			doc:     "The links of a text: with a scheme, with www., or a bare name under a common top-level domain.",
			example: `local links = im.text.urls("see https://a.example/x, or b.com!") assert(#links == 2 and links[2].host == "b.com")`},
		{name: "im.text.mentions", in: anywhere, args: text, results: []param{{"names", "string[]", "64 at most"}}, fn: (*vm).textMentions,
			doc: "The names after an @ that does not follow a letter or digit.", example: `assert(im.text.mentions("@all, a@b.example")[1] == "all")`},
		{name: "im.text.emoji", in: anywhere, args: text, results: []param{{"n", "integer", ""}}, fn: (*vm).textEmoji,
			doc: "How many emoji a text shows; a joined sequence, a flag and a skin tone are part of one.", example: `assert(im.text.emoji("👍🏽 👨‍👩‍👧 🇩🇪") == 3)`},
		{name: "im.text.similarity", in: anywhere, args: []param{{"a", "string", ""}, {"b", "string", ""}, {"least?", "number", "what is less alike gives 0, sooner"}}, results: []param{{"", "number", ""}}, fn: (*vm).textSimilarity,
			doc: "From 0 to 1: the share of pairs of neighbouring characters that both folded texts have (Dice).", example: `assert(im.text.similarity("buy now!", "Buy now!!") > 0.9)`},
	}
}

// searched is argument n as a text that may be searched, paid for.
func (v *vm) searched(L *lua.LState, n int) string {
	text := L.CheckString(n)
	v.subject(L, text)
	v.spend(L, len(text)/2+1)
	return text
}

func (v *vm) textNormalize(L *lua.LState) int {
	out := texts.Normalize(v.searched(L, 1))
	v.claim(L, len(out))
	L.Push(lua.LString(out))
	return 1
}

func (v *vm) textSkeleton(L *lua.LState) int {
	out := texts.Skeleton(v.searched(L, 1))
	v.claim(L, len(out))
	L.Push(lua.LString(out))
	return 1
}

func (v *vm) textWidth(L *lua.LState) int {
	L.Push(lua.LNumber(texts.Width(v.searched(L, 1))))
	return 1
}

func (v *vm) textURLs(L *lua.LState) int {
	list := L.NewTable()
	for _, one := range texts.Links(v.searched(L, 1)) {
		entry := L.CreateTable(0, 2)
		entry.RawSetString("url", lua.LString(one.URL))
		entry.RawSetString("host", lua.LString(one.Host))
		list.Append(entry)
	}
	L.Push(list)
	return 1
}

func (v *vm) textMentions(L *lua.LState) int {
	list := L.NewTable()
	for _, name := range texts.Mentions(v.searched(L, 1)) {
		v.claim(L, len(name))
		list.Append(lua.LString(name))
	}
	L.Push(list)
	return 1
}

func (v *vm) textEmoji(L *lua.LState) int {
	L.Push(lua.LNumber(texts.Emoji(v.searched(L, 1))))
	return 1
}

func (v *vm) textSimilarity(L *lua.LState) int {
	a, b := v.searched(L, 1), v.searched(L, 2)
	v.spend(L, len(a)+len(b)) // counting is slower than a scan
	least := float64(L.OptNumber(3, 0))
	if !(least >= 0 && least <= 1) {
		L.ArgError(3, "must be from 0 to 1")
	}
	L.Push(lua.LNumber(v.comparer.Similarity(a, b, least)))
	return 1
}
