package pattern_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"freeim/scripts/engine/pattern"
)

func TestFind(t *testing.T) {
	for _, test := range []struct {
		name, pattern, subject string
		gmatch                 bool
		from                   int
		want                   []string // the match and its captures; nil: there is none
	}{
		{"a literal", "l", "hello", false, 3, []string{"l"}},
		{"nothing", "x", "hello", false, 0, nil},
		{"the empty pattern at the end", "", "hello", false, 5, []string{""}},
		{"an anchor", "^ell", "hello", false, 0, nil},
		{"an anchor where it begins", "^ell", "hello", false, 1, []string{"ell"}},
		{"no anchor in gmatch", "^x", "a^x", true, 0, []string{"^x"}},
		{"captures in one another", "((a)(b))", "cab", false, 0, []string{"ab", "ab", "a", "b"}},
		{"positions", "()x()", "ax", false, 0, []string{"x", "@2", "@3"}},
		{"the shortest", ".-l", "hello", false, 0, []string{"hel"}},
		{"the longest", ".*l", "hello", false, 0, []string{"hell"}},
		{"balanced", "%b()", "f(a(b)c)d", false, 0, []string{"(a(b)c)"}},
		{"a capture again", `(["'])(.-)%1`, `"it's"`, false, 0, []string{`"it's"`, `"`, "it's"}},
		{"a frontier", "%f[%a]%a+", "12 ab", false, 0, []string{"ab"}},
		{"octets, not characters", "^.", "é", false, 0, []string{"\xc3"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := pattern.Compile(test.pattern, test.gmatch)
			if err != nil {
				t.Fatal(err)
			}
			m := pattern.New(p, test.subject)
			var got []string
			if start, end, ok := m.Find(test.from); ok {
				got = append(got, m.Subject()[start:end])
				for i := range m.Captures() {
					text, position := m.Capture(i)
					if position > 0 {
						text = fmt.Sprint("@", position)
					}
					got = append(got, text)
				}
			}
			if !slices.Equal(got, test.want) || m.Spent() {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// A pattern that would take longer than anybody waits gives up, and all attempts of a matcher
// share what there is.
func TestGivesUp(t *testing.T) {
	p, err := pattern.Compile("(.-)(.-)(.-)(.-)x", false)
	if err != nil {
		t.Fatal(err)
	}
	m := pattern.New(p, strings.Repeat("a", 1000))
	for range 2 {
		if _, _, ok := m.Find(0); ok || !m.Spent() || m.Used() < pattern.MaxCost || m.Used() > pattern.MaxCost+1000 {
			t.Errorf("found %v, spent %v after %d units, want it to give up at %d", ok, m.Spent(), m.Used(), pattern.MaxCost)
		}
	}
}
