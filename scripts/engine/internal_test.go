package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// bundleOf builds a bundle of one file without a directory.
func bundleOf(t testing.TB, source string, change func(*Options)) *bundle {
	t.Helper()
	b, err := tryBundle(t, source, change)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tryBundle is bundleOf for sources that may be wrong.
func tryBundle(t testing.TB, source string, change func(*Options)) (*bundle, error) {
	t.Helper()
	o := &Options{Dir: "unused", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Wall: time.Second, ChainWall: time.Second, LoadWall: 10 * time.Second, TestWall: 10 * time.Second}
	if change != nil {
		change(o)
	}
	o.setDefaults()
	lowerMaxIndex()
	var err error
	if o.state, err = newState(nil, o.Now, usualBounds(), true); err != nil {
		t.Fatal(err)
	}
	dog := newWatchdog()
	b, err := build(context.Background(), newTree([]file{{"a.lua", source}}), o, dog, nil)
	if err != nil {
		dog.close()
		return nil, err
	}
	t.Cleanup(func() {
		b.pool.close()
		o.state.close()
		dog.close()
		if len(dog.budgets) != 0 {
			t.Errorf("got %d budgets left behind", len(dog.budgets))
		}
	})
	return b, nil
}

// judged asks a bundle about a message.
func judged(ctx context.Context, b *bundle, text string) Verdict {
	s := newMessage()
	s.text, s.Request = text, &struct{}{}
	return b.judge(ctx, b.chain(Before, s.Action, true), &s.Call, time.Now)
}

func hookSource(body string) string {
	return `local im = require("im")
im.on_message(function(c) ` + body + ` end, {name = "h", on_error = "open"})`
}

func TestBreaker(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return at }
	t.Run("20 faults in 10 s", func(t *testing.T) {
		var b breaker
		for i := range 20 {
			if opened := b.failed(at, int64(i*1000)); opened != (i == 19) {
				t.Fatalf("fault %d: got opened %v", i+1, opened)
			}
			at = at.Add(100 * time.Millisecond)
		}
		if b.allows(clock) {
			t.Error("an open breaker allowed a call")
		}
		at = at.Add(breakerPause)
		if !b.allows(clock) || b.allows(clock) {
			t.Error("want one call after the pause, and only one")
		}
		if !b.succeeded() || !b.allows(clock) || !b.allows(clock) {
			t.Error("want success to close it")
		}
	})
	t.Run("half of 50 calls, however slow", func(t *testing.T) {
		var b breaker
		for i := range 25 {
			if opened := b.failed(at, int64(2*i+1)); opened != (i == 24) {
				t.Fatalf("fault %d: got opened %v", i+1, opened)
			}
			at = at.Add(time.Minute)
		}
	})
	t.Run("rare faults", func(t *testing.T) {
		var b breaker
		for i := range 1000 {
			if b.failed(at, int64(i*3)) {
				t.Fatal("opened at a third of the calls")
			}
			at = at.Add(time.Second)
		}
	})
	t.Run("a failing probe keeps it open", func(t *testing.T) {
		var b breaker
		for range 20 {
			b.failed(at, 1)
		}
		at = at.Add(breakerPause)
		if !b.allows(clock) {
			t.Fatal("want a probe")
		}
		b.failed(at, 2)
		if b.allows(clock) {
			t.Error("want another pause")
		}
	})
}

func TestBreakerInTheChain(t *testing.T) {
	b := bundleOf(t, hookSource(`error("boom")`), nil)
	var v Verdict
	for range 25 {
		v = judged(t.Context(), b, "x")
	}
	f := v.Err.(*Fault)
	if h := b.hooks[0]; f.Kind != FaultBreaker || v.Denied() || h.calls.Load() != 20 || !h.status().Tripped {
		t.Errorf("got %+v after %d calls, want the hook left out, and open", v, h.calls.Load())
	}
}

