package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freeim/scripts/engine"
)

const gated = `local im = require("im")
local cfg = im.config{name = "gates", on = {type = "boolean", default = false}, who = {type = "set", default = ""}}
im.on_message(function(c) c:tag("on") end, {name = "on", on_error = "closed", when = "gates.on"})
im.on_message(function(c) c:tag("who") end, {name = "who", on_error = "closed", when = "gates.who"})
im.on_message(function(c) c:tag("rooms") end, {name = "rooms", on_error = "closed", conversations = {"room", "group"}})
im.on_login(function(c) return im.deny("rejected") end, {name = "login", on_error = "closed", when = "gates.on"})
im.after("chat.send", function(c) im.emit("followed", {}) end, {name = "after", when = "gates.on"})
im.on_tick("1s", function() im.emit("ticked", {}) end, {name = "tick", when = "gates.on"})
`

// Tests see the defaults and set others, whatever the operator has set.
const gatedTest = `
test("gates", function(t)
  local function tags(fields)
    local v = t.message(fields)
    return tostring(v.tags.on) .. tostring(v.tags.who) .. tostring(v.tags.rooms)
  end
  assert(tags{text = "x"} == "nilnilnil")
  assert(tags{text = "x", conversation = "r_lobby", conversation_type = "room"} == "nilniltrue")
  assert(not t.login{}.denied)
  t.after{action = "chat.send"} t.tick("tick")
  assert(#t.effects() == 0)
  t.config{gates = {on = true}}
  assert(tags{text = "x"} == "truenilnil")
  assert(t.login{}.denied)
  t.after{action = "chat.send"} t.tick("tick")
  assert(#t.effects() == 2)
  t.config{gates = {on = false, who = "alice, bob"}}
  assert(tags{text = "x"} == "niltruenil")
  t.config{gates = {who = "false"}} -- a word like any other
  assert(tags{text = "x"} == "niltruenil")
  t.config{gates = {who = " ,"}}
  assert(tags{text = "x"} == "nilnilnil")
end)
test("the next one sees the defaults again", function(t)
  assert(not t.message{text = "x"}.tags.on)
end)
`

func TestGates(t *testing.T) {
	message := func(kind string) *engine.Call {
		text := "hello"
		return &engine.Call{Action: "chat.send", Text: &text, ConversationType: kind}
	}
	for config, want := range map[string]map[string]string{
		"":        {"chat": "", "room": "rooms", "group": "rooms"},
		"on":      {"chat": "on", "room": "on rooms"},
		"who":     {"chat": "who", "room": "who rooms"},
		"nothing": {"chat": "", "room": "rooms"},
	} {
		e := load(t, map[string]string{"a.lua": gated, "a_test.lua": gatedTest}, func(o *engine.Options) {
			o.Config = map[string]map[string]string{"gates": {
				"on": map[bool]string{true: "true", false: "false"}[config == "on"], "who": map[bool]string{true: "alice", false: ", "}[config == "who"]}}
		})
		for kind, tags := range want {
			if v := e.Ask(t.Context(), engine.Before, message(kind)); strings.Join(v.Tags, " ") != tags || v.Err != nil {
				t.Errorf("%q, %s: got %+v, want the tags %q", config, kind, v, tags)
			}
		}
		on := config == "on"
		if v := e.Ask(t.Context(), engine.Login, &engine.Call{Action: "account.auth"}); v.Denied() != on {
			t.Errorf("%q: the login is answered by %+v", config, v)
		}
		if has := e.Pin().Has(engine.After, "chat.send", false); has != on {
			t.Errorf("%q: there are after hooks: %v", config, has)
		}
		for _, o := range e.Order("chat.send") {
			asleep := o.Gate == "when gates.on" && !on || o.Gate == "when gates.who" && config != "who"
			if o.Asleep != asleep || o.Gate == "" {
				t.Errorf("%q: got %+v", config, o)
			}
		}
		for _, h := range e.Status().Hooks {
			if asleep := h.Name != "rooms" && h.Name != config && !(on && h.Name != "who"); h.Asleep != asleep {
				t.Errorf("%q: %s is asleep: %v", config, h.Name, h.Asleep)
			}
		}
	}
}

