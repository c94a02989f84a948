package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"freeim/scripts/engine"
)

func TestKV(t *testing.T) {
	lua(t, `
same(nil, (im.kv.get("a")))
im.kv.set("a", "1", "10s")
same("1", im.kv.get("a"))
im.kv.set("a", 2.5, 1000)
same("2.5", im.kv.get("a"))
t.wait(1001)
same(nil, (im.kv.get("a")))
same(1, im.kv.incr("n", "1m"))
t.wait(30000)
same(6, im.kv.incr("n", "1m", 5))
same("6", im.kv.get("n"))
t.wait(30001)
same(-1, im.kv.incr("n", "1m", -1))
im.kv.set("text", "x", "1m")
fails("no whole number", im.kv.incr, "text", "1m")
im.kv.set("text", "9223372036854775807", "1m")
fails("no whole number", im.kv.incr, "text", "1m")
im.kv.set("text", 2^53, "1m")
fails("no whole number", im.kv.incr, "text", "1m")
same(true, im.kv.del("text"))
same(false, im.kv.del("text"))
same(true, im.kv.cas("c", nil, "a", "1m"))
same(false, im.kv.cas("c", nil, "b", "1m"))
same(false, im.kv.cas("c", "x", "b", "1m"))
same(true, im.kv.cas("c", "a", "b", "1m"))
same(false, im.kv.cas("d", "a", "b", "1m"))
same("b", im.kv.get("c"))
im.kv.set("octets", "\0\255", "1ms")
same("\0\255", im.kv.get("octets"))
fails("1 to 128 octets", im.kv.get, "")
fails("1 to 128 octets", im.kv.get, ("k"):rep(129))
fails("at most 64 KiB", im.kv.set, "k", ("v"):rep(65537), "1m")
fails("string expected", im.kv.set, "k", {}, "1m")
for _, bad in ipairs{0, -1, 0/0, 1/0, 2592000001, "", "5", "m", "5 m", "-5s", "31d", "99999999999h", "9999999999d", "1w", {}, true} do
	fails("30 days at most", im.kv.set, "k", "v", bad)
end
fails("30 days at most", im.kv.set, "k", "v")
im.kv.set("k", "v", "30d")
`)
}

func TestRate(t *testing.T) {
	lua(t, `
for i = 1, 3 do same(true, 0, im.rate("u", 3, "3s")) end
same(false, 1000, im.rate("u", 3, "3s"))
same(true, 0, im.rate("u", 1, "3s"))
same(true, 0, im.rate("v", 3, "3s"))
t.wait(999)
same(false, 1, im.rate("u", 3, "3s"))
t.wait(1)
same(true, 0, im.rate("u", 3, "3s"))
same(false, 1000, im.rate("u", 3, "3s"))
t.wait(60000)
for i = 1, 3 do same(true, 0, im.rate("u", 3, "3s")) end
same(false, 1000, im.rate("u", 3, "3s"))
fails("from 1 to 1,000,000", im.rate, "u", 0, "1s")
fails("from 1 to 1,000,000", im.rate, "u", 1e7, "1s")
same(true, 0, im.rate("u", 1000000, 1))
`)
}

func TestCounters(t *testing.T) {
	lua(t, `
for i = 1, 4 do same(i, im.count.window("w", "10s")) end
same(4, im.count.window("w", "10s", 0))
same(6, im.count.window("w", "10s", 2))
same(0, im.count.window("w", "20s", 0))
t.wait(10000)
same(6, im.count.window("w", "10s", 0))
t.wait(5000)
same(3, im.count.window("w", "10s", 0))
t.wait(5000)
same(0, im.count.window("w", "10s", 0))
fails("from 0 to 2^32", im.count.window, "w", "10s", -1)
fails("from 0 to 2^32", im.count.window, "w", "10s", 0/0)

same(1, im.count.uniq("m", "a", "10s"))
same(1, im.count.uniq("m", "a", "10s"))
same(2, im.count.uniq("m", "b", "10s"))
t.wait(6000)
same(2, im.count.uniq("m", "b", "10s"))
t.wait(4000)
same(2, im.count.uniq("m", "c", "10s"))
for i = 1, 300 do im.count.uniq("many", i, "1h") end
same(256, im.count.uniq("many", "x", "1h"))
same(256, im.count.uniq("many", 1, "1h"))
`)
}

