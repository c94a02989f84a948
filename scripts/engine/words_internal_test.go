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

// Whatever a stranger writes: no panic, and what is found is in the text.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"https://a.example/x", "@all 👍🏽 🇩🇪", "ЅР0ІLЕR", "\xff://\xff@", "a.com:80/?#", "s p o i l e r"} {
		f.Add(seed, "spoiler")
	}
	f.Fuzz(func(t *testing.T, text, word string) {
		for _, how := range []loose{{true, false}, {false, true}, {true, true}} {
			if !how.fits(word) {
				continue
			}
			newWordList([]string{word}, how).scan([]rune(text), &toll{}, func(m match) bool {
				if m.from < 0 || m.from >= m.to || m.to > len([]rune(text)) {
					t.Errorf("match %v in %q", m, text)
				}
				return true
			})
		}
	})
}

// written is a text such as people write, and such as they do not: of one or more of plain ASCII, Latin with
// accents, ideographs, full-width forms and octets that are no characters.
func written(most int) string {
	kinds := []string{"abcdefghij ABIO01l|!@$.,-_\x00\x7f", "éÉüßñÇİıſØ\u0301", "好明天的我们，。ａＡ１", "ѕроАВКαΩκ\u200B\u0338", "\xff\xc3\xe5\xa5\xf0\x9f\xed\xa0\x80"}
	parts := strings.Split(kinds[rand.N(len(kinds))], "")
	for range rand.N(3) {
		parts = append(parts, strings.Split(kinds[rand.N(len(kinds))], "")...)
	}
	var text strings.Builder
	for range rand.N(most) {
		text.WriteString(parts[rand.N(len(parts))])
	}
	return text.String()
}
