package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// once waits until what is on disk decides, and holds that it was activated at once: nothing
// that was there in between ever was. before is how many activations there had been.
func (w *watched) once(before int64) {
	w.t.Helper()
	w.settled()
	if n := w.activations() - before; n != 1 {
		w.t.Errorf("got %d activations, want one:\n%s", n, w.log)
	}
}

// settled waits until what is on disk decides, and whoever activated it has ended.
func (w *watched) settled() {
	w.t.Helper()
	disk, err := engine.ReadScripts(w.dir)
	w.must(err)
	eventually(w.t, "the content on disk decides", func() bool { return w.Status().Bundle == disk.Bundle() })
	if report, err := w.Reload(w.t.Context()); err != nil || report.Activated() {
		w.t.Errorf("got %+v, %v, want nothing left to activate", report, err)
	}
}

func (w *watched) activations() int64 { return w.Status().Results["activated"] }

// command runs a program in the directory of the scripts; the test is skipped where there
// is none.
func (w *watched) command(name string, args ...string) {
	w.t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		w.t.Skip("no " + name + " here")
	}
	c := exec.CommandContext(w.t.Context(), name, args...)
	c.Dir = w.dir
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// vim edits with the real one, which in a directory for temporary files would make no backups.
func vim(backupcopy string) func(w *watched) {
	return func(w *watched) {
		w.command("vim", "-es", "-u", "NONE", "-c", "set backupskip= writebackup backupcopy="+backupcopy, "-c", "%s/one/two/", "-c", "wq", "a.lua")
	}
}

// slowly writes in pieces, and waits after each until the file was looked at, or not.
func (w *watched) slowly(name, text string, pieces int) {
	w.t.Helper()
	f, err := os.Create(w.path(name))
	w.must(err)
	for i := range pieces {
		_, err := f.WriteString(text[i*len(text)/pieces : (i+1)*len(text)/pieces])
		w.must(err)
		pause, cancel := context.WithTimeout(w.t.Context(), 40*time.Millisecond) // longer than the files must be quiet
		<-pause.Done()
		cancel()
	}
	w.must(f.Close())
}

