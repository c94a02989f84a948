package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"freeim/scripts/engine/wordlist"
)

// Replayed is what came of trying a bundle on recorded questions.
type Replayed struct {
	Bundle  string
	Against string // "recorded", or the hash of the bundle that the same was put to
	Calls   int
	Skipped int    // records that are of no action of this server
	Flips   int    // decisions that differ
	Errors  int    // actions on which its scripts failed
	Before  int    // on which those of the other failed
	Fault   string // the first of its own
	P50     time.Duration
	P99     time.Duration
	WasP50  time.Duration // of the other; 0: what was said then was not measured
	WasP99  time.Duration
	// Cells is the matrix, old outcome by new, the most frequent first. Where they
	// differ there are up to ten examples.
	Cells []Diff
}

// Replay puts recorded questions to a stored bundle, or to the active one if hash
// is empty. If texts were recorded in full it is compared with what was said then,
// else with what the active bundle says about the same. Nothing of it has an effect.
func (e *Engine) Replay(ctx context.Context, recording []*Recorded, hash string) (Replayed, error) {
	b := e.active.Load()
	if hash != "" {
		full, err := e.shelf.find(hash)
		if err != nil {
			return Replayed{}, err
		}
		if full != b.tree.hash {
			if b, err = e.stored(ctx, full); err != nil {
				return Replayed{}, err
			}
			defer b.pool.close()
		}
	}
	return e.replay(ctx, recording, b)
}

func (e *Engine) replay(ctx context.Context, recording []*Recorded, b *bundle) (Replayed, error) {
	if InFull(recording) {
		return replay(ctx, e.active.Load(), recording, b, nil)
	}
	return replay(ctx, e.active.Load(), recording, b, e.active.Load())
}

// InFull reports whether all texts were recorded in full.
func InFull(recording []*Recorded) bool {
	return !slices.ContainsFunc(recording, func(one *Recorded) bool { return one.Texts != TextFull })
}

// replay puts recorded questions to b, and to another bundle; nil: what was said
// then counts. The actions are those that there are where known is active.
func replay(ctx context.Context, known *bundle, recording []*Recorded, b, against *bundle) (r Replayed, err error) {
	r = Replayed{Bundle: b.tree.hash, Against: "recorded"}
	new, err := newPlayer(b)
	if err != nil {
		return r, err
	}
	defer new.close()
	var old *player
	if against != nil {
		r.Against = against.tree.hash
		if old, err = newPlayer(against); err != nil {
			return r, err
		}
		defer old.close()
	}
	diffs := map[diffKey]*Diff{}
	for _, one := range recording {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		q, err := known.question(one)
		if err != nil {
			r.Skipped++
			continue
		}
		was := one.Said
		if old != nil {
			was = old.ask(q, one)
		}
		r.add(diffs, q, was, new.ask(q, one))
	}
	r.Cells = listed(diffs)
	r.P50, r.P99 = new.times()
	if old != nil {
		r.WasP50, r.WasP99 = old.times()
	}
	return r, nil
}

func (r *Replayed) add(diffs map[diffKey]*Diff, q *question, was, is outcome) {
	r.Calls++
	if was.Fault != "" {
		r.Before++
	}
	if is.Fault != "" {
		if r.Errors++; r.Fault == "" {
			r.Fault = is.Fault
		}
	}
	if !was.equal(is) {
		r.Flips++
		note(diffs, diffKey{"", was.What, is.otherwise(was)}, q, was, is)
		return
	}
	key := diffKey{"", was.What, is.What}
	if diffs[key] == nil {
		diffs[key] = &Diff{From: key.from, To: key.to}
	}
	diffs[key].Count++
}

