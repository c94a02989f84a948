package texts_test

import (
	"math"
	"strings"
	"testing"

	"freeim/scripts/engine/texts"
)

func TestNearest(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"huors", "hours"}, {"hour", "hours"}, {"mod", "mode"}, {"hots", "hosts"}, {"", "mode"}, {strings.Repeat("x", 100) + "mode", "hosts"},
	} {
		if got := texts.Closest(test.name, []string{"mode", "hours", "hosts"}, math.MaxInt32); got != test.want {
			t.Errorf("%q: got %q, want %q", test.name, got, test.want)
		}
	}
	if got := texts.Closest("hours", []string{"mode", "years"}, 4); got != "years" {
		t.Errorf("got %q", got)
	}
	if got := texts.Closest("hours", []string{"mode", "minutes"}, 3); got != "" {
		t.Errorf("got %q, want that none is near", got)
	}
}