// What is nearly the same is counted, another text is what the next is held against, and both leave with the span.
func TestCountAlike(t *testing.T) {
	lua(t, `
local function said(text, ...) return im.count.alike("k", text, "10s", ...) end
same(0, said("buy cheap watches at my stall"))
same(1, said("buy cheap watches at my stall"))
same(2, said("BUY cheap wаtches at my stall!"))
same(0, im.count.alike("other", "buy cheap watches at my stall", "10s"))
same(0, im.count.alike("k", "buy cheap watches at my stall", "11s"))
same(0, said("shall we meet at the station?"))
same(3, said("shall we meet at the station"))
same(0, said("shall we meet at the station!", 1))
same(4, said("shall we meet at the station?", 0.9))
t.wait(9999)
same(5, said("shall we meet at the station?"))
t.wait(1)
same(0, said("shall we meet at the station?"))
t.wait(30000)
same(0, said("shall we meet at the station?"))
same(1, said("shall we meet at the station?"))
local long = ("好"):rep(300)
same(0, said(long .. "啊"))
same(2, said(long .. ("x"):rep(300)))
same(0, said(("x"):rep(299) .. long))
same(0, said(""))
same(3, said(""))
fails("from 0 to 1", said, "x", 2)
fails("from 0 to 1", said, "x", 0/0)
fails("1 to 128 octets", im.count.alike, "", "x", "10s")
fails("a time is", im.count.alike, "k", "x", "no time")
`)
}

// Tests see nothing of each other, and nothing of the server.
func TestStateIsFreshPerTest(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, rule(`c.text = tostring(im.kv.incr("n", "1h"))`))
	put(t, dir, map[string]string{"rule_test.lua": `
for i = 1, 3 do test("fresh " .. i, function(t)
	assert(t.message{}.text == "1")
	assert(t.message{}.text == "2")
	assert(require("im").kv.get("n") == "2")
end) end`})
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, want := range []string{"1", "2"} {
		if _, m := ask(t, e, "x"); m.Text != want {
			t.Errorf("got %s, want %s", m.Text, want)
		}
	}
	// Another bundle goes on where this one was.
	if err := os.WriteFile(filepath.Join(dir, "other.lua"), []byte("-- changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := e.Reload(t.Context()); err != nil || !r.Activated() {
		t.Fatalf("got %+v, %v", r, err)
	}
	if _, m := ask(t, e, "x"); m.Text != "3" {
		t.Errorf("got %s after the reload, want 3", m.Text)
	}
}

func TestOperationsAreLimited(t *testing.T) {
	for _, op := range []string{`im.kv.get("k")`, `im.kv.set("k", "v", "1s")`, `im.kv.incr("k", "1s")`, `im.kv.del("k")`, `im.kv.cas("k", nil, "x", "1s")`,
		`im.rate("k", 1, "1s")`, `im.count.window("k", "1s")`, `im.count.uniq("k", "x", "1s")`, `im.count.alike("k", "x", "1s")`} {
		e := load(t, rule(`im.kv.del("k") for i = 1, (c.text == "ok" and 15 or 16) do `+op+` end`), nil)
		if v, _ := ask(t, e, "ok"); v.Err != nil {
			t.Errorf("%s: got %v for 16 operations", op, v.Err)
		}
		v, _ := ask(t, e, "more")
		if f := fault(t, v); f.Msg != "rule.lua:2: more than 16 operations of im.kv, im.rate and im.count in one call" {
			t.Errorf("%s: got %+v", op, f)
		}
	}
}

// Sixteen goroutines on as many VMs: nothing is lost, one wins, the rate holds.
func TestStateIsShared(t *testing.T) {
	e := load(t, rule(`
local im = im
if im.kv.cas("first", nil, "x", "1h") then return im.deny("rejected", "first") end
im.kv.incr("n", "1h")
im.count.window("w", "30d")
im.count.uniq("u", c.user, "1h")
if im.rate("r", 100, "30d") then return im.deny("rejected", "rate") end
return im.deny("rejected", im.kv.get("n"))`), nil)
	var first, rate, highest atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for range 50 {
				m := message("x")
				m.User = fmt.Sprint(g)
				switch v := judge(t.Context(), e, m); v.Reason {
				case "first":
					first.Add(1)
				case "rate":
					rate.Add(1)
				default:
					var n int64
					if _, err := fmt.Sscan(v.Reason, &n); err != nil || v.Err != nil {
						t.Errorf("got %+v", v)
					}
					for old := highest.Load(); n > old && !highest.CompareAndSwap(old, n); old = highest.Load() {
					}
				}
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 || rate.Load() != 100 || highest.Load() != 799 {
		t.Errorf("got %d first, %d within the rate, %d counted; want 1, 100, 799", first.Load(), rate.Load(), highest.Load())
	}
}