func TestGatesAreChecked(t *testing.T) {
	const config = `im.config{name = "gates", on = {type = "boolean", default = false}, n = {type = "integer", default = 1}, t = {type = "duration", default = "1s"}} `
	for source, want := range map[string]string{
		config + `im.on_message(function() end, {name = "h", on_error = "open", when = "gates.off"})`:    "bad value for when",
		config + `im.on_message(function() end, {name = "h", on_error = "open", when = "gates.n"})`:      "bad value for when",
		config + `im.on_message(function() end, {name = "h", on_error = "open", when = true})`:           "bad value for when",
		`im.on_message(function() end, {name = "h", on_error = "open", when = "gates.on"}) ` + config:    "bad value for when",
		`im.on_message(function() end, {name = "h", on_error = "open", conversations = "rooms"})`:        "bad value for conversations",
		`im.on_message(function() end, {name = "h", on_error = "open", conversations = {}})`:             "bad value for conversations",
		`im.before("chat.*", function() end, {name = "h", on_error = "open", conversations = "room"})`:   "conversations",
		config + `im.on_message(function() end, {name = "h", on_error = "open", conversation = "room"})`: "conversation",

		config + `im.on_message(function() end, {name = "h", on_error = "open", faster = "gates.n"})`:                                    "bad value for faster",
		config + `im.on_message(function() end, {name = "h", on_error = "open", faster = {than = "gates.n"}})`:                           "bad value for faster",
		config + `im.on_message(function() end, {name = "h", on_error = "open", faster = {than = "gates.n", per = "gates.n"}})`:          "bad value for faster",
		config + `im.on_message(function() end, {name = "h", on_error = "open", faster = {than = "gates.t", per = "gates.t"}})`:          "bad value for faster",
		config + `im.on_message(function() end, {name = "h", on_error = "open", faster = {than = "gates.n", per = "gates.none"}})`:       "bad value for faster",
		config + `im.on_message(function() end, {name = "h", on_error = "open", faster = {than = "gates.n", per = "gates.t", x = "x"}})`: "bad value for faster",
		config + `im.on_message(function() end, {name = "h", on_error = "open", again = {more = "gates.n", within = "gates.t"}})`:        "bad value for again",
		config + `im.before("chat.*", function() end, {name = "h", on_error = "open", again = {}})`:                                      "again",
	} {
		dir := t.TempDir()
		put(t, dir, map[string]string{"a.lua": `local im = require("im") ` + source})
		e, err := engine.New(options(dir, &logs{}))
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "a.lua:1") {
			t.Errorf("%s: got %v, want %q", source, err, want)
		}
	}
}

