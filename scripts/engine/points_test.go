package engine_test

import (
	"strings"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// reply is what the shop answers.
type reply struct {
	OrderId int64  `protobuf:"varint,1,opt,name=order_id"`
	Token   string `protobuf:"bytes,2,opt,name=token"`
}

func shopWithReplies(o *engine.Options) {
	shop(o)
	o.Actions[0].Reply = func() any { return new(reply) }
}

// faults is what went wrong in hooks.
func faults(e *engine.Engine) string {
	var all []string
	for _, h := range e.Status().Hooks {
		if h.Faults > 0 {
			all = append(all, h.Name+": "+h.LastFault)
		}
	}
	return strings.Join(all, "\n")
}

func calls(e *engine.Engine, name string) int64 {
	for _, h := range e.Status().Hooks {
		if h.Name == name {
			return h.Calls
		}
	}
	return -1
}

func TestAfter(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.after("shop.order", function(c)
	assert(c.code == "ok" and c.req.text == "hi" and c.reply.order_id == "9007199254740993" and c.user == "17")
	assert(not pcall(function() return c.reply.token end))
	local ok, err = pcall(function() c.req.text = "x" end)
	assert(not ok and err:find("read%-only"))
end, {name = "reads"})
im.after("shop.*", function(c) return im.deny("rejected") end, {name = "denies"})
im.after("*", function(c) end, {name = "all"})
im.before("*", function(c) assert(c.code == nil and c.reply == nil) end, {name = "before", on_error = "closed"})`}, shopWithReplies)
	e.Answered(&engine.Call{Action: "shop.order", Facts: message(""), Request: newOrder(), Code: "ok", Reply: &reply{OrderId: 9007199254740993}})
	e.Answered(&engine.Call{Action: "other.one", Code: "rejected"})
	eventually(t, "the hooks of two actions", func() bool { return calls(e, "all") == 2 && calls(e, "denies") == 1 })
	eventually(t, "the fault of the one that denies", func() bool { return faults(e) == "denies: verdict: returned a userdata: im.after decides nothing" })
	if v := askOrder(t, e, newOrder()); v.Err != nil || v.Denied() {
		t.Errorf("got %+v", v)
	}
}

// Too many answered actions are dropped and counted, and nobody waits.
func TestAfterQueueOverflows(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.after("*", function(c) for i = 1, 20000 do end end, {name = "slow"})`}, func(o *engine.Options) { o.AfterQueue = 1 })
	const sent = 200
	for range sent {
		e.Answered(&engine.Call{Action: "a.b"})
	}
	eventually(t, "every action to be followed or counted", func() bool {
		return calls(e, "slow")+e.Status().Lost == sent
	})
	if e.Status().Lost == 0 {
		t.Error("none was dropped")
	}
}

func TestTick(t *testing.T) {
	dir := t.TempDir()
	source := func(name string) map[string]string {
		return map[string]string{"a.lua": `local im = require("im")
im.on_tick("1s", function(c) assert(c == nil) im.log.info("tick of ` + name + `") end, {name = "` + name + `"})`}
	}
	put(t, dir, source("one"))
	log := &logs{}
	e, err := engine.New(options(dir, log))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	eventually(t, "a tick", func() bool { return strings.Contains(log.String(), "tick of one") })
	put(t, dir, source("two"))
	if _, err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := strings.Count(log.String(), "tick of one")
	eventually(t, "a tick of the new bundle", func() bool { return strings.Contains(log.String(), "tick of two") })
	if after := strings.Count(log.String(), "tick of one"); after != before || faults(e) != "" {
		t.Errorf("%d ticks of the old bundle after its end, faults %q", after-before, faults(e))
	}
}

