package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// runaways are scripts that would hold up or kill a server that let them. Each
// is stopped within its budget, or refused before it allocates.
var runaways = []struct{ name, body, kind, msg string }{
	{"endless loop", `while true do end`, "budget", "budget spent"},
	{"loop inside of pcall", `while true do pcall(function() while true do end end) end`, "budget", "budget spent"},
	{"loop in an xpcall handler", `xpcall(error, function() while true do end end)`, "budget", "budget spent"},
	{"tail recursion", `local function f() return f() end f()`, "budget", "budget spent"},
	{"recursion", `local function f() return 1 + f() end f()`, "script", "stack overflow"},
	{"recursion under pcall", `local function f() return pcall(f) end while true do f() end`, "budget", "budget spent"},
	{"__tostring recursion", `local t = setmetatable({}, {}) getmetatable(t).__tostring = function(x) return tostring(x) end tostring(t)`, "script", "stack overflow"},
	{"__index cycle", `local t = {} setmetatable(t, {__index = t}) local x = t.x`, "script", "too many recursions"},
	{"table growth", `local t = {} while true do t[#t + 1] = {} end`, "budget", "budget spent"},
	{"doubling", `local s = "x" while true do s = s .. s end`, "script", "string would have"},
	{"doubling in a chain", `local s = "x" while true do s = s .. s .. s .. (s .. s) end`, "script", "string would have"},
	{"doubling under pcall", `local s = "x" while true do pcall(function() s = s .. s end) end`, "budget", "budget spent"},
	{"doubling by format", `local s = "x" while true do s = string.format("%s%s", s, s) end`, "script", "string would have"},
	{"doubling by gsub", `local s = "x" while true do s = s:gsub(".", "%0%0") end`, "script", "too long to search"},
	{"doubling by concat", `local s = "x" while true do s = table.concat({s, s}) end`, "script", "string would be longer"},
	{"doubling by upper", `local s = "ɐ" while true do s = s:rep(2):upper() end`, "script", "string would"},
	{"rep of 64 MiB", `return ("x"):rep(67108864)`, "script", "string would be longer"},
	{"rep of 10^12", `return ("x"):rep(1e12)`, "script", "string would be longer"},
	{"rep of nothing", `local s = (""):rep(1e300) assert(s == "") while true do end`, "budget", "budget spent"},
	{"exponential pattern", `return ("a"):rep(26):find(("a?"):rep(26) .. ("a"):rep(26) .. "b")`, "script", "pattern gave up"},
	{"cubic pattern", `return ("x"):rep(2000):find(".-.-.-b")`, "script", "pattern gave up"},
	{"four terms", `return ("x"):rep(3000):find("x*x*x*x*b")`, "script", "pattern gave up"},
	{"braces", `return ("("):rep(16000):find("%b()")`, "script", "pattern gave up"},
	{"deep matching", `return ("x"):rep(900000):find("^.*b")`, "script", "string would be longer"},
	{"pattern on a long text", `return ("x"):rep(200000):find("^.*b")`, "script", "too long to search"},
	{"long pattern", `return ("x"):find(("x?"):rep(1000))`, "script", "pattern is longer"},
	{"bad patterns again and again", `while true do pcall(string.find, "x", "[") end`, "budget", "budget spent"},
	{"costly patterns again and again", `while true do pcall(string.find, ("x"):rep(2000), ".-.-.-b") end`, "budget", "budget spent"},
	{"gsub on 200 k", `return ("a"):rep(200000):gsub("a", "bb")`, "script", "too long to search"},
	{"gsub with a Go function", `while true do local s = ("a"):rep(16000):gsub(".", tostring) end`, "budget", "budget spent"},
	{"gsub that loops inside", `return ("ab"):gsub(".", function() while true do end end)`, "budget", "budget spent"},
	{"gmatch on 1 M", `for w in ("a "):rep(500000):gmatch("%a+") do end`, "script", "string would be longer"},
	{"gmatch again and again", `while true do for w in ("a "):rep(8000):gmatch("%a+") do end end`, "budget", "budget spent"},
	{"one huge index", `local t = {} t[67108863] = 1 while true do end`, "budget", "budget spent"},
	{"many large indexes", `local k = {} while true do local t = {} t[65535] = 1 k[#k + 1] = t end`, "budget", "budget spent"},
	{"byte of 600 k", `return ("x"):rep(600000):byte(1, -1)`, "script", "string would be longer"},
	{"byte of 60 k", `return ("x"):rep(60000):byte(1, -1)`, "script", "60000 results"},
	{"unpack of 10^9", `return unpack({}, 1, 1e9)`, "script", "results, the limit is"},
	{"unpack of nonsense", `return unpack({}, -1e308, 1e308)`, "script", "results, the limit is"},
	{"char of too many", `return string.char(unpack({}, 1, 8001))`, "script", "8001 results"},
	{"concat of nonsense", `return table.concat({}, "", -1e308, 1e308)`, "script", "elements, the limit is"},
	{"format width", `return string.format(("%999999d"):rep(100), 1)`, "script", "invalid format"},
	{"format precision", `return string.format("%.999f", 1)`, "script", "invalid format"},
	{"format of Go", `return string.format("%p", {})`, "script", "invalid conversion"},
	{"deep varargs", `local function f(...) return f(1, ...) end f()`, "budget", "budget spent"},
	{"stack overflow in a tail call", `local function f(...) return f(` + strings.Repeat("1, ", 100) + `...) end
		local list = {} for i = 1, 7900 do list[i] = i end
		pcall(pcall, pcall, f, unpack(list))`, "panic", "VM gave up"},
	{"sort of equal long strings", `local s, t = ("x"):rep(200000), {} for i = 1, 5000 do t[i] = s .. i end table.sort(t)`, "budget", "budget spent"},
	{"sort with a Go comparator", `local t = {} for i = 1, 8000 do t[i] = i end table.sort(t, rawequal) while true do table.sort(t, rawequal) end`, "budget", "budget spent"},
	{"insert at the front", `local t = {} while true do table.insert(t, 1, 1) end`, "budget", "budget spent"},
	{"keys that never leave", `local t, i = {}, 0 while true do i = i + 1 t["k" .. i] = 1 t["k" .. i] = nil end`, "budget", "budget spent"},
	{"next over dead keys", `local t = {} for i = 1, 3000 do t["k" .. i] = 1 t["k" .. i] = nil end while true do next(t) end`, "budget", "budget spent"},
	{"NaN keys", `local t = {} t[0/0] = 1`, "script", "NaN"},
	{"log in a loop", `while true do im.log.info("x") end`, "budget", "budget spent"},
	{"number as a text in a loop", `local s = "1" while true do s = s + 1 end`, "budget", "budget spent"},
}

