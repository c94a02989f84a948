package engine

import (
	"fmt"
	"strings"
	"testing"
)

const limitsSource = `local im = require("im")
local cfg = im.config{name = "limits", hours = {type = "integer", default = 24, min = 0, max = 720, doc = "how long"},
	enabled = {type = "boolean", default = false}, pause = {type = "duration", default = "5m", min = "1s"},
	mode = {type = "string", default = "deny", one_of = {"deny", "mask"}}, factor = {type = "number", default = 0.5},
	hosts = {type = "set", default = "a.org, B.org"}}
im.on_message(function(c)
	c.text = table.concat({cfg.hours, tostring(cfg.enabled), cfg.pause, cfg.mode, cfg.factor, tostring(cfg.hosts:has("b.ORG")), tostring(cfg.hosts:has("c.org"))}, " ")
end, {name = "h", on_error = "closed"})
`

func given(values map[string]string) func(*Options) {
	return func(o *Options) { o.Config = map[string]map[string]string{"limits": values} }
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name   string
		values map[string]string
		want   string
	}{
		{"defaults", nil, "24 false 300000 deny 0.5 true false"},
		{"given", map[string]string{"hours": "1", "enabled": "true", "pause": "90s", "mode": "mask", "factor": "2", "hosts": "c.org\nd.org"},
			"1 true 90000 mask 2 false true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := bundleOf(t, limitsSource, given(tt.values))
			v := judged(t.Context(), b, "hello")
			if v.Err != nil || len(v.Rewrites) != 1 || v.Rewrites[0].After != tt.want {
				t.Errorf("got %+v, want %q", v, tt.want)
			}
			if len(b.settings) != 6 || b.settings[4].Key != "mode" || b.settings[4].Place != "a.lua:2" || b.settings[5].Default != "5m0s" {
				t.Errorf("got %+v", b.settings)
			}
		})
	}
}

// What the operator gave is refused with its path, and with what was likely meant.
func TestConfigRefuses(t *testing.T) {
	tests := []struct{ key, value, want string }{
		{"hour", "1", "core.rules.config.limits.hour is not known; the nearest is hours"},
		{"hours", "soon", `core.rules.config.limits.hours is "soon", not a number`},
		{"hours", "1.5", "core.rules.config.limits.hours is 1.5, not a whole number"},
		{"hours", "721", "core.rules.config.limits.hours is 721: must be from 0 to 720"},
		{"hours", "NaN", "not a whole number"},
		{"enabled", "yes", `core.rules.config.limits.enabled is "yes", not true or false`},
		{"pause", "5 minutes", `core.rules.config.limits.pause is "5 minutes", not a time`},
		{"pause", "10ms", "must be from 1s to +Inf"},
		{"mode", "hide", `core.rules.config.limits.mode is "hide": must be deny or mask`},
		{"hosts", strings.Repeat("a", maxSetText+1), "has more than 65536 octets"},
	}
	for _, tt := range tests {
		if _, err := tryBundle(t, limitsSource, given(map[string]string{tt.key: tt.value})); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "a.lua:2") {
			t.Errorf("%s: got %v, want %q", tt.key, err, tt.want)
		}
	}
	b := bundleOf(t, limitsSource, func(o *Options) { o.Config = map[string]map[string]string{"limit": {}} })
	if err := b.unclaimed(); err == nil || err.Error() != "core.rules.config.limit is set, but no script declares it by im.config; the nearest is limits" {
		t.Errorf("got %v", err)
	}
}

