package hooks_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"freeim/edge/hooks"
	"freeim/edge/session"
	"freeim/idl"
	"freeim/scripts/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// put writes a file as editors do, whole.
func put(t testing.TB, dir, name, text string) {
	t.Helper()
	full := filepath.Join(dir, name)
	if err := os.WriteFile(full+"~", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(full+"~", full); err != nil {
		t.Fatal(err)
	}
}

// open opens rules of one file.
func open(t testing.TB, source string) (r *hooks.Rules, dir string) {
	t.Helper()
	dir = t.TempDir()
	put(t, dir, "a.lua", "local im = require('im')\n"+source)
	return openDir(t, dir, nil), dir
}

func openDir(t testing.TB, dir string, config map[string]map[string]string) *hooks.Rules {
	t.Helper()
	r, err := hooks.Open(hooks.Options{Dir: dir, Config: config, Pools: []string{"blue", "green", "vip"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// running has the files followed until the test ends.
func running(t *testing.T, r *hooks.Rules) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
}

// eventually polls until what is true; the deadline only ends a failed test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestOnePoolNeedsNoRoutes: the rules that are shipped choose pools, and cost nothing where
// there is one.
func TestOnePoolNeedsNoRoutes(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a.lua", "local im = require('im')\nim.on_route(function(c) return im.reroute('default') end, {name = 'r'})")
	for _, pools := range [][]string{nil, {"blue"}} {
		r, err := hooks.Open(hooks.Options{Dir: dir, Pools: pools, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if asks := r.Asks(session.AboutRoutes); asks != (pools != nil) {
			t.Errorf("with the pools %v it asks: %v", pools, asks)
		}
	}
}

func someone(user int64) *session.Asked {
	return &session.Asked{Action: "chat.send", Size: 100, Codec: idl.CodecJSON, Sequence: 7, Waiting: 1, Excess: 2, Address: "192.0.2.1:7", Transport: "wss",
		Who: &session.Identity{User: user, Device: "d", DeviceType: idl.DeviceTablet}, Tags: []string{"t"}}
}

const all = session.AboutConnections | session.AboutFrames | session.AboutRoutes

// What hooks see is what the edge knows, and their verdicts are its answers.
func TestQuestions(t *testing.T) {
	r, _ := open(t, `
im.on_connect(function(c)
  assert(c.client_addr == "192.0.2.1:7" and c.transport == "tcp" and c.tls and c.path == nil and c.user == nil)
  if c:header("origin") == "bad" then return im.deny("unavailable", "later", {retry_after = 3000}) end
  c:tag("b") c:tag("a") c:tag("b")
end, {name = "connect", on_error = "closed"})
im.on_frame(function(c)
  assert(c.action == "chat.send" and c.user == "17" and c.device == "d" and c.device_type == "tablet" and c.size == 100 and c.codec == "json" and
    c.sequence == 7 and c.waiting == 1 and c.excess == 2 and c.client_addr == "192.0.2.1:7" and c.transport == "websocket" and c.tls and c:tagged("t"))
  return im.throttle(2000, "slowly")
end, {name = "frame", on_error = "closed"})
im.on_route(function(c)
  if c.user == "17" then return im.reroute("green") end
  if c.user == "18" then return im.reroute("grene") end
  if c.user == "19" then return im.reroute("default") end
end, {name = "route"})`)
	if !r.Asks(session.AboutConnections) || !r.Asks(session.AboutFrames) || !r.Asks(session.AboutRoutes) || r.Edition() == "" {
		t.Error("not all is asked")
	}
	arrival := &session.Arrival{Address: "192.0.2.1:7", Transport: "tls", Fields: []session.Field{{Name: "origin", Value: "good"}}}
	if tags, no := r.Connect(arrival); no != nil || strings.Join(tags, " ") != "a b" {
		t.Errorf("got %q and %+v", tags, no)
	}
	arrival.Fields[0].Value = "bad"
	if tags, no := r.Connect(arrival); no == nil || tags != nil || no.Code != idl.CodeUnavailable || no.Reason != "later" || no.RetryAfter != 3*time.Second || no.Rule != "connect@a.lua:3" || no.Bundle != r.Engine().Status().Bundle {
		t.Errorf("got %q and %+v", tags, no)
	}
	if no := r.Frame(someone(17)); no == nil || no.Code != idl.CodeRateLimited || no.RetryAfter != 2*time.Second {
		t.Errorf("got %+v", no)
	}
	for user, want := range map[int64]string{17: "green", 18: "", 19: "", 20: ""} {
		if pool := r.Route(someone(user)); pool != want {
			t.Errorf("user %d goes to %q, want %q", user, pool, want)
		}
	}
	if pool := r.Route(&session.Asked{Action: "account.auth", Transport: "tcp"}); pool != "" {
		t.Errorf("nobody goes to %q", pool)
	}
}

// A field that comes in several lines is all of them: none hides another. A tag that is
// made of it keeps no memory of the request.
func TestFields(t *testing.T) {
	r, _ := open(t, `im.on_connect(function(c)
  c:tag(c:header("x-region"))
  if c:header("x-country") == "fr, de" and c:header("x-none") == nil then c:tag("both") end
end, {name = "connect", on_error = "closed"})`)
	region := "eu"
	tags, no := r.Connect(&session.Arrival{Transport: "websocket", Fields: []session.Field{{Name: "x-country", Value: "fr"}, {Name: "x-region", Value: region}, {Name: "x-country", Value: "de"}}})
	if no != nil || strings.Join(tags, " ") != "both eu" {
		t.Fatalf("got %q and %+v", tags, no)
	}
	if unsafe.StringData(tags[1]) == unsafe.StringData(region) {
		t.Error("the tag is a part of the request")
	}
}

// Hooks of the core are no matter of the edge.
func TestCoreHooksAreIgnored(t *testing.T) {
	r, _ := open(t, `im.on_message(function(c) return im.deny("rejected") end, {name = "core", on_error = "closed"})
im.before("*", function(c) im.kv.set("k", "v", "1m") end, {name = "all", on_error = "closed"})
im.on_tick("1s", function() error("no") end, {name = "tick"})`)
	if r.Asks(all) {
		t.Error("somebody is asked")
	}
}

// A saved file counts at once; a broken one leaves the rules as they are.
func TestSavedFile(t *testing.T) {
	r, dir := open(t, `im.on_route(function(c) return im.reroute("blue") end, {name = "route"})`)
	running(t, r)
	if pool := r.Route(someone(1)); pool != "blue" {
		t.Fatalf("got %q", pool)
	}
	before := r.Edition()
	put(t, dir, "a.lua", `local im = require('im') im.on_route(function(c) return im.reroute("green") end, {name = "route"})`)
	eventually(t, "the saved route", func() bool { return r.Route(someone(1)) == "green" })
	if r.Edition() == before {
		t.Error("the rules have the old name")
	}
	put(t, dir, "a.lua", `local im = require('im') im.on_route(function(c) return im.reroute("blue" end, {name = "route"})`)
	eventually(t, "the broken file is seen", func() bool { return r.Engine().Status().Rejected != nil })
	if pool := r.Route(someone(1)); pool != "green" {
		t.Errorf("got %q after a broken file", pool)
	}
}

// Whoever keeps an answer sees that it may be another now.
func TestEdition(t *testing.T) {
	r, dir := open(t, `im.on_route(function(c) return im.reroute("blue") end, {name = "route"})`)
	e, seen := r.Engine(), map[string]bool{r.Edition(): true}
	changed := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if now := r.Edition(); seen[now] {
			t.Errorf("%s: %s again", what, now)
		} else {
			seen[now] = true
		}
	}
	changed("a hook is off", e.Off("route"))
	if pool := r.Route(someone(1)); pool != "" {
		t.Errorf("goes to %q although the hook is off", pool)
	}
	changed("a hook is on", e.On("route"))
	changed("all are off", e.Off())
	changed("all are on", e.On())
	files := map[string]string{"a.lua": `local im = require('im') im.on_route(function(c) return im.reroute("green") end, {name = "route"})`}
	report, err := e.Prepare(t.Context(), files, engine.By{Who: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Activate(t.Context(), report.Prepared, engine.Policy{Mode: engine.ModeCanary, Percent: 100}, engine.By{Who: "ann"})
	changed("a canary", err)
	if pool := r.Route(someone(1)); pool != "green" {
		t.Errorf("the canary's user goes to %q", pool)
	}
	if pool := r.Route(&session.Asked{Action: "account.auth", Transport: "tcp"}); pool != "blue" {
		t.Errorf("nobody goes to %q, before the canary has a user to choose", pool)
	}
	changed("its end", e.Abort(t.Context(), report.Prepared, engine.By{Who: "ann"}))
	_, err = e.Activate(t.Context(), report.Prepared, engine.Policy{}, engine.By{Who: "ann"})
	changed("an activation", err)
	put(t, dir, "a.lua", "local im = require('im')")
	_, err = e.Reload(t.Context())
	changed("files", err)
}

// Whatever a script does, the question is answered, and soon nobody asks it any more.
func TestHostileScripts(t *testing.T) {
	for name, body := range map[string]string{
		"loop": "while true do end", "caught": "while true do pcall(function() while true do end end) end", "memory": "local t = {} while true do t[#t + 1] = {} end",
		"text": "local s = 'x' while true do s = s .. s end", "pattern": "(('a?'):rep(30) .. ('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30))", "recursion": "local function f() return f() + 1 end f()",
		"error": "error({})", "kv": "im.kv.get('k')", "stash": "X = c",
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := open(t, `im.on_frame(function(c) `+body+` end, {name = "frame", on_error = "open"})
im.on_connect(function(c) `+body+` end, {name = "connect", on_error = "closed"})
im.on_route(function(c) `+body+` return im.reroute("green") end, {name = "route"})`)
			fails := name != "pattern"
			for range 25 {
				if no := r.Frame(someone(1)); no != nil {
					t.Fatalf("on_error is open, got %+v", no)
				}
				if pool := r.Route(someone(1)); pool != "" && fails {
					t.Fatalf("went to %q", pool)
				}
				if _, no := r.Connect(&session.Arrival{Transport: "tcp"}); fails && (no == nil || no.Code != idl.CodeUnavailable) {
					t.Fatalf("on_error is closed, got %+v", no)
				}
			}
			for _, h := range r.Engine().Status().Hooks {
				if fails && !h.Tripped {
					t.Errorf("%s is still called after %d faults", h.Name, h.Faults)
				}
			}
		})
	}
}

// The routing rules that are shipped, at an edge with these pools.
func TestShippedRoutes(t *testing.T) {
	r := openDir(t, "../../scripts", map[string]map[string]string{
		"vip": {"users": "17 42"}, "bluegreen": {"live": "blue"}, "canary": {"pool": "green", "percent": "30"}})
	if s := r.Engine().Status(); s.Rejected != nil {
		t.Fatalf("got %+v", s.Rejected)
	}
	if r.Asks(session.AboutFrames|session.AboutConnections) || !r.Asks(session.AboutRoutes) {
		t.Error("the wrong hooks are asked")
	}
	counts, chosen := map[string]int{}, map[int64]string{}
	for user := int64(1000); user < 1500; user++ {
		chosen[user] = r.Route(someone(user))
		counts[chosen[user]]++
	}
	for user, pool := range chosen {
		if again := r.Route(someone(user)); again != pool {
			t.Errorf("user %d went to %q, then to %q", user, pool, again)
		}
	}
	if n := counts["green"]; n < 90 || n > 210 || n+counts["blue"] != 500 {
		t.Errorf("got %v, want about 150 in green and the others in blue", counts)
	}
	if pool := r.Route(someone(17)); pool != "vip" {
		t.Errorf("a VIP goes to %q", pool)
	}
	if pool := r.Route(&session.Asked{Action: "account.auth", Transport: "tcp"}); pool != "blue" {
		t.Errorf("Auth goes to %q", pool)
	}
}

// A bundle without hooks at the edge costs its frames nothing.
func TestSilentRulesAllocateNothing(t *testing.T) {
	r, _ := open(t, `im.on_message(function(c) end, {name = "core", on_error = "open"})`)
	if n := testing.AllocsPerRun(100, func() { r.Asks(all) }); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

func BenchmarkFrame(b *testing.B) {
	b.Run("no hook", func(b *testing.B) {
		r, _ := open(b, `im.on_message(function(c) end, {name = "core", on_error = "open"})`)
		b.ReportAllocs()
		for b.Loop() {
			if r.Asks(session.AboutFrames) || r.Asks(session.AboutRoutes) {
				b.Fatal("somebody is asked")
			}
		}
	})
	b.Run("one hook", func(b *testing.B) {
		r, _ := open(b, `im.on_frame(function(c) if c.size > 20000 and c.action == "chat.send" then return im.deny("too_large") end end, {name = "frame", on_error = "open"})`)
		f := someone(17)
		b.ReportAllocs()
		for b.Loop() {
			if no := r.Frame(f); no != nil {
				b.Fatal(no)
			}
		}
	})
}
