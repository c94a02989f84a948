package engine_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/scripts/engine"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// put writes files below dir; the keys are paths.
func put(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// logs collects log lines.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func options(dir string, log *logs) engine.Options {
	return engine.Options{
		Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil)), Codes: []string{"rejected", "rate_limited"},
		Debounce: 20 * time.Millisecond, Poll: time.Hour,
		// Tests share a busy machine; what is bounded by time is tested with limits of its own.
		Wall: time.Second, ChainWall: 2 * time.Second, LoadWall: 10 * time.Second, TestWall: 20 * time.Second, Wait: time.Minute,
	}
}

// load makes an engine with files; change may be nil.
func load(t testing.TB, files map[string]string, change func(*engine.Options)) *engine.Engine {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, files)
	o := options(dir, &logs{})
	if change != nil {
		change(&o)
	}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// try makes an engine with files that may be wrong.
func try(t testing.TB, files map[string]string) (engine.Status, error) {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, files)
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		return engine.Status{}, err
	}
	defer e.Close()
	return e.Status(), nil
}

// rule is a file with one hook that runs body.
func rule(body string) map[string]string {
	return map[string]string{"rule.lua": `local im = require("im")
im.on_message(function(c) ` + body + ` end, {name = "rule", on_error = "closed"})`}
}

// sent is a message under way, and what is known of it.
type sent struct {
	engine.Call
	Text, User string
	Rewritten  bool
}

func (m *sent) Fact(f engine.Fact) string {
	switch f {
	case engine.FactUser:
		return m.User
	case engine.FactDevice:
		return "d1"
	case engine.FactDeviceType:
		return "web"
	case engine.FactClientAddr:
		return "192.0.2.7:1"
	}
	return ""
}

func message(text string) *sent {
	m := &sent{Text: text, User: "17", Call: engine.Call{Action: "chat.send", Conversation: "c_17_42", ConversationType: "chat", Kind: "text"}}
	m.Facts, m.Call.Text = m, &m.Text
	return m
}

// judge asks about a message; it may be used again.
func judge(ctx context.Context, e *engine.Engine, m *sent) engine.Verdict {
	m.Pin = engine.Pin{}
	v := e.Ask(ctx, engine.Before, &m.Call)
	m.Rewritten = len(v.Rewrites) > 0
	return v
}

func ask(t testing.TB, e *engine.Engine, text string) (engine.Verdict, *sent) {
	t.Helper()
	m := message(text)
	return judge(t.Context(), e, m), m
}

// fault is the verdict's fault; the test fails without one.
func fault(t testing.TB, v engine.Verdict) *engine.Fault {
	t.Helper()
	f, ok := v.Err.(*engine.Fault)
	if !ok {
		t.Fatalf("got verdict %+v, want a fault", v)
	}
	return f
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen", what)
		}
		pause, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
		<-pause.Done()
		cancel()
	}
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       engine.Verdict
		text       string
	}{
		{"nothing allows", ``, engine.Verdict{}, "hi"},
		{"allow", `return im.allow()`, engine.Verdict{}, "hi"},
		{"pass", `return im.pass()`, engine.Verdict{}, "hi"},
		{"deny", `return im.deny("rejected", "no " .. c.text)`, engine.Verdict{Decision: engine.Deny, Code: "rejected", Reason: "no hi"}, "hi"},
		{"deny with advice", `return im.deny("rate_limited", "slow", {retry_after = 1500})`,
			engine.Verdict{Decision: engine.Deny, Code: "rate_limited", Reason: "slow", RetryAfter: 1500 * time.Millisecond}, "hi"},
		{"a denial that is not returned", `im.deny("rejected", "x")`, engine.Verdict{}, "hi"},
		{"rewrite", `c.text = c.text .. "!"`, engine.Verdict{}, "hi!"},
		{"no rewrite of a denied message", `c.text = "x" return im.deny("rejected")`, engine.Verdict{Decision: engine.Deny, Code: "rejected"}, "hi"},
		{"every field", `c.text = table.concat({c.action, c.user, c.device, c.device_type, c.conversation,
			c.conversation_type, c.kind, c.client_addr, c.text}, " ")`, engine.Verdict{},
			"chat.send 17 d1 web c_17_42 chat text 192.0.2.7:1 hi"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := load(t, rule(test.body), nil)
			got, m := ask(t, e, "hi")
			test.want.Bundle = e.Status().Bundle
			if test.want.Denied() {
				test.want.Rule = "rule@rule.lua:2"
			}
			rewrites := got.Rewrites
			got.Rewrites, got.Units, got.Took = nil, 0, 0
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if m.Rewritten && (rewrites[0].Before != "hi" || rewrites[0].After != test.text || rewrites[0].Field != "text" || rewrites[0].Rule != "rule@rule.lua:2") {
				t.Errorf("got %+v recorded", rewrites)
			}
			if m.Text != test.text || m.Rewritten != (test.text != "hi") || m.Pin.Bundle() != got.Bundle {
				t.Errorf("got message %+v, want text %q", m, test.text)
			}
		})
	}
}

