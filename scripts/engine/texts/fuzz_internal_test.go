package texts

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a stranger writes: no panic, and what is found is in the text.
func FuzzTexts(f *testing.F) {
	for _, seed := range []string{"https://a.example/x", "@all 👍🏽 🇩🇪", "ЅР0ІLЕR", "\xff://\xff@", "a.com:80/?#", "s p o i l e r"} {
		f.Add(seed, "spoiler")
	}
	f.Fuzz(func(t *testing.T, text, word string) {
		for _, one := range Links(text) {
			if !strings.Contains(text, one.URL) || one.Host == "" {
				t.Errorf("link %q in %q", one, text)
			}
		}
		for _, one := range Mentions(text) {
			if !strings.Contains(text, one) {
				t.Errorf("mention %q in %q", one, text)
			}
		}
		if n := Emoji(text); n > len([]rune(text)) {
			t.Errorf("%d emoji in %q", n, text)
		}
		if s, _ := similarity(text, word, 0.3, nil); !(s >= 0 && s <= 1) {
			t.Errorf("similarity %v", s)
		}
		if once := Skeleton(text); utf8.ValidString(text) && Skeleton(once) != once {
			t.Errorf("skeleton of %q is %q, and its own %q", text, once, Skeleton(once))
		}
	})
}
