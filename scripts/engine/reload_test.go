package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// answer is a file whose hook turns every text into tag.
func answer(tag string) string {
	return `local im = require("im")
im.on_message(function(c) c.text = "` + tag + `" end, {name = "answer", on_error = "closed"})
`
}

// watched is an engine whose Run goes on until the test ends.
type watched struct {
	*engine.Engine
	t   *testing.T
	dir string
	log *logs
}

func watch(t *testing.T, dir string, files map[string]string) *watched {
	t.Helper()
	put(t, dir, files)
	w := &watched{t: t, dir: dir, log: &logs{}}
	var err error
	if w.Engine, err = engine.New(options(dir, w.log)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		w.Close()
	})
	return w
}

func (w *watched) says() string {
	m := message("hi")
	judge(context.Background(), w.Engine, m)
	return m.Text
}

// until waits for the answer to become want and never to be one of never.
func (w *watched) until(want string, never ...string) {
	w.t.Helper()
	eventually(w.t, "answer "+want+" after "+w.log.String(), func() bool {
		got := w.says()
		for _, bad := range never {
			if got == bad {
				w.t.Fatalf("got answer %q in between", got)
			}
		}
		return got == want
	})
}

func (w *watched) put(name, text string) {
	w.t.Helper()
	put(w.t, w.dir, map[string]string{name: text})
}

func (w *watched) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// rejected waits for a rejection that says want.
func (w *watched) rejected(want string) {
	w.t.Helper()
	eventually(w.t, "a rejection with "+want, func() bool {
		r := w.Status().Rejected
		return r != nil && strings.Contains(strings.Join(r.Errors, "\n"), want)
	})
}

// logged waits for a line with want.
func (w *watched) logged(want string) {
	w.t.Helper()
	eventually(w.t, "a log line with "+want, func() bool { return strings.Contains(w.log.String(), want) })
}

func (w *watched) path(name string) string { return filepath.Join(w.dir, name) }

func TestBrokenFileKeepsTheBundle(t *testing.T) {
	cycle := func(name, before string) string {
		return `require("im").on_message(function() end, {name = "` + name + `", on_error = "open", before = "` + before + `"})` + "\n"
	}
	w := watch(t, t.TempDir(), map[string]string{"a.lua": answer("one")})
	before := w.Status().Bundle
	for _, test := range []struct{ text, want string }{
		{answer("one") + answer("two")[len("local im = require(\"im\")\n"):], `"answer"`},
		{answer("one") + cycle("x", "y") + cycle("y", "x"), "these hooks wait for each other"},
		{"local x = = 1", "a.lua:1:11: syntax error"},
		{"error('boom')", "a.lua:1: boom"},
		{"while true do end", "a.lua:1: instruction budget spent"},
		{"", "a.lua:1: file is empty"},
	} {
		w.put("a.lua", test.text)
		w.rejected(test.want)
		if got := w.says(); got != "one" || w.Status().Bundle != before {
			t.Errorf("got %q after %q, want the old bundle", got, test.text)
		}
	}
	w.put("a.lua", answer("one"))
	w.put("a_test.lua", `test("no", function(t) error("it is not so") end)`)
	w.rejected("it is not so")
	if got := w.says(); got != "one" || w.Status().Bundle != before {
		t.Errorf("got %q after a test that fails, want the old bundle", got)
	}
	w.must(os.Remove(w.path("a_test.lua")))
	w.put("a.lua", answer("two"))
	w.until("two")
	eventually(t, "the rejection is forgotten", func() bool { return w.Status().Rejected == nil })
	w.logged("a.lua:1:11: syntax error")
	w.logged("from=" + before)
}

func TestErrorIsLoggedOnce(t *testing.T) {
	dir, log := t.TempDir(), &logs{}
	put(t, dir, map[string]string{"a.lua": answer("one")})
	e, err := engine.New(options(dir, log))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	put(t, dir, map[string]string{"a.lua": "nonsense"})
	for range 3 {
		if _, err := e.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "a.lua:1") {
			t.Fatalf("got %v, want the same error each time", err)
		}
	}
	if n := strings.Count(log.String(), "scripts rejected"); n != 1 {
		t.Errorf("got %d log lines, want 1:\n%s", n, log)
	}
}

// A rule that is deleted on purpose goes, a little later than others change.
func TestRemovedRule(t *testing.T) {
	other := strings.ReplaceAll(answer("other"), "answer", "other")
	for _, test := range []struct {
		name   string
		remove func(w *watched)
	}{
		{"its file is deleted", func(w *watched) { w.must(os.Remove(w.path("b.lua"))) }},
		{"its lines are deleted", func(w *watched) { w.put("b.lua", "-- nothing left") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := watch(t, t.TempDir(), map[string]string{"a.lua": answer("one"), "b.lua": other})
			w.until("other")
			test.remove(w)
			w.until("one")
			w.logged(`"hooks were removed" hooks=[other]`)
		})
	}
}

