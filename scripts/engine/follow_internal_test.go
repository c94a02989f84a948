package engine

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// named is a file with hooks of these names, which all say tag.
func named(tag string, names ...string) string {
	var source strings.Builder
	source.WriteString("local im = require(\"im\")\n")
	for _, name := range names {
		source.WriteString(`im.on_message(function(c) c.text = "` + tag + `" end, {name = "` + name + `", on_error = "open"})` + "\n")
	}
	return source.String()
}

// followed is an engine that follows its files, in a bubble: a channel tells it of
// changes, and time is the bubble's.
type followed struct {
	*Engine
	t      *testing.T
	dir    string
	files  map[string]string // what is there now
	events chan fsnotify.Event
}

func follow(t *testing.T, files map[string]string) *followed {
	t.Helper()
	f := &followed{t: t, dir: t.TempDir(), files: map[string]string{}, events: make(chan fsnotify.Event, 16)}
	f.write(files)
	var err error
	if f.Engine, err = New(Options{Dir: f.dir, Log: slog.New(slog.DiscardHandler), Poll: time.Hour, Watch: Watch{For: -1}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		f.Engine.follow(ctx, &watcher{root: f.dir, watched: map[string]os.FileInfo{}, events: f.events})
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		f.Close()
	})
	pass(time.Second) // it has looked
	return f
}

// pass lets time go on, and what happens then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// write changes files without a word about it.
func (f *followed) write(files map[string]string) {
	f.t.Helper()
	for name, text := range files {
		f.files[name] = text
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
}

// tell tells of a change.
func (f *followed) tell() {
	f.events <- fsnotify.Event{Name: filepath.Join(f.dir, "a.lua"), Op: fsnotify.Write}
}

// final reports whether what is on disk is active.
func (f *followed) final() bool {
	var files []file
	for name, text := range f.files {
		files = append(files, file{name, text})
	}
	return f.Status().Bundle == newTree(files).hash
}

// Whoever writes files in several steps may leave what is right, and something else, in between:
// it never decides. Times are those of the usual Options: files are quiet after 200 ms,
// are read twice within 50 ms, and wait for a second when hooks are gone.
func TestNothingInBetween(t *testing.T) {
	type step struct {
		at    time.Duration     // after the first step
		files map[string]string // written then; nil: something beside the files
	}
	a := func(tag string, names ...string) map[string]string {
		return map[string]string{"a.lua": named(tag, names...)}
	}
	both := map[string]string{"a.lua": named("one", "a", "b"), "b.lua": named("one", "c")}
	for _, test := range []struct {
		name  string
		first map[string]string
		steps []step
	}{
		{"at once", both, []step{{0, a("two", "a", "b")}}},
		{"in two parts with the same hooks", both, []step{{0, a("between", "a", "b")}, {100, a("two", "a", "b")}}},
		{"in two parts, the first with fewer hooks", both, []step{{0, a("two", "a")}, {100, a("two", "a", "b")}}},
		{"two files of which one alone is right", both, []step{{0, a("two", "a", "b")}, {100, map[string]string{"b.lua": named("two", "c")}}}},
		{"many steps, each before the files are quiet", both, []step{{0, a("x", "a", "b")}, {150, a("y", "a", "b")}, {300, a("z", "a", "b")}, {450, a("two", "a", "b")}}},

		{"in two parts, the second while the first is read", both, []step{{0, a("between", "a", "b")}, {225, a("two", "a", "b")}}},
		{"two files, the second while the first is read", both, []step{{0, a("two", "a", "b")}, {225, map[string]string{"b.lua": named("two", "c")}}}},
		{"in two parts, the first while nothing new is read", both, []step{{0, nil}, {225, a("between", "a", "b")}, {325, a("two", "a", "b")}}},

		{"the first part has fewer hooks, and its writer rests", both, []step{{0, a("two", "a")}, {600, a("two", "a", "b")}}},
		{"two files, a hook moves from one to the other, with a rest", both,
			[]step{{0, a("two", "a")}, {600, map[string]string{"b.lua": named("two", "b", "c")}}}},
		{"three parts with more and more hooks, and two rests", map[string]string{"a.lua": named("one", "a", "b", "c")},
			[]step{{0, a("two", "a")}, {1000, a("two", "a", "b")}, {1500, a("two", "a", "b", "c")}}},
		{"hooks are gone for good", both, []step{{0, a("two", "a")}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := follow(t, test.first)
				one, began := f.Status().Bundle, time.Now()
				for _, s := range test.steps {
					pass(time.Until(began.Add(s.at * time.Millisecond)))
					if b := f.Status().Bundle; b != one {
						t.Errorf("%s is active before the step at %d ms", b, s.at)
					}
					f.write(s.files)
					f.tell()
				}
				pass(3 * time.Second)
				if n := f.Status().Results["activated"]; n != 1 || !f.final() {
					t.Errorf("got %d activations, %s active, want one, of what is on disk", n, f.Status().Bundle)
				}
			})
		})
	}
}

// Who asks for a reload waits for no quiet time: files that change while they are read are not activated.
func TestReloadWhileFilesChange(t *testing.T) {
	for _, test := range []struct {
		name          string
		before, while string // tag of the file then
	}{
		{"the first part is there", "between", "two"},
		{"the first part comes", "one", "between"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := follow(t, map[string]string{"a.lua": named("one", "a")})
				f.write(map[string]string{"a.lua": named(test.before, "a")})
				var err error
				var asked sync.WaitGroup
				asked.Go(func() { _, err = f.Reload(t.Context()) })
				synctest.Wait() // it has read once
				f.write(map[string]string{"a.lua": named(test.while, "a")})
				asked.Wait()
				if n := f.Status().Results["activated"]; err == nil || n != 0 {
					t.Errorf("got %v, %d activations, want none while files change", err, n)
				}
				f.write(map[string]string{"a.lua": named("two", "a")})
				if _, err := f.Reload(t.Context()); err != nil || f.Status().Results["activated"] != 1 || !f.final() {
					t.Errorf("got %v, %v, want it active", err, f.Status().Results)
				}
			})
		})
	}
}

// Files beside which something changes on and on are looked at all the same, after ten quiet times.
func TestChangesWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, map[string]string{"a.lua": named("one", "a")})
		f.write(map[string]string{"a.lua": named("two", "a")})
		for range 30 {
			f.tell()
			pass(100 * time.Millisecond)
		}
		if !f.final() {
			t.Error("not active after three seconds of changes")
		}
	})
}
