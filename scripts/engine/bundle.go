package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// bundle is one set of scripts, compiled, loaded and tested: what a call uses
// from its beginning to its end. Immutable but for its pool and counters.
type bundle struct {
	tree   tree
	protos map[string]*lua.FunctionProto // by path
	hooks  []*hook                       // on_message, in the order they run
	order  []int                         // hooks[i] is registration order[i] of every VM
	tests  int                           // how many of its own tests passed
	words  wordCache
	pool   *pool
	opts   *Options
	dog    *watchdog
	since  time.Time // of its activation

	dropped atomic.Int64 // log lines over a call's limit
}

// build makes a bundle of t: everything that can go wrong does so here, while
// the active bundle (nil at the start) goes on working. The error lists what is
// wrong, one file:line per line.
func build(ctx context.Context, t tree, opts *Options, dog *watchdog, active *bundle) (*bundle, error) {
	b := &bundle{tree: t, opts: opts, dog: dog, protos: map[string]*lua.FunctionProto{}}
	b.words.lists = map[[32]byte]*wordList{}
	if active != nil {
		b.words.older = &active.words
	}
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
	b.pool = newPool(b, first)
	if err := b.selfTest(ctx); err != nil {
		b.pool.close()
		return nil, err
	}
	return b, nil
}

// compile compiles all files within the load budget.
func (b *bundle) compile(ctx context.Context) error {
	began := time.Now()
	var faults []error
	for _, f := range b.tree.files {
		proto, err := compile(f)
		faults = append(faults, err)
		b.protos[f.Path] = proto
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if spent := time.Since(began); spent > b.opts.LoadWall {
			return fmt.Errorf("%s:1: compiling took %v so far, the limit is %v", f.Path, spent.Round(time.Millisecond), b.opts.LoadWall)
		}
	}
	return errors.Join(faults...)
}

// arrange turns the first VM's registrations into the chain: higher priority
// first, then by file and line.
func (b *bundle) arrange(regs []*registration) error {
	if b.opts.RequireRules && len(regs) == 0 {
		return errors.New("the scripts register no hook")
	}
	places := map[string]string{}
	for i, r := range regs {
		if before, taken := places[r.name]; taken {
			return fmt.Errorf("%s:%d: another hook is named %q, at %s", r.file, r.line, r.name, before)
		}
		places[r.name] = fmt.Sprintf("%s:%d", r.file, r.line)
		b.order = append(b.order, i)
	}
	slices.SortStableFunc(b.order, func(i, j int) int {
		a, z := regs[i], regs[j]
		if a.priority != z.priority {
			return z.priority - a.priority
		}
		if a.file != z.file {
			return strings.Compare(a.file, z.file)
		}
		return a.line - z.line
	})
	for _, i := range b.order {
		b.hooks = append(b.hooks, &hook{name: regs[i].name, rule: regs[i].rule(), priority: regs[i].priority, open: regs[i].open})
	}
	return nil
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
	for i, h := range b.hooks {
		if v.hooks[b.order[i]].rule() != h.rule {
			v.close()
			return nil, fmt.Errorf("hook %s was registered, then %s: loading must always do the same", h.rule, v.hooks[b.order[i]].rule())
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
	name     string
	rule     string // name@file:line
	priority int
	open     bool // let the message through when the hook fails

	breaker   breaker
	calls     atomic.Int64
	denied    atomic.Int64
	rewritten atomic.Int64
	faults    atomic.Int64
	last      atomic.Pointer[Fault]
	noted     atomic.Int64 // when a fault was logged last, unix ns
}