func TestPoolStarves(t *testing.T) {
	for _, policy := range []string{"open", "closed"} {
		b := bundleOf(t, strings.Replace(hookSource(""), "open", policy, 1), func(o *Options) { o.VMs, o.Wait = 1, time.Millisecond })
		v, err := b.pool.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := judged(t.Context(), b, "x")
		f, _ := got.Err.(*Fault)
		if f == nil || f.Kind != FaultStarved || got.Denied() != (policy == "closed") {
			t.Errorf("%s: got %+v", policy, got)
		}
		if b.hooks[0].breaker.window != 0 {
			t.Error("a starved call was counted against the hook")
		}
		b.pool.put(v)
		if got := judged(t.Context(), b, "x"); got.Err != nil {
			t.Errorf("%s: got %v with a free VM", policy, got.Err)
		}
	}
}

// A rush waits for VMs, and is not refused.
func TestRushWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bundleOf(t, hookSource(""), func(o *Options) { o.VMs = 1 })
		v, err := b.pool.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var rush sync.WaitGroup
		for range 20 {
			rush.Go(func() {
				v, err := b.pool.get(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				b.pool.put(v)
			})
		}
		time.Sleep(900 * time.Millisecond) // of the bubble's clock
		b.pool.put(v)
		rush.Wait()
	})
}

