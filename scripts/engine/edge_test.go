package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// here is what an edge knows of a session.
type here map[engine.Fact]string

func (h here) Fact(f engine.Fact) string { return h[f] }

// atEdge are the options of an edge.
func atEdge(o *engine.Options) {
	o.Edge, o.Pools = true, []string{"default", "blue", "green"}
}

// at is a bundle of one hook of that function.
func at(function, body string) map[string]string {
	onError := `, on_error = "open"`
	if function == "im.on_route" {
		onError = ""
	}
	return map[string]string{"a.lua": `local im = require("im") ` + function + `(function(c) ` + body + ` end, {name = "h"` + onError + `})`}
}

// A hook at the edge sees what there is at its point, by type, and nil for all else.
func TestEdgeFields(t *testing.T) {
	frame := here{engine.FactUser: "17", engine.FactTransport: "websocket", engine.FactTLS: "false", engine.FactCodec: "json",
		engine.FactSize: "1200", engine.FactSequence: "4294967295", engine.FactWaiting: "0", engine.FactExcess: "3"}
	for _, row := range []struct {
		function, body string
		point          engine.Point
		call           engine.Call
	}{
		{"im.on_frame", `assert(c.action == "chat.send" and c.user == "17" and c.size == 1200 and c.codec == "json" and c.sequence == 4294967295 and c.waiting == 0 and c.excess == 3)
			assert(c.tls == false and c.transport == "websocket" and c.text == nil and c.path == nil and c:tagged("vip") and not c:tagged("other"))`,
			engine.Frame, engine.Call{Action: "chat.send", Facts: frame, Tags: []string{"vip"}}},
		{"im.on_connect", `assert(c.action == nil and c.user == nil and c.size == nil and c.client_addr == "192.0.2.1:9" and c.path == "/ws" and c.tls)
			assert(c:header("user-agent") == "a/1" and c:header("x-y") == nil)`,
			engine.Connect, engine.Call{Facts: here{engine.FactClientAddr: "192.0.2.1:9", engine.FactPath: "/ws", engine.FactTLS: "true"}, Headers: []engine.Header{{Name: "user-agent", Value: "a/1"}}}},
		{"im.on_route", `assert(c.action == "room.join" and c.user == nil and not c:tagged("vip"))`, engine.Route, engine.Call{Action: "room.join"}},
	} {
		e := load(t, at(row.function, row.body), atEdge)
		if v := e.Ask(t.Context(), row.point, &row.call); v.Err != nil || v.Denied() {
			t.Errorf("%s: got %+v", row.function, v)
		}
	}
}

func TestEdgeVerdicts(t *testing.T) {
	for _, row := range []struct {
		name, function, body string
		point                engine.Point
		want                 string // decision, target and code, or part of the fault
	}{
		{"deny", "im.on_connect", `return im.deny("rejected", "no")`, engine.Connect, "deny  rejected"},
		{"tags", "im.on_connect", `c:tag("vip")`, engine.Connect, "allow  "},
		{"throttle", "im.on_frame", `return im.throttle(5)`, engine.Frame, "deny  rate_limited"},
		{"rate", "im.on_frame", `local ok = im.rate("k", 1, "1m") assert(ok) ok = im.rate("k", 1, "1m") if not ok then return im.throttle(5) end`, engine.Frame, "deny  rate_limited"},
		{"reroute", "im.on_route", `return im.reroute("green")`, engine.Route, "reroute green "},
		{"default", "im.on_route", `return im.reroute("default")`, engine.Route, "reroute default "},
		{"nobody says", "im.on_route", ``, engine.Route, "allow  "},
		{"unknown pool", "im.on_route", `return im.reroute("grene")`, engine.Route, `no pool is named "grene": there are default, blue, green`},
		{"a denial where none can be", "im.on_route", `return im.deny("rejected")`, engine.Route, "returned deny, which im.on_route cannot do"},
		{"a route where none can be", "im.on_frame", `return im.reroute("green")`, engine.Frame, "returned reroute, which im.on_frame cannot do"},
		{"kv", "im.on_frame", `im.kv.set("k", "v", "1m")`, engine.Frame, "im.kv.set is for hooks in the core and tests, not for hooks at the edge"},
		{"emit", "im.on_connect", `im.emit("e")`, engine.Connect, "im.emit is for hooks in the core, not for hooks at the edge"},
		{"kick", "im.on_route", `im.kick("1")`, engine.Route, "im.kick is for hooks in the core, not for hooks at the edge"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := load(t, at(row.function, row.body), atEdge)
			v := e.Ask(t.Context(), row.point, &engine.Call{Action: "chat.send", Facts: here{}})
			if got := fmt.Sprintf("%s %s %s", v.Decision, v.Target, v.Code); v.Err == nil && got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			} else if v.Err != nil && !strings.Contains(v.Err.Error(), row.want) {
				t.Errorf("got %v, want %q", v.Err, row.want)
			} else if v.Err != nil && v.Decision != engine.Allow {
				t.Errorf("got %v behind a fault", v.Decision)
			}
		})
	}
}

// A hook on the way of each frame is cut where one in the core goes on.
func TestFrameBudget(t *testing.T) {
	const loop = `for i = 1, 10000 do local x = i end`
	for function, p := range map[string]engine.Point{"im.on_frame": engine.Frame, "im.on_route": engine.Route, "im.on_connect": engine.Connect} {
		v := load(t, at(function, loop), atEdge).Ask(t.Context(), p, &engine.Call{})
		if cut := v.Err != nil; cut != (p != engine.Connect) {
			t.Errorf("%s: got %v", function, v.Err)
		}
	}
}

