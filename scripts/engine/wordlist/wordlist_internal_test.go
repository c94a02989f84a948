package wordlist

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"freeim/scripts/engine/texts"
)

// TestWordsAtTheRoot holds scans that pass over what begins no word against those that look
// at each character.
func TestWordsAtTheRoot(t *testing.T) {
	found := 0
	for range 20_000 {
		how := Options{rand.N(2) > 0, rand.N(2) > 0}
		var words []string
		for range 1 + rand.N(5) {
			if word := written(8); how.Fits(word) {
				words = append(words, word)
			}
		}
		fast := New(words, how)
		slow := New(words, how)
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
		matches := func(list *List) (all []Match) {
			list.Scan([]rune(text), &Meter{}, func(m Match) bool {
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
		for _, how := range []Options{{true, false}, {false, true}, {true, true}} {
			if !how.Fits(word) {
				continue
			}
			New([]string{word}, how).Scan([]rune(text), &Meter{}, func(m Match) bool {
				if m.From < 0 || m.From >= m.To || m.To > len([]rune(text)) {
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

// Words against a search that is too simple to be wrong.
func TestWordsAgainstASimpleSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	text := func(n int) string {
		out := make([]rune, n)
		for i := range out {
			out[i] = []rune("abAB 坏话ａ")[random.IntN(8)]
		}
		return string(out)
	}
	for range 3000 {
		var words []string
		for range 1 + random.IntN(6) {
			words = append(words, strings.TrimSpace(text(1+random.IntN(4))))
		}
		list, subject := New(words, Options{}), []rune(text(random.IntN(20)))
		var want Match
		found := false
		for from := range subject {
			for to := len(subject); to > from && !found; to-- {
				for number, word := range words {
					hit := Match{from, to, number}
					if texts.Fold(word) == texts.Fold(string(subject[from:to])) && whole(subject, hit) {
						want, found = hit, true
						break
					}
				}
			}
		}
		got, ok := list.First(subject, &Meter{})
		if ok != found || got.From != want.From || got.To != want.To {
			t.Fatalf("words %q in %q: got %v %v, want %v %v", words, string(subject), got, ok, want, found)
		}
	}
}

func TestWordsAreSharedAcrossBundles(t *testing.T) {
	older := NewCache(nil)
	first := older.Get([]string{"a", "b"}, Options{})
	next := NewCache(older)
	if next.Get([]string{"a", "b"}, Options{}) != first || next.Get([]string{"a"}, Options{}) == first {
		t.Error("want the same list for the same words, and only for them")
	}
	if next.Get([]string{"a\nb"}, Options{}) == first {
		t.Error("one word with a line's end in it has the list of two")
	}
	next.Settle()
	if next.older != nil || next.Get([]string{"a", "b"}, Options{}) != first {
		t.Error("want the list kept and the older cache let go")
	}
}
