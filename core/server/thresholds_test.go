package server

import (
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/conf"
	"freeim/scripts/engine"
)

// What core.rules.thresholds says reaches the engine, or is refused with its place.
func TestThresholds(t *testing.T) {
	for _, test := range []struct {
		name, yaml string
		want       []engine.Threshold
		refused    string
	}{
		{"none", `[]`, nil, ""},
		{"a throttle and a denial", `[{score: 5, verdict: throttle, retry_after: 10s, reason: slowly}, {score: 7.5, verdict: deny, code: banned, reason: spam, retry_after: 1m}]`,
			[]engine.Threshold{{Score: 5, Code: engine.ThrottleCode, Reason: "slowly", RetryAfter: 10 * time.Second}, {Score: 7.5, Code: "banned", Reason: "spam", RetryAfter: time.Minute}}, ""},
		{"what is left out", `[{score: 1, verdict: throttle}, {score: 2, verdict: deny}]`,
			[]engine.Threshold{{Score: 1, Code: engine.ThrottleCode, RetryAfter: time.Second}, {Score: 2, Code: "rejected"}}, ""},
		{"another verdict", `[{score: 1, verdict: deny}, {score: 5, verdict: drop}]`, nil, `core.rules.thresholds[1].verdict is "drop": throttle or deny`},
		{"no verdict", `[{score: 5}]`, nil, `core.rules.thresholds[0].verdict is ""`},
		{"a throttle with a code", `[{score: 5, verdict: throttle, code: banned}]`, nil, "core.rules.thresholds[0].code: a throttled action has no other"},
		{"an unknown key", `[{score: 5, verdikt: deny}]`, nil, "verdikt"},
		{"no score", `[{verdict: deny}]`, nil, "core.rules.thresholds[0].score is 0: must be positive"},
		{"a score below 0", `[{score: -5, verdict: deny}]`, nil, "core.rules.thresholds[0].score is -5"},
		{"a score that is no number", `[{score: much, verdict: deny}]`, nil, "score"},
		{"a score that nothing reaches", `[{score: .nan, verdict: deny}]`, nil, "score"},
		{"a score without an end", `[{score: .inf, verdict: deny}]`, nil, "score"},
		{"a time below 0", `[{score: 5, verdict: deny, retry_after: -1s}]`, nil, "core.rules.thresholds[0].retry_after is negative"},
		{"a time without a unit", `[{score: 5, verdict: deny, retry_after: 10}]`, nil, "retry_after"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var file struct {
				Core Config `yaml:"core"`
			}
			file.Core = DefaultConfig()
			err := conf.Parse("core.yaml", []byte("core: {rules: {thresholds: "+test.yaml+"}}"), nil, &file)
			if err == nil {
				file.Core.setDefaults()
				err = file.Core.validate()
			}
			if test.refused != "" {
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("got %v, want %q", err, test.refused)
				}
				return
			}
			if got := file.Core.RuleOptions().Thresholds; err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}
