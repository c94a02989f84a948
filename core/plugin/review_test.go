package plugin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"freeim/core/plugin"
)

func TestReadDecision(t *testing.T) {
	for _, test := range []struct {
		query string
		want  plugin.Decision
		bad   string // the field that is named in the refusal
	}{
		{"id=7&verdict=approve", plugin.Decision{ID: "7", Approve: true, By: "reviewer"}, ""},
		{"id=7&verdict=deny&reason=no&by=ann", plugin.Decision{ID: "7", Reason: "no", By: "ann"}, ""},
		{"id=7", plugin.Decision{}, "verdict"},
		{"verdict=deny&reason=" + strings.Repeat("x", 201), plugin.Decision{}, "reason"},
		{"verdict=deny&reason=%FF", plugin.Decision{}, "reason"},
		{"verdict=deny&reason=" + url.QueryEscape("a\nb"), plugin.Decision{}, "reason"},
		{"verdict=deny&by=" + strings.Repeat("x", 65), plugin.Decision{}, "by"},
		{"verdict=deny&by=%FF", plugin.Decision{}, "by"},
	} {
		got, err := plugin.ReadDecision(httptest.NewRequest(http.MethodPost, "/held?"+test.query, nil))
		if test.bad == "" && (err != nil || got != test.want) || test.bad != "" && (err == nil || !strings.HasPrefix(err.Error(), test.bad)) {
			t.Errorf("%s: got %+v, %v", test.query, got, err)
		}
	}
}

func TestReviewLimit(t *testing.T) {
	for text, want := range map[string]int{"": 50, "1": 1, "500": 500, "0": 0, "501": 0, "x": 0, "-1": 0} {
		got, err := plugin.ReviewLimit(httptest.NewRequest(http.MethodGet, "/held?limit="+text, nil))
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
	}
}
