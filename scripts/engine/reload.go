package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Report says what a reload did.
type Report struct {
	From, To string   // hashes; equal when nothing was activated
	Staged   string   // hash of the candidate that was put beside the active bundle
	Prepared string   // hash of what was only put on the shelf
	Files    []string // "+added.lua", "-removed.lua", "~changed.lua"
	Added    []string // hooks by name
	Removed  []string
	Tests    int // of the bundle's own that passed
	Took     time.Duration
}

// Activated reports whether another bundle is active now.
func (r Report) Activated() bool { return r.From != r.To }

// pending is a bundle with fewer hooks that waits to be confirmed.
type pending struct {
	hash  string
	since time.Time
}

// errConfirm means that the content must stay as it is for a while.
var errConfirm = errors.New("hooks were removed: waiting for the files to stay as they are")

// Reload reads the files and activates them now if they differ from what is
// active and are right. An error leaves the active bundle as it is; its text has
// a line per fault, with file:line.
func (e *Engine) Reload(ctx context.Context) (Report, error) { return e.reload(ctx, true) }

// reload is Reload, told apart from a reload by Run: that one does not try the
// same broken content again, and lets a bundle that lost hooks wait.
func (e *Engine) reload(ctx context.Context, asked bool) (Report, error) {
	release, err := e.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer release()
	return e.reloadAs(ctx, asked, By{Who: "files"})
}

// reloadAs is reload by whoever holds the token.
func (e *Engine) reloadAs(ctx context.Context, asked bool, by By) (Report, error) {
	began := time.Now()
	active := e.active.Load()
	report := Report{From: active.tree.hash, To: active.tree.hash}
	t, err := stableTree(ctx, e.opts.Dir, e.opts.Debounce/4)
	if !errors.Is(err, errMoving) && ctx.Err() == nil {
		e.seen(t.hash)
	}
	if err == nil && !t.scripts() && active.tree.scripts() {
		err = fmt.Errorf("%s holds no script any more; to remove all rules keep one file with a comment", e.opts.Dir)
	}
	if err != nil {
		return report, e.refused(ctx, "", err)
	}
	if t.hash == active.tree.hash {
		e.pending = pending{}
		e.settled()
		if c := e.active.candidate(); c != nil && c.disk {
			e.abort(c, By{by.Who, "the files are again what is active"})
		}
		if e.shelf.held() != nil {
			e.decided(Entry{What: "on_disk_again", Bundle: t.hash, By: by}, nil)
		}
		return report, nil
	}
	if c := e.active.candidate(); c != nil && c.b.tree.hash == t.hash {
		return report, nil
	}
	if held := e.shelf.held(); held != nil && held.Disk == t.hash {
		if asked {
			err = fmt.Errorf("%w: %s in the place of %s, which is on disk, by %s: %s", ErrHeld, held.Bundle, held.Disk, held.Who, held.Why)
		}
		return report, err
	}
	if !asked && e.isRejected(t.hash) {
		return report, nil
	}
	defer e.shelf.trying(t.hash)()
	b, err := e.checked(ctx, t)
	if err != nil {
		return report, e.refused(ctx, t.hash, err)
	}
	if err := e.tryOn(ctx, b); err != nil {
		b.pool.close()
		return report, e.refused(ctx, t.hash, err)
	}
	report.compare(active, b)
	if !asked && len(report.Removed) > 0 && !e.confirmed(t.hash) {
		b.pool.close()
		return Report{From: report.From, To: report.From}, errConfirm
	}
	e.pending = pending{}
	if e.opts.Policy.staged() {
		e.settled()
		report, err = e.tryOut(b, e.opts.Policy, by, true)
		report.Took = time.Since(began)
		return report, err
	}
	e.activate(b)
	e.watch(b, active, false)
	e.decided(Entry{What: "activated", Bundle: t.hash, From: report.From, By: by}, nil)
	e.settled()
	report.Took = time.Since(began)
	e.announce(report)
	return report, nil
}

// refused records a rejection, unless it only means "not now".
func (e *Engine) refused(ctx context.Context, hash string, err error) error {
	if ctx.Err() != nil || errors.Is(err, errMoving) {
		return err
	}
	e.pending = pending{}
	e.reject(hash, err)
	return err
}

func (r *Report) compare(old, now *bundle) {
	r.To, r.Tests = now.tree.hash, now.tests
	r.Files = now.tree.changes(old.tree)
	before, after := old.rules(), now.rules()
	for _, name := range after {
		if !slices.Contains(before, name) {
			r.Added = append(r.Added, name)
		}
	}
	for _, name := range before {
		if !slices.Contains(after, name) {
			r.Removed = append(r.Removed, name)
		}
	}
}

// confirmPauses is how many quiet times content that lost hooks must last: half
// a file may be valid Lua, with half of the hooks.
const confirmPauses = 5

// confirmed reports whether this content has lasted long enough.
func (e *Engine) confirmed(hash string) bool {
	if e.pending.hash != hash {
		e.pending = pending{hash, time.Now()}
	}
	return time.Since(e.pending.since) >= confirmPauses*e.opts.Debounce
}

func (e *Engine) announce(r Report) {
	e.opts.Log.Info("scripts activated", "from", r.From, "to", r.To, "files", r.Files,
		"hooks", e.active.Load().rules(), "tests", r.Tests, "took", r.Took.Round(time.Millisecond))
	if len(r.Removed) > 0 {
		e.opts.Log.Warn("hooks were removed", "hooks", r.Removed, "bundle", r.To)
	}
}
