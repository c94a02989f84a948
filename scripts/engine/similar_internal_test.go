package engine

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/quick"
)

// TestSimilarityCounts holds the table against a map, with texts of few and of many
// different pairs, longer and shorter than the room on the stack.
func TestSimilarityCounts(t *testing.T) {
	plain := func(a, b string) float64 {
		pairs, n, m, common := map[uint64]int{}, 0, 0, 0
		eachPair(a, func(p uint64) { pairs[p]++; n++ })
		eachPair(b, func(p uint64) {
			m++
			if pairs[p] > 0 {
				pairs[p]--
				common++
			}
		})
		if a == b {
			return 1
		}
		if n+m == 0 {
			return 0
		}
		return 2 * float64(common) / float64(n+m)
	}
	text := func() string {
		var s strings.Builder
		letters := []rune("abcdefgh好明天们的是了我")[:1+rand.N(16)]
		for range rand.N(900) {
			s.WriteRune(letters[rand.N(len(letters))])
		}
		return s.String()
	}
	same := func() bool {
		a, b := text(), text()
		return similarity(a, b) == plain(a, b)
	}
	if err := quick.Check(func(a, b string) bool { a, b = fold(a), fold(b); return similarity(a, b) == plain(a, b) && same() }, nil); err != nil {
		t.Error(err)
	}
}

func BenchmarkSimilarity(b *testing.B) {
	a := strings.Repeat("shall we meet at the station, as always? ", 3)
	c := strings.Repeat("when does the next train to the city leave ", 3)
	b.ReportAllocs()
	for b.Loop() {
		similarity(a, c)
	}
}

func BenchmarkSkeleton(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		skeleton("Shall we meet at the station, as always? Bring the book that I gave you in 2019, and some bread. See you there at nine!")
	}
}
