// Package engine runs the operators' Lua hooks: it compiles the scripts below a
// directory into an immutable bundle, swaps a new bundle in when the files
// change, and asks the active one about every message, inside of a sandbox with
// budgets. It is the only home of gopher-lua and fsnotify. It knows nothing of
// frames, sessions or plugins, and decides nothing by itself: edge and core embed
// it and turn its verdicts into answers. scripts/README.md is the scripts' side.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Engine is safe for concurrent use.
type Engine struct {
	opts      Options // static after New
	active    slots
	reloading chan struct{}          // holds one token: the right to reload
	off       atomic.Bool            // no hook is asked
	edition   atomic.Pointer[string] // set under mu
	shelf     *shelf                 // static after New
	aside     *aside                 // static after New
	recorder  *recorder              // static after New; nil: nothing is recorded
	faults    *faultTable            // static after New

	mu       sync.Mutex // guards the fields below
	rejected *Rejected  // nil: what is on disk is active
	logged   string     // the last rejection that was logged
	disk     string     // hash of what is on disk, as it was read last
	results  map[string]int64
	offNames map[string]bool // hooks that are switched off, of whatever bundle
	editions int             // so many there were

	retiring sync.Mutex // guards the field below
	retired  []*pool    // of the bundles that decided before and keep their VMs, the newest last; at most mostRetired

	guards sync.WaitGroup // goroutines that compare bundles

	// Owned by whoever holds the token of reloading.
	pending pending
	linted  string             // the bundle whose findings were logged last
	unguard context.CancelFunc // ends the comparison; nil: there is none
	ticker  *ticker            // of the active bundle; nil: it has no such hooks
	offered []*Scripted        // what Options.Offer was told last
}

// New loads the scripts in Options.Dir. If they are broken it goes on with the
// last bundle that worked, if StateDir holds one, and Status tells what is wrong;
// else it returns an error whose text names file:line. New lowers
// lua.MaxArrayIndex for the whole process.
func New(o Options) (*Engine, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	lowerMaxIndex()
	var err error
	if o.state, err = newState(o.KV, o.Now, usualBounds(), false); err != nil {
		return nil, err
	}
	if o.Shared != nil {
		o.state.shared = o.Shared
	}
	e := &Engine{opts: o, reloading: make(chan struct{}, 1), results: map[string]int64{}, offNames: map[string]bool{},
		shelf: openShelf(o.StateDir, o.Log), faults: newFaultTable()}
	if e.recorder, err = newRecorder(o.Record, o.Log); err != nil {
		o.state.close()
		return nil, err
	}
	b, entry, held, err := e.first()
	if err != nil {
		e.recorder.close()
		o.state.close()
		return nil, err
	}
	e.aside = newAside(e.opts.AfterQueue, e.opts.Now)
	e.activate(b)
	e.decided(entry, held)
	return e, nil
}

// errFatal refuses a content at the start.
var errFatal = errors.New("the process ended while these files were loaded and tried; change them, or ask for a reload")

// first builds the bundle to start with: what is on disk, unless another is held
// against it.
func (e *Engine) first() (*bundle, Entry, *Held, error) {
	ctx := context.Background() // the budgets of Options bound it
	t, err := readTree(e.opts.Dir)
	e.seen(t.hash)
	if held := e.shelf.held(); held != nil && held.Disk == t.hash {
		b, heldErr := e.stored(ctx, held.Bundle)
		if heldErr == nil {
			e.opts.Log.Warn("going on with a bundle that is held against what is on disk", "bundle", held.Bundle, "by", held.Who, "why", held.Why)
			return b, Entry{What: "started_held", Bundle: held.Bundle, By: held.By}, held, nil
		}
		e.opts.Log.Error("the bundle that was held cannot be used, going on with what is on disk", "bundle", held.Bundle, "err", heldErr)
	}
	if err == nil && e.shelf.isFatal(t.hash) {
		err = errFatal
	}
	if err == nil {
		var b *bundle
		over := e.shelf.trying(t.hash)
		b, err = e.build(ctx, t)
		over()
		if err == nil {
			return b, Entry{What: "started", Bundle: t.hash}, nil, nil
		}
	}
	err = fmt.Errorf("scripts in %s: %w", e.opts.Dir, err)
	b, oldErr := e.lastGood(ctx)
	if oldErr != nil {
		return nil, Entry{}, nil, errors.Join(err, oldErr)
	}
	e.reject(t.hash, err)
	e.opts.Log.Warn("scripts are broken, going on with the last good bundle", "bundle", b.tree.hash)
	return b, Entry{What: "started_last_good", Bundle: b.tree.hash}, nil, nil
}

// checked is build for files that somebody changed: what Lint calls an error
// refuses them. A start does not fail because a rule of Lint is new.
func (e *Engine) checked(ctx context.Context, t tree) (*bundle, error) {
	findings := lint(t, &e.opts)
	if err := refusal(findings); err != nil {
		return nil, err
	}
	b, err := e.built(ctx, t, findings)
	if err == nil {
		b.findings = append(b.findings, missing(e.active.Load(), b)...)
	}
	return b, err
}

// build makes a bundle that is ready to be swapped in.
func (e *Engine) build(ctx context.Context, t tree) (*bundle, error) {
	return e.built(ctx, t, lint(t, &e.opts))
}

func (e *Engine) built(ctx context.Context, t tree, findings []Finding) (*bundle, error) {
	b, err := e.complete(ctx, t, findings)
	if err != nil {
		return nil, err
	}
	if err := b.unclaimed(); err != nil {
		b.pool.close()
		return nil, err
	}
	return b, nil
}

