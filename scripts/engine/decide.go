package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrHeld is what Reload answers while the active bundle is held against what is
// on disk: change the files, or Resume.
var ErrHeld = errors.New("the active bundle is held")

// Bundles lists the bundles that can be activated, the one that was used last first.
func (e *Engine) Bundles() []Stored { return e.shelf.bundles() }

// Journal lists what was decided about the rules, the oldest first.
func (e *Engine) Journal() []Entry { return e.shelf.journal() }

// Prepare checks scripts, given by their paths, as those on disk are checked, and
// puts them on the shelf: Activate can take them from there.
func (e *Engine) Prepare(ctx context.Context, files map[string]string, by By) (Report, error) {
	release, err := e.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer release()
	began, active := time.Now(), e.active.Load()
	report := Report{From: active.tree.hash, To: active.tree.hash}
	t, err := pushedTree(files)
	if err != nil {
		return report, err
	}
	b, err := e.checked(ctx, t)
	if err != nil {
		return report, err
	}
	defer b.pool.close()
	if err := e.tryOn(ctx, b); err != nil {
		return report, err
	}
	report.compare(active, b)
	report.To, report.Prepared, report.Took = report.From, t.hash, time.Since(began)
	if err := e.shelf.keep(b, began); err != nil {
		return report, err
	}
	return report, e.shelf.update(func(k *book) {
		k.Journal = append(k.Journal, Entry{At: began, What: "prepared", Bundle: t.hash, By: by})
	})
}

// Rollback activates a stored bundle, the one before if hash is empty, and holds
// it: what is on disk now does not replace it, not even at the next start, until
// the files change, or Resume.
func (e *Engine) Rollback(ctx context.Context, hash string, by By) (Report, error) {
	release, err := e.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer release()
	if hash, err = e.shelf.find(hash); err != nil {
		return Report{}, err
	}
	return e.switchTo(ctx, hash, "rolled_back", by)
}

// Activate takes a bundle from the shelf and activates it, at once or as a
// candidate. Like Rollback it holds what is active then against the files on disk.
func (e *Engine) Activate(ctx context.Context, hash string, p Policy, by By) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, err
	}
	release, err := e.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer release()
	if hash == "" {
		return Report{}, errors.New("no bundle is named")
	}
	if hash, err = e.shelf.find(hash); err != nil {
		return Report{}, err
	}
	active := e.active.Load().tree.hash
	if !p.staged() {
		if c := e.active.candidate(); c != nil && c.b.tree.hash == hash {
			return e.promote(c, by), nil
		}
		return e.switchTo(ctx, hash, "activated", by)
	}
	if hash == active {
		return Report{}, fmt.Errorf("bundle %s is active already", hash)
	}
	if c := e.active.candidate(); c != nil && c.b.tree.hash == hash && p.Mode == ModeCanary && c.policy.Mode == ModeCanary {
		return e.widen(c, p, by), nil
	}
	b, err := e.stored(ctx, hash)
	if err != nil {
		return Report{}, err
	}
	return e.tryOut(b, p, by, false)
}

// widen changes the share of a canary; its VMs and figures stay.
func (e *Engine) widen(c *candidate, p Policy, by By) Report {
	wider := *c
	wider.policy, wider.by = p, by
	e.active.put(&wider)
	e.decided(Entry{What: string(p.Mode), Bundle: c.b.tree.hash, From: e.activeHash(), By: by}, e.shelf.held())
	return Report{From: e.activeHash(), To: e.activeHash(), Staged: c.b.tree.hash}
}

// tryOut makes b the candidate.
func (e *Engine) tryOut(b *bundle, p Policy, by By, disk bool) (Report, error) {
	active := e.active.Load()
	report := Report{From: active.tree.hash}
	report.compare(active, b)
	report.To, report.Staged = report.From, b.tree.hash
	err := e.shelf.keep(b, time.Now())
	if err == nil {
		err = e.stage(b, p, by, disk)
	}
	if err != nil {
		b.pool.close()
		return Report{From: report.From, To: report.From}, err
	}
	e.decided(Entry{What: string(p.Mode), Bundle: b.tree.hash, From: report.From, By: by}, e.hold(report.From, by))
	e.opts.Log.Info("scripts on trial", "bundle", b.tree.hash, "active", report.From, "policy", p.String(), "by", by.Who,
		"files", report.Files, "hooks", b.rules(), "tests", b.tests)
	return report, nil
}

// Promote makes the candidate the active bundle.
func (e *Engine) Promote(ctx context.Context, by By) (Report, error) {
	release, err := e.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer release()
	c := e.active.candidate()
	if c == nil {
		return Report{From: e.activeHash(), To: e.activeHash()}, errNoCandidate
	}
	return e.promote(c, by), nil
}