// However a file is saved, its new content is activated, once, and nothing else ever.
func TestSaves(t *testing.T) {
	// However long its writer pauses, no beginning of this text is right.
	long := "do\n" + answer("between") + strings.Repeat("-- padding\n", 2000) + answer("two")[len("local im = require(\"im\")\n"):] + "end"
	long = strings.Replace(long, `"answer"`, `"first"`, 1)
	for _, test := range []struct {
		name string
		save func(w *watched)
	}{
		{"in place", func(w *watched) { w.put("a.lua", answer("two")) }},
		{"temporary file and rename", func(w *watched) {
			w.put("a.lua~tmp", answer("two"))
			w.must(os.Rename(w.path("a.lua~tmp"), w.path("a.lua")))
		}},
		{"sed -i", func(w *watched) { w.command("sed", "-i", "s/one/two/", "a.lua") }},
		{"vim, backupcopy=no", vim("no")},
		{"vim, backupcopy=yes", vim("yes")},
		{"vim, backupcopy=auto", vim("auto")},
		{"as vim with backupcopy=no: the file is renamed, and made again", func(w *watched) {
			w.put("4913", "")
			w.must(os.Remove(w.path("4913")))
			w.put(".a.lua.swp", "binary \xff")
			w.must(os.Rename(w.path("a.lua"), w.path("a.lua~")))
			w.put("a.lua", answer("two"))
			w.must(os.Remove(w.path("a.lua~")))
			w.must(os.Remove(w.path(".a.lua.swp")))
		}},
		{"as vim with backupcopy=yes: a copy is made, and the file is written in place", func(w *watched) {
			w.put(".a.lua.swp", "binary \xff")
			w.put("a.lua~", answer("one"))
			w.put("a.lua", answer("two"))
			w.must(os.Chmod(w.path("a.lua"), 0o644))
			w.must(os.Remove(w.path("a.lua~")))
			w.must(os.Remove(w.path(".a.lua.swp")))
		}},
		{"removed and created again", func(w *watched) {
			w.must(os.Remove(w.path("a.lua")))
			w.put("a.lua", answer("two"))
		}},
		{"written in chunks", func(w *watched) {
			f, err := os.Create(w.path("a.lua"))
			w.must(err)
			for text := long; len(text) > 0; {
				n := min(1024, len(text))
				_, err := f.WriteString(text[:n])
				w.must(err)
				text = text[n:]
			}
			w.must(f.Close())
		}},
		{"written slowly", func(w *watched) { w.slowly("a.lua", long, 5) }},
		{"emptied, and written a while later", func(w *watched) {
			w.must(os.Truncate(w.path("a.lua"), 0))
			w.rejected("file is empty")
			if said := w.says(); said != "one" {
				w.t.Errorf("got %q while the file is empty", said)
			}
			w.put("a.lua", answer("two"))
		}},
		{"many files, one after the other", func(w *watched) {
			for i := range 40 {
				w.put(fmt.Sprintf("lib/m%d.lua", i), "return "+fmt.Sprint(i))
			}
			w.put("sub/a.lua", answer("two")) // refused until the other is gone: the names clash
			w.must(os.Remove(w.path("a.lua")))
		}},
		{"the directory renamed and made again", func(w *watched) {
			w.must(os.Rename(w.dir, w.dir+".old"))
			w.put("a.lua", answer("two"))
		}},
		{"the directory removed and made again", func(w *watched) {
			w.must(os.RemoveAll(w.dir))
			w.rejected("no such file")
			w.put("a.lua", answer("two"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, filepath.Join(t.TempDir(), "scripts"), map[string]string{"a.lua": answer("one")})
			test.save(w)
			w.until("two", "between", "hi")
			if test.name != "many files, one after the other" { // libraries may come one by one
				w.once(0)
			}
			w.put("sub/later.lua", "-- a change in a directory that may be new")
			eventually(t, "a watch on what is new", func() bool { return len(w.Status().Files) > 1 && w.Status().Rejected == nil })
			w.until("two")
		})
	}
}

func TestNewDirectory(t *testing.T) {
	w := watch(t, filepath.Join(t.TempDir(), "scripts"), map[string]string{"a.lua": answer("one")})
	w.must(os.Mkdir(w.path("sub"), 0o755))
	w.put("sub/deep/b.lua", strings.ReplaceAll(answer("two"), "answer", "zwei"))
	w.until("two", "hi")
	w.once(0)
	w.put("sub/deep/b.lua", strings.ReplaceAll(answer("three"), "answer", "zwei"))
	w.until("three", "one", "hi")
	w.once(1)
}

// A checkout replaces many files, one after the other, which belong together: each asks
// whether the others are of its version.
func TestGitCheckout(t *testing.T) {
	w := watch(t, filepath.Join(t.TempDir(), "scripts"), map[string]string{"a.lua": answer("one")})
	git := func(args ...string) {
		t.Helper()
		w.command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "-c", "core.fsync=none"}, args...)...)
	}
	version := func(tag string, files int) {
		main := answer(tag) + "for i = 1, 20 do assert(require('lib.m' .. i) == '" + tag + "') end\n"
		for i := range files {
			w.put(fmt.Sprintf("lib/m%d.lua", i+1), "return '"+tag+"'\n")
		}
		w.put("a.lua", main)
	}
	git("init", "-q")
	version("two", 20)
	git("add", ".")
	git("commit", "-qm", "two")
	w.until("two", "hi")
	version("three", 30)
	git("add", ".")
	git("commit", "-qm", "three")
	w.until("three", "hi")
	w.settled()
	for _, step := range []struct{ to, want, not string }{{"HEAD~1", "two", "one"}, {"-", "three", "one"}} {
		before := w.activations()
		git("checkout", "-q", step.to)
		w.until(step.want, step.not, "hi")
		w.once(before)
	}
}

// A Kubernetes ConfigMap: files are links through ..data, which is swapped.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"..v1/a.lua": answer("one")})
	link := func(target, name string) {
		t.Helper()
		temp := filepath.Join(dir, "..tmp")
		if err := errors.Join(os.Symlink(target, temp), os.Rename(temp, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	link("..v1", "..data")
	link("..data/a.lua", "a.lua")
	w := watch(t, dir, nil)
	for i, tag := range []string{"two", "three"} {
		version := fmt.Sprintf("..v%d", i+2)
		put(t, dir, map[string]string{version + "/a.lua": answer(tag)})
		link(version, "..data")
		if err := os.RemoveAll(filepath.Join(dir, fmt.Sprintf("..v%d", i+1))); err != nil {
			t.Fatal(err)
		}
		w.until(tag, "hi")
		w.once(int64(i))
	}
	if files := w.Status().Files; len(files) != 1 {
		t.Errorf("got files %v, want a.lua once", files)
	}
}

// A release directory behind a link that is swapped.
func TestRootIsALink(t *testing.T) {
	base := t.TempDir()
	put(t, base, map[string]string{"v1/a.lua": answer("one"), "v2/a.lua": answer("two")})
	root := filepath.Join(base, "scripts")
	if err := os.Symlink("v1", root); err != nil {
		t.Fatal(err)
	}
	w := watch(t, root, nil)
	w.must(os.Symlink("v2", root+".new"))
	w.must(os.Rename(root+".new", root))
	w.until("two")
	put(t, base, map[string]string{"v2/a.lua": answer("three")})
	w.until("three")
}
