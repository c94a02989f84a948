package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"freeim/scripts/engine/pattern"

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
		Wall: time.Second, ChainWall: time.Second, LoadWall: 10 * time.Second, TestWall: 10 * time.Second, Wait: time.Minute}
	if change != nil {
		change(o)
	}
	o.setDefaults()
	lowerMaxIndex()
	var err error
	if o.state, err = newState(nil, o.Now, usualBounds(), true); err != nil {
		t.Fatal(err)
	}
	b, err := build(context.Background(), newTree([]file{{"a.lua", source}}), o, nil)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		b.pool.close()
		o.state.close()
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

// stuckShared answers when it is told to.
type stuckShared struct {
	Shared
	asked, answer chan struct{}
}

func (s *stuckShared) Get(context.Context, string) (string, bool, error) {
	s.asked <- struct{}{}
	<-s.answer
	return "", false, nil
}

// until polls for what another goroutine does.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen", what)
		}
	}
}

// slowly has a bundle's VMs made only when release is called.
func slowly(b *bundle) (release func()) {
	ready := make(chan struct{})
	b.pool.build = func() (*vm, error) {
		<-ready
		return b.newVM()
	}
	return sync.OnceFunc(func() { close(ready) })
}

// A message whose hook fails, and the one after it, are answered while the VM that replaces the
// broken one is made; who finds none free gets it.
func TestReplacementIsBeside(t *testing.T) {
	const source = `local im = require("im")
im.on_message(function(c) if c.text == "bad" then error("bad") end c.text = c.text .. "!" end, {name = "h", on_error = "open"})`
	for name, change := range map[string]func(*Options){
		"broken": func(o *Options) { o.VMs = 2 },
		"tired":  func(o *Options) { o.VMs, o.VMCalls = 2, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			b := bundleOf(t, source, change)
			if err := b.pool.warm(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			release := slowly(b)
			defer release()
			judged(t.Context(), b, "bad") // returns, though no VM is made
			text := "next"
			b.judge(t.Context(), b.chain(Before, "", true), &Call{Text: &text}, time.Now)
			if text != "next!" {
				t.Errorf("the next message is %q, want the other VM to have seen it", text)
			}
			all := make([]*vm, 2) // all that there are, the new one among them
			got := make(chan error, 1)
			go func() {
				var err error
				for i := range all {
					if all[i], err = b.pool.get(t.Context()); err != nil {
						break
					}
				}
				got <- err
			}()
			release()
			if err := <-got; err != nil {
				t.Fatal(err)
			}
			if made := b.pool.made.Load(); made != 2 {
				t.Errorf("got %d VMs, want 2", made)
			}
			for _, v := range all {
				b.pool.put(v)
			}
		})
	}
}

// While a VM is made no message waits for longer than Options.Wait, and on_error says what then.
func TestReplacementIsWaitedFor(t *testing.T) {
	b := bundleOf(t, hookSource(`if c.text == "bad" then error("bad") end`), func(o *Options) { o.VMs, o.Wait = 1, time.Millisecond })
	release := slowly(b)
	defer release()
	judged(t.Context(), b, "bad")
	if f, _ := judged(t.Context(), b, "next").Err.(*Fault); f == nil || f.Kind != FaultStarved {
		t.Errorf("got %+v, want no VM in time", f)
	}
	release()
	until(t, "the VM is replaced", func() bool { return b.pool.free() == 1 })
	if v := judged(t.Context(), b, "next"); v.Err != nil {
		t.Errorf("got %+v with a VM again", v)
	}
}