func (e *Engine) promote(c *candidate, by By) Report {
	active := e.active.Load()
	report := Report{From: active.tree.hash}
	report.compare(active, c.b)
	e.activate(c.b)
	e.watch(c.b, active, false)
	e.decided(Entry{What: "promoted", Bundle: c.b.tree.hash, From: report.From, By: by}, e.hold(c.b.tree.hash, by))
	e.announce(report)
	return report
}

// Abort ends the candidate's trial, of whatever bundle if hash is empty. If it is
// what is on disk, the active bundle is held against it.
func (e *Engine) Abort(ctx context.Context, hash string, by By) error {
	release, err := e.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	c := e.active.candidate()
	if c == nil {
		return errNoCandidate
	}
	if hash != "" && hash != c.b.tree.hash {
		return fmt.Errorf("bundle %s is not on trial, but %s is", clip(hash, 64), c.b.tree.hash)
	}
	e.abort(c, by)
	return nil
}

func (e *Engine) abort(c *candidate, by By) {
	e.unstage(nil)
	active := e.activeHash()
	e.decided(Entry{What: "aborted", Bundle: c.b.tree.hash, From: active, By: by}, e.hold(active, by))
	e.opts.Log.Info("the trial of scripts was ended", "bundle", c.b.tree.hash, "active", active, "by", by.Who, "why", by.Why)
}

// switchTo activates a stored bundle in the place of what is on disk.
func (e *Engine) switchTo(ctx context.Context, hash, what string, by By) (Report, error) {
	began, active := time.Now(), e.active.Load()
	report := Report{From: active.tree.hash, To: active.tree.hash}
	if hash != active.tree.hash {
		b, err := e.stored(ctx, hash)
		if err != nil {
			return report, err
		}
		report.compare(active, b)
		e.activate(b)
		if e.unwatch(); what == "activated" {
			e.watch(b, active, false)
		}
	} else {
		e.unstage(nil)
	}
	e.decided(Entry{What: what, Bundle: hash, From: report.From, By: by}, e.hold(hash, by))
	report.Took = time.Since(began)
	if report.Activated() {
		e.announce(report)
	}
	return report, nil
}

// hold keeps hash active against what is on disk; nil: that is the same.
func (e *Engine) hold(hash string, by By) *Held {
	t, _ := readTree(e.opts.Dir) // if it cannot be read, its hash is empty
	if t.hash == hash {
		return nil
	}
	return &Held{Bundle: hash, Disk: t.hash, Since: time.Now(), By: by}
}

// Resume ends a hold, and activates what is on disk.
func (e *Engine) Resume(ctx context.Context, by By) (Report, error) {
	release, err := e.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer release()
	if e.shelf.held() != nil {
		e.decided(Entry{What: "resumed", Bundle: e.activeHash(), By: by}, nil)
	}
	return e.reloadAs(ctx, true, by)
}

// take gets the right to reload.
func (e *Engine) take(ctx context.Context) (release func(), err error) {
	select {
	case e.reloading <- struct{}{}:
		return func() { <-e.reloading }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stored builds a bundle from the shelf.
func (e *Engine) stored(ctx context.Context, hash string) (*bundle, error) {
	t, err := e.shelf.read(hash)
	if err != nil {
		return nil, err
	}
	b, err := e.rebuild(ctx, t)
	if err == nil {
		if unused := b.unclaimed(); unused != nil {
			e.opts.Log.Warn("a bundle from the shelf does not use all of the configuration", "bundle", hash, "err", unused)
		}
	}
	return b, err
}

// lastGood builds the newest stored bundle that can still be built.
func (e *Engine) lastGood(ctx context.Context) (*bundle, error) {
	faults := []error{errors.New("no bundle that worked is kept")}
	for _, one := range e.shelf.bundles() {
		if one.Activated.IsZero() || one.Rejected != "" {
			continue
		}
		t, err := e.shelf.read(one.Hash)
		if err == nil {
			var b *bundle
			if b, err = e.build(ctx, t); err == nil {
				return b, nil
			}
		}
		faults = append(faults, fmt.Errorf("stored bundle %s: %w", one.Hash, err))
	}
	return nil, errors.Join(faults...)
}

// decided writes down what is active now, whether it is held, and why.
func (e *Engine) decided(entry Entry, held *Held) {
	entry.At = time.Now()
	e.count(entry.What)
	active := e.active.Load()
	err := e.shelf.keep(active, entry.At)
	err = errors.Join(err, e.shelf.update(func(b *book) {
		b.Held = held
		if i := e.shelf.index(active.tree.hash); i >= 0 && (b.Active != active.tree.hash || b.Bundles[i].Activated.IsZero()) {
			b.Bundles[i].Activated, b.Bundles[i].Rejected = entry.At, ""
		}
		b.Active = active.tree.hash
		b.Journal = append(b.Journal, entry)
	}))
	if err != nil {
		e.opts.Log.Warn("what was decided about the rules could not be kept for the next start", "bundle", active.tree.hash, "err", err)
	}
}

// count counts a result of a reload or a decision.
func (e *Engine) count(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.results[what]++
}
