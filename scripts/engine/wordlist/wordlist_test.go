package wordlist_test

import (
	"strings"
	"testing"

	"freeim/scripts/engine/wordlist"
)

func TestMask(t *testing.T) {
	for _, test := range []struct {
		name    string
		options wordlist.Options
		text    string
		want    string // empty: nothing is found
	}{
		{"a whole word", wordlist.Options{}, "an ass", "an ***"},
		{"not in another", wordlist.Options{}, "class", ""},
		{"not at its begin", wordlist.Options{}, "assess", ""},
		{"case and width", wordlist.Options{}, "ＡSs!", "***!"},
		{"anywhere in Chinese", wordlist.Options{}, "别剧透啊", "别**啊"},
		{"one in another", wordlist.Options{}, "bad ass", "*******"},
		{"not through spaces", wordlist.Options{}, "a s s", ""},
		{"through spaces", wordlist.Options{Spacing: true}, "an a s-s!", "an *****!"},
		{"but not in words", wordlist.Options{Spacing: true}, "a ss", ""},
		{"look-alikes", wordlist.Options{Confusables: true}, "@$ѕ", "***"},
	} {
		t.Run(test.name, func(t *testing.T) {
			list := wordlist.New([]string{"ass", "bad ass", "剧透"}, test.options)
			got, n := list.Mask([]rune(test.text), '*', &wordlist.Meter{})
			if got != test.want || (n > 0) != (test.want != "") {
				t.Errorf("got %q with %d words, want %q", got, n, test.want)
			}
		})
	}
}

// What ends at one character is paid for, or ends the scan.
func TestMeter(t *testing.T) {
	var words []string
	for n := range wordlist.MaxLength {
		words = append(words, strings.Repeat("剧", n+1))
	}
	list, text := wordlist.New(words, wordlist.Options{}), []rune(strings.Repeat("剧", 1000))
	all := 0
	count := func(wordlist.Match) bool { all++; return true }
	list.Scan(text, &wordlist.Meter{}, count)
	paid := 0
	pay := func(units int) {
		if paid += units; units != 64 {
			t.Errorf("paid %d units at once, want 64", units)
		}
	}
	list.Scan(text, &wordlist.Meter{Pay: pay}, func(wordlist.Match) bool { return true })
	if paid < all/2-64 || paid > all/2 {
		t.Errorf("paid %d units for %d words", paid, all)
	}
	m, found := wordlist.Meter{Most: 100}, 0
	list.Scan(text, &m, func(wordlist.Match) bool { found++; return true })
	if found != 100 || !m.Refused() {
		t.Errorf("found %d words, refused %v; want it stopped after 100", found, m.Refused())
	}
	m = wordlist.Meter{Most: all}
	if list.Scan(text, &m, count); m.Refused() {
		t.Error("refused what is not too much")
	}
}
