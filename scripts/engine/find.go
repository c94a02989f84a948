package engine

import (
	"iter"
	"math"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"

	lua "github.com/yuin/gopher-lua"
)

// What im.text finds in one text, at most.
const (
	maxURLs     = 32
	maxMentions = 64
)

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
	out := norm.NFKC.String(v.searched(L, 1))
	v.claim(L, len(out))
	L.Push(lua.LString(out))
	return 1
}

func (v *vm) textSkeleton(L *lua.LState) int {
	out := skeleton(v.searched(L, 1))
	v.claim(L, len(out))
	L.Push(lua.LString(out))
	return 1
}

func (v *vm) textWidth(L *lua.LState) int {
	columns := 0
	for _, r := range v.searched(L, 1) {
		switch kind := width.LookupRune(r).Kind(); {
		case mark(r) || invisible(r) || unicode.In(r, unicode.Mn, unicode.Me, unicode.Cc):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			columns += 2
		default:
			columns++
		}
	}
	L.Push(lua.LNumber(columns))
	return 1
}

// link is a link as written, and its host in lower case.
type link struct{ url, host string }

// links finds the links of a text.
func links(text string) []link {
	var out []link
	for _, word := range strings.FieldsFunc(text, ends) {
		if len(out) == maxURLs {
			break
		}
		if at := strings.Index(word, "://"); at > 0 {
			for at > 0 && isAlpha(word[at-1]) {
				at--
			}
			word = word[at:]
		} else {
			word = strings.TrimLeftFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		}
		word = strings.TrimRight(word, ".,;:!?)]}*_~'")
		if host := hostOf(word); host != "" {
			out = append(out, link{word, host})
		}
	}
	return out
}

// ends reports what a link cannot contain.
func ends(r rune) bool {
	return unicode.IsSpace(r) || strings.ContainsRune("<>\"`|，。！？；：、“”‘’（）【】《》「」", r)
}

// hostOf is the host of what may be a link, empty when it is none.
func hostOf(word string) string {
	scheme, rest, schemed := strings.Cut(word, "://")
	if !schemed {
		rest = word
	} else if scheme == "" {
		return ""
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		if !schemed {
			return "" // an address of e-mail
		}
		host = host[at+1:]
	}
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:at]
	}
	host = strings.TrimSuffix(fold(host), ".")
	if schemed {
		return host
	}
	last := strings.LastIndexByte(host, '.')
	if last <= 0 || strings.Contains(host, "..") {
		return ""
	}
	for _, r := range host {
		if r != '-' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return ""
		}
	}
	if strings.HasPrefix(host, "www.") || common(host[last+1:]) {
		return host
	}
	return ""
}

// common reports top-level domains that people write without a scheme.
func common(domain string) bool {
	switch domain {
	case "com", "net", "org", "info", "biz", "io", "co", "me", "cc", "tv", "ly", "gg", "gl", "to", "cn", "hk", "tw", "jp", "kr", "ru", "de", "fr", "uk", "eu", "in", "br",
		"xyz", "top", "vip", "club", "site", "online", "shop", "link", "live", "app", "dev", "work", "icu", "fun", "store", "website", "space", "click", "中国", "公司", "网络":
		return true
	}
	return false
}

func (v *vm) textURLs(L *lua.LState) int {
	list := L.NewTable()
	for _, one := range links(v.searched(L, 1)) {
		entry := L.CreateTable(0, 2)
		entry.RawSetString("url", lua.LString(one.url))
		entry.RawSetString("host", lua.LString(one.host))
		list.Append(entry)
	}
	L.Push(list)
	return 1
}

// mentions finds the names after an @.
func mentions(text string) []string {
	var out []string
	before := ' '
	for i, r := range text {
		if (r == '@' || r == '＠') && !unicode.IsLetter(before) && !unicode.IsDigit(before) && len(out) < maxMentions {
			rest := text[i+utf8.RuneLen(r):]
			end := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			if end < 0 {
				end = len(rest)
			}
			if end > 0 {
				out = append(out, rest[:end])
			}
		}
		before = r
	}
	return out
}

func (v *vm) textMentions(L *lua.LState) int {
	list := L.NewTable()
	for _, name := range mentions(v.searched(L, 1)) {
		v.claim(L, len(name))
		list.Append(lua.LString(name))
	}
	L.Push(list)
	return 1
}

// emoji counts what is shown as one picture each.
func emoji(text string) int {
	n, joined, flag := 0, false, false
	before := ' '
	for _, r := range text {
		switch {
		case r >= 0x1F1E6 && r <= 0x1F1FF: // two letters make a flag
			if !flag {
				n++
			}
			flag = !flag
			before = r
			continue
		case r >= 0x1F3FB && r <= 0x1F3FF && pictured(before): // skin tones
		case r == '\uFE0F' && !pictured(before) && before > ' ' && !isDigit(byte(min(before, 127))) && before != '#' && before != '*':
			n++ // ©️
		case r == '\u20E3': // keycaps
			n++
		case pictured(r):
			if !joined {
				n++
			}
		}
		joined, flag = r == '\u200D', false
		if r != '\uFE0F' {
			before = r
		}
	}
	return n
}

// pictured reports characters that are shown as a picture.
func pictured(r rune) bool {
	return r >= 0x1F300 && r <= 0x1FAFF || r >= 0x2600 && r <= 0x27BF || r >= 0x2B1B && r <= 0x2B55 || r == 0x231A || r == 0x231B || r >= 0x23E9 && r <= 0x23F3 || r >= 0x1F000 && r <= 0x1F2FF
}

