package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Run watches the directory until ctx ends and activates what changes. What the
// file system reports is only a hint to look again: editors rename on save,
// events get lost, and some file systems send none. Call it once.
func (e *Engine) Run(ctx context.Context) error {
	w := newWatcher(e.opts.Dir)
	defer w.close()
	if w.err != nil {
		e.opts.Log.Warn("scripts are only polled", "every", e.opts.Poll, "err", w.err)
	}
	e.follow(ctx, w)
	return nil
}

// follow looks again whenever the watcher says so, until ctx ends.
func (e *Engine) follow(ctx context.Context, w *watcher) {
	for {
		w.refresh()
		pause := e.look(ctx)
		if !w.wait(ctx, pause, e.opts.Debounce) {
			return
		}
	}
}

// look reloads and gives the time until the next look without a change.
func (e *Engine) look(ctx context.Context) time.Duration {
	_, err := e.reload(ctx, false)
	switch {
	case errors.Is(err, errMoving):
		return e.opts.Debounce
	case errors.Is(err, errConfirm):
		return confirmPauses * e.opts.Debounce
	}
	return e.opts.Poll + time.Duration(rand.Int64N(int64(e.opts.Poll/8)+1))
}

// watcher turns events of the file system into "look again". Used by one
// goroutine.
type watcher struct {
	root    string
	fs      *fsnotify.Watcher // nil: there is none, err says why
	err     error
	watched map[string]os.FileInfo // by path: the directory as it was when added
	events  <-chan fsnotify.Event  // nil without fs
	errors  <-chan error
}

func newWatcher(root string) *watcher {
	w := &watcher{root: root, watched: map[string]os.FileInfo{}}
	if absolute, err := filepath.Abs(root); err == nil {
		w.root = absolute
	}
	w.fs, w.err = fsnotify.NewWatcher()
	if w.err == nil {
		w.events, w.errors = w.fs.Events, w.fs.Errors
	}
	return w
}

func (w *watcher) close() {
	if w.fs != nil {
		w.fs.Close()
	}
}

// refresh watches the directories that exist now: all below root, and those in
// which root itself may be replaced. What was made before its parent was watched
// sent no event, so it looks again until it finds nothing new.
func (w *watcher) refresh() {
	for range maxDepth + 2 {
		if w.fs == nil || !w.extend() {
			return
		}
	}
}

// extend brings the watches up to date once and reports whether it added any.
func (w *watcher) extend() (added bool) {
	dirs := map[string]bool{filepath.Dir(w.root): true}
	_ = walk(w.root, func(full string) { dirs[full] = true }, func(string, string) error { return nil })
	if real, err := filepath.EvalSymlinks(w.root); err == nil {
		dirs[filepath.Dir(real)] = true
	}
	for dir := range w.watched {
		if !dirs[dir] {
			w.drop(dir)
		}
	}
	for dir := range dirs {
		added = w.add(dir) || added
	}
	return added
}

// add watches dir if it is not watched yet. A directory that was replaced under
// the same name needs a new watch.
func (w *watcher) add(dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		w.drop(dir)
		return false
	}
	if before := w.watched[dir]; before != nil {
		if os.SameFile(before, info) && slices.Contains(w.fs.WatchList(), dir) {
			return false
		}
		w.drop(dir)
	}
	if w.fs.Add(dir) != nil {
		return false
	}
	w.watched[dir] = info
	return true
}

func (w *watcher) drop(dir string) {
	_ = w.fs.Remove(dir) // it may be gone already
	delete(w.watched, dir)
}

// wait returns true when it is time to look again: after pause, or when the
// files have been quiet for a while after a change; false when ctx ended.
func (w *watcher) wait(ctx context.Context, pause, quiet time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	var latest time.Time // to look although the changes go on
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case event, ok := <-w.events:
			if !ok {
				w.events = nil
			}
			if !ok || !w.concerns(event.Name) {
				continue
			}
		case <-w.errors: // an overflow too means that something changed
		}
		if latest.IsZero() {
			latest = time.Now().Add(10 * quiet)
		}
		timer.Reset(min(quiet, time.Until(latest)))
	}
}

// concerns reports whether a change of name can change the scripts: it is not
// merely a neighbour of the root.
func (w *watcher) concerns(name string) bool {
	if name == w.root || !w.neighbour(filepath.Dir(name)) {
		return true
	}
	real, err := filepath.EvalSymlinks(w.root)
	return err != nil || name == real
}

// neighbour reports whether dir is watched only because root lies in it.
func (w *watcher) neighbour(dir string) bool {
	real, err := filepath.EvalSymlinks(w.root)
	if err != nil {
		return dir == filepath.Dir(w.root)
	}
	return (dir == filepath.Dir(w.root) || dir == filepath.Dir(real)) && dir != real
}
