package hooks

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"freeim/scripts/engine"
)

const (
	maxReaders  = 8   // who look at decisions at one time
	readerQueue = 256 // decisions that wait for one of them; beyond it the newest is left out
)

// errReaders is for one more than maxReaders.
var errReaders = errors.New("enough people look at decisions already: end another tail or trace")

// Filter says which decisions somebody wants to see. What is empty does not matter.
type Filter struct {
	Action  string
	Verdict string // "deny", "rewrite", "fault" …
	Hook    string // that decided, rewrote or failed
	User    string
}

// watch is those who look at decisions while they are made. Nobody costs an action
// one load.
type watch struct {
	readers atomic.Pointer[[]*reader] // nil: none; never changed, only replaced

	mu sync.Mutex // held while readers is replaced
}

// reader is one of them. Its queue is written by actions, which never wait for it.
type reader struct {
	filter Filter // static
	whole  bool   // static: it wants what each hook said
	queue  chan Decision
	lost   atomic.Int64 // left out since the queue was full
}

// join adds a reader; leave takes it away.
func (w *watch) join(f Filter, whole bool) (*reader, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*reader
	if now := w.readers.Load(); now != nil {
		all = *now
	}
	if len(all) == maxReaders {
		return nil, errReaders
	}
	r := &reader{filter: f, whole: whole, queue: make(chan Decision, readerQueue)}
	all = append(slices.Clone(all), r)
	w.readers.Store(&all)
	return r, nil
}

func (w *watch) leave(r *reader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(*w.readers.Load()), func(one *reader) bool { return one == r })
	if len(all) == 0 {
		w.readers.Store(nil)
		return
	}
	w.readers.Store(&all)
}

// explained has the engine say what each hook said, if a reader wants that of the
// call's user.
func (w *watch) explained(c *engine.Call) *[]Step {
	all := w.readers.Load()
	if all == nil {
		return nil
	}
	for _, r := range *all {
		if r.whole && (r.filter.User == "" || c.Facts.Fact(engine.FactUser) == r.filter.User) {
			steps := []Step{}
			c.Explain = func(s engine.Step) { steps = append(steps, NewStep(s)) }
			return &steps
		}
	}
	return nil
}

// tell shows a verdict to those who want to see it.
func (w *watch) tell(c *engine.Call, v engine.Verdict, steps *[]Step) {
	all := w.readers.Load()
	if all == nil {
		return
	}
	d := NewDecision(v)
	d.Action, d.User, d.Trace = c.Action, c.Facts.Fact(engine.FactUser), c.Facts.Fact(engine.FactTrace)
	for _, r := range *all {
		if !r.filter.wants(&d, v) {
			continue
		}
		shown := d
		if r.whole && steps != nil {
			shown.Steps = *steps
		}
		select {
		case r.queue <- shown:
		default:
			r.lost.Add(1)
		}
	}
}

func (f *Filter) wants(d *Decision, v engine.Verdict) bool {
	return (f.Action == "" || f.Action == d.Action) && (f.User == "" || f.User == d.User) &&
		(f.Verdict == "" || f.Verdict == d.Verdict || f.Verdict == "fault" && d.Fault != "") && (f.Hook == "" || f.took(v))
}

// took reports whether the filter's hook had a part in the verdict.
func (f *Filter) took(v engine.Verdict) bool {
	is := func(rule string) bool {
		name, _, _ := strings.Cut(rule, "@")
		return name == f.Hook
	}
	if fault, ok := errors.AsType[*engine.Fault](v.Err); ok && is(fault.Rule) {
		return true
	}
	return is(v.Rule) || slices.ContainsFunc(v.Rewrites, func(w engine.Rewrite) bool { return is(w.Rule) })
}
