package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// posts are actions some of which can be diverted.
func posts(o *engine.Options) {
	o.Actions = []engine.Action{{Name: "chat.send", Message: true, Shadows: true, Holds: true, Reroutes: "user"},
		{Name: "room.send", Message: true, Reroutes: "room"}, {Name: "account.sign_up"}}
	o.Targets = map[string]engine.Target{"support": {User: 42}, "lounge": {Room: "lounge"}}
}

func TestDiverted(t *testing.T) {
	for _, row := range []struct{ body, action, decision, target, fault string }{
		{`return im.shadow()`, "chat.send", "shadow", "", ""},
		{`return im.shadow()`, "room.send", "", "", "im.shadow: room.send cannot be kept from others"},
		{`return im.shadow()`, "poll.vote", "", "", "im.shadow: poll.vote cannot be kept from others"},
		{`return im.reroute("support")`, "chat.send", "reroute", "support", ""},
		{`return im.reroute("lounge")`, "room.send", "reroute", "lounge", ""},
		{`return im.reroute("support")`, "room.send", "", "", `im.reroute: room.send goes to a room, and "support" is a user`},
		{`return im.reroute("lounge")`, "chat.send", "", "", `im.reroute: chat.send goes to a user, and "lounge" is a room`},
		{`return im.reroute("support")`, "account.sign_up", "", "", "im.reroute: account.sign_up cannot go elsewhere"},
		{`return im.reroute("sup" .. "ort")`, "chat.send", "", "", `im.reroute: no target is named "suport" in core.rules.targets`},
		{`return im.reroute()`, "chat.send", "", "", "bad argument #1"},
		{`return im.hold("queue")`, "chat.send", "hold", "", ""},
		{`return im.hold("queue", {deadline = "1h", otherwise = "allow"})`, "chat.send", "hold", "", ""},
		{`return im.hold("queue")`, "room.send", "", "", "im.hold: room.send cannot wait"},
		{`return im.hold("A Queue")`, "chat.send", "", "", "a queue is named like newcomers"},
		{`return im.hold("queue", {deadline = "8d"})`, "chat.send", "", "", "im.hold: bad value for deadline"},
		{`return im.hold("queue", {otherwise = "pass"})`, "chat.send", "", "", "im.hold: bad value for otherwise"},
		{`return im.hold("queue", {["until"] = "1h"})`, "chat.send", "", "", "im.hold: unknown option 'until'"},
		{`im.shadow() return im.pass()`, "chat.send", "allow", "", ""},
	} {
		t.Run(row.body+" of "+row.action, func(t *testing.T) {
			e := load(t, map[string]string{"rule.lua": `local im = require("im")
im.before("*", function(c) c.req = nil end, {name = "broken", on_error = "open", phase = "observe"})
im.before("*", function(c) ` + row.body + ` end, {name = "rule", on_error = "open"})`}, posts)
			m := message("hi")
			m.Action = row.action
			v := judge(t.Context(), e, m)
			if row.fault != "" {
				if f := fault(t, v); !strings.Contains(f.Msg, row.fault) || v.Decision != engine.Allow {
					t.Errorf("got %+v, want the fault %q", v, row.fault)
				}
				return
			}
			diverts := row.decision != "allow"
			if v.Decision.String() != row.decision || v.Target != row.target || (v.Rule == "rule@rule.lua:3") != diverts || v.Denied() {
				t.Errorf("got %+v", v)
			}
			if diverts && v.Err != nil {
				t.Errorf("a hook behind the verdict was asked: %v", v.Err)
			}
			h := e.Status().Hooks
			for _, one := range h {
				if one.Name == "rule" && (one.Shadowed+one.Rerouted+one.Held == 1) != diverts {
					t.Errorf("got counts %+v", one)
				}
			}
			if got := e.Status().Measured.Denied; (got == 1) != diverts {
				t.Errorf("%d actions count as taken from those whom they were for", got)
			}
		})
	}
}

func TestHolding(t *testing.T) {
	for body, want := range map[string]engine.Holding{
		`return im.hold("q")`: {Queue: "q", Deadline: 24 * time.Hour, Otherwise: engine.Deny},
		`return im.hold("new.people", {deadline = "90m", otherwise = "allow"})`: {Queue: "new.people", Deadline: 90 * time.Minute, Otherwise: engine.Allow},
		`return im.hold("q", {deadline = 5000, otherwise = "deny"})`:            {Queue: "q", Deadline: 5 * time.Second, Otherwise: engine.Deny},
	} {
		if v, _ := ask(t, load(t, rule(body), posts), "hi"); v.Decision != engine.Hold || v.Holding == nil || *v.Holding != want {
			t.Errorf("%s: got %+v, %+v", body, v, v.Holding)
		}
	}
}

// What a hook rewrites stays when the message is diverted, and effects happen.
func TestDivertedRewrites(t *testing.T) {
	told := &told{}
	e := load(t, rule(`c.text = "less" im.emit("seen") return im.shadow()`), func(o *engine.Options) { posts(o); o.Effects = told })
	if v, m := ask(t, e, "hi"); v.Decision != engine.Shadow || m.Text != "less" || len(v.Rewrites) != 1 || len(told.all) != 1 {
		t.Errorf("got %+v, %q, %+v", v, m.Text, told.all)
	}
}

type told struct{ all []engine.Effect }

func (t *told) Do(all []engine.Effect) { t.all = append(t.all, all...) }

