package engine

import (
	"unicode"
	"unicode/utf8"

	"freeim/scripts/engine/texts"
)

// loose says which evasions a word list sees through.
type loose struct {
	spacing     bool // s p o i l e r
	confusables bool // ѕр0ïler
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
func (l loose) key(r rune) (rune, int) {
	if texts.Ideographic(r) {
		return r, isLetter
	}
	k := texts.FoldRune(r)
	if k < utf8.RuneSelf {
		if l.confusables {
			k = texts.LooksLike(k)
		}
		if isAlpha(byte(k)) || isDigit(byte(k)) {
			return k, isLetter
		}
		return k, isSeparator
	}
	if texts.Invisible(r) || l.confusables && texts.Mark(r) {
		return 0, isInvisible
	}
	if l.confusables {
		k = texts.LooksLike(k)
	}
	if unicode.IsLetter(k) || unicode.IsDigit(k) || unicode.IsMark(k) {
		return k, isLetter
	}
	return k, isSeparator
}

// keyed is what loose.key says of a character.
type keyed struct {
	k    rune
	part int
}

// key is loose.key, from a table for ASCII.
func (w *wordList) key(r rune) (rune, int) {
	if r < utf8.RuneSelf {
		return w.plain[r].k, w.plain[r].part
	}
	return w.loose.key(r)
}

// word is a word as it is looked for, and how many gaps are its own.
func (l loose) word(text string) (runes []rune, gaps int32) {
	gap := false
	for _, r := range text {
		k, part := l.key(r)
		switch {
		case part == isInvisible:
		case part == isSeparator && l.spacing:
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

// fits reports whether a word can be found: with spacing, signs are gaps, so a
// word must not depend on them.
func (l loose) fits(word string) bool {
	for _, r := range word {
		if k, part := l.key(r); l.spacing && part == isSeparator && !unicode.IsSpace(k) {
			return false
		}
	}
	return true
}

// scanLoose is scan for a list with options. Letters that spaces separate are a
// word only if all of them are, or if there are as many as in the word itself:
// else "as he" would hold "she". Scripts without spaces may have gaps anywhere.
func (w *wordList) scanLoose(text []rune, t *toll, found func(match) bool) {
	type letter struct {
		at          int32 // in text
		gaps, solid int32 // pairs of letters up to here, with and without a gap
	}
	var letters [maxWordLen]letter // the last ones: no word is longer
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
		if part == isSeparator && w.loose.spacing {
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
		letters[seen%maxWordLen] = now
		seen++
		for out := w.nodes[node].output; out != 0; out = w.nodes[w.nodes[out].fail].output {
			if !t.visit() {
				return
			}
			n := &w.nodes[out]
			first := letters[(seen-int(n.depth))%maxWordLen]
			gaps, solid := now.gaps-first.gaps, now.solid-first.solid
			if gaps != 0 && gaps != w.gaps[n.word] && (solid != 0 || gaps < 2) {
				continue
			}
			hit := match{int(first.at), i + 1, int(n.word)}
			if w.whole(text, hit) && !found(hit) {
				return
			}
		}
	}
}

// whole reports that hit does not cut a word of the text in two. A sign that
// stands for a letter is one inside of the hit, and none beside it.
func (w *wordList) whole(text []rune, hit match) bool {
	cut := func(inner, outer rune) bool {
		inner, _ = w.loose.key(inner)
		return joins(inner, texts.FoldRune(outer))
	}
	if hit.from > 0 && cut(text[hit.from], text[hit.from-1]) {
		return false
	}
	return hit.to == len(text) || !cut(text[hit.to-1], text[hit.to])
}