// question makes a question of a record.
func (b *bundle) question(one *Recorded) (*question, error) {
	q := &question{point: one.Point, at: one.At}
	q.Call = Call{Action: one.Action, Facts: q, Conversation: one.Conversation, ConversationType: one.ConversationType, Kind: one.Kind}
	copy(q.facts[:], one.Facts)
	if !one.Point.deciding() {
		return nil, fmt.Errorf("point %d decides nothing", one.Point)
	}
	if one.Text != nil {
		q.text, q.Text = *one.Text, &q.text
	}
	if one.Request == nil {
		return q, nil
	}
	for _, a := range b.opts.Actions {
		if a.Name == one.Action && a.Request != nil {
			q.Request = a.Request()
		}
	}
	if s := b.scriptedNamed(one.Action); s != nil {
		q.Request = s.NewRequest()
	}
	if q.Request == nil {
		return nil, fmt.Errorf("no action %s with a request", clip(one.Action, 64))
	}
	if err := json.Unmarshal(one.Request, q.Request); err != nil {
		return nil, err
	}
	if one.TextField != "" && q.Text != nil {
		field := reflect.ValueOf(q.Request).Elem().FieldByName(one.TextField)
		if !field.IsValid() || field.Kind() != reflect.String {
			return nil, fmt.Errorf("%s has no text %s", one.Action, clip(one.TextField, 64))
		}
		q.Text = field.Addr().Interface().(*string)
	}
	return q, nil
}

// player puts recorded questions to a twin of a bundle, in a memory of its own.
type player struct {
	b    *bundle
	own  *state
	now  atomic.Int64 // unix ns
	took tally
}

func newPlayer(b *bundle) (*player, error) {
	p := &player{}
	var err error
	if p.own, err = newState(nil, func() time.Time { return time.Unix(0, p.now.Load()) }, usualBounds(), true); err != nil {
		return nil, err
	}
	if p.b, err = b.twin(); err != nil {
		p.own.close()
		return nil, err
	}
	return p, nil
}

func (p *player) close() {
	p.b.pool.close()
	p.own.close()
}

func (p *player) ask(q *question, one *Recorded) outcome {
	p.now.Store(one.At.UnixNano())
	began := time.Now()
	said := q.ask(p.b, &world{memory: &tape{inner: p.own, seen: one.Seen, plays: true, used: make([]bool, len(one.Seen))}, seed: one.Seed, trial: true, plays: true})
	p.took.add(&Verdict{Took: time.Since(began)})
	return said
}

func (p *player) times() (p50, p99 time.Duration) {
	c := p.took.counts()
	return c.within(0.5), c.within(0.99)
}

// twin is a bundle with the same scripts, and VMs, breakers and counters of its
// own. Its hooks are bounded by work, and have the time of tests: a busy machine must not refuse rules.
func (b *bundle) twin() (*bundle, error) {
	patient := *b.opts
	patient.Wall, patient.ChainWall, patient.VMs = b.opts.TestWall, b.opts.TestWall, 1
	t := &bundle{tree: b.tree, protos: b.protos, symbols: b.symbols, opts: &patient, off: new(atomic.Bool), words: wordlist.NewCache(b.words)}
	first, err := newVM(t, true, false)
	if err != nil {
		return nil, err
	}
	if err := t.arrange(first.hooks); err != nil {
		first.close()
		return nil, err
	}
	for i, h := range b.hooks {
		t.hooks[i].off.Store(h.off.Load())
	}
	t.pool = newPool(t, first)
	t.pool.alone = true
	return t, nil
}

// tryOn puts the last recorded questions to a bundle that is to be activated, and
// refuses it if it fails on more of them, or decides otherwise on too many.
func (e *Engine) tryOn(ctx context.Context, b *bundle) error {
	recording := e.recorder.last(e.opts.Record.Replay)
	if len(recording) == 0 {
		return nil
	}
	r, err := e.replay(ctx, recording, b)
	switch {
	case err != nil:
		return fmt.Errorf("replay of the last %d recorded actions: %w", len(recording), err)
	case r.Errors > r.Before:
		return fmt.Errorf("replay: scripts failed on %d of the last %d recorded actions, those of the active bundle on %d; first: %s", r.Errors, r.Calls, r.Before, r.Fault)
	case e.opts.Record.MaxFlip > 0 && float64(r.Flips) > e.opts.Record.MaxFlip*float64(r.Calls):
		return fmt.Errorf("replay: %d of the last %d recorded actions would be decided otherwise, at most %v %% may be; first: %s to %s", r.Flips, r.Calls,
			e.opts.Record.MaxFlip*100, r.flip().From, r.flip().To)
	}
	return nil
}

// flip is the most frequent difference.
func (r Replayed) flip() Diff {
	for _, d := range r.Cells {
		if len(d.Examples) > 0 {
			return d
		}
	}
	return Diff{}
}