func TestEmptyDirectoryKeepsTheBundle(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.lua": answer("one")})
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := os.Remove(filepath.Join(dir, "a.lua")); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "holds no script any more") {
		t.Errorf("got %v", err)
	}
	if _, m := ask(t, e, "hi"); m.Text != "one" {
		t.Errorf("got %q, want the old bundle", m.Text)
	}
}

func TestReport(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.lua": answer("one"), "gone.lua": strings.ReplaceAll(answer("x"), "answer", "gone"), "same.lua": "-- same"})
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	first := e.Status().Bundle
	if r, err := e.Reload(t.Context()); err != nil || r.Activated() || r.From != first {
		t.Errorf("got %+v, %v for the same content, want nothing activated", r, err)
	}
	put(t, dir, map[string]string{"a.lua": answer("two"), "new.lua": strings.ReplaceAll(answer("x"), "answer", "new"),
		"a_test.lua": `test("x", function(t) assert(t.message{}.rule == "") end)`})
	if err := os.Remove(filepath.Join(dir, "gone.lua")); err != nil {
		t.Fatal(err)
	}
	r, err := e.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(r.Files, r.Added, r.Removed, r.Tests, r.From == first, r.To == e.Status().Bundle)
	if want := "[~a.lua +a_test.lua -gone.lua +new.lua] [new] [gone] 1 true true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	put(t, dir, map[string]string{"a.lua": answer("one"), "gone.lua": strings.ReplaceAll(answer("x"), "answer", "gone")})
	for _, name := range []string{"new.lua", "a_test.lua"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := e.Reload(t.Context()); err != nil || r.To != first {
		t.Errorf("got %+v, %v, want the first hash for the first content", r, err)
	}
}

func TestLastGood(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	put(t, dir, map[string]string{"a.lua": answer("one"), "lib/x.lua": "return 1"})
	o := options(dir, &logs{})
	o.StateDir = state
	start := func() (*engine.Engine, error) { return engine.New(o) }
	e, err := start()
	if err != nil {
		t.Fatal(err)
	}
	good := e.Status().Bundle
	e.Close()

	put(t, dir, map[string]string{"a.lua": "nonsense"})
	e, err = start()
	if err != nil {
		t.Fatal(err)
	}
	s := e.Status()
	if _, m := ask(t, e, "hi"); m.Text != "one" || s.Bundle != good || s.Rejected == nil || !strings.Contains(s.Rejected.Errors[0], "a.lua:1") {
		t.Errorf("got %q and %+v, want the last good bundle and what is wrong", m.Text, s)
	}
	put(t, dir, map[string]string{"a.lua": answer("two")})
	if r, err := e.Reload(t.Context()); err != nil || !r.Activated() {
		t.Errorf("got %+v, %v, want the mended files", r, err)
	}
	e.Close()

	put(t, dir, map[string]string{"a.lua": "nonsense"})
	stored, err := filepath.Glob(filepath.Join(state, "bundles", "*.json"))
	if err != nil || len(stored) != 2 {
		t.Fatalf("got %v, %v", stored, err)
	}
	damage := func(word string) {
		for _, name := range stored {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(strings.Replace(string(data), word, "six", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	damage("two")
	e, err = start()
	if err != nil {
		t.Fatal(err)
	}
	if _, m := ask(t, e, "hi"); m.Text != "one" {
		t.Errorf("got %q, want the one before the damaged one", m.Text)
	}
	e.Close()
	damage("one")
	if e, err := start(); err == nil {
		e.Close()
		t.Error("got no error from damaged copies")
	}
}

// TestFatalContent: a content with which a process ended while it tried it is not what the next one
// begins with, however often that starts. It is tried when somebody asks for it, or when there
// is nothing else; and one that was active before is not to blame.
func TestFatalContent(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	mark := filepath.Join(state, "trying")
	start := func(state, want string) *engine.Engine {
		t.Helper()
		o := options(dir, &logs{})
		o.StateDir = state
		e, err := engine.New(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, m := ask(t, e, "hi"); m.Text != want {
			t.Errorf("got %q, want %q", m.Text, want)
		}
		return e
	}
	died := func(state, with string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(state, 0o700), os.WriteFile(filepath.Join(state, "trying"), []byte(with), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, dir, map[string]string{"a.lua": answer("one")})
	start(state, "one").Close()
	put(t, dir, map[string]string{"a.lua": answer("two")})
	other := start("", "two")
	two := other.Status().Bundle
	other.Close()
	died(state, two)
	start(state, "one").Close()
	e := start(state, "one")
	if s := e.Status(); s.Rejected == nil || s.Rejected.Bundle != two || !strings.Contains(s.Rejected.Errors[0], "ended while") {
		t.Errorf("got %+v, want what is wrong with %s", s, two)
	}
	if r, err := e.Reload(t.Context()); err != nil || !r.Activated() {
		t.Errorf("got %+v, %v, want the files that were asked for", r, err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a mark is left of what went well: %v", err)
	}
	e.Close()
	died(state, two)
	start(state, "two").Close()
	alone := filepath.Join(t.TempDir(), "state")
	died(alone, two)
	start(alone, "two").Close()
}

func TestUnreadable(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"no directory", func(dir string) error { return os.Remove(dir) }, "no such file"},
		{"dangling link", func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "a.lua")) }, "a.lua: no such file"},
		{"directory named like a script", func(dir string) error { return os.Mkdir(filepath.Join(dir, "a.lua"), 0o755) }, ""},
		{"loop of links", func(dir string) error { return os.Symlink(dir, filepath.Join(dir, "loop")) }, ""},
		{"too deep", func(dir string) error { return os.MkdirAll(filepath.Join(dir, "1/2/3/4/5/6/7/8/9"), 0o755) }, "directories deep"},
		{"device", func(dir string) error { return os.Symlink("/dev/zero", filepath.Join(dir, "a.lua")) }, "not a regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.make(dir); err != nil {
				t.Fatal(err)
			}
			e, err := engine.New(options(dir, &logs{}))
			if err == nil {
				e.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Two hooks of one bundle must never be joined by one of another, and a verdict
// names the bundle that gave it; and 1,000 reloads, some by way of a candidate,
// leave nothing behind.
func TestReloadUnderLoad(t *testing.T) {
	both := func(n int) string {
		return fmt.Sprintf(`local im = require("im")
local list = im.words({"word%d"})
im.on_message(function(c) c.text = "%d" end, {name = "a", priority = 1, on_error = "closed"})
im.on_message(function(c) c.text = c.text .. "+%d" end, {name = "b", on_error = "closed"})`, n, n, n)
	}
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.lua": both(0)})
	o := options(dir, &logs{})
	o.Debounce, o.VMCalls = 4*time.Millisecond, 50
	o.Record = engine.Record{Every: 100, Keep: 20, Text: engine.TextFull}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	bundles := sync.Map{} // hash to the text it must give
	before := e.Status().Bundle
	bundles.Store(before, "0+0")
	goroutines := runtime.NumGoroutine()
	stop := make(chan struct{})
	var callers sync.WaitGroup
	var calls atomic.Int64
	for range 4 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m := message("hi")
				v := judge(context.Background(), e, m)
				calls.Add(1)
				half, other, _ := strings.Cut(m.Text, "+")
				if v.Err != nil || v.Denied() || half != other || m.Pin.Bundle() != v.Bundle {
					t.Errorf("got %+v with text %q", v, m.Text)
					return
				}
				if want, known := bundles.Load(v.Bundle); known && want != m.Text {
					t.Errorf("bundle %s said %q, want %q", v.Bundle, m.Text, want)
					return
				}
				runtime.Gosched()
			}
		})
	}
	reloads := 1000
	if testing.Short() {
		reloads = 100
	}
	early := uint64(0)
	for n := 1; n <= reloads; n++ {
		hash, err := replace(t, e, dir, both(n), n%10)
		if err != nil {
			t.Fatal(err)
		}
		bundles.Store(hash, fmt.Sprintf("%d+%d", n, n))
		bundles.Delete(before)
		before = hash
		if n == reloads/10 {
			early = heap()
		}
	}
	late := uint64(0) // what is only held for a while, by whomever, is no leak of reloads
	defer func() {
		t.Logf("the heap was %d KiB after %d reloads, and %d KiB after %d", early>>10, reloads/10, late>>10, reloads)
	}()
	eventually(t, "the heap to be as it was", func() bool { late = heap(); return late <= early+8<<20 })
	close(stop)
	callers.Wait()
	if calls.Load() < 200 {
		t.Errorf("got only %d calls in between", calls.Load())
	}
	eventually(t, "goroutines to end, but for that which watches the last bundle", func() bool { return runtime.NumGoroutine() <= goroutines+1 })
	if live := e.Status().VMs.Live; live > o.VMs && o.VMs > 0 {
		t.Errorf("got %d VMs", live)
	}
}

// replace makes source the active rules: through the files, or as a candidate that
// is promoted.
func replace(t *testing.T, e *engine.Engine, dir, source string, way int) (hash string, err error) {
	if way > 1 {
		put(t, dir, map[string]string{"a.lua": source})
		r, err := e.Reload(t.Context())
		return r.To, err
	}
	p := []engine.Policy{{Mode: engine.ModeShadow}, {Mode: engine.ModeCanary, Percent: 50}}[way]
	r, err := e.Prepare(t.Context(), map[string]string{"a.lua": source}, me)
	if err == nil {
		_, err = e.Activate(t.Context(), r.Prepared, p, me)
	}
	if err == nil {
		r, err = e.Promote(t.Context(), me)
	}
	return r.To, err
}

// heap is what lives on it.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A reload that fails in any way leaves the calls alone.
func TestConcurrentReloads(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.lua": answer("one")})
	o := options(dir, &logs{})
	o.Log = slog.New(slog.DiscardHandler)
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := e.Reload(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Reload(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}