// VMs that others keep while a store of all cores is slow are not in the way of those that are replaced.
func TestReplacementWhileTheStoreIsSlow(t *testing.T) {
	store := &stuckShared{asked: make(chan struct{}, 1), answer: make(chan struct{})}
	b := bundleOf(t, `local im = require("im")
im.on_message(function(c)
	if c.text == "wait" then im.shared.get("key") end
	if c.text == "bad" then error("bad") end
	c.text = c.text .. "!"
end, {name = "h", on_error = "open"})`, func(o *Options) { o.VMs = 2 })
	b.opts.state.shared = store
	if err := b.pool.warm(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	say := func(text string) string {
		b.judge(t.Context(), b.chain(Before, "", true), &Call{Text: &text}, time.Now)
		return text
	}
	waited := make(chan string, 1)
	go func() { waited <- say("wait") }()
	<-store.asked
	for range 5 { // with the one VM that is left, each time another
		if got := say("bad"); got != "bad" {
			t.Errorf("got %q of the hook that fails", got)
		}
		if got := say("good"); got != "good!" {
			t.Errorf("got %q, want a VM in the place of the broken one", got)
		}
	}
	close(store.answer)
	if got := <-waited; got != "wait!" {
		t.Errorf("got %q of the message that waited for the store", got)
	}
	if broken, made := b.pool.broken.Load(), b.pool.made.Load(); broken != 5 || made != 2 {
		t.Errorf("got %d broken, %d VMs", broken, made)
	}
}

// A VM that a bundle's own test breaks is replaced before the test goes on, with what tests are given.
func TestReplacementInTests(t *testing.T) {
	for range 50 {
		o := &Options{Dir: "unused", Log: slog.New(slog.DiscardHandler), TestWall: time.Minute, VMs: 1}
		o.setDefaults()
		files := []file{{"a.lua", hookSource(`error("bad")`)}, {"a_test.lua", `test("it fails", function(t) assert(not pcall(t.message, {text = "x"})) end)`}}
		b, err := build(t.Context(), newTree(files), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b.pool.broken.Load() != 1 || b.pool.free() != 1 || b.pool.alone {
			t.Fatalf("got %d broken VMs, %d free ones, alone %v", b.pool.broken.Load(), b.pool.free(), b.pool.alone)
		}
		b.pool.close()
	}
}

// A pool that is closed while a VM is made lets go of that too, and nothing runs on.
func TestReplacementEndsWithTheBundle(t *testing.T) {
	b := bundleOf(t, hookSource(`error("bad")`), func(o *Options) { o.VMs = 1 })
	release := slowly(b)
	judged(t.Context(), b, "x")
	closed := make(chan struct{})
	go func() {
		b.pool.close()
		close(closed)
	}()
	until(t, "the pool is closed", func() bool { b.pool.mu.Lock(); defer b.pool.mu.Unlock(); return b.pool.closed })
	release()
	<-closed
	if made, free := b.pool.made.Load(), b.pool.free(); made != 0 || free != 0 {
		t.Errorf("got %d VMs, %d of them free, want none", made, free)
	}
	if v := judged(t.Context(), b, "x"); v.Err == nil || v.Err.(*Fault).Kind != FaultScript || b.pool.made.Load() != 0 {
		t.Errorf("got %+v and %d VMs, want one for that call only", v, b.pool.made.Load())
	}
}

// A pool that is closed while it owes several VMs makes none but the one that is under way.
func TestClosingMakesNoMore(t *testing.T) {
	b := bundleOf(t, hookSource(`error("bad")`), func(o *Options) { o.VMs = 3 })
	var all []*vm
	for range 3 {
		v, err := b.pool.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	begun, ready, builds := make(chan struct{}, 3), make(chan struct{}), 0
	b.pool.build = func() (*vm, error) {
		builds++ // one goroutine makes them all
		begun <- struct{}{}
		<-ready
		return b.newVM()
	}
	for _, v := range all {
		v.broken = true
		b.pool.put(v)
	}
	<-begun
	closed := make(chan struct{})
	go func() {
		b.pool.close()
		close(closed)
	}()
	until(t, "the pool is closed", func() bool { b.pool.mu.Lock(); defer b.pool.mu.Unlock(); return b.pool.closed })
	close(ready)
	<-closed
	if made, free := b.pool.made.Load(), b.pool.free(); builds != 1 || made != 0 || free != 0 {
		t.Errorf("%d were made, and there are %d VMs, %d of them free; want one and none", builds, made, free)
	}
}

// Who waits for a VM of a bundle that is closed meanwhile gets one.
func TestWaitingWhileTheBundleEnds(t *testing.T) {
	b := bundleOf(t, hookSource(``), func(o *Options) { o.VMs, o.Wait = 1, time.Hour })
	v, err := b.pool.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan Verdict, 1)
	go func() { waited <- judged(t.Context(), b, "x") }()
	b.pool.close()
	v.broken = true
	b.pool.put(v)
	if got := <-waited; got.Err != nil {
		t.Errorf("got %+v", got)
	}
	if made := b.pool.made.Load(); made != 0 {
		t.Errorf("%d VMs are left", made)
	}
}

// Who waits for a VM that then cannot be made is not left waiting, and hears what is wrong.
func TestWaitingForWhatCannotBeMade(t *testing.T) {
	b := bundleOf(t, hookSource(`if c.text == "bad" then error("bad") end`), func(o *Options) { o.VMs, o.Wait = 1, time.Hour })
	ready := make(chan struct{})
	b.pool.build = func() (*vm, error) {
		<-ready
		return nil, errors.New("no room")
	}
	judged(t.Context(), b, "bad")
	const people = 5
	waited := make(chan Verdict, people)
	for range people {
		go func() { waited <- judged(t.Context(), b, "next") }()
	}
	runtime.Gosched()
	close(ready)
	for range people {
		if f, _ := (<-waited).Err.(*Fault); f == nil || f.Kind != FaultStarved || f.Msg != "no room" {
			t.Errorf("got %+v, want what is wrong", f)
		}
	}
	b.pool.build = b.newVM
	if v := judged(t.Context(), b, "next"); v.Err != nil {
		t.Errorf("got %+v when one can be made again", v)
	}
}

// A VM of a bundle that is tried is replaced after a tenth of the work of others: a hook that keeps what it makes
// has no more of it.
func TestTriedVMsAreReplacedSooner(t *testing.T) {
	b := bundleOf(t, "local k = {}\n"+hookSource(`for i = 1, 1000 do k[#k + 1] = {c.text} end c.text = tostring(#k)`), func(o *Options) { o.VMs = 1 })
	b.pool.alone = true
	work := 0 // of the VM
	for range 100 {
		s := newMessage()
		s.text, s.Request = "x", &struct{}{}
		v := b.judge(t.Context(), b.chain(Before, s.Action, true), &s.Call, time.Now)
		if v.Err != nil {
			t.Fatal(v.Err)
		}
		if s.text == "1000" { // a new one
			work = 0
		}
		if work >= vmTried {
			t.Fatalf("a VM goes on after %d units: it has %s tables", work, s.text)
		}
		work += v.Units
	}
}

// A panic while a VM is replaced ends nothing: the next who finds none free has one made.
func TestPanicInAReplacement(t *testing.T) {
	b := bundleOf(t, hookSource(`if c.text == "bad" then error("bad") end`), func(o *Options) { o.VMs = 1 })
	failed := false
	b.pool.build = func() (*vm, error) {
		if !failed {
			failed = true
			panic("bug")
		}
		return b.newVM()
	}
	judged(t.Context(), b, "bad")
	until(t, "no VM is left", func() bool { return b.pool.made.Load() == 0 })
	if v := judged(t.Context(), b, "next"); v.Err != nil {
		t.Errorf("got %+v", v)
	}
}

// A Go panic inside of the API is a fault of that call and costs its VM, even
// when the script wraps it in pcall.
func TestPanicInTheAPI(t *testing.T) {
	b := bundleOf(t, hookSource(`pcall(c.text) return "not reached"`), func(o *Options) { o.VMs = 1 })
	v, err := b.pool.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.calling.(*lua.LTable).RawSetString("__index", v.L.NewFunction(func(*lua.LState) int { panic("bug") }))
	b.pool.put(v)
	got := judged(t.Context(), b, "x")
	if f, _ := got.Err.(*Fault); f == nil || f.Kind != FaultPanic || !strings.Contains(f.Msg, "bug") {
		t.Errorf("got %+v", got)
	}
	if b.pool.broken.Load() != 1 {
		t.Error("the VM was kept")
	}
}

// clocked is a budget with a clock that is moved by hand.
func clocked() (b budget, wait func(time.Duration)) {
	at := time.Unix(1_700_000_000, 0)
	b = newBudget()
	b.began, b.clock = at, func() time.Time { return at }
	return b, func(d time.Duration) { at = at.Add(d) }
}

// work has the VM run so many instructions, and says after how many it was stopped; 0: it was not.
func (b *budget) work(n int) int {
	for i := range n {
		if b.Done() != nil {
			return i + 1
		}
	}
	return 0
}

// A goroutine that is not scheduled, or waits, is not mistaken for one that loops.
func TestWaitsCountForAThird(t *testing.T) {
	b, wait := clocked()
	b.begin(1<<30, 15*time.Millisecond)
	b.work(between + 1) // the first look
	for i := range parts - 1 {
		wait(time.Hour)
		if b.work(between+1) != 0 {
			t.Errorf("a call was stopped by wait %d", i+1)
		}
	}
	if b.charge() != 15*time.Millisecond {
		t.Errorf("charged %v, and what follows the last look may be a wait", b.charge())
	}
	wait(4 * time.Millisecond)
	if b.work(between+1) != 0 {
		t.Error("a call was stopped before its time was over")
	}
	wait(time.Millisecond)
	if b.work(between+1) == 0 || !errors.Is(b.Err(), errWall) {
		t.Errorf("got %v, want the call stopped", b.Err())
	}
	if b.Done() == nil || b.spend(1) {
		t.Error("a call that was stopped goes on")
	}

	b.begin(2, time.Millisecond)
	wait(time.Hour)
	if n := b.work(10); n != 3 || !errors.Is(b.Err(), errWork) {
		t.Errorf("stopped at instruction %d by %v, want the work to be spent", n, b.Err())
	}
	b.begin(between, time.Millisecond)
	wait(time.Hour)
	if n := b.work(between); n != 0 || b.end() != between {
		t.Errorf("stopped at %d, with %d units used: the call before has nothing to do with this one", n, b.end())
	}
}

// A call that never ends is stopped when its time is over, and a tenth of a millisecond.
func TestLoopsAreStoppedInTime(t *testing.T) {
	const instruction = 50 * time.Nanosecond
	for _, wall := range []time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond} {
		b, wait := clocked()
		b.begin(1<<30, wall)
		ran := time.Duration(0)
		for ; b.Done() == nil && ran < time.Second; ran += instruction {
			wait(instruction)
		}
		if late := ran - wall; late < 0 || late > 3*instructions*instruction {
			t.Errorf("a call that has %v was stopped after %v", wall, ran)
		}
	}
}

// The clock is not read for calls that do little.
func TestShortCallsReadNoClock(t *testing.T) {
	b := newBudget()
	b.clock = func() time.Time { t.Error("the clock was read"); return time.Time{} }
	for range 100 {
		b.begin(100_000, time.Millisecond)
		if b.work(instructions) != 0 || !b.spend(between/2) {
			t.Error("stopped")
		}
	}
}

// allocating has the VM run so many instructions, and allocates so much after each.
func (b *budget) allocating(n, octets int, wait func()) (stopped bool) {
	for range n {
		if b.Done() != nil {
			return true
		}
		allocated = make([]byte, octets)
		wait()
	}
	return false
}

var allocated []byte // keeps the compiler from leaving it out

// What is allocated while a hook is tried is not charged to it: that may be anybody. Only where the work is that of
// a load it is, or where instructions are slow, and then no look takes more than a twelfth of what was given.
func TestWhatOthersAllocateIsNotCharged(t *testing.T) {
	b, wait := clocked()
	defer func() { allocated = nil }()
	punctual := func() {}
	b.begin(100_000, 5*time.Second)
	if b.allocating(90_000, 4<<10, punctual) || b.end() != 90_000 {
		t.Errorf("a hook that is tried was charged %d units for 90,000", b.end())
	}
	b.begin(loadUnits, 5*time.Second)
	if !b.allocating(90_000, 4<<10, punctual) || !errors.Is(b.Err(), errWork) {
		t.Errorf("a load was charged %d units for 350 MiB, %v", b.end(), b.Err())
	}
	b.begin(loadUnits, 5*time.Second)
	for range 100 {
		b.work(weighing * (instructions + 1))
		done := b.aside()
		allocated = make([]byte, 1<<20)
		done()
	}
	if want := 100 * weighing * (instructions + 1); b.end() > want+100_000 {
		t.Errorf("charged %d units for %d, and for what is allocated aside", b.end(), want)
	}
	// A late look, and another: 32 MiB are charged as a twelfth.
	b.begin(100_000, 5*time.Millisecond)
	b.work(instructions + 1)
	wait(time.Millisecond)
	b.work(instructions + 1)
	allocated = make([]byte, 32<<20)
	b.work(instructions + 1)
	if got, want := b.end(), 3*(instructions+1)+100_000/shares; got != want {
		t.Errorf("charged %d units, want %d", got, want)
	}
	// Late looks that alternate with punctual ones are charged too where there is much time, in loads and in hooks.
	for _, units := range []int{loadUnits, 100_000} {
		b.begin(units, 5*time.Minute)
		pairs := 0
		for ; pairs < 1000; pairs++ {
			if b.work(instructions+1) != 0 {
				break
			}
			wait(time.Millisecond)
			allocated = make([]byte, 24<<20)
			if b.work(instructions+1) != 0 {
				break
			}
		}
		if pairs > 2*shares {
			t.Errorf("%d units paid for %d times 24 MiB", units, pairs)
		}
	}
}

// Hooks that end just before they are stopped use up the time of the chain.
func TestChainTimeEnds(t *testing.T) {
	j := &judgement{v: &vm{}}
	spent := time.Duration(0)
	for range 3 {
		const wall = 5 * time.Millisecond
		j.v.budget.wall, j.v.budget.ran = wall, wall-wall/parts // all but the last
		j.marked = time.Now().Add(-2 * wall)
		j.spend(wall, false)
		if j.spent-spent != wall {
			t.Errorf("charged %v of %v", j.spent-spent, wall)
		}
		spent = j.spent
	}
	j.v.budget.wall, j.v.budget.ran = 3*time.Millisecond, 0
	j.marked = time.Now().Add(-time.Hour) // not scheduled, and not once seen to run
	if j.spend(3*time.Millisecond, false); j.spent-spent != time.Millisecond {
		t.Errorf("charged %v for a third of 3 ms", j.spent-spent)
	}
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
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 4<<10 {
			return
		}
		tryScript(t, o, "local im = require('im') "+source)
		tryScript(t, o, hookSource(source))
	})
}