// rebuild is build of what was built before: what is configured for scripts that
// it does not have is let be, so that one can go back.
func (e *Engine) rebuild(ctx context.Context, t tree) (*bundle, error) {
	return e.complete(ctx, t, lint(t, &e.opts))
}

// complete is build of files that Lint has seen; it logs once what Lint said.
func (e *Engine) complete(ctx context.Context, t tree, findings []Finding) (*bundle, error) {
	b, err := build(ctx, t, &e.opts, e.active.Load())
	if err != nil {
		return nil, err
	}
	b.off, b.findings, b.faults = &e.off, findings, e.faults
	e.mu.Lock()
	e.switchHooks(b)
	e.mu.Unlock()
	needed := 0
	if active := e.active.Load(); active != nil {
		needed = active.pool.needed()
	}
	if err := b.pool.warm(ctx, needed); err != nil {
		b.pool.close()
		return nil, err
	}
	if len(findings) > 0 && e.linted != t.hash {
		e.linted = t.hash
		e.opts.Log.Warn("scripts look wrong in places", "bundle", t.hash, "findings", findingLines(findings))
	}
	return b, nil
}

// activate is the swap: calls that began keep their bundle, later ones get b.
func (e *Engine) activate(b *bundle) {
	e.unstage(b)
	b.since = time.Now()
	e.mu.Lock()
	e.switchHooks(b)
	old := e.active.Swap(b)
	e.changed()
	e.mu.Unlock()
	e.ticker.close()
	e.ticker = newTicker(b, e.opts.Now, e.aside.share)
	b.words.Settle()
	e.offer()
	if old != nil {
		e.retire(old)
	}
}

// mostRetired is how many bundles that decided before keep their VMs, however often the rules change.
const mostRetired = 2

// retire lets the actions that began in b end with its VMs: that none of them has to make one.
func (e *Engine) retire(b *bundle) {
	p := b.pool
	p.retire(func() { e.forget(p) })
	e.retiring.Lock()
	e.retired = append(e.retired, p)
	var first *pool
	if len(e.retired) > mostRetired {
		first = e.retired[0]
	}
	e.retiring.Unlock()
	if first != nil {
		first.close()
		e.forget(first)
	}
}

// forget lets go of a pool that is closed, and so of its bundle.
func (e *Engine) forget(p *pool) {
	e.retiring.Lock()
	defer e.retiring.Unlock()
	if i := slices.Index(e.retired, p); i >= 0 {
		e.retired = slices.Delete(e.retired, i, i+1)
	}
}

// Ask asks the hooks at a point about c, of the bundle that c is pinned to. It may
// change texts of the request. It never blocks for longer than the budgets in
// Options allow; ctx only shortens the wait for a free VM.
func (e *Engine) Ask(ctx context.Context, p Point, c *Call) Verdict {
	if c.Pin.b == nil {
		c.Pin = e.PinFor(c.Facts)
	}
	b := c.Pin.b
	chain := b.chain(p, c.Action, c.Text != nil)
	s := b.shadow.Load()
	if s != nil && p.deciding() || len(chain) > 0 && p.deciding() && e.recorder.wants() {
		return e.observed(ctx, s, b, chain, p, c)
	}
	if len(chain) == 0 {
		return Verdict{Bundle: b.tree.hash}
	}
	return b.judge(ctx, chain, c, e.opts.Now)
}

// observed is Ask while a candidate judges after the active bundle, or about a
// call that is recorded.
func (e *Engine) observed(ctx context.Context, s *shadow, b *bundle, chain []*hook, p Point, c *Call) Verdict {
	verdict := Verdict{Bundle: b.tree.hash}
	if len(chain) == 0 && len(s.b.chain(p, c.Action, c.Text != nil)) == 0 {
		return verdict
	}
	// Gates may leave nobody asked. Such a question is kept too: another bundle may ask
	// somebody, and its verdicts are a share of all.
	q := copied(p, c, e.opts.Now())
	records := len(chain) > 0 && (s == nil || e.recorder.wants())
	if records {
		w, t := e.recorder.listen(e.opts.state)
		verdict = b.judgeIn(ctx, chain, c, func() time.Time { return q.at }, w)
		if c.made.known && q.facts[FactAccountAge] == "" { // a hook wanted it; a replay elsewhere could not ask
			q.facts[FactAccountAge] = strconv.FormatInt(age(c.made.at, q.at), 10)
		}
		if f, ok := verdict.Err.(*Fault); !ok || f.Kind != FaultBreaker && f.Kind != FaultStarved { // what no replay can repeat
			e.recorder.add(q, w, t, outcomeOf(verdict), verdict.Bundle)
		}
	} else if len(chain) > 0 {
		verdict = b.judge(ctx, chain, c, e.opts.Now)
	}
	if s != nil {
		s.offer(q, outcomeOf(verdict))
	}
	return verdict
}

// Close ends what runs aside. Run must have ended.
func (e *Engine) Close() error {
	e.reloading <- struct{}{}
	e.unwatch()
	e.unstage(nil)
	<-e.reloading
	e.guards.Wait()
	e.ticker.close() // nobody activates any more
	e.aside.close()
	e.recorder.close()
	e.active.Load().pool.close()
	e.retiring.Lock()
	retired := slices.Clone(e.retired)
	e.retiring.Unlock()
	for _, p := range retired {
		p.close()
	}
	e.opts.state.close()
	return nil
}