// A hook that is asleep costs as little as none.
func TestAsleepCostsNothing(t *testing.T) {
	e := load(t, map[string]string{"a.lua": gated}, nil)
	text := "hello"
	c := &engine.Call{Action: "chat.send", Text: &text, ConversationType: "chat"}
	if n := testing.AllocsPerRun(100, func() { e.Ask(t.Context(), engine.Before, c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

const newcomers = `local im = require("im")
local cfg = im.config{name = "new", within = {type = "duration", default = "1d", max = "30d"}}
im.on_message(function(c) return im.deny("rejected", "new") end, {name = "new", on_error = "closed", younger = "new.within"})
`

const newcomersTest = `
test("ages", function(t)
  local function denied(age) return t.message{text = "x", account_age = age}.denied end
  assert(not t.message{text = "x"}.denied) -- not known
  assert(denied(86399) and not denied(86400))
  assert(not denied(1e10) and not denied(math.huge) and not denied(0 / 0))
  t.config{new = {within = "2d"}}
  assert(denied(86400) and not denied(2 * 86400))
  t.config{new = {within = 1000}}
  assert(denied(0) and not denied(1))
end)
`

// The age is the host's answer, and what is replayed elsewhere knows it.
func TestYoungerAccounts(t *testing.T) {
	asked := 0
	e := load(t, map[string]string{"a.lua": newcomers, "a_test.lua": newcomersTest}, func(o *engine.Options) {
		o.Record = engine.Record{Every: 1, Keep: 10, Text: engine.TextFull}
		o.Config = map[string]map[string]string{"new": {"within": "1h"}}
		o.Made = func(user string) (time.Time, bool) {
			asked++
			return map[string]time.Time{"young": time.Now().Add(-59 * time.Minute), "old": time.Now().Add(-61 * time.Minute),
				"almost": time.Now().Add(-time.Hour + 500*time.Millisecond)}[user], user != "nobody"
		}
	})
	for user, denied := range map[string]bool{"young": true, "old": false, "nobody": false, "almost": true} {
		m := message("hello")
		m.User = user
		m.Facts = m
		if v := e.Ask(t.Context(), engine.Before, &m.Call); v.Denied() != denied || v.Err != nil {
			t.Errorf("%s: got %+v", user, v)
		}
	}
	if asked != 4 {
		t.Errorf("the ages of four accounts were asked %d times", asked)
	}
	elsewhere := load(t, map[string]string{"a.lua": newcomers}, func(o *engine.Options) {
		o.Config = map[string]map[string]string{"new": {"within": "1h"}}
	})
	r, err := elsewhere.Replay(t.Context(), e.Recording(), "")
	if err != nil || r.Calls != 4 || r.Flips != 0 {
		t.Errorf("elsewhere: %+v, %v", r, err)
	}
}

const worded = `local im = require("im")
local bad = im.words({"bad", "坏话"}, {spacing = true})
local cfg = im.config{name = "mend", on = {type = "boolean", default = false}}
im.on_message(function(c) c.text = (c.text:gsub("bed", "bad")) end, {name = "mend", on_error = "open", when = "mend.on", priority = 10})
im.on_message(function(c) return im.deny("rejected", bad:find(c.text) or "none of them") end, {name = "bad", on_error = "closed", words = bad})
`

const wordedTest = `
test("words", function(t)
  local function said(text) return t.message{text = text} end
  assert(said("a b a d one").reason == "bad" and said("说坏话").reason == "坏话")
  assert(not said("badly").denied and not said("bed").denied)
  t.config{mend = {on = true}}
  assert(said("bed").reason == "bad") -- what the hooks before it made of the text
end)
`

// A hook with words is asked about the texts that have one, as the hooks before it left them.
func TestWordsGate(t *testing.T) {
	e := load(t, map[string]string{"a.lua": worded, "a_test.lua": wordedTest}, func(o *engine.Options) {
		o.Record = engine.Record{Every: 1, Keep: 10, Text: engine.TextFull}
	})
	for text, denied := range map[string]bool{"bad": true, "good": false, "b-a-d": true, "": false} {
		if v, _ := ask(t, e, text); v.Denied() != denied || v.Err != nil {
			t.Errorf("%q: got %+v", text, v)
		}
	}
	for _, h := range e.Status().Hooks {
		if h.Name == "bad" && (h.Calls != 2 || h.Gate != "with one of 2 words") {
			t.Errorf("asked %d times, want 2; gate %q", h.Calls, h.Gate)
		}
	}
	if r, err := e.Replay(t.Context(), e.Recording(), ""); err != nil || r.Calls != 4 || r.Flips != 0 {
		t.Errorf("replayed: %+v, %v", r, err)
	}
	e = load(t, map[string]string{"a.lua": worded}, nil)
	text := strings.Repeat("a text that has none of the words ", 4)
	c := &engine.Call{Action: "chat.send", Text: &text, ConversationType: "chat"}
	if n := testing.AllocsPerRun(100, func() { e.Ask(t.Context(), engine.Before, c) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations where no word is", n)
	}
}

// A text made of words that lie in one another is not looked at without end: it goes to the hook, which pays.
func TestWordsGateIsBounded(t *testing.T) {
	var source strings.Builder
	source.WriteString(`local im = require("im") im.on_message(function(c) return im.deny("rejected", "asked") end, {name = "a", on_error = "closed", words = im.words({"x"`)
	for n := 2; n <= 64; n++ {
		fmt.Fprintf(&source, `, %q`, strings.Repeat("x", n))
	}
	source.WriteString("})})")
	e := load(t, map[string]string{"a.lua": source.String()}, nil)
	if v, _ := ask(t, e, strings.Repeat("x", 5000)); v.Reason != "asked" {
		t.Errorf("got %+v, want the hook asked: no word is whole, and too many end", v)
	}
	if v, _ := ask(t, e, strings.Repeat("x", 65)); v.Denied() {
		t.Errorf("got %+v", v)
	}
}

const habits = `local im = require("im")
local cfg = im.config{name = "habits", n = {type = "integer", default = 3}, per = {type = "duration", default = "30s"},
  more = {type = "integer", default = 1}, alike = {type = "number", default = 0.9}, short = {type = "integer", default = 3}}
im.on_message(function(c) return im.deny("rate_limited", "fast") end, {name = "fast", on_error = "closed", faster = {than = "habits.n", per = "habits.per"}})
im.on_message(function(c) return im.deny("rejected", "again") end, {name = "again", on_error = "closed", phase = "observe",
  again = {more = "habits.more", within = "habits.per", alike = "habits.alike", longer = "habits.short"}})
`

const habitsTest = `
test("fast", function(t)
  local function said(user, text) local v = t.message{user = user, text = text} return v.denied and v.reason end
  for n = 1, 3 do assert(not said("1", "number " .. ("x"):rep(40 * n))) end
  assert(said("1", "more") == "fast" and not said("2", "of another"))
  t.wait(9999)
  assert(said("1", "too early") == "fast")
  t.wait(1)
  assert(not said("1", "in time") and said("1", "and on") == "fast")
  t.config{habits = {n = 5}}
  for n = 1, 5 do assert(not said("1", ("y"):rep(40 * n))) end
  assert(said("1", "more") == "fast")
end)

test("again", function(t)
  t.config{habits = {n = 1000}}
  local function said(text) local v = t.message{text = text} return v.denied and v.reason end
  assert(not said("buy cheap watches at my stall") and not said("Buy cheap wаtches at my stall!"))
  assert(said("BUY cheap watches at my stall") == "again")
  assert(not said("shall we meet?"))
  for n = 1, 5 do assert(not said("好的啊")) end
  t.config{habits = {more = 3, alike = 1}}
  assert(not said("shall we meet?") and said("shall we meet?") == "again")
  t.wait(60000)
  for n = 0, 3 do assert(not said("good morning!")) end
  assert(said("good morning!") == "again" and not said("good evening!"))
end)
`

// Who sends too fast, or says the same again, is seen by gates: with the operator's settings, over reloads, and
// a replay of what was recorded decides the same.
func TestHabits(t *testing.T) {
	e := load(t, map[string]string{"a.lua": habits, "a_test.lua": habitsTest}, func(o *engine.Options) {
		o.Record = engine.Record{Every: 1, Keep: 100, Text: engine.TextFull}
		o.Config = map[string]map[string]string{"habits": {"n": "4", "per": "1d", "more": "2"}}
	})
	said := func(user, text string) string {
		m := message(text)
		m.User = user
		m.Facts = m
		v := e.Ask(t.Context(), engine.Before, &m.Call)
		if v.Err != nil {
			t.Error(v.Err)
		}
		return v.Reason
	}
	for _, row := range []struct{ user, text, want string }{
		{"1", "hello there", ""}, {"1", "hello there", ""}, {"1", "hello there!", ""}, {"1", "hello there", "again"}, {"1", "other", "fast"},
		{"2", "hello there", ""}, {"", "nobody sends", ""}, {"", "nobody sends", ""},
	} {
		if got := said(row.user, row.text); got != row.want {
			t.Errorf("%s, %q: got %q, want %q", row.user, row.text, got, row.want)
		}
	}
	for _, h := range e.Status().Hooks {
		if want := map[string]string{"fast": "faster than habits.n per habits.per", "again": "said again more often than habits.more within habits.per"}[h.Name]; h.Gate != want {
			t.Errorf("%s is asked %q, want %q", h.Name, h.Gate, want)
		}
	}
	if r, err := e.Replay(t.Context(), e.Recording(), ""); err != nil || r.Calls != 8 || r.Flips != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
}