// The VM that came back last is asked first, so that those of a rush stay cold.
func TestPoolReusesTheWarmVM(t *testing.T) {
	b := bundleOf(t, hookSource(""), func(o *Options) { o.VMs = 3 })
	var all [3]*vm
	for i := range all {
		var err error
		if all[i], err = b.pool.get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range all {
		b.pool.put(v)
	}
	for range 5 {
		v, err := b.pool.get(t.Context())
		if err != nil || v != all[2] {
			t.Fatalf("got VM %p, %v, want %p that came back last", v, err, all[2])
		}
		b.pool.put(v)
	}
}

// What was said stays with no VM.
func TestIdleVMsKeepNoText(t *testing.T) {
	b := bundleOf(t, `local im = require("im")
local list = im.words("spoiler")
im.on_message(function(c) if list:any(c.text) then c:tag("found") end end, {name = "h", on_error = "open"})`, func(o *Options) { o.VMs = 1 })
	if v := judged(t.Context(), b, "a secret spoiler"); len(v.Tags) != 1 {
		t.Fatalf("got %+v", v)
	}
	v, err := b.pool.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.pool.put(v)
	if v.spelt != "" || len(v.runes) != 0 {
		t.Errorf("an idle VM keeps %q", v.spelt)
	}
}

func TestPoolWaitEndsWithTheContext(t *testing.T) {
	b := bundleOf(t, hookSource(""), func(o *Options) { o.VMs, o.Wait = 1, time.Hour })
	v, err := b.pool.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.pool.put(v)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.pool.get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestVMsAreReplaced(t *testing.T) {
	t.Run("after enough calls", func(t *testing.T) {
		b := bundleOf(t, `local im = require("im")
local n = 0
im.on_message(function(c) n = n + 1 c.text = tostring(n) end, {name = "count", on_error = "open"})`,
			func(o *Options) { o.VMs, o.VMCalls = 1, 10 })
		for i := range 25 {
			text := "x"
			b.judge(t.Context(), b.chain(Before, "", true), &Call{Text: &text}, time.Now)
			if want := fmt.Sprint(i%10 + 1); text != want {
				t.Fatalf("call %d: got %s, want %s", i+1, text, want)
			}
		}
		if n := b.pool.replaced.Load(); n != 2 || b.pool.made.Load() != 1 {
			t.Errorf("got %d replaced, %d VMs", n, b.pool.made.Load())
		}
	})
	t.Run("after enough work", func(t *testing.T) {
		b := bundleOf(t, hookSource(`for i = 1, 20000 do end`), func(o *Options) { o.VMs = 1 })
		for range 60 {
			judged(t.Context(), b, "x")
		}
		if n := b.pool.replaced.Load(); n < 1 {
			t.Error("got no VM replaced")
		}
	})
	t.Run("after a fault", func(t *testing.T) {
		b := bundleOf(t, `local im = require("im")
local n = 0
im.on_message(function(c) n = n + 1 if n > 1 then error("state survived") end error("first") end, {name = "h", on_error = "open"})`,
			func(o *Options) { o.VMs = 1 })
		for range 3 {
			if f := judged(t.Context(), b, "x").Err.(*Fault); !strings.Contains(f.Msg, "first") {
				t.Fatalf("got %v", f)
			}
		}
	})
}

// A Go panic inside of the API is a fault of that call and costs its VM, even
// when the script wraps it in pcall.
func TestPanicInTheAPI(t *testing.T) {
	b := bundleOf(t, hookSource(`pcall(c.text) return "not reached"`), func(o *Options) { o.VMs = 1 })
	v, err := b.pool.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.message.Metatable.(*lua.LTable).RawSetString("__index", v.L.NewFunction(func(*lua.LState) int { panic("bug") }))
	b.pool.put(v)
	got := judged(t.Context(), b, "x")
	if f, _ := got.Err.(*Fault); f == nil || f.Kind != FaultPanic || !strings.Contains(f.Msg, "bug") {
		t.Errorf("got %+v", got)
	}
	if b.pool.broken.Load() != 1 {
		t.Error("the VM was kept")
	}
}

func TestStrikes(t *testing.T) {
	w := &watchdog{closed: make(chan struct{}), wake: make(chan struct{}, 1), budgets: map[*budget]struct{}{}}
	close(w.closed)
	b := &budget{dog: w}
	w.add(b)
	at := time.Unix(1_700_000_000, 0)
	look := func(ms int) { at = at.Add(time.Duration(ms) * time.Millisecond); w.look(at) }

	b.begin(1000, 15*time.Millisecond)
	for strike := range 2 {
		look(1)
		look(100) // the goroutine was not scheduled: one strike
		if b.Done() != nil {
			t.Errorf("a call was stopped at strike %d", strike+1)
		}
		if b.Done() != nil {
			t.Errorf("a call was stopped although the part after strike %d has just begun", strike+1)
		}
	}
	look(1)
	look(3)
	if b.Done() != nil {
		t.Error("a call was stopped before the last third was over")
	}
	look(2)
	if b.Done() == nil || !errors.Is(b.Err(), errWall) {
		t.Errorf("got %v, want the call stopped", b.Err())
	}
	if used := b.end(); used != 6 {
		t.Errorf("got %d units used", used)
	}

	b.begin(2, 10*time.Millisecond)
	look(1000) // a tick that is late for the call before
	if b.Done() != nil || b.Done() != nil {
		t.Error("the last call's clock stopped the next one")
	}
	if b.Done() == nil || !errors.Is(b.Err(), errWork) {
		t.Errorf("got %v, want the work to be spent", b.Err())
	}
	b.end()
}

// However the watchdog's ticks fall, a call that never ends is stopped soon after its time.
func TestStrikesAreInTime(t *testing.T) {
	const step = 10 * time.Microsecond
	for wall, late := range map[time.Duration]time.Duration{
		time.Millisecond: 3 * time.Millisecond, 2 * time.Millisecond: 2 * time.Millisecond, // of so few ticks each counts
		5 * time.Millisecond: 1100 * time.Microsecond, 20 * time.Millisecond: 1100 * time.Microsecond, 50 * time.Millisecond: 1100 * time.Microsecond,
	} {
		for phase := time.Duration(0); phase < tick; phase += tick / 20 {
			w := &watchdog{closed: make(chan struct{}), wake: make(chan struct{}, 1), budgets: map[*budget]struct{}{}}
			close(w.closed)
			b := &budget{dog: w}
			w.add(b)
			b.begin(1<<30, wall)
			begun := time.Unix(1_700_000_000, 0)
			ran, next := time.Duration(0), phase
			for ; b.Done() == nil && ran < time.Second; ran += step {
				if ran >= next {
					w.look(begun.Add(ran))
					next += tick
				}
			}
			if ran < wall-tick || ran > wall+late {
				t.Errorf("a call that has %v was stopped after %v", wall, ran)
			}
		}
	}
}

// Hooks that end just before they are stopped use up the time of the chain.
func TestChainTimeEnds(t *testing.T) {
	j := &judgement{v: &vm{}}
	spent := time.Duration(0)
	for range 3 {
		const wall = 5 * time.Millisecond
		j.v.budget.struck, j.v.budget.most = strikes-1, strikes // all but the last
		j.marked = time.Now().Add(-2 * wall)
		j.spend(wall, false)
		if j.spent-spent != wall {
			t.Errorf("charged %v of %v", j.spent-spent, wall)
		}
		spent = j.spent
	}
	j.v.budget.struck = 0
	j.marked = time.Now().Add(-time.Hour) // not scheduled, and not once seen to run
	if j.spend(3*time.Millisecond, false); j.spent-spent != time.Millisecond {
		t.Errorf("charged %v for a third of 3 ms", j.spent-spent)
	}
}

func TestWatchdogSleeps(t *testing.T) {
	w := newWatchdog()
	defer w.close()
	b := &budget{dog: w}
	w.add(b)
	for range 2 {
		for deadline := time.Now().Add(20 * time.Second); !w.asleep.Load(); {
			if time.Now().After(deadline) {
				t.Fatal("it does not sleep")
			}
		}
		b.begin(1<<40, 2*time.Millisecond)
		for deadline := time.Now().Add(20 * time.Second); b.Done() == nil; {
			if time.Now().After(deadline) {
				t.Fatal("it did not wake up")
			}
		}
		b.end()
	}
}

// Words against a search that is too simple to be wrong.
func TestWordsAgainstASimpleSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	text := func(n int) string {
		out := make([]rune, n)
		for i := range out {
			out[i] = []rune("abAB 坏话ａ")[random.IntN(8)]
		}
		return string(out)
	}
	for range 3000 {
		var words []string
		for range 1 + random.IntN(6) {
			words = append(words, strings.TrimSpace(text(1+random.IntN(4))))
		}
		list, subject := newWordList(words, loose{}), []rune(text(random.IntN(20)))
		var want match
		found := false
		for from := range subject {
			for to := len(subject); to > from && !found; to-- {
				for number, word := range words {
					hit := match{from, to, number}
					if fold(word) == fold(string(subject[from:to])) && whole(subject, hit) {
						want, found = hit, true
						break
					}
				}
			}
		}
		got, ok := list.first(subject, toll{})
		if ok != found || got.from != want.from || got.to != want.to {
			t.Fatalf("words %q in %q: got %v %v, want %v %v", words, string(subject), got, ok, want, found)
		}
	}
}

func TestWordsAreSharedAcrossBundles(t *testing.T) {
	older := &wordCache{lists: map[[32]byte]*wordList{}}
	first := older.get([]string{"a", "b"}, loose{})
	next := &wordCache{lists: map[[32]byte]*wordList{}, older: older}
	if next.get([]string{"a", "b"}, loose{}) != first || next.get([]string{"a"}, loose{}) == first {
		t.Error("want the same list for the same words, and only for them")
	}
	next.settle()
	if next.older != nil || next.get([]string{"a", "b"}, loose{}) != first {
		t.Error("want the list kept and the older bundle let go")
	}
}

// FuzzPattern: no pattern and no subject may crash the matcher, or take more
// steps than there are by more than one scan of the subject.
func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"", "^a.-b$", "(%a+)%s*%1", "%b()", "%f[%w]%w+", "[^%a-z]*", "()", "a?a?a?b", "[", "%", "(", "[]]", "[a-]", "%b", "(()%1)"} {
		f.Add(seed, "hello (world) aab")
	}
	f.Fuzz(func(t *testing.T, text, subject string) {
		if len(subject) > 4<<10 {
			return
		}
		for _, gmatch := range []bool{false, true} {
			p, err := compilePattern(text, gmatch)
			if err != nil {
				continue
			}
			m := newMatcher(p, subject)
			from, to, ok := m.find(0)
			if m.steps < -3*len(subject)-10 {
				t.Errorf("%q took %d steps too many", text, -m.steps)
			}
			if !ok || m.spent() {
				continue
			}
			if from < 0 || to < from || to > len(subject) {
				t.Fatalf("%q matched %d to %d of %d", text, from, to, len(subject))
			}
			for i := range p.captures {
				m.value(i)
			}
		}
	})
}

