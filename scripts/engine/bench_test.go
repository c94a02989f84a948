package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestHotPath guards what a message pays, by what does not depend on the machine: objects
// allocated, and units of work, which are about the VM's instructions. Neither may become
// more than half as much again as it was when this was written, and five hooks cost no more
// than five times what one does.
func TestHotPath(t *testing.T) {
	const allocs, units = 5, 9 // of one hook that reads three fields
	for _, test := range []struct {
		name          string
		files         map[string]string
		change        func(*engine.Options)
		allocs, units float64
	}{
		{"no hook", map[string]string{"a.lua": "-- nothing"}, nil, 0, 0},
		{"three fields", rule(threeFields), nil, min(8, 1.5*allocs), 1.5 * units},
		{"five hooks", fiveHooks(), nil, 5 * 1.5 * allocs, 5 * 1.5 * units},
		{"the shipped floods", floods(t), flooding, 1.5 * 3, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, m, ctx := load(t, test.files, test.change), message("hello, how are you?"), t.Context()
			texts := []string{"hello, how are you?", "fine, and you?"}
			n, work := 0, 0
			got := testing.AllocsPerRun(1000, func() {
				m.Text, m.User = texts[n%2], texts[(n+1)%2]
				n++
				v := judge(ctx, e, m)
				if v.Denied() || v.Err != nil {
					t.Fatal(v)
				}
				work = v.Units
			})
			t.Logf("%v allocations, %d units of work", got, work)
			if got > test.allocs && !raceEnabled || float64(work) > test.units {
				t.Errorf("at most %v allocations and %v units are wanted", test.allocs, test.units)
			}
		})
	}
}

// TestTextUnread: a hook pays for the fields that it reads. One that reads no text costs the same units and the same
// memory whatever the text's length; one that does shows that the measure sees it.
func TestTextUnread(t *testing.T) {
	measure := func(body, text string) (units int, objects, octets float64) {
		e, m, ctx := load(t, rule(body), nil), message(text), t.Context()
		ask := func() {
			v := judge(ctx, e, m)
			if v.Denied() || v.Err != nil {
				t.Fatal(v)
			}
			units = v.Units
		}
		ask()
		objects = testing.AllocsPerRun(1000, ask)
		const times = 1000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			ask()
		}
		runtime.ReadMemStats(&after)
		return units, objects, float64(after.TotalAlloc-before.TotalAlloc) / times
	}
	long := strings.Repeat("x", 60<<10)
	const unread = `if c.kind == "file" and c.user ~= "1" then return im.deny("rejected") end`
	units, objects, octets := measure(unread, "x")
	longUnits, longObjects, longOctets := measure(unread, long)
	t.Logf("%d units, %v objects, %.0f octets; of a long text %d, %v, %.0f", units, objects, octets, longUnits, longObjects, longOctets)
	if longUnits != units || longObjects != objects && !raceEnabled || longOctets > octets+4096 {
		t.Errorf("60 KiB cost %d units, %v objects and %.0f octets, 1 octet %d, %v and %.0f", longUnits, longObjects, longOctets, units, objects, octets)
	}
	if read, _, _ := measure(`if im.text.skeleton(c.text:sub(1, 15000)) == "y" then return im.deny("rejected") end`, long); read <= units {
		t.Errorf("reading it costs %d units", read)
	}
}

// floods is the shipped rule against floods, and flooding its settings: two hooks that no message here is too much for.
func floods(t testing.TB) map[string]string {
	source, err := os.ReadFile("../moderation/flood.lua")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"flood.lua": string(source)}
}

func flooding(o *engine.Options) {
	o.Config = map[string]map[string]string{"flood": {"enabled": "true", "messages": "10000", "per": "1s", "repeats": "1000"}}
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

// BenchmarkNoHook asks as the core does, without a helper of the tests between, which
// would copy the verdict once more.
func BenchmarkNoHook(b *testing.B) {
	e := load(b, map[string]string{"a.lua": "-- nothing"}, nil)
	m, ctx := message("hello"), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		m.Pin = engine.Pin{}
		if v := e.Ask(ctx, engine.Before, &m.Call); v.Err != nil {
			b.Fatal(v.Err)
		}
	}
}

func BenchmarkThreeFields(b *testing.B) { benchmark(b, rule(threeFields), "hello, how are you?") }

// BenchmarkGoHook is what BenchmarkThreeFields asks, in Go: what it would cost if rules were
// compiled in.
func BenchmarkGoHook(b *testing.B) {
	m := message("hello, how are you?")
	users := []string{"17", "42"}
	denied := 0
	for n := 0; b.Loop(); n++ {
		m.User = users[n%2]
		if m.Kind == "text" && m.Facts.Fact(engine.FactUser) != "1" && len(*m.Call.Text) > 1000 {
			denied++
		}
	}
	if denied > 0 {
		b.Fatal("denied")
	}
}

// fiveHooks are five times the one of threeFields.
func fiveHooks() map[string]string {
	files := map[string]string{}
	for i := range 5 {
		files[fmt.Sprintf("f%d.lua", i)] = strings.Replace(rule(threeFields)["rule.lua"], `"rule"`, fmt.Sprintf("%q", fmt.Sprint("rule", i)), 1)
	}
	return files
}