// A reason goes to the client, in a field that must be UTF-8.
func TestReasonIsUTF8(t *testing.T) {
	for _, verdict := range []string{`im.deny("rejected", c.text:sub(1, 4))`, `im.throttle(1000, c.text:sub(1, 4))`} {
		v, _ := ask(t, load(t, rule("return "+verdict), nil), "剧透")
		if v.Err != nil || v.Reason != "剧\ufffd" {
			t.Errorf("%s: got %q, %v", verdict, v.Reason, v.Err)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct{ name, body, kind, msg string }{
		{"run-time error", "local x = nil + 1", "script", "rule.lua:2:"},
		{"error object", `error({message = "custom"})`, "script", "custom"},
		{"error object without text", `error(setmetatable({}, {__tostring = function() while true do end end}))`, "script", "error object is a table"},
		{"true is no verdict", "return true", "verdict", "boolean"},
		{"a string is no verdict", `return "deny"`, "verdict", "string"},
		{"a word is no code", `return im.deny("nonsense")`, "script", "unknown code"},
		{"bad advice", `return im.deny("rejected", "", {retry_after = -1})`, "script", "retry_after"},
		{"unknown option", `return im.deny("rejected", "", {after = 1})`, "script", "unknown option 'after'"},
		{"unknown field", "return c.txet", "script", "no field 'txet'"},
		{"unknown field written", "c.txet = 'x'", "script", "no field 'txet'"},
		{"read-only field", "c.user = '1'", "script", "c.user is read-only"},
		{"number as text", "c.text = 1", "script", "must be a string"},
		{"empty text", "c.text = ''", "script", "must not be empty"},
		{"broken UTF-8", `c.text = "\255"`, "script", "UTF-8"},
		{"long text", `c.text = ("é"):rep(5001)`, "script", "more than 5000 characters"},
		{"global written", "x = 1", "script", "global 'x' is read-only"},
		{"undeclared global", "return undeclared", "script", "rule.lua:2: global 'undeclared' is not declared"},
		{"registering in a hook", "im.on_message(function() end, {name = 'x', on_error = 'open'})", "script", "for loading"},
		{"words in a hook", "im.words({'x'})", "script", "for loading"},
		{"require in a hook", "require('lib.x')", "script", "no module"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := load(t, rule(test.body), nil)
			v, m := ask(t, e, "hi")
			f := fault(t, v)
			if f.Kind != test.kind || !strings.Contains(f.Msg, test.msg) || f.Rule != "rule@rule.lua:2" {
				t.Errorf("got %+v, want kind %s, message with %q", f, test.kind, test.msg)
			}
			if !v.Denied() || v.Code != engine.FaultCode || v.RetryAfter == 0 || m.Rewritten {
				t.Errorf("got %+v, want a denial by on_error = closed", v)
			}
			if h := e.Status().Hooks[0]; h.Faults != 1 || h.Calls != 1 || !strings.Contains(h.LastFault, test.msg) {
				t.Errorf("got status %+v, want one fault", h)
			}
		})
	}
}

func TestLongestTextIsAllowed(t *testing.T) {
	e := load(t, rule(`c.text = ("é"):rep(5000)`), nil)
	if v, m := ask(t, e, "hi"); v.Err != nil || len(m.Text) != 10_000 {
		t.Errorf("got %v and %d octets, want 10000", v.Err, len(m.Text))
	}
}

// A message of the longest kind must be searchable by every means: else its
// length alone would make a rule fail.
func TestLongestMessageIsSearchable(t *testing.T) {
	e := load(t, map[string]string{"rule.lua": `local im = require("im")
local list = im.words({"needle"})
im.on_message(function(c)
	local text = c.text
	if text:find("needle$") and text:find("needle", 1, true) and im.text.contains(text, "NEEDLE") and list:any(text)
		and text:lower() and im.text.len(text) == 5000 and text:gsub("needle", "") then return im.deny("rejected", "found") end
end, {name = "rule", on_error = "open"})`}, nil)
	text := strings.Repeat("𝔞", 4993) + " needle"
	if v, _ := ask(t, e, text); !v.Denied() || v.Err != nil {
		t.Errorf("got %+v, want the needle found", v)
	}
}

func TestOnErrorOpen(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) c.text = "half" error("boom") end, {name = "broken", on_error = "open", priority = 1})
im.on_message(function(c) c.text = c.text .. "+" end, {name = "works", on_error = "closed"})`}, nil)
	v, m := ask(t, e, "hi")
	if f := fault(t, v); f.Rule != "broken@a.lua:2" || f.Kind != "script" {
		t.Errorf("got fault %+v", f)
	}
	if v.Denied() || m.Text != "hi+" {
		t.Errorf("got %+v with text %q, want the other hook's rewrite alone", v, m.Text)
	}
}

func TestOrder(t *testing.T) {
	hook := func(name string, more string) string {
		return `im.on_message(function(c) c.text = c.text .. " ` + name + `" ` + more + ` end, {name = "` + name + `", on_error = "closed"`
	}
	e := load(t, map[string]string{
		"b.lua":     "local im = require('im')\n" + hook("b1", "") + "})\n" + hook("b2", "") + ", priority = 5})",
		"a.lua":     "local im = require('im')\n" + hook("a1", "") + "})\n" + hook("a2", "") + ", priority = -1})",
		"sub/c.lua": "local im = require('im')\n" + hook("c1", "return im.pass()") + "})",
	}, nil)
	if _, m := ask(t, e, "order"); m.Text != "order b2 a1 b1 c1" {
		t.Errorf("got %q, want priority, then file and line, and nothing after pass", m.Text)
	}
}

func TestLoadErrors(t *testing.T) {
	const hook = `require("im").on_message(function() end, `
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"syntax", map[string]string{"a.lua": "\nlocal x = = 1"}, `a.lua:2:11: syntax error near "="`},
		{"unfinished", map[string]string{"a.lua": "local x = 1\nif x then\n"}, "a.lua:2: syntax error at the end of the file"},
		{"every broken file", map[string]string{"a.lua": "x x", "b.lua": "y y"}, "b.lua:1:"},
		{"run-time", map[string]string{"a.lua": "\n\nerror('boom')"}, "a.lua:3: boom"},
		{"empty file", map[string]string{"a.lua": ""}, "a.lua:1: file is empty"},
		{"not UTF-8", map[string]string{"a.lua": "-- ok\n-- \xff"}, "a.lua:2: not UTF-8"},
		{"too large", map[string]string{"a.lua": strings.Repeat("-", 256<<10+1)}, "a.lua: larger than 256 KiB"},
		{"no policy", map[string]string{"a.lua": hook + `{name = "x"})`}, `on_error = "open" or "closed"`},
		{"no options", map[string]string{"a.lua": `require("im").on_message(function() end)`}, "a.lua:1: bad argument #2"},
		{"bad policy", map[string]string{"a.lua": hook + `{name = "x", on_error = "maybe"})`}, "bad value for on_error"},
		{"bad name", map[string]string{"a.lua": hook + `{name = "X Y", on_error = "open"})`}, "bad value for name"},
		{"unknown option", map[string]string{"a.lua": hook + `{name = "x", on_error = "open", prio = 1})`}, "unknown option 'prio'"},
		{"name clash", map[string]string{"a.lua": hook + `{name = "x", on_error = "open"})`, "b.lua": hook + `{name = "x", on_error = "open"})`},
			`b.lua:1: another hook is named "x", at a.lua:1`},
		{"too many hooks", map[string]string{"a.lua": `for i = 1, 1001 do ` + hook + `{name = "x" .. i, on_error = "open"}) end`}, "at most 1000 hooks"},
		{"too many constraints", map[string]string{"a.lua": `local all = {} for i = 1, 33 do all[i] = "x" end ` + hook + `{name = "x", on_error = "open", after = all})`},
			"bad value for after"},
		{"endless loop", map[string]string{"a.lua": "\nwhile true do end"}, "a.lua:2: instruction budget spent"},
		{"run-time API", map[string]string{"a.lua": `require("im").now()`}, "im.now is for hooks"},
		{"built-in replaced", map[string]string{"a.lua": `string = nil`}, "cannot replace the built-in 'string'"},
		{"cycle", map[string]string{"a.lua": "require('lib.b')", "lib/b.lua": "require('lib.c')", "lib/c.lua": "require('lib.b')"},
			"lib/c.lua:1: lib/b.lua requires itself"},
		{"missing module", map[string]string{"a.lua": "require('lib.nothing')"}, `a.lua:1: no module "lib.nothing"`},
		{"path tricks", map[string]string{"a.lua": "require('../../etc/passwd')"}, "no module"},
		{"a test as a module", map[string]string{"a.lua": "require('x_test')", "x_test.lua": "-- nothing"}, "no module"},
		{"failing test", map[string]string{"a_test.lua": "test('sum', function(t)\n assert(1 == 2, 'sums')\nend)"}, `a_test.lua:2: sums: test "sum" failed`},
		{"test with a bad field", map[string]string{"a_test.lua": "test('x', function(t) t.message{txet = 'x'} end)"}, "bad field txet"},
		{"test meets a fault", map[string]string{"a.lua": hook[:len(hook)-6] + ` error("boom") end, {name = "x", on_error = "open"})`,
			"a_test.lua": "test('x', function(t) t.message{} end)"}, "boom"},
		{"loading by chance", map[string]string{"a.lua": `if math.random() < 0.5 then ` + hook + `{name = "x", on_error = "open"}) end`},
			"loading must always do the same"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, test.files)
			o := options(dir, &logs{})
			o.VMs = 32
			e, err := engine.New(o)
			if test.name == "loading by chance" { // until chance shows
				for err == nil {
					e.Close()
					e, err = engine.New(o)
				}
			}
			if err == nil {
				e.Close()
				t.Fatalf("got no error, want %q", test.want)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want %q", err, test.want)
			}
		})
	}
}

// laggard is a memory in which each answer takes a while, as everything does on a
// machine that is busy with other things.
type laggard struct{ engine.KV }

func (laggard) Get(context.Context, string) (string, bool, error) {
	time.Sleep(20 * time.Millisecond) // of a bubble's clock
	return "", false, nil
}

// A hook that had to wait, and ended by itself, takes no time from those behind it: they
// would deny what is innocent.
func TestWaitingFailsNoOtherHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := load(t, map[string]string{"a.lua": `local im = require("im")
im.on_message(function() im.kv.get("x") end, {name = "waits", on_error = "closed"})
im.on_message(function(c) c.text = "asked" end, {name = "innocent", on_error = "closed"})`}, func(o *engine.Options) {
			o.KV, o.Wall, o.ChainWall = laggard{}, 5*time.Millisecond, 10*time.Millisecond
		})
		if v, m := ask(t, e, "hi"); v.Denied() || v.Err != nil || m.Text != "asked" {
			t.Errorf("got %+v, %q", v, m.Text)
		}
	})
}

// A verdict is its hook's: another of the same chain cannot return it.
func TestStashedVerdicts(t *testing.T) {
	for _, verdict := range []string{`im.deny("rejected", "of one")`, `im.throttle(1000)`} {
		e := load(t, map[string]string{"a.lua": `local im = require("im")