func TestLoginAndJoin(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.on_login(function(c) if c.user == "17" then return im.deny("rejected", "not you") end end, {name = "login", on_error = "closed"})
im.on_join(function(c) if c.conversation == "r_staff" then return im.deny("rejected", c.conversation_type) end end, {name = "join", on_error = "closed"})
im.on_sign_up(function(c) return im.throttle(500) end, {name = "signup", on_error = "closed"})
im.on_room_create(function(c) c:tag("created") end, {name = "create", on_error = "closed"})
im.on_leave(function(c) end, {name = "leave"})`,
		"a_test.lua": `test("all", function(t)
	assert(t.login{user = "17"}.denied and not t.login{user = "18"}.denied)
	assert(t.join{conversation = "r_staff"}.denied and not t.join{}.denied)
	assert(t.call{action = "account.sign_up"}.retry_after == 500)
	assert(t.call{action = "room.create"}.tags.created)
	t.after{action = "room.leave"}
	assert(not pcall(t.tick, "none"))
end)`}, func(o *engine.Options) { o.RequireTests = true })
	if v := e.Ask(t.Context(), engine.Login, &engine.Call{Facts: message("")}); v.Reason != "not you" || v.Rule != "login@a.lua:2" {
		t.Errorf("got %+v", v)
	}
	if v := e.Ask(t.Context(), engine.Join, &engine.Call{Conversation: "r_staff", ConversationType: "room"}); v.Reason != "room" {
		t.Errorf("got %+v", v)
	}
	if v := e.Ask(t.Context(), engine.Before, &engine.Call{Action: "chat.send"}); v.Units != 0 {
		t.Errorf("got %+v, want no hook", v)
	}
}

func TestThresholds(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.before("*", function(c) c:score("LINK", tonumber(c.user)) end, {name = "one", on_error = "closed"})
im.before("*", function(c) c:score("CAPS", 1) if c.user == "100" then return im.pass() end end, {name = "two", on_error = "closed"})
im.before("*", function(c) c:score("LOST", 1000) error("boom") end, {name = "three", on_error = "open"})`}, func(o *engine.Options) {
		o.Thresholds = []engine.Threshold{{Score: 10, Code: "rejected", Reason: "spam"}, {Score: 5, Code: "rate_limited", RetryAfter: time.Second}}
	})
	for _, test := range []struct{ user, code string }{{"3.9", ""}, {"4", "rate_limited"}, {"9", "rejected"}, {"100", ""}, {"-20", ""}} {
		m := message("")
		m.User = test.user
		v := e.Ask(t.Context(), engine.Before, &engine.Call{Action: "a.b", Facts: m})
		if v.Code != test.code || v.Denied() != (test.code != "") || len(v.Scores) != 2 || v.Denied() && v.Rule != "threshold" {
			t.Errorf("%s: got %+v, want %q", test.user, v, test.code)
		}
	}
	o := options(t.TempDir(), &logs{})
	o.Thresholds = []engine.Threshold{{Score: 1, Code: "nonsense"}}
	if _, err := engine.New(o); err == nil || !strings.Contains(err.Error(), "unknown code") {
		t.Errorf("got %v", err)
	}
}

func TestPolicies(t *testing.T) {
	for _, test := range []struct{ policy, code, reason string }{
		{`"open"`, "", ""},
		{`"closed"`, engine.FaultCode, "a rule failed: script"},
		{`{code = "rate_limited"}`, "rate_limited", "a rule failed: script"},
		{`{fallback = function(c) return im.deny("rejected", "instead") end}`, "rejected", "instead"},
		{`{fallback = function(c) c.text = "simple" end}`, "", ""},
		{`{fallback = function(c) error("too") end}`, engine.FaultCode, "a rule failed: script"},
	} {
		e := load(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) c.text = "half" error("boom") end, {name = "h", on_error = ` + test.policy + `})`}, nil)
		v, m := ask(t, e, "hi")
		if v.Code != test.code || v.Reason != test.reason || fault(t, v).Msg != "a.lua:2: boom" {
			t.Errorf("%s: got %+v", test.policy, v)
		}
		want := "hi"
		if strings.Contains(test.policy, "simple") {
			want = "simple"
		}
		if m.Text != want {
			t.Errorf("%s: got text %q, want %q", test.policy, m.Text, want)
		}
	}
}

func TestKillSwitch(t *testing.T) {
	files := map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) c.text = c.text .. "1" end, {name = "one", on_error = "closed", priority = 1})
im.on_message(function(c) c.text = c.text .. "2" end, {name = "two", on_error = "closed"})`}
	dir := t.TempDir()
	put(t, dir, files)
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	says := func(want string) {
		t.Helper()
		if _, m := ask(t, e, ""); m.Text != want {
			t.Errorf("got %q, want %q", m.Text, want)
		}
	}
	switched := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	says("12")
	switched(e.Off("one"))
	says("2")
	put(t, dir, map[string]string{"b.lua": "-- another bundle"})
	if _, err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	says("2")
	switched(e.Off())
	says("")
	if s := e.Status(); !s.Off || e.Pin().Has(engine.Before, "chat.send", true) {
		t.Errorf("got %+v, want it switched off", s)
	}
	switched(e.On())
	says("12")
	if e.Off("nobody") == nil {
		t.Error("a hook that is not there was switched off")
	}
}

func TestOrderOfChain(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) end, {name = "message", on_error = "open"})
im.before("chat.*", function(c) end, {name = "before", on_error = {code = "rejected"}, phase = "security"})
im.after("*", function(c) end, {name = "after"})
im.on_login(function(c) end, {name = "login", on_error = "closed"})`}, shop)
	rules := func(action string) string {
		var all []string
		for _, o := range e.Order(action) {
			all = append(all, o.Function+" "+o.Rule+" "+o.Phase+" "+o.OnError)
		}
		return strings.Join(all, ", ")
	}
	for action, want := range map[string]string{
		"chat.send":   "im.before before@a.lua:3 security rejected, im.on_message message@a.lua:2 business open, im.after after@a.lua:4 business open",
		"shop.order":  "im.after after@a.lua:4 business open",
		"im.on_login": "im.on_login login@a.lua:5 business closed",
	} {
		if got := rules(action); got != want {
			t.Errorf("%s: got %s, want %s", action, got, want)
		}
	}
}
