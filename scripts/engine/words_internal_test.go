package engine

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestWordsAtTheRoot holds scans that pass over what begins no word against those that look
// at each character.
func TestWordsAtTheRoot(t *testing.T) {
	found := 0
	for range 20_000 {
		how := loose{rand.N(2) > 0, rand.N(2) > 0}
		var words []string
		for range 1 + rand.N(5) {
			if word := written(8); how.fits(word) {
				words = append(words, word)
			}
		}
		fast := newWordList(words, how)
		slow := newWordList(words, how)
		for r := range slow.begins {
			slow.begins[r] = true
		}
		parts := []string{written(60)}
		for range rand.N(4) {
			if len(words) > 0 {
				parts = append(parts, written(6), strings.Join(strings.Split(words[rand.N(len(words))], ""), []string{"", " ", ". "}[rand.N(3)]), written(6))
			}
		}
		text := strings.Join(parts, "")
		matches := func(list *wordList) (all []match) {
			list.scan([]rune(text), &toll{}, func(m match) bool {
				all = append(all, m)
				return true
			})
			return all
		}
		got, want := matches(fast), matches(slow)
		if !slices.Equal(got, want) {
			t.Fatalf("%+v %q in %q: got %v, want %v", how, words, text, got, want)
		}
		found += len(got)
	}
	if found < 1000 {
		t.Fatalf("found %d words, too few to tell", found)
	}
}
