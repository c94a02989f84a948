package texts

import (
	"iter"
	"math"
	"math/bits"
	"unicode/utf8"
)

// Comparer compares texts in room that it keeps for the next ones. The zero value is one
// without room. It belongs to one goroutine at a time.
type Comparer struct{ pairs pairCounts }

// Similarity is how alike two texts are, from 0 to 1: the share of pairs of neighbouring
// characters that both have when folded (the Dice coefficient), 1 for texts that fold to the
// same. What is less than least gives 0, sooner.
func (c *Comparer) Similarity(a, b string, least float64) (alike float64) {
	if alike, c.pairs = similarity(a, b, least, c.pairs); cap(c.pairs) > keptPairs {
		c.pairs = nil
	}
	return alike
}

// keptPairs is how large a table a Comparer keeps.
const keptPairs = 4096

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
	a, b = Fold(a), Fold(b)
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
		r = FoldRune(r)
		if before >= 0 {
			counts[roughly(before, r)]++
		}
		before = r
	}
	before = -1
	for _, r := range b {
		r = FoldRune(r)
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