func BenchmarkFiveHooks(b *testing.B) { benchmark(b, fiveHooks(), "hello, how are you?") }

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

// thousandLines is a bundle of a thousand lines.
func thousandLines() string {
	var lines strings.Builder
	lines.WriteString(rule(threeFields)["rule.lua"] + "\n")
	for i := range 100 {
		fmt.Fprintf(&lines, "function f%d(a, b)\n%s return a\nend\nif 1 > 2 then f%d() end\n", i, strings.Repeat("  a = a + b\n", 6), i)
	}
	return lines.String()
}

// BenchmarkReload activates a bundle of 1,000 lines with all its 64 VMs.
func BenchmarkReload(b *testing.B) {
	source := thousandLines()
	b.ReportAllocs()
	for b.Loop() {
		if err := engine.BuildForBenchmark(source, 64); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMessagesWhileReloading asks about one message after the other while files of 1,000 lines
// are read, checked, built and activated, and 64 VMs made besides; an operation is one such reload.
// What it reports is how long messages took meanwhile, before, and beside two controls that change no rules: one builds as much
// for nobody, the other spins for as long, without a byte of garbage. What waits beside those too
// waits for a processor, and not for the engine.
func BenchmarkMessagesWhileReloading(b *testing.B) {
	dir := b.TempDir()
	source := thousandLines()
	put(b, dir, map[string]string{"a.lua": source})
	o := options(dir, &logs{})
	o.VMs, o.Debounce, o.Watch.For = 64, 4*time.Millisecond, -1
	e, err := engine.New(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	m, ctx := message("hello, how are you?"), context.Background()
	once := func(into *waits) {
		began := time.Now()
		if v := judge(ctx, e, m); v.Err != nil {
			b.Fatal(v.Err)
		}
		*into = append(*into, time.Since(began))
	}
	beside := func(work func() error) (all waits) {
		done := make(chan error, 1)
		go func() { done <- work() }()
		for {
			select {
			case err := <-done:
				if err != nil {
					b.Fatal(err)
				}
				return all
			default:
				once(&all)
			}
		}
	}
	edition := 0
	reload := func() error {
		edition++
		err := os.WriteFile(filepath.Join(dir, "a.lua"), fmt.Appendf(nil, "%s-- edition %d\n", source, edition), 0o600)
		if err == nil {
			_, err = e.Reload(ctx)
		}
		if err == nil {
			err = engine.BuildForBenchmark(source, 64)
		}
		return err
	}
	build := func() error {
		engine.Lint(map[string]string{"a.lua": source}, o)
		err := engine.BuildForBenchmark(source, 4)
		if err == nil {
			err = engine.BuildForBenchmark(source, 64)
		}
		return err
	}
	rounds := spinsLike(b, reload, o.Debounce/4) // a reload pauses that long, to see whether files change
	spin := func() error {
		for left := rounds; left > 0; left -= spinRounds {
			runtime.Gosched() // as building VMs does
			spinning(spinRounds)
		}
		return nil
	}
	var before, during, building, spun waits
	for range 200_000 {
		once(&before)
	}
	for b.Loop() {
		during = append(during, beside(reload)...)
		b.StopTimer() // in turns, so that whatever else the machine does is the same for all
		building = append(building, beside(build)...)
		spun = append(spun, beside(spin)...)
		b.StartTimer()
	}
	before.report(b, "before")
	during.report(b, "during")
	building.report(b, "building")
	spun.report(b, "spinning")
}

// waits are how long messages took.
type waits []time.Duration

func (w waits) report(b *testing.B, name string) {
	slices.Sort(w)
	late, _ := slices.BinarySearch(w, time.Millisecond)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	b.ReportMetric(us(w[len(w)/2]), "p50-us-"+name)
	b.ReportMetric(us(w[len(w)*99/100]), "p99-us-"+name)
	b.ReportMetric(us(w[len(w)*9999/10000]), "p9999-us-"+name)
	b.ReportMetric(us(w[len(w)-1]), "max-us-"+name)
	b.ReportMetric(float64(len(w)-late)/float64(len(w))*1e6, "over-1ms-per-million-"+name)
}

// spinRounds take about as long as to build a VM.
const spinRounds = 500_000

// spinning works for so many rounds, each a nanosecond or less.
func spinning(rounds int) (sum uint64) {
	sum = 1
	for range rounds {
		sum ^= sum << 13
		sum ^= sum >> 7
		sum ^= sum << 17
	}
	return sum
}

// spinsLike is how many rounds take as long as work does but for its pause, both alone: the least of some times.
func spinsLike(b *testing.B, work func() error, pause time.Duration) (rounds int) {
	least := func(work func() error) time.Duration {
		shortest := time.Hour
		for range 10 {
			began := time.Now()
			if err := work(); err != nil {
				b.Fatal(err)
			}
			shortest = min(shortest, time.Since(began))
		}
		return shortest
	}
	once := least(func() error {
		if spinning(spinRounds) == 0 {
			return errors.New("stands still")
		}
		return nil
	})
	return int(float64(least(work)-pause) / float64(once) * spinRounds)
}