func TestRunaways(t *testing.T) {
	for _, test := range runaways {
		t.Run(test.name, func(t *testing.T) {
			e := load(t, rule(`if c.text == "ok" then return end `+test.body), func(o *engine.Options) {
				switch test.name {
				case "deep varargs":
					o.Wall = 5 * time.Millisecond // only the clock stops these
				case "stack overflow in a tail call":
					o.Wall, o.Instructions = time.Minute, 1<<22 // who has so much time pays for what is allocated
				}
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			v, _ := ask(t, e, "go")
			runtime.ReadMemStats(&after)
			f := fault(t, v)
			if f.Kind != test.kind || !strings.Contains(f.Msg, test.msg) {
				t.Errorf("got %+v, want kind %s, message with %q", f, test.kind, test.msg)
			}
			// What is charged at once, at most for the longest string and the longest match, may exceed what was left.
			if v.Units > 110_000 && f.Kind != "panic" {
				t.Errorf("%d units of work were done, of 100,000", v.Units)
			}
			// 100,000 units pay for some 6 MiB of strings; the VM's own tables cost more.
			if got := after.TotalAlloc - before.TotalAlloc; got > 192<<20 {
				t.Errorf("allocated %d MiB", got>>20)
			}
			if v, _ := ask(t, e, "ok"); v.Err != nil || v.Denied() {
				t.Errorf("the next call got %+v, want a healthy VM", v)
			}
		})
	}
}

// Instructions that each fill a large table are stopped after few of them. Those that write to a large index pay
// before they do. What others allocate is bounded by the time that they take: without a look at the clock every few instructions the
// third last of these took gigabytes, and half a minute on a busy machine.
func TestMemoryBombs(t *testing.T) {
	const some = `local some = {} for i = 1, 7900 do some[i] = i end `
	for _, body := range []string{
		`local k = {} while true do local t = {} t[65535] = 1 k[#k + 1] = t end`,
		`local k = {} while true do k[#k + 1] = {[65535] = 1} end`,
		`local k = {} while true do k[#k + 1] = {[1e9] = 1, [65535] = 1} end`,
		`local k = {} while true do k[#k + 1] = {[70000.5] = 1, [65535] = 1} end`,
		`local k = {} while true do k[#k + 1] = {` + stepped() + `} end`,
		`local k, i, j = {}, 65535, 256 while true do local t = {} t[i], t[j] = 1, 2 k[#k + 1] = t end`,
		`local k = {} while true do local t = {} rawset(t, 65535, 1) k[#k + 1] = t end`,
		`local k, t = {} local function f() t = {} k[#k + 1] = t return 65535 end while true do t = {} t[f()] = f() end`,
		`local k = {} while true do local t = {} setmetatable({}, {__newindex = t})[65535] = 1 k[#k + 1] = t end`,
		`local k, m = {}, {__len = function() return 65534 end} while true do local t = setmetatable({}, m) t[#t + 1] = 1 k[#k + 1] = t end`,
		`local k = {} ` + strings.Repeat(`do local t = {} t[65535] = 1 k[#k + 1] = t end `, 400) + `while true do end`,
		some + `local k = {} local function f(...) while true do k[#k + 1] = {...} end end f(unpack(some))`,
		some + `local k = {} while true do k[#k + 1] = {unpack(some)} end`,
		`local k = {} local function f(...) k[#k + 1] = {...} return f(1, 2, 3, 4, 5, 6, 7, 8, ...) end f()`,
	} {
		e := load(t, rule(`if c.text == "ok" then return end `+body), func(o *engine.Options) { o.Wall, o.ChainWall = 0, 0 }) // the usual ones
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v, _ := ask(t, e, "go")
		runtime.ReadMemStats(&after)
		if f := fault(t, v); f.Kind != engine.FaultBudget {
			t.Errorf("%.70s: got %+v", body, f)
		}
		most := uint64(512)
		if strings.Contains(body, "6553") { // paid: units decide, the clock need not
			most = 32
		}
		if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > most {
			t.Errorf("%.70s: allocated %d MiB, %d units", body, got, v.Units)
		} else {
			t.Logf("%.70s: allocated %d MiB, %d units", body, got, v.Units)
		}
		eventually(t, "a healthy VM", func() bool { v, _ := ask(t, e, "ok"); return v.Err == nil })
	}
}

// stepped are fields that fill a table, each of them a little.
func stepped() string {
	var fields strings.Builder
	for k := 256; k < 65536; k += 256 {
		fmt.Fprintf(&fields, "[%d] = 1, ", k)
	}
	return fields.String()
}

// gathering is what cores share; whoever asks it waits for others to ask.
type gathering struct {
	engine.Shared
	all sync.WaitGroup
}

func (g *gathering) Get(context.Context, string) (string, bool, error) {
	g.all.Done()
	g.all.Wait()
	return "", false, nil
}

// Who asks together has no more than each of them: all that many bombs allocate at once is bounded by the number
// of them, and so is what is live, which ends with their VMs.
func TestMemoryBombsTogether(t *testing.T) {
	const askers, share = 16, 32 << 20 // octets that one may allocate, see TestMemoryBombs
	store := &gathering{}
	store.all.Add(askers)
	e := load(t, rule(`if c.text == "ok" then return end im.shared.get("all") local k = {} while true do local t = {} t[65535] = 1 k[#k + 1] = t end`),
		func(o *engine.Options) { o.Wall, o.ChainWall, o.Wait, o.Shared = 0, 0, time.Minute, store })
	var before, after, rest runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	verdicts := make([]engine.Verdict, askers)
	var done sync.WaitGroup
	for i := range verdicts {
		done.Go(func() { verdicts[i], _ = ask(t, e, "go") })
	}
	done.Wait()
	runtime.ReadMemStats(&after)
	for _, v := range verdicts {
		if f := fault(t, v); f.Kind != engine.FaultBudget {
			t.Errorf("got %+v", f)
		}
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > askers*share {
		t.Errorf("%d askers allocated %d MiB", askers, got>>20)
	} else {
		t.Logf("%d askers allocated %d MiB", askers, got>>20)
	}
	eventually(t, "healthy VMs", func() bool { v, _ := ask(t, e, "ok"); return v.Err == nil && e.Status().VMs.Broken == askers })
	eventually(t, "nothing is kept", func() bool {
		runtime.GC()
		runtime.ReadMemStats(&rest)
		return int64(rest.HeapAlloc)-int64(before.HeapAlloc) < share/2
	})
}

// What a list takes that grows one by one is paid by its instructions, and so is a sparse one of other keys: no
// write to what is there costs more than another.
func TestGrowingIsPaidOnce(t *testing.T) {
	for _, test := range []struct {
		name, body string
		units      int // at most
	}{
		{"a list", `local t = {} for i = 1, 4000 do t[i] = i end`, 4000 * 9},
		{"a list by its length", `local t = {} for i = 1, 4000 do t[#t + 1] = i end`, 4000 * 11},
		{"from the end", `local t = {} for i = 4000, 1, -1 do t[i] = i end`, 4000*9 + 1000},
		{"numbers beyond arrays", `local t = {} for i = 1, 4000 do t[1000000 + i] = i end`, 4000 * 10},
		{"fractions", `local t = {} for i = 1, 4000 do t[60000.5 + i] = i end`, 4000 * 10},
		{"a table of constants", `local t = {[60001] = 1, [60002] = 1, [60003] = 1, [60004] = 1}`, 15_100},
		{"one large index", `local t = {} t[40000] = 1`, 10_100},
	} {
		v, _ := ask(t, load(t, rule(test.body), nil), "hi")
		if v.Err != nil || v.Units > test.units {
			t.Errorf("%s: got %d units, %v, want %d at most", test.name, v.Units, v.Err, test.units)
		}
	}
}

// So are those of whatever has more time and work than a hook: at the top of a file, and in a test
// of the bundle. The server goes on with what it has.
func TestMemoryBombsWhileLoading(t *testing.T) {
	const bomb = `local k = {} while true do local t = {} t[65535] = 1 k[#k + 1] = t end`
	const small = `local some = {} for i = 1, 300 do some[i] = i end
local k, n = {}, 0
local function f(...) while true do n = n + 1 k[n] = {...} end end
f(unpack(some))`
	alternating := `local k = {} while true do ` + strings.Repeat(`do local t = {} t[65535] = 1 k[#k + 1] = t end `, 6) +
		`local n ` + strings.Repeat(`n = 1 `, 34) + `end`
	for name, files := range map[string]map[string]string{
		"loading":               {"a.lua": bomb},
		"a test":                {"a.lua": "-- none", "a_test.lua": `test("bomb", function(t) ` + bomb + ` end)`},
		"loading, small tables": {"a.lua": small},
		"loading, now and then": {"a.lua": alternating},
		"a test, small tables":  {"a.lua": "-- none", "a_test.lua": `test("bomb", function(t) ` + small + ` end)`},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := try(t, files)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "budget spent") {
			t.Errorf("%s: got %v", name, err)
		}
		if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 512 {
			t.Errorf("%s: allocated %d MiB", name, got)
		} else {
			t.Logf("%s: allocated %d MiB: %v", name, got, err)
		}
	}
}

// So are those of whatever no message waits for, and of scripted actions, which have more time and work than a hook.
func TestMemoryBombsElsewhere(t *testing.T) {
	for name, body := range map[string]string{
		"large tables":   `local k = {} while true do local t = {} t[65535] = 1 k[#k + 1] = t end`,
		"varargs":        `local some = {} for i = 1, 7900 do some[i] = i end local k = {} local function f(...) while true do k[#k + 1] = {...} end end f(unpack(some))`,
		"small tables":   `local k = {} while true do k[#k + 1] = {1, 2, 3, 4, 5, 6, 7, 8} end`,
		"doubled string": `local s = "x" while true do s = s .. s end`,
		"many strings":   `local k, s = {}, ("x"):rep(60000) while true do k[#k + 1] = s .. #k end`,
	} {
		t.Run(name, func(t *testing.T) {
			e := load(t, map[string]string{"a.lua": `local im = require("im")
local function bomb(armed) if armed then ` + body + ` end end
im.after("chat.send", function(c) bomb(c.code == "rejected") end, {name = "after"})
im.action("lua.bomb", {number = 200, request = {armed = {type = "boolean"}}}, function(c) bomb(c.req.armed) end)`}, nil)
			bounded := func(what string, run func()) {
				t.Helper()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				run()
				runtime.ReadMemStats(&after)
				got := (after.TotalAlloc - before.TotalAlloc) >> 20
				t.Logf("%s: allocated %d MiB", what, got)
				if got > 512 {
					t.Errorf("%s: allocated %d MiB", what, got)
				}
			}
			answered := func(code string) { e.Answered(&engine.Call{Action: "chat.send", Code: code}) }
			bounded("after", func() {
				answered("rejected")
				eventually(t, "the after hook is stopped", func() bool { return strings.HasPrefix(faults(e), "after: ") })
			})
			answered("ok")
			eventually(t, "the after hook is called again", func() bool { return calls(e, "after") == 2 })
			bounded("action", func() {
				p, err := perform(t, e, 200, `{"armed":true}`)
				if err != nil || !p.Verdict.Denied() {
					t.Errorf("got %+v, %v, want the action stopped", p.Verdict, err)
				}
			})
			eventually(t, "a healthy VM", func() bool {
				p, err := perform(t, e, 200, `{"armed":false}`)
				return err == nil && !p.Verdict.Denied()
			})
		})
	}
}

// What each call leaves in a VM ends with the VM, also when it cost few instructions and took
// no long time: a table of a mebibyte does.
func TestLeaksEndWithTheVM(t *testing.T) {
	const leaky = `local kept = require("lib.kept")
im.on_message(function(c)
	local t = {}
	t[65535] = 1
	kept[#kept + 1] = t
end, {name = "leaks", on_error = "open"})`
	e := load(t, map[string]string{"a.lua": `local im = require("im") ` + leaky, "lib/kept.lua": "return {}"}, func(o *engine.Options) { o.VMs = 1 })
	most := uint64(0)
	for range 500 {
		if v, _ := ask(t, e, "hi"); v.Err != nil {
			t.Fatal(v.Err)
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
	}
	vms := e.Status().VMs
	t.Logf("%d MiB at most, %d VMs replaced", most>>20, vms.Replaced)
	if vms.Replaced == 0 || vms.Broken > 0 {
		t.Errorf("got %+v after 500 calls that leave 1 MiB each", vms)
	}
}

// The clock stops what the instruction budget would let run for minutes.
func TestWallTime(t *testing.T) {
	for _, body := range []string{
		`while true do end`,
		`while true do pcall(function() while true do end end) end`,
		`local k = {} while true do local t = {} t[65535] = 1 end`,
		`while true do local t = {} for i = 1, 100 do t[i] = {} end end`,
	} {
		e := load(t, rule(`if c.text == "ok" then return end `+body), func(o *engine.Options) {
			o.Instructions, o.Wall = 1<<40, 5*time.Millisecond
		})
		v, _ := ask(t, e, "go")
		if f := fault(t, v); f.Kind != "budget" || !strings.Contains(f.Msg, "time budget spent") {
			t.Errorf("%s: got %+v", body, f)
		}
		// The machine may be too busy for 5 ms; a healthy VM answers sooner or later.
		eventually(t, "a healthy VM", func() bool { v, _ := ask(t, e, "ok"); return v.Err == nil })
	}
}

func TestChainTime(t *testing.T) {
	files := map[string]string{"a.lua": `local im = require("im")
for i = 1, 5 do
	im.on_message(function(c) while true do end end, {name = "slow" .. i, on_error = "open"})
end
im.on_message(function(c) return im.deny("rejected", "reached") end, {name = "z", priority = -1, on_error = "closed"})`}
	e := load(t, files, func(o *engine.Options) {
		o.Instructions, o.Wall, o.ChainWall = 1<<40, 10*time.Millisecond, 20*time.Millisecond
	})
	v, _ := ask(t, e, "go")
	if !v.Denied() || v.Code != engine.FaultCode || v.Rule != "z@a.lua:5" {
		t.Errorf("got %+v, want the last hook's on_error, for want of time", v)
	}
	if last := e.Status().Hooks[5]; last.Calls != 0 {
		t.Errorf("got %+v, want the last hook not called", last)
	}
}

// What is not there cannot be used.
func TestRemoved(t *testing.T) {
	for _, name := range []string{"load", "loadstring", "dofile", "loadfile", "io", "os", "debug", "coroutine", "channel", "package",
		"collectgarbage", "getfenv", "setfenv", "newproxy", "module", "_printregs", "test"} {
		e := load(t, rule("return "+name), nil)
		v, _ := ask(t, e, "go")
		if f := fault(t, v); !strings.Contains(f.Msg, "global '"+name+"' is not declared") {
			t.Errorf("%s: got %+v", name, f)
		}
	}
	e := load(t, rule(`return string.dump or math.randomseed or table.getn and 1`), nil)
	if v, _ := ask(t, e, "go"); v.Err != nil {
		t.Errorf("got %v, want none of them", v.Err)
	}
}

// Ways out of the sandbox, and ways to keep state in it.
func TestEscapes(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"write to string", `string.rep = 1`, "string is read-only"},
		{"write to strings' index", `("").__index.rep = 1`, "attempt to index"},
		{"strings' metatable", `getmetatable("").__index = 1`, "attempt to index"},
		{"strings re-wired", `setmetatable("", {})`, "table expected"},
		{"functions re-wired", `setmetatable(print, {})`, "table expected"},
		{"read-only view's metatable", `setmetatable(string, {})`, "protected"},
		{"_G written", `_G.x = 1`, "_G is read-only"},
		{"_G rawset", `rawset(_G, "x", 1)`, "read-only"},
		{"_G inserted", `table.insert(_G, "x")`, "read-only"},
		{"im written", `im.deny = 1`, "im is read-only"},
		{"im.log written", `im.log.x = 1`, "im.log is read-only"},
		{"library by rawset", `rawset(string, "x", 1)`, "read-only"},
		{"library by sort", `table.sort(string)`, "read-only"},
		{"message's metatable", `return getmetatable(c).__index`, "attempt to index"},
		{"verdict looked into", `return im.allow().x`, "attempt to index"},
		{"guard found by its name", `return _G["(concat)"]`, "not declared"},
		{"global function redefined", `function helper() end`, "read-only after loading"},
	} {
		t.Run(test.name, func(t *testing.T) {
			files := rule(test.body)
			files["a.lua"] = "function helper() return 1 end"
			v, _ := ask(t, load(t, files, nil), "go")
			if f := fault(t, v); !strings.Contains(f.Msg, test.want) {
				t.Errorf("got %+v, want %q", f, test.want)
			}
		})
	}
}

// Sources that the compiler could choke on are refused, quickly.
func TestCompileBombs(t *testing.T) {
	many := func(n int, part string) string { return strings.Repeat(part, n) }
	for _, test := range []struct{ name, source, want string }{
		{"braces", "x = " + many(100_000, "{"), "syntax error"},
		{"closed braces", "x = " + many(100_000, "{") + many(100_000, "}"), "nested more than"},
		{"parentheses", "x = " + many(100_000, "(") + "1" + many(100_000, ")"), ""},
		{"minus", "x = " + many(100_000, "- ") + "1", "nested more than"},
		{"sum", "x = 1" + many(100_000, "+y"), "nested more than"},
		{"calls of calls", "x = y" + many(100_000, "()"), "nested more than"},
		{"concatenation", "x = ''" + many(60_000, "..y"), "parts joined"},
		{"blocks", many(30_000, "do ") + many(30_000, "end "), "nested more than"},
		{"functions", many(10_000, "return function() ") + many(10_000, "end "), "nested more than"},
		{"elseif", "local y = 1 if y == 1 then " + many(14_000, "elseif y then "), "syntax error"},
		{"gotos", many(10_000, "goto a ") + "::a::", "labels and gotos"},
		{"calls", "local f = print " + many(30_000, "f() "), "calls written"},
	} {
		t.Run(test.name, func(t *testing.T) { bomb(t, test.source, test.want) })
	}
	var constants strings.Builder
	for i := range 20_000 {
		constants.WriteString("x=" + string(rune('a'+i%26)) + strings.Repeat("b", i%3) + strings.ToLower(itoa(i)) + " ")
	}
	t.Run("constants", func(t *testing.T) { bomb(t, "local x "+constants.String(), "different names") })
}

func itoa(n int) string {
	var out strings.Builder
	for ; n > 0; n /= 26 {
		out.WriteString(string(rune('a' + n%26)))
	}
	return out.String()
}

// bomb loads source, which must be refused with want; empty: any answer will do.
func bomb(t *testing.T, source, want string) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.lua": source})
	e, err := engine.New(options(dir, &logs{}))
	if err == nil {
		e.Close()
	}
	if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %.200v, want %q", err, want)
	}
}

func TestCompileTimeIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 16 {
		put(t, dir, map[string]string{"f" + itoa(i+1) + ".lua": "local x " + strings.Repeat("x = x + 1 ", 25_000)})
	}
	o := options(dir, &logs{})
	o.LoadWall = time.Millisecond
	if e, err := engine.New(o); err == nil {
		e.Close()
		t.Error("got no error, want the load budget to end it")
	} else if !strings.Contains(err.Error(), "compiling took") {
		t.Errorf("got %v", err)
	}
}

func TestConcatenation(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`c.text = "a" .. "b" .. 1 .. 2.5 .. "c"`, "ab12.5c"},
		{`local function two() return "x", "y" end c.text = "a" .. two()`, "ax"},
		{`local function two() return "x", "y" end c.text = (two()) .. two()`, "xx"},
		{`local function f(...) return "<" .. ... end c.text = f("x", "y")`, "<x"},
		{`local t = setmetatable({}, {__concat = function(a, b) return (type(a) == "table" and "T" or a) .. (type(b) == "table" and "T" or b) end})
			c.text = "a" .. t .. "b"`, "aTb"},
		{`local s = "" for i = 1, 3 do s = s .. i end c.text = s`, "123"},
		{`local function f() return "a" .. "b" end c.text = f() .. (f())`, "abab"},
		{`c.text = ("x" .. "y"):rep(2) .. #("a" .. "b")`, "xyxy2"},
		{`local t = {"a" .. "b", ["k" .. 1] = "v"} c.text = t[1] .. t.k1`, "abv"},
		{`c.text = select("#", "a" .. "b") .. ""`, "1"},
	} {
		if v, m := ask(t, load(t, rule(test.body), nil), "go"); m.Text != test.want {
			t.Errorf("%s: got %q (%v), want %q", test.body, m.Text, v.Err, test.want)
		}
	}
	v, _ := ask(t, load(t, rule(`local n
		return "a" .. n`), nil), "go")
	if f := fault(t, v); !strings.Contains(f.Msg, "rule.lua:3: attempt to concatenate a nil value") {
		t.Errorf("got %+v", f)
	}
}
