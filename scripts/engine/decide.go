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

// Bundles lists the bundles that can be activated again, the one that was active
// last first.
func (e *Engine) Bundles() []Stored { return e.shelf.bundles() }

// Journal lists what was decided about the rules, the oldest first.
func (e *Engine) Journal() []Entry { return e.shelf.journal() }

// Rollback activates a stored bundle, the one before if hash is empty, and holds
// it: what is on disk now does not replace it, not even at the next start, until
// the files change, or Resume.
func (e *Engine) Rollback(ctx context.Context, hash string, by By) (Report, error) {
	release, err := e.take(ctx)
	if err != nil {
		return Report{}, err
	}
	defer release()
	hash, err = e.shelf.find(hash)
	if err != nil {
		return Report{}, err
	}
	return e.back(ctx, hash, by)
}

// back activates a stored bundle in the place of what is on disk.
func (e *Engine) back(ctx context.Context, hash string, by By) (Report, error) {
	began, active := time.Now(), e.active.Load()
	report := Report{From: active.tree.hash, To: active.tree.hash}
	if hash != active.tree.hash {
		b, err := e.stored(ctx, hash)
		if err != nil {
			return report, err
		}
		report.compare(active, b)
		e.activate(b)
	}
	e.decided(Entry{What: "rolled back", Bundle: hash, From: report.From, By: by}, e.hold(hash, by))
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
	return e.build(ctx, t)
}

// lastGood builds the newest stored bundle that can still be built.
func (e *Engine) lastGood(ctx context.Context) (*bundle, error) {
	faults := []error{errors.New("no bundle that worked is kept")}
	for _, one := range e.shelf.bundles() {
		if one.Activated.IsZero() || one.Rejected != "" {
			continue
		}
		b, err := e.stored(ctx, one.Hash)
		if err == nil {
			return b, nil
		}
		faults = append(faults, fmt.Errorf("stored bundle %s: %w", one.Hash, err))
	}
	return nil, errors.Join(faults...)
}

// decided writes down what is active now, whether it is held, and why.
func (e *Engine) decided(entry Entry, held *Held) {
	entry.At = time.Now()
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
