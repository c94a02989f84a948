// Package wordlist finds any of many words in a text, in one pass however many there are,
// also where people hide them: with other case and width, with spaces and signs between
// the letters, with look-alikes. README.md beside it says how, and what it costs.
//
// It knows nothing of scripts and reads no files. What a scan finds beyond its one look at
// each character is charged to a Meter, and who calls it says what that costs. The engine
// (scripts/engine) makes im.words and the option words of hooks of it.
package wordlist

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"freeim/scripts/engine/texts"
)

// The limits of a list, which bound what building and scanning cost. Whoever calls New
// keeps to them: a longer word may be found in the wrong place.
const (
	MaxWords  = 50_000
	MaxLength = 64        // characters of a word
	MaxSize   = 500_000   // characters of all words
	MaxTotal  = 2_000_000 // characters of all lists of one owner; a Cache keeps no more
)

// List finds any of many words in one pass over a text (Aho-Corasick over
// folded characters). Words in scripts that put spaces between words match only
// as whole words: "ass" is not in "class". Immutable, so safe for concurrent use.
//
// Nodes are numbered breadth first, so the node behind labels[k] is k+1 and the
// labels of a node's children lie together, sorted.
type List struct {
	loose  Options
	words  []string // as given, by number
	gaps   []int32  // with Options.Spacing: between the letters of a word, by number
	nodes  []trieNode
	labels []rune
	plain  [utf8.RuneSelf]keyed // of ASCII
	roots  [utf8.RuneSelf]int32 // by an ASCII character: the root's child, or the root
	begins [utf8.RuneSelf]bool  // by an ASCII character as it is written: a word may begin with it
}

type trieNode struct {
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

// New builds a list; empty words are left out. It keeps words, which nobody may change
// afterwards. Each of them must fit how (Options.Fits).
func New(words []string, how Options) *List {
	w := &List{words: words, loose: how}
	var sorted []folded
	for number, word := range words {
		runes := []rune(texts.Fold(word))
		if how != (Options{}) {
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
func (w *List) grow(sorted []folded) {
	spans := [][]folded{sorted} // by node: the words that pass through it
	w.nodes = []trieNode{{word: -1}}
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
		var children []trieNode
		for len(span) > 0 {
			r, end := span[0].runes[depth], 1
			for end < len(span) && span[end].runes[depth] == r {
				end++
			}
			w.labels = append(w.labels, r)
			children = append(children, trieNode{word: -1, depth: int32(depth + 1)})
			spans = append(spans, span[:end])
			span = span[end:]
		}
		n.last = int32(len(w.labels))
		w.nodes = append(w.nodes, children...)
	}
}

// link sets fail and output; a node's fail is less deep, so it comes before it.
func (w *List) link() {
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

// Len is how many words the list was made of.
func (w *List) Len() int { return len(w.words) }

// Word is a word of the list by its number, as it was given.
func (w *List) Word(number int) string { return w.words[number] }

// Same reports whether two lists, either of which may be nil, find the same: they need not be
// one, for a full Cache has the same list made again.
func (w *List) Same(other *List) bool {
	return w == other || w != nil && other != nil && w.loose == other.loose && slices.Equal(w.words, other.words)
}

// step follows r from node, falling back to shorter suffixes.
func (w *List) step(node int32, r rune) int32 {
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
func (w *List) idle(r rune) bool { return r < utf8.RuneSelf && !w.begins[r] }

// child is the node below node for r, 0 if there is none.
func (w *List) child(node int32, r rune) int32 {
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

// Match is a word at characters [From, To) of a text, and its number in the list.
type Match struct{ From, To, Word int }

// visits are how many words that end somewhere are looked at for one unit of work.
const visits = 2

// Meter charges what a scan finds: at one character as many words may end as are in
// one another. The zero value counts, and lets everything through. It is of one goroutine,
// and for several scans only if they are paid for together.
type Meter struct {
	Pay  func(units int) // a unit for two words that end somewhere, 64 at a time; who cannot pay does not return. nil: nobody pays
	Most int             // words that end somewhere, without Pay; 0: no bound

	seen    int
	refused bool
}

// Refused reports whether a scan was stopped, since there were more than Most.
func (m *Meter) Refused() bool { return m.refused }

// visit reports whether the scan may go on.
func (m *Meter) visit() bool {
	m.seen++
	switch {
	case m.Pay == nil:
		m.refused = m.Most > 0 && m.seen > m.Most
		return !m.refused
	case m.seen == 64*visits:
		m.Pay(m.seen / visits)
		m.seen = 0
	}
	return true
}

// Scan calls found for every match in order of its end, until it returns false or m stops
// it. It does not change text.
func (w *List) Scan(text []rune, m *Meter, found func(Match) bool) {
	if w.loose != (Options{}) {
		w.scanLoose(text, m, found)
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
			if !m.visit() {
				return
			}
			hit := Match{i + 1 - int(w.nodes[out].depth), i + 1, int(w.nodes[out].word)}
			if whole(text, hit) && !found(hit) {
				return
			}
		}
	}
}

// First is the leftmost match, the longest of those; false: there is none.
func (w *List) First(text []rune, m *Meter) (best Match, ok bool) {
	w.Scan(text, m, func(hit Match) bool {
		if !ok || hit.From <= best.From {
			best, ok = hit, true
		}
		return true
	})
	return best, ok
}

// Mask replaces every character of every match, and counts those; with none there is no
// masked text. It does not change text.
func (w *List) Mask(text []rune, with rune, m *Meter) (masked string, count int) {
	var cover []int // +1 where a match begins, -1 where one ends
	w.Scan(text, m, func(hit Match) bool {
		if cover == nil {
			cover = make([]int, len(text)+1)
		}
		cover[hit.From]++
		cover[hit.To]--
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
func whole(text []rune, hit Match) bool {
	if hit.From > 0 && joins(text[hit.From-1], text[hit.From]) {
		return false
	}
	return hit.To == len(text) || !joins(text[hit.To-1], text[hit.To])
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

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
