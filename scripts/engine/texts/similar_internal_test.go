package texts

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

// TestSimilarityCounts holds the table against a map, with texts of few and of many
// different pairs, longer and shorter than the room that there is.
func TestSimilarityCounts(t *testing.T) {
	plain := func(a, b string) float64 {
		a, b = Fold(a), Fold(b)
		counts, n, m, common := map[uint64]int{}, 0, 0, 0
		for p := range pairs(a) {
			counts[p]++
			n++
		}
		for p := range pairs(b) {
			m++
			if counts[p] > 0 {
				counts[p]--
				common++
			}
		}
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
	var space pairCounts // what one pair of texts leaves is not seen by the next
	same := func(a, b string) bool {
		want := plain(a, b)
		for _, least := range []float64{0, 0.5, 0.85, want, 1} { // also exactly what it is
			var got float64
			if got, space = similarity(a, b, least, space); got != want && !(got == 0 && want < least) {
				t.Errorf("%q, %q, at least %v: got %v, want %v", a, b, least, got, want)
				return false
			}
		}
		return true
	}
	alike := func() bool { // one with a few other letters
		a := []rune(text())
		b := slices.Clone(a)
		for range min(len(b), rand.N(4)) {
			b[rand.N(len(b))] = 'z'
		}
		return same(string(a), string(b))
	}
	if err := quick.Check(func(a, b string) bool { return same(Fold(a), Fold(b)) && same(text(), text()) && alike() }, nil); err != nil {
		t.Error(err)
	}
	octets := func(begin, a, b, end []byte) bool { // also what is no UTF-8, with the same around it
		return same(string(begin)+string(a)+string(end), string(begin)+string(b)+string(end)) &&
			same(string(begin)+"好"+string(a)+"明"+string(end), string(begin)+"妇"+string(b)+"天"+string(end))
	}
	if err := quick.Check(octets, nil); err != nil {
		t.Error(err)
	}
	for range 2000 { // as they are written: a share of one text in another, in other cases and widths
		a, b := written(200), written(30)
		at := rand.N(len(a) + 1)
		b = strings.ToUpper(a[at:]) + b + a[:at]
		if !same(a, b) || !same(a, written(200)) || !same(a, a) {
			t.FailNow()
		}
	}
}

func BenchmarkSimilarity(b *testing.B) {
	always := strings.Repeat("shall we meet at the station, as always? ", 3)
	for name, other := range map[string]string{"unlike": strings.Repeat("when does the next train to the city leave ", 3), "alike": "1234: " + always + "!"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var space pairCounts
			for b.Loop() {
				_, space = similarity(always, other, 0.85, space)
			}
		})
	}
}

func BenchmarkSkeleton(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Skeleton("Shall we meet at the station, as always? Bring the book that I gave you in 2019, and some bread. See you there at nine!")
	}
}