// A file with hooks for both sides loads on both, with its tests: each side asks its own,
// and on_tick runs in the core only.
func TestBothSides(t *testing.T) {
	files := map[string]string{"a.lua": `local im = require("im")
im.on_message(function(c) if im.kv.get("k") then return im.deny("rejected") end end, {name = "core", on_error = "closed"})
im.on_frame(function(c) if c.size > 10 then return im.deny("rejected") end end, {name = "edge", on_error = "closed"})
im.on_route(function(c) if c:tagged("t") then return im.reroute("green") end end, {name = "route"})
im.on_connect(function(c) if c:header("user-agent") == "bad" then return im.deny("rejected") end c:tag("t") end, {name = "connect", on_error = "open"})
im.on_tick("1s", function() end, {name = "tick"})
im.before("shop.order", function(c) if c.req.text == "no" then return im.deny("rejected") end end, {name = "order", on_error = "open"})`,
		"a_test.lua": `local im = require("im")
test("core", function(t)
  assert(not t.message{text = "hi"}.denied)
  im.kv.set("k", "v", "1m")
  assert(t.message{text = "hi"}.rule == "core")
  assert(t.call{action = "shop.order", req = {text = "no"}}.rule == "order")
  t.tick("tick")
end)
test("edge", function(t)
  assert(t.frame{size = 11}.rule == "edge" and not t.frame{size = 10}.denied)
  assert(t.route{tags = {"t"}}.target == "green" and t.route{}.target == nil)
  assert(t.connect{headers = {["user-agent"] = "bad"}}.denied)
  local v = t.connect{tls = false, client_addr = "192.0.2.7:1"}
  assert(not v.denied and v.tags.t)
end)`}
	core := load(t, files, func(o *engine.Options) {
		o.RequireTests = true
		o.Actions = []engine.Action{{Name: "chat.send", Message: true}, {Name: "shop.order", Request: func() any { return &order{} }}}
	})
	edge := load(t, files, atEdge)
	if v, _ := ask(t, core, "hello"); v.Denied() {
		t.Errorf("in the core: got %+v", v)
	}
	if v := edge.Ask(t.Context(), engine.Frame, &engine.Call{Facts: here{engine.FactSize: "11"}}); v.Rule != "edge@a.lua:3" {
		t.Errorf("at the edge: got %+v", v)
	}
	if core.Status().Bundle != edge.Status().Bundle {
		t.Error("the same files have two hashes")
	}
	for _, p := range []engine.Point{engine.Connect, engine.Frame, engine.Route} {
		if !edge.Asks(p) {
			t.Errorf("point %d: nobody is asked", p)
		}
	}
	if order := edge.Order("im.on_frame"); len(order) != 1 || order[0].Rule != "edge@a.lua:3" {
		t.Errorf("got %+v", order)
	}
}

// What an edge refuses is refused in the core too, and the other way round.
func TestBothSidesAreChecked(t *testing.T) {
	for _, body := range []string{
		`im.on_frame(function(c) end, {name = "h"})`,
		`im.on_route(function(c) end, {name = "h", on_error = "open"})`,
		`im.on_connect(function(c) end, {name = "h", on_error = {code = "nope"}})`,
		`im.on_message(function(c) end, {name = "h"})`,
	} {
		for _, change := range []func(*engine.Options){nil, atEdge} {
			if _, err := tryWith(t, map[string]string{"a.lua": `local im = require("im") ` + body}, change); err == nil {
				t.Errorf("%s: got no error", body)
			}
		}
	}
}

func tryWith(t *testing.T, files map[string]string, change func(*engine.Options)) (*engine.Engine, error) {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, files)
	o := options(dir, &logs{})
	if change != nil {
		change(&o)
	}
	e, err := engine.New(o)
	if err == nil {
		t.Cleanup(func() { e.Close() })
	}
	return e, err
}

// Where no hook is registered at a point, to ask whether one is costs next to nothing.
func TestAsksAllocatesNothing(t *testing.T) {
	e := load(t, rule(threeFields), atEdge)
	if n := testing.AllocsPerRun(100, func() {
		if e.Asks(engine.Frame) || e.Asks(engine.Route) || e.Asks(engine.Connect) {
			t.Fatal("somebody would be asked")
		}
	}); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

func BenchmarkEdge(b *testing.B) {
	b.Run("no hook", func(b *testing.B) {
		e := load(b, rule(threeFields), atEdge)
		for b.Loop() {
			if e.Asks(engine.Frame) {
				b.Fatal("somebody would be asked")
			}
		}
	})
	b.Run("three fields", func(b *testing.B) {
		e := load(b, at("im.on_frame", `if c.action == "chat.send" and c.size > 20000 and c.excess > 0 then return im.deny("rejected") end`),
			func(o *engine.Options) { atEdge(o); o.Wall, o.ChainWall = time.Second, time.Second })
		facts := here{engine.FactSize: "100", engine.FactExcess: "0"}
		b.ReportAllocs()
		for b.Loop() {
			if v := e.Ask(b.Context(), engine.Frame, &engine.Call{Action: "chat.send", Facts: facts}); v.Err != nil {
				b.Fatal(v.Err)
			}
		}
	})
}
