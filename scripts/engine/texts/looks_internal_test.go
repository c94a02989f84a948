package texts

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// What is read without the tables of Unicode is what they say.
func TestIdeographic(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !Ideographic(r) {
			continue
		}
		alone := unicode.ToLower(r) == r && LooksLike(r) == r && norm.NFKD.String(string(r)) == string(r)
		if !alone || !unicode.IsLetter(r) || !unicode.Is(unicode.Han, r) || Invisible(r) || Mark(r) {
			t.Fatalf("%U does not stand for itself only", r)
		}
	}
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

// TestSkeleton holds the quick way against the whole one: characters between
// others, and texts of characters that act on one another.
func TestSkeleton(t *testing.T) {
	same := func(text string) {
		t.Helper()
		if got, want := Skeleton(text), oddSkeleton(text); got != want {
			t.Fatalf("%+q: got %+q, want %+q", text, got, want)
		}
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if utf8.ValidRune(r) && (r < 0x20000 || r%101 == 0) { // few of the rest are given a meaning
			same("a" + string(r) + "好" + string(r) + "，")
		}
	}
	parts := []string{"a", "Q", "1", " ", "好", "，", "ｅ", "é", "e\u0301", "\u3099", "か", "が", "\u1100", "\u1161", "각", "ß", "İ", "\u200B", "K", "ﬁ", "\xff", "\u0323", "\u0345", "ᾳ", "।"}
	for range 50_000 {
		var text strings.Builder
		for range rand.N(9) {
			text.WriteString(parts[rand.N(len(parts))])
		}
		same(text.String())
	}
	for range 5_000 {
		same(written(1200))
	}
	for n := range 1200 { // the room for most texts ends somewhere
		same(strings.Repeat("A", n))
		same(strings.Repeat("A", n) + "好")
	}
}
