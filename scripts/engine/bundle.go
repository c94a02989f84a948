package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"freeim/scripts/engine/wordlist"

	lua "github.com/yuin/gopher-lua"
)

// bundle is one set of scripts, compiled, loaded and tested: what a call uses
// from its beginning to its end. Immutable but for its pool and counters.
type bundle struct {
	tree        tree
	protos      map[string]*lua.FunctionProto // by path
	symbols     []symbol                      // what its scripts can name; one table for all its VMs
	hooks       []*hook                       // in the order they run
	scripted    map[int]*Scripted             // by number: the actions that scripts define
	routes      map[string]*route             // by action: its hooks
	others      sync.Map                      // action: *route, of actions that are not in Options
	at          [points][]*hook               // the hooks of a point
	findings    []Finding                     // of Lint
	tests       int                           // how many of its own tests passed
	zones       zones
	shapes      sync.Map // reflect.Type: *typeShape, of requests
	words       *wordlist.Cache
	spelling    sync.Pool   // of *[]rune: texts that gates look at
	comparing   sync.Pool   // of *comparer: of gates
	expressions expressions // of im.re
	settings    []Setting   // what im.config declared
	pool        *pool
	opts        *Options
	off         *atomic.Bool // of the engine: no hook is asked
	since       time.Time    // of its activation
	faults      *faultTable  // of the engine; nil: nobody counts them
	covered     *coverage    // nil: nobody asks which lines run

	shadow atomic.Pointer[shadow] // while it is active: what a candidate would say

	tally   tally
	dropped atomic.Int64 // log lines over a call's limit
}

// build makes a bundle of t: everything that can go wrong does so here, while
// the active bundle (nil at the start) goes on working. The error lists what is
// wrong, one file:line per line.
func build(ctx context.Context, t tree, opts *Options, active *bundle) (*bundle, error) {
	b, err := assemble(ctx, t, opts, active, nil)
	if err != nil {
		return nil, err
	}
	if err := b.selfTest(ctx); err != nil {
		b.pool.close()
		return nil, err
	}
	return b, nil
}

// assemble is build without the bundle's own tests. covered, if it is not nil, is
// told of every line that runs.
func assemble(ctx context.Context, t tree, opts *Options, active *bundle, covered *coverage) (*bundle, error) {
	b := &bundle{tree: t, opts: opts, off: new(atomic.Bool), protos: map[string]*lua.FunctionProto{}, symbols: symbols(), covered: covered}
	var older *wordlist.Cache
	if active != nil {
		older = active.words
	}
	b.words = wordlist.NewCache(older)
	if err := b.compile(ctx); err != nil {
		return nil, err
	}
	first, err := newVM(b, false, false)
	if err != nil {
		return nil, err
	}
	if err := b.arrange(first.hooks); err != nil {
		first.close()
		return nil, err
	}
	b.settings = settingsOf(first.sections)
	b.pool = newPool(b, first)
	return b, nil
}

// compile compiles all files within the load budget.
func (b *bundle) compile(ctx context.Context) error {
	var spent time.Duration
	var faults []error
	for _, f := range b.tree.files {
		if isData(f.Path) {
			continue
		}
		runtime.Gosched() // messages go first
		began := time.Now()
		proto, err := compile(f)
		spent += time.Since(began)
		faults = append(faults, err)
		b.protos[f.Path] = proto
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if spent > b.opts.LoadWall {
			return fmt.Errorf("%s:1: compiling took %v so far, the limit is %v", f.Path, spent.Round(time.Millisecond), b.opts.LoadWall)
		}
	}
	return errors.Join(faults...)
}

// newVM builds another VM of the bundle. Its hooks must be those of the first: a
// script that registers by chance would give verdicts by chance.
func (b *bundle) newVM() (*vm, error) {
	v, err := newVM(b, true, false)
	if err != nil {
		return nil, err
	}
	if len(v.hooks) != len(b.hooks) {
		v.close()
		return nil, fmt.Errorf("%d hooks were registered, then %d: loading must always do the same", len(b.hooks), len(v.hooks))
	}
	for _, h := range b.hooks {
		again := v.hooks[h.number]
		if again.rule() != h.rule || !again.same(&h.registered) || !again.scripted.same(h.scripted) {
			v.close()
			return nil, fmt.Errorf("hook %s was registered, then %s, perhaps with other options: loading must always do the same", h.rule, again.rule())
		}
	}
	return v, nil
}

// rules are the names of the hooks.
func (b *bundle) rules() []string {
	var out []string
	for _, h := range b.hooks {
		out = append(out, h.name)
	}
	return out
}

// hook is one link of the chain, shared by all VMs.
type hook struct {
	registered
	rule   string // name@file:line
	number int    // its place among the registrations of every VM
	off    atomic.Bool

	figures
}

// figures are what a hook did since its bundle was activated, or put on trial.
type figures struct {
	breaker   breaker
	calls     atomic.Int64
	denied    atomic.Int64
	shadowed  atomic.Int64
	rerouted  atomic.Int64
	held      atomic.Int64
	rewritten atomic.Int64
	faults    atomic.Int64
	last      atomic.Pointer[Fault]
	noted     atomic.Int64 // when a fault was logged last, unix ns
}

// begin forgets all: what follows counts. Nobody may be asking the hook.
func (f *figures) begin() {
	f.breaker.close()
	for _, n := range []*atomic.Int64{&f.calls, &f.denied, &f.shadowed, &f.rerouted, &f.held, &f.rewritten, &f.faults, &f.noted} {
		n.Store(0)
	}
	f.last.Store(nil)
}
