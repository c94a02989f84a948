package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// threeFields reads three fields and lets the message pass.
const threeFields = `if c.kind == "text" and c.user ~= "1" and #c.text > 1000 then return im.deny("rejected", "long") end`

// tenThousand is a list of words, and a text with none of them.
func tenThousand() (list, text string) {
	var out strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&out, "%s%s\n", itoa(i+1000), itoa(i*7919+17))
	}
	return out.String(), strings.Repeat("the quick brown fox jumps over the lazy dog ", 3)[:120]
}

func wordRule() map[string]string {
	list, _ := tenThousand()
	return map[string]string{"rule.lua": `local im = require("im")
local list = im.words([[
` + list + `]])
im.on_message(function(c) if list:any(c.text) then return im.deny("rejected") end end, {name = "words", on_error = "closed"})`}
}

func TestAllocations(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		want  float64
	}{
		{"no hook", map[string]string{"a.lua": "-- nothing"}, 0},
		{"three fields", rule(threeFields), 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, m, ctx := load(t, test.files, nil), message("hello, how are you?"), t.Context()
			texts := []string{"hello, how are you?", "fine, and you?"}
			n := 0
			got := testing.AllocsPerRun(1000, func() {
				m.Text, m.User = texts[n%2], texts[(n+1)%2]
				n++
				if v := judge(ctx, e, m); v.Denied() || v.Err != nil {
					t.Fatal(v)
				}
			})
			if got > test.want {
				t.Errorf("got %v allocations, want at most %v", got, test.want)
			}
		})
	}
}

func benchmark(b *testing.B, files map[string]string, text string) {
	e := load(b, files, nil)
	m, ctx := message(text), context.Background()
	users := []string{"17", "42"}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m.Text, m.User = text, users[n%2]
		if v := judge(ctx, e, m); v.Err != nil {
			b.Fatal(v.Err)
		}
	}
}

func BenchmarkNoHook(b *testing.B) {
	benchmark(b, map[string]string{"a.lua": "-- nothing"}, "hello")
}

func BenchmarkThreeFields(b *testing.B) { benchmark(b, rule(threeFields), "hello, how are you?") }

func BenchmarkFiveHooks(b *testing.B) {
	files := map[string]string{}
	for i := range 5 {
		files[fmt.Sprintf("f%d.lua", i)] = strings.Replace(rule(threeFields)["rule.lua"], `"rule"`, fmt.Sprintf("%q", fmt.Sprint("rule", i)), 1)
	}
	benchmark(b, files, "hello, how are you?")
}

func BenchmarkTenThousandWords(b *testing.B) {
	_, text := tenThousand()
	benchmark(b, wordRule(), text)
}

func BenchmarkTenThousandLooseWords(b *testing.B) {
	_, text := tenThousand()
	files := wordRule()
	files["rule.lua"] = strings.Replace(files["rule.lua"], "]])", "]], {spacing = true, confusables = true})", 1)
	benchmark(b, files, text)
}

func BenchmarkPatternFind(b *testing.B) {
	_, text := tenThousand()
	benchmark(b, rule(`if c.text:find("[%w._]+@%w+") then return im.deny("rejected") end`), text)
}

func BenchmarkRate(b *testing.B) {
	benchmark(b, rule(`if not im.rate(c.user, 1000000, "1s") then return im.deny("rate_limited") end`), "hello")
}

func BenchmarkIncr(b *testing.B) {
	benchmark(b, rule(`im.kv.incr(c.user, "1m")`), "hello")
}

// BenchmarkFlood counts keys that are all new, in tables that are full.
func BenchmarkFlood(b *testing.B) {
	e := load(b, rule(`im.count.window(c.user, "1h")`), nil)
	m, ctx := message("hello"), context.Background()
	n := 0
	once := func() {
		n++
		m.User = itoa(n)
		if v := judge(ctx, e, m); v.Err != nil {
			b.Fatal(v.Err)
		}
	}
	for range 120_000 {
		once()
	}
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

func BenchmarkConcat(b *testing.B) {
	benchmark(b, rule(`local a = c.kind for i = 1, 100 do local s = a .. "x" .. a end`), "hello")
}

// BenchmarkReload activates a bundle of 1,000 lines with all its 64 VMs.
func BenchmarkReload(b *testing.B) {
	var lines strings.Builder
	lines.WriteString(rule(threeFields)["rule.lua"] + "\n")
	for i := range 100 {
		fmt.Fprintf(&lines, "local function f%d(a, b)\n%s return a\nend\nif 1 > 2 then f%d() end\n", i%100, strings.Repeat("  a = a + b\n", 6), i%100)
	}
	source := strings.ReplaceAll(lines.String(), "local function", "function")
	b.ReportAllocs()
	for b.Loop() {
		if err := engine.BuildForBenchmark(source, 64); err != nil {
			b.Fatal(err)
		}
	}
}
