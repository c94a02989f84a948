package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// What a script keeps of a call raises whenever that hook does not run, also while another
// one shows its own: nobody's rule can be about another's message. The VM is one, so what
// was kept is there.

// uses are what can be done with what was kept of a call, by what that is.
var uses = []struct{ kept, use string }{
	{"c", "kept.text"}, {"c", "kept.action"}, {"c", "kept.user"}, {"c", "kept.req"}, {"c", "kept.reply"}, {"c", "kept.nothing"},
	{"c", `kept:tag("x")`}, {"c", "kept.tag"}, {"c", `kept:score("X", 1)`}, {"c", `kept:in_room("r_lobby")`}, {"c", `kept:header("host")`}, {"c", `kept:tagged("x")`},
	{"c", `set(kept, "text", "mine")`}, {"c", "rawequal(kept, c) or kept.text"}, {"c", "setmetatable({}, {__index = kept}).text"},
	{"{[c] = c}", "select(2, next(kept)).text"}, {"function() return c.text end", "kept()"}, {"function() c.text = 'mine' end", "kept()"},
	{"c.tag", `kept(old, "x")`}, {"c.score", `kept(old, "X", 1)`},
	{"c.req", "kept.text"}, {"c.req", "kept.nothing"}, {"c.req", `set(kept, "text", "mine")`}, {"c.req", "#kept"},
	{"c.req.inner", "kept.name"}, {"c.req.members", "kept[1]"}, {"c.req.members", "#kept"}, {"c.req.inners", "kept[1].name"}, {"c.req.inners[1]", "kept.name"},
	{"function() return c.req.text end", "kept()"},
}

// stashing is the beginning of a file: take keeps something of a call, and use, which is
// given what of another call may be used, says what came of using it.
func stashing(kept, use string) string {
	return fmt.Sprintf(`local im = require("im")
local kept, old, denial
local function set(t, k, v) t[k] = v end
local function take(c) old = c kept = %s end
local function use(c)
	local _ = c and c.text, c and pcall(function() return c.req.text, c.reply end) -- the handles of this call are made
	local ok, err = pcall(function() return %s end)
	local said = not ok and tostring(err):match("used outside its hook") or "got it"
	return said, c
end
`, kept, use)
}

// ordered is an action with a request, of somebody.
func ordered(action, user string) *engine.Call {
	o := newOrder()
	m := message("the text of " + user)
	m.User = user
	return &engine.Call{Action: action, Facts: m, Request: o, Text: &o.Text}
}

func oneVM(o *engine.Options) {
	shop(o)
	o.VMs = 1
}

func TestStashed(t *testing.T) {
	for _, how := range []struct {
		name, rules string
		asks        func(t *testing.T, e *engine.Engine) string
	}{
		{"in the next message", `im.before("*", function(c)
	if c.user == "1" then return take(c) end
	return im.deny("rejected", (use(c)))
end, {name = "keeps", on_error = "closed"})`, nextMessage},
		{"long after", `im.before("*", function(c)
	if c.user == "1" then return take(c) end
	if c.user == "2" then return im.deny("rejected", (use(c))) end
end, {name = "keeps", on_error = "closed"})`, func(t *testing.T, e *engine.Engine) string {
			said := ""
			e.Ask(t.Context(), engine.Before, ordered("shop.order", "1"))
			for range 200 { // were handles used again, one of them would be that which was kept
				said = e.Ask(t.Context(), engine.Before, ordered("shop.order", "2")).Reason
				if e.Ask(t.Context(), engine.Before, ordered("shop.order", "3")); said != stale {
					break
				}
			}
			return said
		}},
		{"in the next hook of the same message", `im.before("*", take, {name = "keeps", on_error = "closed", priority = 1})
im.before("*", function(c) return im.deny("rejected", (use(c))) end, {name = "uses", on_error = "closed"})`,
			func(t *testing.T, e *engine.Engine) string {
				return e.Ask(t.Context(), engine.Before, ordered("shop.order", "1")).Reason
			}},
		{"in another module", `local shelf = require("lib.shelf")
im.before("*", function(c)
	if c.user == "1" then take(c) shelf.use = use return end
	return im.deny("rejected", (shelf.use(c)))
end, {name = "keeps", on_error = "closed"})`, nextMessage},
		{"in an after hook", `im.before("*", take, {name = "keeps", on_error = "closed"})
im.after("*", function(c) error((use(c))) end, {name = "uses"})`, func(t *testing.T, e *engine.Engine) string {
			e.Ask(t.Context(), engine.Before, ordered("shop.order", "1"))
			c := ordered("shop.order", "2")
			c.Code, c.Reply = "ok", &reply{OrderId: 1}
			e.Answered(c)
			return faultOf(t, e, "uses")
		}},
		{"in on_tick", `im.before("*", take, {name = "keeps", on_error = "closed"})
im.on_tick("1s", function() if old then error((use())) end end, {name = "uses"})`, func(t *testing.T, e *engine.Engine) string {
			e.Ask(t.Context(), engine.Before, ordered("shop.order", "1"))
			return faultOf(t, e, "uses")
		}},
		{"in a scripted action", `im.before("*", take, {name = "keeps", on_error = "closed"})
im.action("lua.use", {number = 200, request = {text = {type = "string", optional = true}}}, function(c) return im.deny("rejected", (use(c))) end)`,
			func(t *testing.T, e *engine.Engine) string {
				e.Ask(t.Context(), engine.Before, ordered("shop.order", "1"))
				p, err := perform(t, e, 200, `{}`)
				if err != nil {
					t.Fatal(err)
				}
				return p.Verdict.Reason
			}},
	} {
		t.Run(how.name, func(t *testing.T) {
			for _, u := range uses {
				if how.name == "in on_tick" && u.use != "kept.text" {
					continue // each takes a second
				}
				e := load(t, map[string]string{"a.lua": stashing(u.kept, u.use) + how.rules, "lib/shelf.lua": "return {}"}, oneVM)
				if said := how.asks(t, e); said != stale {
					t.Errorf("kept = %s, then %s: %q", u.kept, u.use, said)
				}
			}
		})
	}
}