func TestDivertedInTests(t *testing.T) {
	files := rule(`if c.text == "spam" then return im.shadow() end if c.text == "help" then return im.reroute("support") end if c.text == "wait" then return im.hold("slow") end`)
	files["rule_test.lua"] = `test("all", function(t)
	local spam, help, rest = t.message{text = "spam"}, t.message{text = "help"}, t.message{text = "hi"}
	assert(spam.shadowed and not spam.denied and spam.rule == "rule" and spam.target == nil)
	assert(help.target == "support" and not help.shadowed and not help.denied)
	assert(not rest.shadowed and rest.target == nil and rest.held == nil)
	assert(t.message{text = "wait"}.held == "slow")
	assert(not pcall(t.message, {text = "spam", action = "room.send"}))
end)`
	load(t, files, func(o *engine.Options) { posts(o); o.RequireTests = true })
}

// Hooks that decide nothing, or about what can have no such verdict, raise.
func TestDivertedElsewhere(t *testing.T) {
	for _, row := range []struct {
		register string
		ask      engine.Point
	}{{"im.on_login(", engine.Login}, {"im.on_join(", engine.Join}} {
		e := load(t, map[string]string{"a.lua": `local im = require("im")
` + row.register + `function(c) return im.shadow() end, {name = "h", on_error = "closed"})`}, posts)
		if v := e.Ask(t.Context(), row.ask, &engine.Call{Action: "account.auth", Facts: message("")}); v.Code != engine.FaultCode {
			t.Errorf("%s: got %+v", row.register, v)
		}
	}
	_, err := engine.New(func() engine.Options {
		o := options(t.TempDir(), &logs{})
		put(t, o.Dir, map[string]string{"a.lua": `local im = require("im")
im.after("chat.send", function(c) im.shadow() end, {name = "h"})`, "a_test.lua": `test("x", function(t) t.after{action = "chat.send"} end)`})
		posts(&o)
		return o
	}())
	if err == nil || !strings.Contains(err.Error(), "im.shadow: nothing is decided here") {
		t.Errorf("got %v", err)
	}
}

func TestTargetsThatMakeNoSense(t *testing.T) {
	for name, target := range map[string]engine.Target{"support": {}, "both": {User: 1, Room: "x"}, "negative": {User: -1}, "No Name": {User: 1}} {
		o := options(t.TempDir(), &logs{})
		put(t, o.Dir, map[string]string{"a.lua": "--"})
		o.Targets = map[string]engine.Target{name: target}
		if e, err := engine.New(o); err == nil {
			e.Close()
			t.Errorf("%s: %+v was taken", name, target)
		}
	}
}

func TestLintDiverted(t *testing.T) {
	in := func(register, body string) string {
		return "local im = require('im')\n" + register + "function(c) " + body + " end, {name = 'h', on_error = 'open'})"
	}
	for _, row := range []struct{ text, want string }{
		{in("im.on_message(", "return im.shadow()"), ""},
		{in("im.before('chat.*', ", "return im.shadow()"), ""},
		{in("im.before('*', ", "return im.shadow()"), ""},
		{in("im.before('room.*', ", "return im.shadow()"), "2 error impossible-verdict"},
		{in("im.on_sign_up(", "return im.shadow()"), "2 error impossible-verdict"},
		{in("im.on_login(", "return im.shadow()"), "2 error impossible-verdict"},
		{in("im.on_join(", "return im.reroute('lounge')"), "2 error impossible-verdict"},
		{in("im.on_message(", "local function f() return im.shadow() end return f()"), ""},
		{in("im.on_login(", "pcall(function() im.shadow() end)"), "2 warning impossible-verdict"},
		{"local im = require('im')\nlocal glob = 'room.*'\nim.before(glob, function() return im.shadow() end, {name = 'h', on_error = 'open'})", "3 error impossible-verdict"},
		{"local im = require('im')\nim.on_message(function() end, {name = 'h', on_error = {fallback = function() return im.shadow() end}})", ""},
		{"local im = require('im')\nim.on_login(function() end, {name = 'h', on_error = {fallback = function() return im.shadow() end}})", "2 error impossible-verdict"},
		{in("im.on_message(", "return im.hold('q', {deadline = '1h'})"), ""},
		{in("im.before('room.send', ", "return im.hold('q')"), "2 error impossible-verdict"},
		{in("im.on_message(", "return im.reroute('support')"), ""},
		{in("im.before('room.send', ", "return im.reroute('lounge')"), ""},
		{in("im.before('room.send', ", "return im.reroute('support')"), "2 error impossible-verdict"},
		{in("im.on_message(", "return im.reroute('suport')"), "2 error unknown-target"},
		{in("im.on_message(", "local to = 'suport' return im.reroute(to)"), "2 error unknown-target"},
		{in("im.on_message(", "return im.reroute(c.text)"), ""},
		{"local im = require('im')\nim.after('chat.send', function() im.shadow() end, {name = 'h'})", "2 error impossible-verdict"},
	} {
		o := engine.Options{Codes: []string{"rejected"}}
		posts(&o)
		var said []string
		for _, f := range engine.Lint(map[string]string{"a.lua": row.text}, o) {
			said = append(said, fmt.Sprintf("%d %s %s", f.Line, f.Severity, f.Rule))
		}
		if got := strings.Join(said, ","); got != row.want {
			t.Errorf("%s\ngot %q, want %q", row.text, got, row.want)
		}
		if got := engine.Lint(map[string]string{"a.lua": row.text}, engine.Options{}); row.want != "" && len(got) > 0 {
			t.Errorf("%s\nwithout actions and targets: got %q", row.text, got)
		}
	}
}
