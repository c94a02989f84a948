package wordlist

import (
	"unicode"
	"unicode/utf8"

	"freeim/scripts/engine/texts"
)

// Options say which evasions a list sees through. The zero value: case and width only.
type Options struct {
	Spacing     bool // s p o i l e r
	Confusables bool // ѕр0ïler
}

// maxGap is how many characters may stand between two letters of a word.
const maxGap = 3

// The parts that a character can play in a loose search.
const (
	isLetter    = iota
	isInvisible // left out
	isSeparator // a gap
)

// key is what a character is compared by, and the part it plays.
func (o Options) key(r rune) (rune, int) {
	if texts.Ideographic(r) {
		return r, isLetter
	}
	k := texts.FoldRune(r)
	if k < utf8.RuneSelf {
		if o.Confusables {
			k = texts.LooksLike(k)
		}
		if isAlpha(byte(k)) || isDigit(byte(k)) {
			return k, isLetter
		}
		return k, isSeparator
	}
	if texts.Invisible(r) || o.Confusables && texts.Mark(r) {
		return 0, isInvisible
	}
	if o.Confusables {
		k = texts.LooksLike(k)
	}
	if unicode.IsLetter(k) || unicode.IsDigit(k) || unicode.IsMark(k) {
		return k, isLetter
	}
	return k, isSeparator
}

// keyed is what Options.key says of a character.
type keyed struct {
	k    rune
	part int
}

// key is Options.key, from a table for ASCII.
func (w *List) key(r rune) (rune, int) {
	if r < utf8.RuneSelf {
		return w.plain[r].k, w.plain[r].part
	}
	return w.loose.key(r)
}

// word is a word as it is looked for, and how many gaps are its own.
func (o Options) word(text string) (runes []rune, gaps int32) {
	gap := false
	for _, r := range text {
		k, part := o.key(r)
		switch {
		case part == isInvisible:
		case part == isSeparator && o.Spacing:
			gap = len(runes) > 0
		default:
			if gap && joins(runes[len(runes)-1], k) {
				gaps++
			}
			gap = false
			runes = append(runes, k)
		}
	}
	return runes, gaps
}

// Fits reports whether a word can be found: with spacing, signs are gaps, so a
// word must not depend on them.
func (o Options) Fits(word string) bool {
	for _, r := range word {
		if k, part := o.key(r); o.Spacing && part == isSeparator && !unicode.IsSpace(k) {
			return false
		}
	}
	return true
}

// scanLoose is Scan for a list with options. Letters that spaces separate are a
// word only if all of them are, or if there are as many as in the word itself:
// else "as he" would hold "she". Scripts without spaces may have gaps anywhere.
func (w *List) scanLoose(text []rune, m *Meter, found func(Match) bool) {
	type letter struct {
		at          int32 // in text
		gaps, solid int32 // pairs of letters up to here, with and without a gap
	}
	var letters [MaxLength]letter // the last ones: no word is longer
	var before rune
	node, gap := int32(0), 0
	now, seen := letter{}, 0
	for i, r := range text {
		if node == 0 && w.idle(r) { // neither what stood before it nor a gap matters to what begins behind it
			continue
		}
		k, part := w.key(r)
		if part == isInvisible {
			continue
		}
		if part == isSeparator && w.loose.Spacing {
			gap++
			continue
		}
		if node != 0 && joins(before, k) { // else no word holds both
			if gap > 0 {
				now.gaps++
			} else {
				now.solid++
			}
		}
		if gap > maxGap {
			node = 0
		}
		gap, before = 0, k
		if node = w.step(node, k); node == 0 {
			continue
		}
		now.at = int32(i)
		letters[seen%MaxLength] = now
		seen++
		for out := w.nodes[node].output; out != 0; out = w.nodes[w.nodes[out].fail].output {
			if !m.visit() {
				return
			}
			n := &w.nodes[out]
			first := letters[(seen-int(n.depth))%MaxLength]
			gaps, solid := now.gaps-first.gaps, now.solid-first.solid
			if gaps != 0 && gaps != w.gaps[n.word] && (solid != 0 || gaps < 2) {
				continue
			}
			hit := Match{int(first.at), i + 1, int(n.word)}
			if w.whole(text, hit) && !found(hit) {
				return
			}
		}
	}
}

// whole reports that hit does not cut a word of the text in two. A sign that
// stands for a letter is one inside of the hit, and none beside it.
func (w *List) whole(text []rune, hit Match) bool {
	cut := func(inner, outer rune) bool {
		inner, _ = w.loose.key(inner)
		return joins(inner, texts.FoldRune(outer))
	}
	if hit.From > 0 && cut(text[hit.From], text[hit.From-1]) {
		return false
	}
	return hit.To == len(text) || !cut(text[hit.To-1], text[hit.To])
}