// FuzzScript: no source may crash the engine, or work for much longer than its
// budget, while loading or in a hook.
func FuzzScript(f *testing.F) {
	for _, seed := range []string{
		`im.on_message(function(c) c.text = c.text .. "x" end, {name = "a", on_error = "open"})`,
		`local t = {} for i = 1, 10 do t[i] = i end return #t`,
		`return string.format("%5.2f", 1), ("x"):rep(10):gsub("x", "%0")`,
		`goto a do ::a:: end`, `local function f(...) return select("#", ...) end return f(1, nil)`,
		`while true do pcall(error) end`, `x = setmetatable({}, {__index = function(t, k) return k .. 1 end}) return x.y`,
		"\xff", `im.words({"a"}):mask("a b")`, `im.re("(a)|b"):replace("ab", "$1")`, `im.kv.set("k", im.json.encode({1}), "1h") im.json.decode(im.kv.get("k"))`,
		`im.emit("x", {c.req.ids[1], #c.req.octets, c.req.inner.text}) c:tag("x") c:score("X", 1)`, `im.cidr({"10.0.0.0/8"}):has(c.client_addr)`, `for k, v in pairs(_G) do end`, `return ((((((1))))))`, `local a <const> = 1`,
	} {
		f.Add(seed)
	}
	o := &Options{Dir: "unused", Log: slog.New(slog.DiscardHandler), Instructions: 20_000}
	o.setDefaults()
	lowerMaxIndex()
	var err error
	if o.state, err = newState(nil, o.Now, bounds{octets: 1 << 20, keys: 100}, true); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(o.state.close)
	dog := newWatchdog()
	f.Cleanup(dog.close)
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 4<<10 {
			return
		}
		tryScript(t, o, dog, "local im = require('im') "+source)
		tryScript(t, o, dog, hookSource(source))
	})
}