// fuzzedRequest is what generated scripts are asked about.
type fuzzedRequest struct {
	Text   string         `protobuf:"bytes,1,opt,name=text"`
	Ids    []int64        `protobuf:"varint,2,rep,name=ids"`
	Octets []byte         `protobuf:"bytes,3,opt,name=octets"`
	Inner  *fuzzedRequest `protobuf:"bytes,4,opt,name=inner"`
}

// tryScript loads a source and asks its hooks: about a message, or an edge's about a connection.
func tryScript(t *testing.T, o *Options, source string) {
	b, err := build(context.Background(), newTree([]file{{"a.lua", source}}), o, nil)
	if err != nil {
		if !strings.Contains(err.Error(), "a.lua:") && !strings.Contains(err.Error(), "loading must always") {
			t.Errorf("an error without a place: %v", err)
		}
		return
	}
	defer b.pool.close()
	r := fuzzedRequest{Text: "hello", Ids: []int64{1, 2}, Octets: make([]byte, 8<<10), Inner: &fuzzedRequest{}}
	c, chain := &Call{Text: &r.Text, Kind: "text", Request: &r}, b.chain(Before, "", true)
	if o.Edge {
		c, chain = &Call{Headers: []Header{{"host", "a.example"}}, Tags: []string{"x"}}, b.chain(Connect, "", false)
	}
	v := b.judge(context.Background(), chain, c, time.Now)
	if f, _ := v.Err.(*Fault); f != nil && f.Kind == FaultPanic && !strings.Contains(f.Msg, "index out of range [-1]") {
		t.Errorf("a panic: %v", v.Err)
	}
	b.pool.replacing.Wait() // then nobody else touches idle
	for _, v := range b.pool.idle {
		// The largest single charge is that of the longest string.
		if v.work > len(b.hooks)*(o.Instructions+maxString/64+pattern.MaxCost) {
			t.Errorf("%d units of work of %d", v.work, o.Instructions)
		}
	}
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

// Promoting a bundle from trial forgets each of its figures: none is left out.
func TestFiguresBeginAnew(t *testing.T) {
	var f figures
	counters := []*atomic.Int64{&f.calls, &f.denied, &f.shadowed, &f.rerouted, &f.held, &f.rewritten, &f.faults, &f.noted}
	kinds := reflect.TypeFor[figures]()
	fields := 0
	for field := range kinds.Fields() {
		if field.Type == reflect.TypeFor[atomic.Int64]() {
			fields++
		}
	}
	if fields != len(counters) {
		t.Fatalf("figures has %d counters, and this test knows %d", fields, len(counters))
	}
	for _, n := range counters {
		n.Store(1)
	}
	f.last.Store(&Fault{})
	f.begin()
	for i, n := range counters {
		if n.Load() != 0 {
			t.Errorf("counter %d was kept", i)
		}
	}
	if f.last.Load() != nil {
		t.Error("the last fault was kept")
	}
}
