package server

import (
	"strings"
	"testing"
)

func TestRulesConfig(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(r *Rules)
		want   string
	}{
		{"the default", func(*Rules) {}, ""},
		{"a canary", func(r *Rules) { r.Activate = "canary" }, ""},
		{"not watched", func(r *Rules) { r.Watch.Time = -1 }, ""},
		{"less for a chain than for a hook", func(r *Rules) { r.ChainUnits = 99_999 }, "core.rules.chain_units is 99999: at least 100000"},
		{"another mode", func(r *Rules) { r.Activate = "later" }, `core.rules.activate: mode "later"`},
		{"too large a canary", func(r *Rules) { r.Activate, r.Canary = "canary", 101 }, "core.rules.activate: a canary for 101 %"},
		{"a share above 1", func(r *Rules) { r.Watch.Denied = 10 }, "core.rules.watch: "},
		{"a text mode", func(r *Rules) { r.Record.Text = "some" }, "core.rules.record: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := DefaultConfig()
			test.change(&c.Rules)
			c.setDefaults()
			if err := c.validate(); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