// fuzzedRequest is what generated scripts are asked about.
type fuzzedRequest struct {
	Text   string         `protobuf:"bytes,1,opt,name=text"`
	Ids    []int64        `protobuf:"varint,2,rep,name=ids"`
	Octets []byte         `protobuf:"bytes,3,opt,name=octets"`
	Inner  *fuzzedRequest `protobuf:"bytes,4,opt,name=inner"`
}

// tryScript loads a source and sends it a message.
func tryScript(t *testing.T, o *Options, dog *watchdog, source string) {
	b, err := build(context.Background(), newTree([]file{{"a.lua", source}}), o, dog, nil)
	if err != nil {
		if !strings.Contains(err.Error(), "a.lua:") && !strings.Contains(err.Error(), "loading must always") {
			t.Errorf("an error without a place: %v", err)
		}
		return
	}
	defer b.pool.close()
	r := fuzzedRequest{Text: "hello", Ids: []int64{1, 2}, Octets: make([]byte, 8<<10), Inner: &fuzzedRequest{}}
	v := b.judge(context.Background(), b.chain(Before, "", true), &Call{Text: &r.Text, Kind: "text", Request: &r}, time.Now)
	if f, _ := v.Err.(*Fault); f != nil && f.Kind == FaultPanic && !strings.Contains(f.Msg, "index out of range [-1]") {
		t.Errorf("a panic: %v", v.Err)
	}
	for _, v := range b.pool.idle {
		// The largest single charge is that of the longest string.
		if v.work > len(b.hooks)*(o.Instructions+maxString/64+maxSteps/stepsInUnit) {
			t.Errorf("%d units of work of %d", v.work, o.Instructions)
		}
	}
}

// Random programs reach what random octets do not.
func TestGeneratedScripts(t *testing.T) {
	o := &Options{Dir: "unused", Log: slog.New(slog.DiscardHandler), Instructions: 5000, LoadWall: 5 * time.Second, Wall: time.Second, ChainWall: time.Second}
	o.setDefaults()
	lowerMaxIndex()
	var err error
	if o.state, err = newState(nil, o.Now, bounds{octets: 1 << 20, keys: 100}, true); err != nil {
		t.Fatal(err)
	}
	defer o.state.close()
	dog := newWatchdog()
	defer dog.close()
	for seed := range uint64(2500) {
		g := generator{random: rand.New(rand.NewPCG(seed, 1))}
		source := strings.Replace(hookSource(g.block(4)), "\n", "\n"+generated, 1)
		tryScript(t, o, dog, source)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, source)
		}
	}
}

// generated is what the programs have beside module im.
const generated = `local words, loose, re = im.words({"x", "xx", "a b"}), im.words({"x", "xx"}, {spacing = true, confusables = true}), im.re("(x+)|a*")
local nets, config = im.cidr({"10.0.0.0/8"}), im.config{name = "g", n = {type = "number", default = 1}, set = {type = "set", default = "x y"}}
`

// generator writes programs that parse, mostly.
type generator struct{ random *rand.Rand }

