package engine

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// workers has four hooks, which work 9,000 units each about a text of "much" and next to none about others, and
// then those that are added. All of them have 40,000. It is for a bubble, whose clock makes no hook
// late: that would cost it work.
func workers(t *testing.T, added string) *bundle {
	t.Helper()
	var source strings.Builder
	source.WriteString("local im = require(\"im\")\n")
	for i := range 4 {
		source.WriteString(worker(fmt.Sprintf("w%d", i), "", `on_error = "open"`))
	}
	return bundleOf(t, source.String()+added, func(o *Options) { o.Instructions, o.ChainInstructions = 10_000, 40_000 })
}

// worker is one of those hooks, which runs before others.
func worker(name, after, options string) string {
	return fmt.Sprintf("im.on_message(function(c) if c.text == \"much\" then for i = 1, 9000 do end end %s end, {name = %q, priority = 1, %s})\n", after, name, options)
}

// last is a worker that is left too little, and a hook behind it for which nothing is left.
func last(options string) string {
	return worker("w4", "", options) + `im.on_message(function(c) c:tag("asked") end, {name = "last", ` + options + "})"
}

func bubble(test func(t *testing.T)) func(t *testing.T) {
	return func(t *testing.T) { synctest.Test(t, test) }
}

// explained is what each hook of a bundle said about a text.
func explained(t *testing.T, b *bundle, text string) (Verdict, map[string]Step) {
	t.Helper()
	s, steps := newMessage(), map[string]Step{}
	s.text, s.Request = text, &struct{}{}
	s.Explain = func(one Step) {
		name, _, _ := strings.Cut(one.Rule, "@")
		steps[name] = one
	}
	return b.judge(t.Context(), b.chain(Before, s.Action, true), &s.Call, time.Now), steps
}

// All hooks of a message together have a budget of work. A hook that the others left too little
// ends by its on_error.
func TestChainWork(t *testing.T) {
	for _, test := range []struct {
		options string
		denied  bool
		last    bool // the last hook came to its turn
	}{
		{`on_error = "open"`, false, true},
		{`on_error = "closed"`, true, false},
		{`on_error = {code = "rejected"}`, true, false},
		{`on_error = {fallback = function() end}`, true, false},
	} {
		t.Run(test.options, bubble(func(t *testing.T) {
			b := workers(t, last(test.options))
			v, steps := explained(t, b, "much")
			if v.Denied() != test.denied || v.Units < 40_000 || v.Units > 40_100 {
				t.Errorf("got %+v, want denied %v, and 40,000 units", v, test.denied)
			}
			for i := range 4 {
				if s := steps[fmt.Sprintf("w%d", i)]; s.Fault != nil || s.Units < 9000 {
					t.Errorf("got %+v, want that it worked", s)
				}
			}
			if f := steps["w4"].Fault; f == nil || f.Kind != FaultBudget || !strings.Contains(f.Msg, "most of the work for the chain: ") {
				t.Errorf("got %+v, want that it had too little", steps["w4"])
			}
			last, asked := steps["last"]
			if asked != test.last || asked && (last.Fault == nil || last.Fault.Kind != FaultBudget || last.Units != 0 || !strings.Contains(last.Fault.Msg, "used up the work for the chain")) {
				t.Errorf("got %+v, %v, want that nothing was left for it: %v", last, asked, test.last)
			}
		}))
	}
}

// Who is left too little by others has not failed: its breaker stays closed.
func TestChainWorkOpensNoBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := workers(t, last(`on_error = "closed"`))
		for range 2 * breakerBlock {
			explained(t, b, "much")
		}
		if v, steps := explained(t, b, "little"); v.Denied() || steps["w4"].Said != Allow.String() || len(v.Tags) != 1 {
			t.Errorf("got %+v, %+v, want all asked", v, steps["w4"])
		}
	})
}

// The usual budget of a chain is four times that of a hook, and never less than that.
func TestChainWorkDefaults(t *testing.T) {
	o := Options{Dir: "unused"}
	if o.setDefaults(); o.ChainInstructions != 400_000 {
		t.Errorf("got %d", o.ChainInstructions)
	}
	o.ChainInstructions = 99_999
	if err := o.validate(); err == nil || !strings.Contains(err.Error(), "ChainInstructions is 99999") {
		t.Errorf("got %v", err)
	}
}

// A fallback works within what is left for the chain, and is not called for next to nothing.
func TestChainWorkOfFallbacks(t *testing.T) {
	for _, test := range []struct {
		name           string
		before         int // units of the hook that fails
		fallback, code string
	}{
		{"little is left", 1, `for i = 1, 9000 do end return im.deny("rejected")`, FaultCode},
		{"enough is left", 1, `return im.deny("rejected")`, "rejected"},
		{"next to nothing is left", 3500, `return im.deny("rejected")`, FaultCode},
	} {
		t.Run(test.name, bubble(func(t *testing.T) {
			b := workers(t, fmt.Sprintf(`im.on_message(function() for i = 1, %d do end error("fails") end, {name = "h", on_error = {fallback = function() %s end}})`, test.before, test.fallback))
			v, steps := explained(t, b, "much")
			if v.Code != test.code || v.Units > 40_100 {
				t.Errorf("got %+v, want %s", v, test.code)
			}
			if f := steps["h"].Fault; f == nil || !strings.Contains(f.Msg, ": fails") {
				t.Errorf("got %+v, want that the hook failed by itself", steps["h"])
			}
		}))
	}
}
