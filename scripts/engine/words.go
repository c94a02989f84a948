package engine

import (
	"unicode/utf8"

	"freeim/scripts/engine/wordlist"

	lua "github.com/yuin/gopher-lua"
)

// wordSymbols are im.words and its lists.
func wordSymbols() []symbol {
	const words = `local list = im.words({"spoiler", "剧透"})`
	return []symbol{
		{name: "im.words", in: inLoad, fn: (*vm).words,
			args: []param{{"list", "string|string[]", "words, or a text with a word per line, where # begins a comment; at most 50,000 of 64 characters"},
				{"options?", "{spacing?: boolean, confusables?: boolean}", "spacing: also s p o i l e r, 剧-透; confusables: also ѕр0ïler, as im.text.skeleton; both: also with invisible characters between"}},
			results: []param{{"", "im.Words", ""}},
			doc:     "Builds a list of words. One pass over a text finds them all, however long the list; case and width do not matter. Lists are shared by content across VMs and reloads.",
			example: words},
		{name: "Words:any", in: anywhere, fn: (*vm).wordsAny, args: []param{{"text", "string", ""}}, results: []param{{"found", "boolean", ""}},
			doc: "Whether any word occurs.", setup: words, example: `assert(list:any("a Spoiler!"))`},
		{name: "Words:find", in: anywhere, fn: (*vm).wordsFind, args: []param{{"text", "string", ""}},
			results: []param{{"word", "string?", "as in the list; nil: none occurs"}, {"first", "integer?", ""}, {"last", "integer?", ""}},
			doc:     "The leftmost word, the longest of those, and its first and last character.", setup: words, example: `assert(select(3, list:find("别剧透啊")) == 3)`},
		{name: "Words:mask", in: anywhere, fn: (*vm).wordsMask, args: []param{{"text", "string", ""}, {"with?", "string", `one character, "*" if left out`}},
			results: []param{{"masked", "string", ""}, {"count", "integer", ""}},
			doc:     "The text with the words masked, and how many there were.", setup: words, example: `assert(list:mask("no spoiler") == "no *******")`},
	}
}

// words is im.words(list): a table of words, or one string with a word per line,
// where lines that begin with # are comments.
func (v *vm) words(L *lua.LState) int {
	words := lines(L, 1, "im.words")
	var how wordlist.Options
	if L.GetTop() >= 2 {
		flag := func(set *bool) func(lua.LValue) bool {
			return func(value lua.LValue) bool {
				*set = value == lua.LTrue
				return value.Type() == lua.LTBool
			}
		}
		eachOption(L, 2, "im.words", map[string]func(lua.LValue) bool{"spacing": flag(&how.Spacing), "confusables": flag(&how.Confusables)})
	}
	v.checkWords(L, words, how)
	L.Push(v.handle(v.b.words.Get(words, how), v.classes["Words"]))
	return 1
}

// checkWords refuses lists beyond the limits and pays for the rest.
func (v *vm) checkWords(L *lua.LState, words []string, how wordlist.Options) {
	if len(words) > wordlist.MaxWords {
		L.RaiseError("im.words: %d words, the limit is %d", len(words), wordlist.MaxWords)
	}
	sum := 0
	for _, word := range words {
		n := utf8.RuneCountInString(word)
		if n > wordlist.MaxLength {
			L.RaiseError("im.words: %q is longer than %d characters", clip(word, 80), wordlist.MaxLength)
		}
		if !how.Fits(word) {
			L.RaiseError("im.words: with these options a word has letters, digits and spaces only, and %q has others", clip(word, 80))
		}
		sum += n
	}
	if sum > wordlist.MaxSize {
		L.RaiseError("im.words: %d characters, the limit is %d", sum, wordlist.MaxSize)
	}
	if v.wordSum += sum; v.wordSum > wordlist.MaxTotal {
		L.RaiseError("im.words: all lists together have more than %d characters", wordlist.MaxTotal)
	}
	v.spend(L, sum/16)
}

// wordArgs are the list and the text of a method call, paid for but for what is found. The
// characters are the VM's, until the next call.
func (v *vm) wordArgs(L *lua.LState) (*wordlist.List, []rune, wordlist.Meter) {
	list := receiver[*wordlist.List](L, "word list")
	text := L.CheckString(2)
	v.subject(L, text)
	v.spend(L, len(text)/4+1)
	if v.spelt != text || len(v.runes) == 0 { // several rules look at one text
		v.spelt, v.runes = text, v.runes[:0]
		for _, r := range text {
			v.runes = append(v.runes, r)
		}
	}
	return list, v.runes, wordlist.Meter{Pay: func(units int) { v.spend(L, units) }}
}

func (v *vm) wordsAny(L *lua.LState) int {
	list, text, pays := v.wordArgs(L)
	found := false
	list.Scan(text, &pays, func(wordlist.Match) bool {
		found = true
		return false
	})
	L.Push(lua.LBool(found))
	return 1
}

// wordsFind answers word, from, to; or nil.
func (v *vm) wordsFind(L *lua.LState) int {
	list, text, pays := v.wordArgs(L)
	hit, ok := list.First(text, &pays)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LString(list.Word(hit.Word)))
	L.Push(lua.LNumber(hit.From + 1))
	L.Push(lua.LNumber(hit.To))
	return 3
}

// wordsMask answers the text with "*", or another character, in place of the
// words, and how many were found.
func (v *vm) wordsMask(L *lua.LState) int {
	list, text, pays := v.wordArgs(L)
	with := []rune(L.OptString(3, "*"))
	if len(with) != 1 {
		L.RaiseError("words:mask: the mask must be one character")
	}
	masked, count := list.Mask(text, with[0], &pays)
	if count == 0 {
		masked = L.CheckString(2)
	}
	v.claim(L, len(masked))
	L.Push(lua.LString(masked))
	L.Push(lua.LNumber(count))
	return 2
}
