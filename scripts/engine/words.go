package engine

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"freeim/scripts/engine/texts"

	lua "github.com/yuin/gopher-lua"
)

// The limits of one list, which bound what building and scanning cost.
const (
	maxWords    = 50_000
	maxWordLen  = 64        // characters
	maxWordsSum = 500_000   // characters of all words
	maxAllWords = 2_000_000 // characters of all lists of a VM, and of those that the VMs of a bundle share
)

// wordList finds any of many words in one pass over a text (Aho-Corasick over
// folded characters). Words in scripts that put spaces between words match only
// as whole words: "ass" is not in "class". Immutable, shared by all VMs.
//
// Nodes are numbered breadth first, so the node behind labels[k] is k+1 and the
// labels of a node's children lie together, sorted.
type wordList struct {
	loose  loose
	words  []string // as given, by number
	gaps   []int32  // with loose.spacing: between the letters of a word, by number
	nodes  []wordNode
	labels []rune
	plain  [utf8.RuneSelf]keyed // of ASCII
	roots  [utf8.RuneSelf]int32 // by an ASCII character: the root's child, or the root
	begins [utf8.RuneSelf]bool  // by an ASCII character as it is written: a word may begin with it
}

type wordNode struct {
	first, last int32 // labels[first:last] lead to the children
	fail        int32 // node of the longest proper suffix that begins a word
	output      int32 // nearest node on the fail path, this one first, that ends a word; 0: none
	word        int32 // number of the word that ends here, -1: none
	depth       int32 // characters from the root
}

// folded is a word while a list is built.
type folded struct {
	runes  []rune
	number int32
}

// newWordList builds a list; empty words are left out.
func newWordList(words []string, how loose) *wordList {
	w := &wordList{words: words, loose: how}
	var sorted []folded
	for number, word := range words {
		runes := []rune(texts.Fold(word))
		if how != (loose{}) {
			var gaps int32
			runes, gaps = how.word(word)
			w.gaps = append(w.gaps, gaps)
		}
		if len(runes) > 0 {
			sorted = append(sorted, folded{runes, int32(number)})
		}
	}
	slices.SortStableFunc(sorted, func(a, b folded) int { return slices.Compare(a.runes, b.runes) })
	w.grow(sorted)
	for r := range rune(utf8.RuneSelf) {
		w.plain[r].k, w.plain[r].part = how.key(r)
		w.roots[r] = w.child(0, r)
	}
	for r := range w.begins {
		w.begins[r] = w.roots[w.plain[r].k] != 0
	}
	w.link()
	return w
}

// grow makes the nodes. The words below a node are neighbours in sorted order.
func (w *wordList) grow(sorted []folded) {
	spans := [][]folded{sorted} // by node: the words that pass through it
	w.nodes = []wordNode{{word: -1}}
	for node := 0; node < len(w.nodes); node++ {
		n, span := &w.nodes[node], spans[node]
		spans[node] = nil
		depth := int(n.depth)
		for len(span) > 0 && len(span[0].runes) == depth {
			if n.word < 0 {
				n.word = span[0].number
			}
			span = span[1:]
		}
		n.first = int32(len(w.labels))
		var children []wordNode
		for len(span) > 0 {
			r, end := span[0].runes[depth], 1
			for end < len(span) && span[end].runes[depth] == r {
				end++
			}
			w.labels = append(w.labels, r)
			children = append(children, wordNode{word: -1, depth: int32(depth + 1)})
			spans = append(spans, span[:end])
			span = span[end:]
		}
		n.last = int32(len(w.labels))
		w.nodes = append(w.nodes, children...)
	}
}

// link sets fail and output; a node's fail is less deep, so it comes before it.
func (w *wordList) link() {
	for node := range w.nodes {
		n := &w.nodes[node]
		if n.output = w.nodes[n.fail].output; n.word >= 0 {
			n.output = int32(node)
		}
		for label := n.first; label < n.last; label++ {
			if node != 0 {
				w.nodes[label+1].fail = w.step(n.fail, w.labels[label])
			}
		}
	}
}

// same reports whether two lists find the same: a bundle's cache of lists may be full.
func (w *wordList) same(other *wordList) bool {
	return w == other || w != nil && other != nil && w.loose == other.loose && slices.Equal(w.words, other.words)
}