const stale = "used outside its hook"

func nextMessage(t *testing.T, e *engine.Engine) string {
	e.Ask(t.Context(), engine.Before, ordered("shop.order", "1"))
	return e.Ask(t.Context(), engine.Before, ordered("shop.order", "2")).Reason
}

// faultOf waits for a fault of a hook, and gives what the script said.
func faultOf(t *testing.T, e *engine.Engine, name string) (said string) {
	t.Helper()
	eventually(t, "a fault of "+name, func() bool {
		for _, h := range e.Status().Hooks {
			if h.Name == name && h.Faults > 0 {
				said = h.LastFault[strings.LastIndex(h.LastFault, ": ")+2:]
			}
		}
		return said != ""
	})
	return said
}

// A hook and its fallback are two: what one keeps the other cannot use. A fallback has a
// handle of its own, and what it is told is right.
func TestStashedForTheFallback(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
local kept = {}
im.on_message(function(c)
	kept.c = c
	error("broken")
end, {name = "keeps", on_error = {fallback = function(c)
	local ok, err = pcall(function() return kept.c.text end)
	c.text = c.text .. (kept.c and tostring(err) or " and nothing was kept")
end}})`}, func(o *engine.Options) { o.VMs = 1 })
	_, m := ask(t, e, "hi") // a VM that failed is replaced, and with it what was kept
	if m.Text != "hi and nothing was kept" {
		t.Errorf("got %q", m.Text)
	}
}

// What a hook keeps while the bundle's tests run is of no use to the tests' next call.
func TestStashedInTests(t *testing.T) {
	_, err := try(t, map[string]string{"a.lua": `local im = require("im")
local kept
im.on_message(function(c)
	if kept then c.text = kept.text end
	kept = c
end, {name = "keeps", on_error = "closed"})`, "a_test.lua": `test("twice", function(t)
	t.message{text = "one"}
	t.message{text = "two"}
end)`})
	if err == nil || !strings.Contains(err.Error(), stale) {
		t.Errorf("got %v", err)
	}
}

// A denial is good for the call that it was made for.
func TestStashedDenial(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
local denial
im.on_message(function(c)
	if c.text == "keep" then denial = im.deny("rejected", "old") return end
	return denial
end, {name = "a", on_error = "closed"})`}, func(o *engine.Options) { o.VMs = 1 })
	if v, _ := ask(t, e, "keep"); v.Err != nil {
		t.Fatal(v.Err)
	}
	v, _ := ask(t, e, "use it")
	if f := fault(t, v); f.Kind != engine.FaultVerdict {
		t.Errorf("got %+v, want a denial of an earlier call to be no verdict", f)
	}
}

// The methods of c say what is wrong when they are not called as such.
func TestMethodsWithoutColon(t *testing.T) {
	for _, body := range []string{`c.tag("x")`, `c.tag({}, "x")`, `c.score(c.req, "X", 1)`} {
		e := load(t, before(body), shop)
		if f := fault(t, askOrder(t, e, newOrder())); !strings.Contains(f.Msg, "with a colon") {
			t.Errorf("%s: got %+v", body, f)
		}
	}
}