func (v *vm) textEmoji(L *lua.LState) int {
	L.Push(lua.LNumber(emoji(v.searched(L, 1))))
	return 1
}

// similarity is the Dice coefficient of the pairs of neighbours; 0 if it is less than
// least, which is seen early. It counts in space, and gives that back, larger if it was too
// small.
func similarity(a, b string, least float64, space pairCounts) (float64, pairCounts) {
	n, m := max(0, utf8.RuneCountInString(a)-1), max(0, utf8.RuneCountInString(b)-1) // pairs
	need := int(math.Ceil(least*float64(n+m)/2 - 1e-9))                              // of them in common; the rest is what rounding adds
	if min(n, m) < need {
		return 0, space
	}
	a, b, common := apart(a, b)
	left := m - common // pairs of b that may still be in a
	if need > common && !mayShare(a, b, left, need-common) {
		return 0, space
	}
	a, b = fold(a), fold(b)
	if a == b {
		return 1, space
	}
	if n+m == 0 {
		return 0, space
	}
	if size := 1 << bits.Len(uint(2*len(a))); size > cap(space) {
		space = make(pairCounts, size)
	} else {
		space = space[:size]
		clear(space)
	}
	for pair := range pairs(a) {
		c := space.of(pair)
		c.pair = pair
		c.n++
	}
	for pair := range pairs(b) {
		if c := space.of(pair); c.n > 0 {
			c.n--
			common++
		}
		if left--; common+left < need {
			return 0, space
		}
	}
	return 2 * float64(common) / float64(n+m), space
}

// apart cuts off what both texts begin and end with, up to the characters at the cuts, and gives how many pairs
// that leaves out of each. They are in both, so the others are compared without them: texts that are nearly
// the same differ in little.
func apart(a, b string) (restA, restB string, pairs int) {
	begins, most := 0, min(len(a), len(b))
	for begins < most && a[begins] == b[begins] {
		begins++
	}
	for begins > 0 && (begins < len(a) && !utf8.RuneStart(a[begins]) || begins < len(b) && !utf8.RuneStart(b[begins])) {
		begins--
	}
	ends := 0
	for ends < most-begins && a[len(a)-ends-1] == b[len(b)-ends-1] {
		ends++
	}
	for ends > 0 && !utf8.RuneStart(a[len(a)-ends]) {
		ends--
	}
	if begins > 0 {
		_, last := utf8.DecodeLastRuneInString(a[:begins])
		begins -= last
		pairs += utf8.RuneCountInString(a[:begins])
	}
	if ends > 0 {
		_, first := utf8.DecodeRuneInString(a[len(a)-ends:])
		ends -= first
		pairs += utf8.RuneCountInString(a[len(a)-ends:])
	}
	return a[begins : len(a)-ends], b[begins : len(b)-ends], pairs
}

// mayShare reports whether the folded texts may have need pairs in common; b has m. Pairs are
// counted by a few bits of theirs, so that different ones may pass for the same, and equal ones
// always do: most texts that are not alike are told apart without a table of pairs.
func mayShare(a, b string, m, need int) bool {
	var counts [256]int32
	before := rune(-1)
	for _, r := range a {
		r = foldRune(r)
		if before >= 0 {
			counts[roughly(before, r)]++
		}
		before = r
	}
	before = -1
	for _, r := range b {
		r = foldRune(r)
		if before >= 0 {
			if at := roughly(before, r); counts[at] > 0 {
				counts[at]--
			} else if m--; m < need { // m: those that are found, or still to come
				return false
			}
		}
		before = r
	}
	return true
}

// roughly is where mayShare counts a pair.
func roughly(a, b rune) uint8 { return uint8((uint32(a)*0x9E3779B1 + uint32(b)*0x85EBCA6B) >> 20) }

// pairs are the pairs of neighbours of a text. None is 0.
func pairs(text string) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		before := rune(-1)
		for _, r := range text {
			if before >= 0 && !yield(uint64(before)<<32|uint64(r)|1<<63) {
				return
			}
			before = r
		}
	}
}

// comparer compares texts in room that it keeps for the next ones.
type comparer struct{ pairs pairCounts }

// similarity is the function of that name.
func (c *comparer) similarity(a, b string, least float64) (alike float64) {
	if alike, c.pairs = similarity(a, b, least, c.pairs); cap(c.pairs) > keptPairs {
		c.pairs = nil
	}
	return alike
}

// keptPairs is how large a table a comparer keeps.
const keptPairs = 4096

// pairCounts is a table of counts by pair: a power of two of places, at most half of which
// are taken.
type pairCounts []pairCount

type pairCount struct {
	pair uint64 // 0: the place is free
	n    int32
}

// of is the place of a pair, or the free one where it belongs.
func (t pairCounts) of(pair uint64) *pairCount {
	at := pair * 0x9E3779B97F4A7C15 >> (64 - bits.Len(uint(len(t)-1))) // Fibonacci hashing
	for ; ; at++ {
		c := &t[at&uint64(len(t)-1)]
		if c.pair == pair || c.pair == 0 {
			return c
		}
	}
}

func (v *vm) textSimilarity(L *lua.LState) int {
	a, b := v.searched(L, 1), v.searched(L, 2)
	v.spend(L, len(a)+len(b)) // counting is slower than a scan
	least := float64(L.OptNumber(3, 0))
	if !(least >= 0 && least <= 1) {
		L.ArgError(3, "must be from 0 to 1")
	}
	L.Push(lua.LNumber(v.comparer.similarity(a, b, least)))
	return 1
}