local kept
im.on_message(function(c) kept = ` + verdict + ` end, {name = "one", on_error = "open", priority = 2})
im.on_message(function(c) return kept end, {name = "two", on_error = "open", priority = 1})`}, nil)
		v, _ := ask(t, e, "hi")
		if f := fault(t, v); v.Denied() || f.Kind != engine.FaultVerdict || f.Rule != "two@a.lua:4" {
			t.Errorf("%s: got %+v", verdict, v)
		}
	}
}

// All VMs must have the same hooks, with the same options: else verdicts, and what
// happens on a fault, would be by chance.
func TestHooksByChance(t *testing.T) {
	for _, options := range []string{
		`on_error = by and "open" or "closed"`, `on_error = by and "closed" or {fallback = function() end}`, `on_error = by and {code = "rejected"} or "closed"`,
		`on_error = "open", priority = by and 1 or 2`, `on_error = "open", phase = by and "content" or "limits"`, `on_error = "open", name = by and "one" or "two"`,
	} {
		if !strings.Contains(options, "name") {
			options += `, name = "one"`
		}
		err := engine.BuildForBenchmark(`local im = require("im")
local by = math.random() < 0.5
im.on_message(function(c) end, {`+options+`})`, 64)
		if err == nil || !strings.Contains(err.Error(), "loading must always do the same") {
			t.Errorf("%s: got %v", options, err)
		}
	}
	err := engine.BuildForBenchmark(`local im = require("im")
im.on_tick(math.random() < 0.5 and "1m" or "2m", function() end, {name = "tick"})`, 64)
	if err == nil || !strings.Contains(err.Error(), "loading must always do the same") {
		t.Errorf("got %v", err)
	}
}