func (g *generator) pick(list ...string) string { return list[g.random.IntN(len(list))] }

func (g *generator) block(depth int) string {
	var out strings.Builder
	out.WriteString("local a, b, d = c.text, {}, 1 ")
	for range 1 + g.random.IntN(5) {
		out.WriteString(g.stmt(depth) + " ")
	}
	return out.String()
}

func (g *generator) stmt(depth int) string {
	if depth == 0 {
		return g.pick("a", "b", "d") + " = " + g.expr(0)
	}
	switch g.random.IntN(10) {
	case 0:
		return "while " + g.expr(depth-1) + " do " + g.block(depth-1) + g.pick("", "break") + " end"
	case 1:
		return "for i = 1, " + g.expr(depth-1) + " do " + g.block(depth-1) + " end"
	case 2:
		return "for k, v in pairs(" + g.expr(depth-1) + ") do " + g.block(depth-1) + " end"
	case 3:
		return "if " + g.expr(depth-1) + " then " + g.block(depth-1) + " else " + g.block(depth-1) + " end"
	case 4:
		return "pcall(function(...) " + g.block(depth-1) + " return " + g.expr(depth-1) + ", ... end, " + g.expr(depth-1) + ")"
	case 5:
		return "b[" + g.expr(depth-1) + "] = " + g.expr(depth-1)
	case 6:
		return "setmetatable(b, {" + g.pick("__index", "__newindex", "__call", "__concat", "__eq", "__lt", "__len", "__tostring", "__unm") +
			" = function(x, y) return " + g.expr(depth-1) + " end})"
	case 7:
		return "c.text = tostring(" + g.expr(depth-1) + ")"
	}
	return g.pick("a", "b", "d") + " = " + g.expr(depth)
}

func (g *generator) expr(depth int) string {
	if depth == 0 {
		return g.pick("nil", "true", "0", "1", "-1", "1e300", "0/0", `"x"`, `"%a+"`, `""`, "{}", "{1, 2, 3}", "a", "b", "d", "c", "c.text", "print", "im", "string",
			"words", "re", "config", "config.n", "config.set", "c.req", "c.req.ids", "c.req.octets", "c.req.inner", "c.user", "'1h'", "'x x'", `("x"):rep(4000)`, `("[1,{\"x\":"):rep(40)`)
	}
	switch g.random.IntN(6) {
	case 0:
		return "(" + g.expr(depth-1) + g.pick(" + ", " .. ", " == ", " < ", " and ", " or ", " % ", " ^ ", " ~= ") + g.expr(depth-1) + ")"
	case 1:
		return g.pick("#", "not ", "-") + "(" + g.expr(depth-1) + ")"
	case 2:
		return "(function(...) local a, b, d = ... return " + g.expr(depth-1) + " end)(" + g.expr(depth-1) + ")"
	case 3:
		fn := g.pick("string.rep", "string.find", "string.gsub", "string.format", "string.sub", "string.byte", "string.gmatch", "string.char",
			"table.concat", "table.insert", "table.remove", "table.sort", "unpack", "select", "tostring", "tonumber", "type", "next", "pcall",
			"rawset", "rawget", "setmetatable", "getmetatable", "math.random", "math.max", "im.deny", "im.now", "im.text.len", "im.text.sub",
			"im.text.contains", "im.text.normalize", "im.text.skeleton", "im.text.urls", "im.text.mentions", "im.text.emoji", "im.text.similarity", "im.text.width",
			"words:mask", "words:find", "words:any", "loose:mask", "loose:find", "re:match", "re:find", "re:replace", "nets:has", "config.set:has",
			"im.json.encode", "im.json.decode", "im.hash", "im.today", "im.throttle", "im.kv.get", "im.kv.set", "im.kv.incr", "im.kv.del", "im.kv.cas",
			"im.rate", "im.count.window", "im.count.uniq", "im.emit", "im.kick", "c:tag", "c:score", "im.log.info", "require", "error", "xpcall", "assert", "ipairs", "rawequal", "string.match", "math.floor")
		return fn + "(" + g.expr(depth-1) + g.pick("", ", "+g.expr(depth-1), ", "+g.expr(depth-1)+", "+g.expr(depth-1)) + ")"
	case 4:
		return "(" + g.expr(depth-1) + ")" + g.pick(".text", "[1]", ":len()", ":x()", "()")
	}
	return g.expr(depth - 1)
}