// A declaration that is wrong refuses the bundle.
func TestConfigDeclarations(t *testing.T) {
	for source, want := range map[string]string{
		`im.config{hours = {type = "number", default = 1}}`:                                                "name must be a word",
		`im.config{name = "a"}`:                                                                            "a declares nothing",
		`im.config{name = "a", B = {type = "number", default = 1}}`:                                        "keys are words",
		`im.config{name = "a", b = 1}`:                                                                     "core.rules.config.a.b must be a table",
		`im.config{name = "a", b = {type = "int", default = 1}}`:                                           `has the type "int"`,
		`im.config{name = "a", b = {type = "number"}}`:                                                     "the default of core.rules.config.a.b is nil, not a number",
		`im.config{name = "a", b = {type = "number", default = 1, mix = 2}}`:                               "has no option 'mix'",
		`im.config{name = "a", b = {type = "number", default = 1, min = 2}}`:                               "is 1: must be from 2 to +Inf",
		`im.config{name = "a", b = {type = "string", default = "x", min = 2}}`:                             "bounds are for numbers",
		`im.config{name = "a", b = {type = "set", default = {"x"}}}`:                                       "is table, not a text of words",
		`local d = {type = "set", default = ""} im.config{name = "a", b = d} im.config{name = "a", b = d}`: "a is declared already, at a.lua:1",
		`local c = im.config{name = "a", b = {type = "number", default = 1}} c.b = 2`:                      "configuration is read-only",
		`local c = im.config{name = "a", bee = {type = "number", default = 1}} return c.be`:                "core.rules.config.a.be is not declared; the nearest is bee",
	} {
		if _, err := tryBundle(t, `local im = require("im") `+source, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
	}
}

// Tests see the defaults, whatever the operator has set, and can set others.
func TestConfigInTests(t *testing.T) {
	const source = limitsSource
	files := func(test string) []file { return []file{{"a.lua", source}, {"a_test.lua", test}} }
	run := func(test string) error {
		o := &Options{Dir: "unused"}
		given(map[string]string{"hours": "7"})(o)
		o.setDefaults()
		b, err := build(t.Context(), newTree(files(test)), o, nil)
		if err == nil {
			if v := judged(t.Context(), b, "hello"); v.Err != nil || v.Rewrites[0].After != "7 false 300000 deny 0.5 true false" {
				t.Errorf("after the tests got %+v", v)
			}
			b.pool.close()
		}
		return err
	}
	if err := run(`test("defaults", function(t) assert(t.message{}.text == "24 false 300000 deny 0.5 true false") end)
test("set", function(t)
	t.config{limits = {hours = 3, enabled = true, pause = "2s", mode = "mask", hosts = "c.org"}}
	assert(t.message{}.text == "3 true 2000 mask 0.5 false true")
	t.config{limits = {hours = 4}}
	assert(t.message{}.text == "4 true 2000 mask 0.5 false true")
end)
test("fresh again", function(t) assert(t.message{}.text == "24 false 300000 deny 0.5 true false") end)`); err != nil {
		t.Error(err)
	}
	for call, want := range map[string]string{
		`t.config{limit = {hours = 1}}`:    "limit is not declared by im.config",
		`t.config{limits = {hour = 1}}`:    "limits.hour is not known; the nearest is hours",
		`t.config{limits = {hours = 1e9}}`: "must be from 0 to 720",
	} {
		if err := run(`test("x", function(t) ` + call + ` end)`); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", call, err, want)
		}
	}
}

// A key of a script's may be long: comparing it with those that there are is paid for.
func TestMissedKeysAreCharged(t *testing.T) {
	var settings []string
	for i := range maxSettings {
		settings = append(settings, fmt.Sprintf("%s%02d = {type = 'number', default = 1}", strings.Repeat("k", 60), i))
	}
	b := bundleOf(t, "local im = require('im') local c = im.config{name = 'a', "+strings.Join(settings, ", ")+`} im.on_message(function() local long = ("x"):rep(200000) for i = 1, 200 do pcall(function() return c[long] end) end end, {name = "h", on_error = "open"})`, nil)
	v := judged(t.Context(), b, "hello")
	if f, _ := v.Err.(*Fault); f == nil || f.Kind != FaultBudget {
		t.Errorf("got %+v, want the budget spent", v)
	}
}