// step follows r from node, falling back to shorter suffixes.
func (w *wordList) step(node int32, r rune) int32 {
	for node != 0 {
		if next := w.child(node, r); next != 0 {
			return next
		}
		node = w.nodes[node].fail
	}
	if r < utf8.RuneSelf {
		return w.roots[r]
	}
	return w.child(0, r)
}

// idle reports an ASCII character that leaves a scan at the root.
func (w *wordList) idle(r rune) bool { return r < utf8.RuneSelf && !w.begins[r] }

// child is the node below node for r, 0 if there is none.
func (w *wordList) child(node int32, r rune) int32 {
	at, end := w.nodes[node].first, w.nodes[node].last
	labels := w.labels[:end]
	for last := end; at < last; { // slices.BinarySearch costs a call for each character
		if half := at + (last-at)/2; labels[half] < r {
			at = half + 1
		} else {
			last = half
		}
	}
	if at < end && labels[at] == r {
		return at + 1
	}
	return 0
}

// match is a word at characters [from, to) of a text.
type match struct{ from, to, word int }

// visits are how many words that end somewhere are looked at for one unit of work.
const visits = 2

// toll charges what a scan finds: at one character as many words may end as are in
// one another. Whoever cannot pay is stopped by pay, which does not return.
type toll struct {
	pay     func(units int) // nil: nobody pays
	most    int             // visits without pay; 0: no bound
	seen    int
	refused bool // there were more than most
}

// visit reports whether the scan may go on.
func (t *toll) visit() bool {
	t.seen++
	switch {
	case t.pay == nil:
		t.refused = t.most > 0 && t.seen > t.most
		return !t.refused
	case t.seen == 64*visits:
		t.pay(t.seen / visits)
		t.seen = 0
	}
	return true
}

// scan calls found for every match in order of its end, until it returns false. It does
// not change text.
func (w *wordList) scan(text []rune, t *toll, found func(match) bool) {
	if w.loose != (loose{}) {
		w.scanLoose(text, t, found)
		return
	}
	node := int32(0)
	for i, r := range text {
		if node == 0 && w.idle(r) {
			continue
		}
		k := r
		if r < utf8.RuneSelf {
			k = w.plain[r].k
		} else {
			k = texts.FoldRune(r)
		}
		node = w.step(node, k)
		for out := w.nodes[node].output; out != 0; out = w.nodes[w.nodes[out].fail].output {
			if !t.visit() {
				return
			}
			hit := match{i + 1 - int(w.nodes[out].depth), i + 1, int(w.nodes[out].word)}
			if whole(text, hit) && !found(hit) {
				return
			}
		}
	}
}

// first is the leftmost match, the longest of those.
func (w *wordList) first(text []rune, t *toll) (best match, ok bool) {
	w.scan(text, t, func(hit match) bool {
		if !ok || hit.from <= best.from {
			best, ok = hit, true
		}
		return true
	})
	return best, ok
}

// mask replaces every character of every match; with none there is no masked text.
func (w *wordList) mask(text []rune, with rune, t *toll) (masked string, count int) {
	var cover []int // +1 where a match begins, -1 where one ends
	w.scan(text, t, func(hit match) bool {
		if cover == nil {
			cover = make([]int, len(text)+1)
		}
		cover[hit.from]++
		cover[hit.to]--
		count++
		return true
	})
	if count == 0 {
		return "", 0
	}
	out := slices.Clone(text)
	for i, depth := 0, 0; i < len(out); i++ {
		if depth += cover[i]; depth > 0 {
			out[i] = with
		}
	}
	return string(out), count
}

// whole reports that hit does not cut a word of the text in two.
func whole(text []rune, hit match) bool {
	if hit.from > 0 && joins(text[hit.from-1], text[hit.from]) {
		return false
	}
	return hit.to == len(text) || !joins(text[hit.to-1], text[hit.to])
}

// joins reports that no word ends between a and b.
func joins(a, b rune) bool { return spaced(a) && spaced(b) }