// Whatever a stranger sends: no panic, and what is accepted is JSON.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":[1,null,{"b":"\u0041"}]}`, `[1e999]`, `{"a":1,}`, `9007199254740993`, `[[[[`, "\"\xff\"", `{"a":1,"a":2}`, `1 2`} {
		f.Add(seed)
	}
	b := bundleOf(f, "", nil)
	v, err := newVM(b, true, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.close)
	f.Fuzz(func(t *testing.T, text string) {
		v.budget.begin(1<<40, time.Hour)
		defer v.budget.end()
		value, err := v.decodeJSON(v.L, text)
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("accepted %q", text)
		}
		if err := v.L.CallByParam(lua.P{Fn: v.L.NewFunction(v.jsonEncode), Protect: true}, value); err != nil && !strings.Contains(err.Error(), "JSON") && !strings.Contains(err.Error(), "im.json") {
			t.Fatalf("cannot write %q: %v", text, err)
		}
	})
}

// Whatever a stranger writes: no panic, and what is found is in the text.
func FuzzTexts(f *testing.F) {
	for _, seed := range []string{"https://a.example/x", "@all 👍🏽 🇩🇪", "ЅР0ІLЕR", "\xff://\xff@", "a.com:80/?#", "s p o i l e r"} {
		f.Add(seed, "spoiler")
	}
	f.Fuzz(func(t *testing.T, text, word string) {
		for _, one := range links(text) {
			if !strings.Contains(text, one.url) || one.host == "" {
				t.Errorf("link %q in %q", one, text)
			}
		}
		for _, one := range mentions(text) {
			if !strings.Contains(text, one) {
				t.Errorf("mention %q in %q", one, text)
			}
		}
		if n := emoji(text); n > len([]rune(text)) {
			t.Errorf("%d emoji in %q", n, text)
		}
		if s, _ := similarity(text, word, 0.3, nil); !(s >= 0 && s <= 1) {
			t.Errorf("similarity %v", s)
		}
		if once := skeleton(text); utf8.ValidString(text) && skeleton(once) != once {
			t.Errorf("skeleton of %q is %q, and its own %q", text, once, skeleton(once))
		}
		for _, how := range []loose{{true, false}, {false, true}, {true, true}} {
			if !how.fits(word) {
				continue
			}
			newWordList([]string{word}, how).scan([]rune(text), toll{}, func(m match) bool {
				if m.from < 0 || m.from >= m.to || m.to > len([]rune(text)) {
					t.Errorf("match %v in %q", m, text)
				}
				return true
			})
		}
	})
}

func TestTallyBuckets(t *testing.T) {
	last := -1
	for d := time.Duration(0); d < time.Hour; d += d/50 + 1 {
		b := bucket(d)
		if b < last || b > last+1 || b < buckets-1 && (d > ceiling(b) || d > 8 && float64(ceiling(b)) > 1.26*float64(d)) {
			t.Fatalf("%d ns in bucket %d, after %d, up to %d", d, b, last, ceiling(b))
		}
		last = b
	}
}

func TestSlowerIsWorse(t *testing.T) {
	w := Watch{}
	w.setDefaults()
	took := func(n int, usual, slow time.Duration) (c counts) {
		var all tally
		for i := range n {
			d := usual
			if i%50 == 0 {
				d = slow
			}
			all.add(&Verdict{Took: d})
		}
		return all.counts()
	}
	before := took(1000, 10*time.Microsecond, time.Millisecond)
	for _, test := range []struct {
		now  counts
		back bool
	}{
		{took(1000, 10*time.Microsecond, 5*time.Millisecond), true},
		{took(1000, 10*time.Microsecond, 2*time.Millisecond), false},
		{took(100, 10*time.Microsecond, 5*time.Millisecond), false},
	} {
		if why := w.worse(before, test.now); (why != "") != test.back {
			t.Errorf("got %q for %v", why, test.now.measured())
		}
	}
	if why := w.worse(took(1000, time.Microsecond, time.Microsecond), took(1000, time.Microsecond, 900*time.Microsecond)); why != "" {
		t.Errorf("got %q below a millisecond", why)
	}
}
