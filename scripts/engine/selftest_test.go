package engine_test

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// chancy has a hook that says what chance gave it, and tests which fail with what they were told.
func chancy() map[string]string {
	told := `test("NAME", function(t)
	pcall(t.message, {text = "fail"}) -- its VM is replaced
	error(t.message{}.text .. " " .. t.message{}.text .. " " .. math.random(1000000))
end)
`
	one, two := strings.Replace(told, "NAME", "one", 1), strings.Replace(told, "NAME", "two", 1)
	return map[string]string{
		"a.lua": `local im = require("im")
local loaded = math.random()
im.on_message(function(c)
	if c.text == "fail" then error("fails") end
	c.text = tostring(math.random(1000000))
end, {name = "chancy", on_error = "closed"})
`,
		"a_test.lua": one + two,
		"b_test.lua": strings.Replace(told, "NAME", "another one", 1),
	}
}

// What chance gives to a test, and to the hooks that it asks, is the same in each run, whichever
// tests are picked: else a bundle that is right is refused by chance.
func TestChanceInTests(t *testing.T) {
	o := options(t.TempDir(), &logs{})
	put(t, o.Dir, chancy())
	told := func(d *engine.Draft, pick string) map[string]string {
		out := map[string]string{}
		for _, r := range d.Test(t.Context(), regexp.MustCompile(pick)).Tests {
			if r.Failure == nil {
				t.Fatalf("%s passed", r.Name)
			}
			out[r.Name] = r.Failure.Text
		}
		return out
	}
	draft := func() *engine.Draft {
		d, found, err := engine.NewDraft(t.Context(), o, false)
		if err != nil || d == nil {
			t.Fatalf("%v, %v", found, err)
		}
		t.Cleanup(d.Close)
		return d
	}
	first, again := draft(), draft()
	o.VMCalls = 1
	tired := draft()
	want := told(first, "")
	if len(want) != 3 || want["one"] == want["two"] || want["one"] == want["another one"] {
		t.Errorf("got %q, want numbers of its own for each test", want)
	}
	for name, got := range map[string]map[string]string{"run again": told(first, ""), "another draft": told(again, ""), "a VM for each call": told(tired, "")} {
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := told(again, "^two$"); len(got) != 1 || got["two"] != want["two"] {
		t.Errorf("one picked: got %q, want %q", got, want["two"])
	}
}

// Nobody can tell what chance gives to messages, whatever the tests were given.
func TestChanceAfterTests(t *testing.T) {
	files := map[string]string{
		"a.lua": `local im = require("im")
im.on_message(function(c) c.text = tostring(math.random()) end, {name = "chancy", on_error = "closed"})
`,
		"a_test.lua": `test("one", function(t) t.message{} end)`,
	}
	_, one := ask(t, load(t, files, nil), "hi")
	_, two := ask(t, load(t, files, nil), "hi")
	if one.Text == two.Text || one.Text == "hi" {
		t.Errorf("got %q and %q", one.Text, two.Text)
	}
}
