package engine

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Those who wait for a VM of a bundle that is closed meanwhile get the ones that there are, in turn: no
// other is made for them.
func TestWaitingAtTheEndMakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bundleOf(t, hookSource(``), func(o *Options) { o.VMs = 2 })
		if err := b.pool.warm(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		var all [2]*vm
		for i := range all {
			var err error
			if all[i], err = b.pool.get(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var builds atomic.Int32
		b.pool.build = func() (*vm, error) {
			builds.Add(1)
			return b.newVM()
		}
		const people = 5
		var answered atomic.Int32
		for range people {
			go func() {
				if v := judged(t.Context(), b, "x"); v.Err != nil {
					t.Errorf("got %+v", v)
				}
				answered.Add(1)
			}()
		}
		synctest.Wait() // all of them wait
		b.pool.close()
		synctest.Wait()
		if n := b.pool.made.Load(); builds.Load() != 0 || n != 2 || answered.Load() != 0 {
			t.Errorf("%d VMs were made, and there are %d, with %d answers; want the two that are in use", builds.Load(), n, answered.Load())
		}
		b.pool.put(all[0])
		synctest.Wait()
		if n := b.pool.made.Load(); builds.Load() != 0 || n != 1 || answered.Load() != people {
			t.Errorf("%d VMs were made, and there are %d, with %d answers; want all answered by the one that came back", builds.Load(), n, answered.Load())
		}
		b.pool.put(all[1])
		if n := b.pool.made.Load(); n != 0 {
			t.Errorf("%d VMs are left", n)
		}
	})
}

// When the last VM of a closed bundle breaks, one of those who wait makes another, within Options.VMs.
func TestTheLastVMOfABundleBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bundleOf(t, hookSource(``), func(o *Options) { o.VMs = 1 })
		v, err := b.pool.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		builds := 0 // one caller makes it
		b.pool.build = func() (*vm, error) {
			builds++
			return b.newVM()
		}
		var rush sync.WaitGroup
		for range 5 {
			rush.Go(func() {
				if v := judged(t.Context(), b, "x"); v.Err != nil {
					t.Errorf("got %+v", v)
				}
			})
		}
		synctest.Wait()
		b.pool.close()
		v.broken = true
		b.pool.put(v)
		rush.Wait()
		if made := b.pool.made.Load(); builds != 1 || made != 0 {
			t.Errorf("%d VMs were made, and %d are left; want one and none", builds, made)
		}
	})
}

// A message that finds no VM free has one more made, beside, and takes whichever is free first.
func TestMoreVMsAreMadeBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bundleOf(t, hookSource(``), func(o *Options) { o.VMs = 4 })
		v, err := b.pool.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		release := slowly(b)
		var answered atomic.Bool
		go func() {
			if v := judged(t.Context(), b, "x"); v.Err != nil {
				t.Errorf("got %+v", v)
			}
			answered.Store(true)
		}()
		synctest.Wait()
		b.pool.put(v)
		synctest.Wait()
		if !answered.Load() {
			t.Error("the message waits for a VM that is being made, though another is free")
		}
		release()
		synctest.Wait()
		if made, free := b.pool.made.Load(), b.pool.free(); made != 2 || free != 2 {
			t.Errorf("got %d VMs, %d of them free, want 2", made, free)
		}
	})
}

// A bundle that was swapped out keeps its VMs for as long as an action may take, and then nobody keeps it.
func TestRetiredPoolsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bundleOf(t, hookSource(``), nil)
		e := new(Engine)
		kept := func() int {
			e.retiring.Lock()
			defer e.retiring.Unlock()
			return len(e.retired)
		}
		e.retire(b)
		time.Sleep(retirement - time.Second) // of the bubble's clock
		if free := b.pool.free(); free != 1 {
			t.Errorf("got %d VMs before its time, want 1", free)
		}
		if n := kept(); n != 1 {
			t.Errorf("%d bundles are kept before its time, want 1", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if made := b.pool.made.Load(); made != 0 {
			t.Errorf("got %d VMs after its time", made)
		}
		if n := kept(); n != 0 {
			t.Errorf("%d bundles are kept after its time", n)
		}
	})
}