// spaced reports a letter or digit of a script that puts spaces between words.
func spaced(r rune) bool {
	if r < 0x80 {
		return isAlpha(byte(r)) || isDigit(byte(r))
	}
	return !texts.Ideographic(r) && (unicode.IsLetter(r) || unicode.IsDigit(r)) &&
		!unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// wordCache holds the lists of one bundle and takes over those of the bundle
// before it, so a list is built once however many VMs and bundles use it.
type wordCache struct {
	mu    sync.Mutex // guards the fields below
	lists map[[sha256.Size]byte]*wordList
	sum   int        // characters in lists
	older *wordCache // of the bundle before; nil once this bundle is active
}

func (c *wordCache) lookup(key [sha256.Size]byte) *wordList {
	c.mu.Lock()
	list, older := c.lists[key], c.older
	c.mu.Unlock()
	if list == nil && older != nil {
		return older.lookup(key)
	}
	return list
}

// settle lets go of the bundle before.
func (c *wordCache) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.older = nil
}

// get gives the list of words, building it if nobody has.
func (c *wordCache) get(words []string, how loose) *wordList {
	key := sha256.Sum256(fmt.Appendf(nil, "%t %t\n%s", how.spacing, how.confusables, strings.Join(words, "\n")))
	list := c.lookup(key)
	if list == nil {
		list = newWordList(words, how)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if size := len(list.labels); c.lists[key] == nil && c.sum+size <= maxAllWords {
		c.lists[key] = list
		c.sum += size
	}
	return list
}

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
	var how loose
	if L.GetTop() >= 2 {
		flag := func(set *bool) func(lua.LValue) bool {
			return func(value lua.LValue) bool {
				*set = value == lua.LTrue
				return value.Type() == lua.LTBool
			}
		}
		eachOption(L, 2, "im.words", map[string]func(lua.LValue) bool{"spacing": flag(&how.spacing), "confusables": flag(&how.confusables)})
	}
	v.checkWords(L, words, how)
	L.Push(v.handle(v.b.words.get(words, how), v.classes["Words"]))
	return 1
}

// checkWords refuses lists beyond the limits and pays for the rest.
func (v *vm) checkWords(L *lua.LState, words []string, how loose) {
	if len(words) > maxWords {
		L.RaiseError("im.words: %d words, the limit is %d", len(words), maxWords)
	}
	sum := 0
	for _, word := range words {
		n := utf8.RuneCountInString(word)
		if n > maxWordLen {
			L.RaiseError("im.words: %q is longer than %d characters", clip(word, 80), maxWordLen)
		}
		if !how.fits(word) {
			L.RaiseError("im.words: with these options a word has letters, digits and spaces only, and %q has others", clip(word, 80))
		}
		sum += n
	}
	if sum > maxWordsSum {
		L.RaiseError("im.words: %d characters, the limit is %d", sum, maxWordsSum)
	}
	if v.wordSum += sum; v.wordSum > maxAllWords {
		L.RaiseError("im.words: all lists together have more than %d characters", maxAllWords)
	}
	v.spend(L, sum/16)
}

// wordArgs are the list and the text of a method call, paid for but for what is found. The
// characters are the VM's, until the next call.
func (v *vm) wordArgs(L *lua.LState) (*wordList, []rune, toll) {
	list := receiver[*wordList](L, "word list")
	text := L.CheckString(2)
	v.subject(L, text)
	v.spend(L, len(text)/4+1)
	if v.spelt != text || len(v.runes) == 0 { // several rules look at one text
		v.spelt, v.runes = text, v.runes[:0]
		for _, r := range text {
			v.runes = append(v.runes, r)
		}
	}
	return list, v.runes, toll{pay: func(units int) { v.spend(L, units) }}
}

func (v *vm) wordsAny(L *lua.LState) int {
	list, text, pays := v.wordArgs(L)
	found := false
	list.scan(text, &pays, func(match) bool {
		found = true
		return false
	})
	L.Push(lua.LBool(found))
	return 1
}

// wordsFind answers word, from, to; or nil.
func (v *vm) wordsFind(L *lua.LState) int {
	list, text, pays := v.wordArgs(L)
	hit, ok := list.first(text, &pays)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LString(list.words[hit.word]))
	L.Push(lua.LNumber(hit.from + 1))
	L.Push(lua.LNumber(hit.to))
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
	masked, count := list.mask(text, with[0], &pays)
	if count == 0 {
		masked = L.CheckString(2)
	}
	v.claim(L, len(masked))
	L.Push(lua.LString(masked))
	L.Push(lua.LNumber(count))
	return 2
}
