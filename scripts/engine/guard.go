package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Watch says for how long, and by what, a bundle is compared with the one before
// it, and a canary with the active one: if it is worse, it is taken back.
type Watch struct {
	For      time.Duration // after its activation; 0: 5 min; negative: not at all. A canary is watched to its end
	MinCalls int           // actions before anything is concluded, of either bundle; 0: 200
	Faults   float64       // more of all actions on which scripts fail, and as many that exceed their budget; 0: 0.01
	Denied   float64       // more of all actions that are denied, shadowed, rerouted or held; 0: 0.1
	Slower   float64       // times the 99th percentile of what the hooks of an action take; 0: 3
}

func (w *Watch) setDefaults() {
	w.For = cmp.Or(w.For, 5*time.Minute)
	w.MinCalls = cmp.Or(w.MinCalls, 200)
	w.Faults = cmp.Or(w.Faults, 0.01)
	w.Denied = cmp.Or(w.Denied, 0.1)
	w.Slower = cmp.Or(w.Slower, 3)
}

// Validate reports what is wrong with a Watch that has its defaults.
func (w *Watch) Validate() error {
	if w.MinCalls < 1 || w.Faults < 0 || w.Faults > 1 || w.Denied < 0 || w.Denied > 1 || w.Slower < 1 {
		return fmt.Errorf("Watch is %+v: shares are from 0 to 1, MinCalls and Slower at least 1", *w)
	}
	return nil
}

const (
	guardEvery = time.Second
	minEvents  = 10               // faults, or denials, below which nothing is concluded
	minSlow    = time.Millisecond // a percentile below it is never too slow
)

// worse says in what now is worse than before; empty: in nothing.
func (w *Watch) worse(before, now counts) string {
	if now.calls < int64(w.MinCalls) {
		return ""
	}
	known := before.calls >= int64(w.MinCalls)
	if !known {
		before = counts{} // of too few nothing is concluded
	}
	for _, one := range []struct {
		what      string
		old, new  int64
		more      float64
		needsBase bool
	}{
		{"failed", before.faults, now.faults, w.Faults, false},
		{"exceeded their budget", before.budget, now.budget, w.Faults, false},
		{"were denied, shadowed, rerouted or held", before.denied, now.denied, w.Denied, true},
	} {
		was, is := before.share(one.old), now.share(one.new)
		if (known || !one.needsBase) && one.new >= minEvents && is > was+one.more {
			return fmt.Sprintf("%.1f %% of %d actions %s, %.1f %% with the bundle it was compared with", is*100, now.calls, one.what, was*100)
		}
	}
	was, is := before.within(0.99), now.within(0.99)
	if known && is > minSlow && float64(is) > w.Slower*float64(was) {
		return fmt.Sprintf("the hooks of one action in a hundred took %v and more, %v with the bundle it was compared with", is, was)
	}
	return ""
}

// guard compares a bundle with another until it is ended.
type guard struct {
	e      *Engine
	b      *bundle
	before string        // hash of the other
	base   func() counts // what the other did
	ctx    context.Context
}

// watch begins to compare b with another, in the place of what was compared before.
// A canary is compared with what the active bundle does meanwhile, any other with
// what the one before did in its whole life.
func (e *Engine) watch(b, other *bundle, canary bool) {
	e.unwatch()
	if e.opts.Watch.For < 0 || other == nil || other == b {
		return
	}
	g := &guard{e: e, b: b, before: other.tree.hash}
	start := other.tally.counts()
	g.base = func() counts { return start }
	if canary {
		g.base = func() counts { return other.tally.counts().since(start) }
		g.ctx, e.unguard = context.WithCancel(context.Background())
	} else {
		g.ctx, e.unguard = context.WithTimeout(context.Background(), e.opts.Watch.For)
	}
	e.guards.Go(g.run)
}

// unwatch ends the comparison, which may be what calls it.
func (e *Engine) unwatch() {
	if e.unguard != nil {
		e.unguard()
		e.unguard = nil
	}
}

func (g *guard) run() {
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-ticker.C:
			if why := g.e.opts.Watch.worse(g.base(), g.b.tally.counts()); why != "" {
				g.takeBack(why)
				return
			}
		}
	}
}

// takeBack ends what the bundle decides. It tries once: what cannot be built now, or
// not within the limits, costs seconds of a processor each time.
func (g *guard) takeBack(why string) {
	release, err := g.e.take(g.ctx)
	if err != nil {
		return // it is not watched any more
	}
	defer release()
	hash, by := g.b.tree.hash, By{"watch", why}
	switch c := g.e.active.candidate(); {
	case g.ctx.Err() != nil:
		return
	case c != nil && c.b == g.b:
		g.e.abort(c, by)
	case g.e.active.Load() == g.b:
		// The time for this is bounded by the budgets of Options.
		if _, err := g.e.switchTo(context.Background(), g.before, "rolled_back", by); err != nil {
			g.e.opts.Log.Error("the active scripts are worse than those before, which cannot be activated",
				"bundle", hash, "why", why, "before", g.before, "err", err)
			g.e.decided(Entry{What: "not_taken_back", Bundle: hash, From: g.before, By: by}, g.e.shelf.held())
			return
		}
	default:
		return
	}
	g.e.reject(hash, errors.New("taken back: "+why))
	if err := g.e.shelf.update(func(b *book) {
		if i := g.e.shelf.index(hash); i >= 0 {
			b.Bundles[i].Rejected = why
		}
	}); err != nil {
		g.e.opts.Log.Warn("that scripts were taken back could not be kept for the next start", "bundle", hash, "err", err)
	}
}