// reloadable is an engine whose rules edit changes.
func reloadable(t *testing.T) (e *Engine, edit func()) {
	t.Helper()
	dir, edition := t.TempDir(), 0
	write := func() {
		edition++
		if err := os.WriteFile(filepath.Join(dir, "a.lua"), fmt.Appendf(nil, "%s\n-- edition %d", hookSource(``), edition), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	e, err := New(Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Wall: time.Second, ChainWall: time.Second, LoadWall: 10 * time.Second, TestWall: 10 * time.Second,
		Wait: time.Minute, Debounce: 4 * time.Millisecond, Watch: Watch{For: -1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e, func() {
		write()
		if r, err := e.Reload(t.Context()); err != nil || !r.Activated() {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
}

// No message makes a VM when the rules change, whether it began before or after, nor takes
// what a reload holds.
func TestNoMessageWaitsForAReload(t *testing.T) {
	e, edit := reloadable(t)
	ask := func(c *Call) {
		if v := e.Ask(t.Context(), Before, c); v.Err != nil {
			t.Errorf("got %+v", v)
		}
	}
	began := make([]*sample, 2*runtime.GOMAXPROCS(0)) // before the reload; as many as a fresh pool has VMs
	for i := range began {
		began[i] = newMessage()
		ask(&began[i].Call)
	}
	old := e.active.Load()
	edit()
	now := e.active.Load()
	old.pool.ending.Stop() // however slow the machine is
	var builds atomic.Int32
	for _, b := range []*bundle{old, now} {
		b.pool.build = func() (*vm, error) {
			if !calledBy("(*pool).makeOwed") { // which may replace one that had worked enough, on a busy machine
				builds.Add(1)
			}
			return b.newVM()
		}
	}
	e.reloading <- struct{}{} // what a reload holds
	e.mu.Lock()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		var all sync.WaitGroup
		for _, s := range began {
			all.Go(func() {
				for range 100 {
					ask(&s.Call)
					fresh := newMessage()
					ask(&fresh.Call)
					if s.Pin.b != old || fresh.Pin.b != now {
						t.Error("an action changed its bundle, or a new one did not get the new one")
					}
					e.Edition()
					e.Answered(&fresh.Call)
				}
			})
		}
		all.Wait()
	}()
	select {
	case <-answered:
	case <-time.After(time.Minute):
		t.Error("messages wait for what a reload holds")
	}
	e.mu.Unlock()
	<-e.reloading
	<-answered
	if n := builds.Load(); n > 0 {
		t.Errorf("messages made %d VMs", n)
	}
}

// calledBy reports whether a function is on the caller's stack.
func calledBy(function string) bool {
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	for more := true; more; {
		var frame runtime.Frame
		if frame, more = frames.Next(); strings.HasSuffix(frame.Function, function) {
			return true
		}
	}
	return false
}

// However often rules change, only the last bundles keep their VMs; and closing the engine lets go of all.
func TestRetiredBundlesAreFew(t *testing.T) {
	var all []*bundle
	t.Cleanup(func() { // after the engine's end
		for i, b := range all {
			if n := b.pool.made.Load(); n != 0 {
				t.Errorf("bundle %d has %d VMs after the end", i+1, n)
			}
		}
	})
	e, edit := reloadable(t)
	for range 5 {
		all = append(all, e.active.Load())
		edit()
	}
	for i, b := range all {
		kept := i >= len(all)-mostRetired
		if live := b.pool.made.Load() > 0; live != kept {
			t.Errorf("bundle %d of %d has VMs: %v, want %v", i+1, len(all), live, kept)
		}
		c := newMessage()
		c.Pin = Pin{b}
		if v := e.Ask(t.Context(), Before, &c.Call); v.Err != nil || v.Bundle != b.tree.hash {
			t.Errorf("got %+v of bundle %d, want its answer all the same", v, i+1)
		}
	}
}

// A bundle begins with as many VMs as the one before needed at once.
func TestReloadMakesTheVMsThatAreNeeded(t *testing.T) {
	e, edit := reloadable(t)
	usual := 2 * runtime.GOMAXPROCS(0)
	rush := make([]*vm, usual+3)
	p := e.active.Load().pool
	for i := range rush {
		var err error
		if rush[i], err = p.get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range rush {
		p.put(v)
	}
	for i, want := range []int{len(rush), usual} { // nobody needed as many since
		edit()
		if free := e.active.Load().pool.free(); free != want {
			t.Errorf("after reload %d there are %d VMs free, want %d", i+1, free, want)
		}
	}
}
