package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shadowQueue = 1024 // questions that wait for the candidate; the newest is left out, as beyond maxWaiting
	maxDiffs    = 500  // different differences that are told apart
	maxSamples  = 10   // examples of one difference
)

// Diff is one way in which a candidate would decide otherwise, and how often.
type Diff struct {
	Hook     string // that decided: the candidate's, or the active bundle's if none did
	From, To string // outcomes: "allow", "rewrite", "deny rejected" …
	Count    int64
	Examples []Example // the first ones
}

// Example is one action about which two bundles differ. It holds no text.
type Example struct {
	At           time.Time
	Action, User string
	Conversation string
	From, To     string // the rules that decided, "name@file:line"; empty: none
	Reason       string // of the candidate's denial or fault
}

// shadow asks a candidate what it would have said, after the active bundle has
// decided. What it does has no effect: it remembers by itself, from nothing, and
// its verdicts are only compared. One goroutine asks, in the order of the actions.
type shadow struct {
	b     *bundle
	world *world
	own   *state // what it remembers
	share *share
	queue chan shadowed
	stop  chan struct{}
	done  sync.WaitGroup
	waits backlog      // of what is in queue
	left  atomic.Int64 // questions left out since the queue was full

	asked atomic.Int64
	mu    sync.Mutex // guards diffs
	diffs map[diffKey]*Diff
}

type diffKey struct{ hook, from, to string }

// shadowed is a question, and what the active bundle said.
type shadowed struct {
	q      *question
	said   outcome
	octets int
}

func newShadow(b *bundle, now func() time.Time, turns *share) (*shadow, error) {
	own, err := newState(nil, now, usualBounds(), false)
	if err != nil {
		return nil, err
	}
	s := &shadow{b: b, world: &world{memory: own, trial: true}, own: own, share: turns, queue: make(chan shadowed, shadowQueue), stop: make(chan struct{}), diffs: map[diffKey]*Diff{}}
	s.done.Go(s.run)
	return s, nil
}

// close ends the goroutine; questions that wait are left out.
func (s *shadow) close() {
	close(s.stop)
	s.done.Wait()
	s.own.close()
}

// offer hands a question over, unless too many wait.
func (s *shadow) offer(q *question, said outcome) {
	if len(s.queue) < cap(s.queue) {
		octets := q.weight()
		if s.waits.takes(octets) {
			select {
			case s.queue <- shadowed{q, said, octets}:
				return
			default:
				s.waits.gives(octets)
			}
		}
	}
	s.left.Add(1)
}

func (s *shadow) run() {
	for {
		select {
		case <-s.stop:
			return
		case one := <-s.queue:
			s.share.do(s.stop, func() { s.ask(one) })
			s.waits.gives(one.octets)
		}
	}
}

func (s *shadow) ask(one shadowed) {
	defer s.asked.Add(1) // when what was found can be read
	said := one.q.ask(s.b, s.world)
	if one.said.equal(said) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	note(s.diffs, diffKey{cmp.Or(said.hook(), one.said.hook()), one.said.What, said.otherwise(one.said)}, one.q, one.said, said)
}

// note counts a difference.
func note(diffs map[diffKey]*Diff, key diffKey, q *question, from, to outcome) {
	d := diffs[key]
	if d == nil {
		if len(diffs) >= maxDiffs {
			key = diffKey{"others", "", ""}
		}
		if d = diffs[key]; d == nil {
			d = &Diff{Hook: key.hook, From: key.from, To: key.to}
			diffs[key] = d
		}
	}
	d.Count++
	if len(d.Examples) < maxSamples {
		d.Examples = append(d.Examples, Example{At: q.at, Action: q.Action, User: q.facts[FactUser], Conversation: q.Conversation,
			From: from.Rule, To: to.Rule, Reason: cmp.Or(to.Fault, to.Reason)})
	}
}

// listed sorts differences, the most frequent first.
func listed(diffs map[diffKey]*Diff) []Diff {
	var out []Diff
	for _, d := range diffs {
		copied := *d
		copied.Examples = slices.Clone(d.Examples)
		out = append(out, copied)
	}
	slices.SortFunc(out, func(a, b Diff) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Hook, b.Hook), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}

func (s *shadow) list() []Diff {
	s.mu.Lock()
	defer s.mu.Unlock()
	return listed(s.diffs)
}

// outcome is what remains of a verdict when it is compared.
type outcome struct {
	What   string            // "allow", "rewrite", "deny rejected", "hold" …
	Rule   string            // that decided
	Reason string            `json:",omitempty"`
	Texts  map[string]string `json:",omitempty"` // what fields were rewritten to
	Fault  string            `json:",omitempty"` // kind and message of the first
}

// outcomeOf reads a verdict; only decisions are compared, no tags and scores.
func outcomeOf(v Verdict) outcome {
	o := outcome{What: v.Decision.String(), Rule: v.Rule, Reason: v.Reason}
	if v.Denied() {
		o.What += " " + v.Code
	}
	if to := v.To(); to != "" {
		o.What += " " + to
	}
	if len(v.Rewrites) > 0 {
		o.Texts = map[string]string{}
		for _, w := range v.Rewrites {
			o.Texts[w.Field] = w.After
		}
		if v.Decision == Allow {
			o.What, o.Rule = "rewrite", v.Rewrites[len(v.Rewrites)-1].Rule
		}
	}
	if f, ok := v.Err.(*Fault); ok {
		o.Fault = f.Kind + " in " + f.Rule + ": " + f.Msg
	}
	return o
}

func (o outcome) equal(other outcome) bool {
	return o.What == other.What && maps.Equal(o.Texts, other.Texts)
}

// otherwise is what o is called in comparison with another that it differs from.
func (o outcome) otherwise(than outcome) string {
	if o.What == than.What {
		return o.What + " otherwise"
	}
	return o.What
}

func (o outcome) hook() string {
	name, _, _ := strings.Cut(o.Rule, "@")
	return name
}

// ask puts the question to another bundle, in a world of its own. It may be put
// again: what the hooks write is undone.
func (q *question) ask(b *bundle, w *world) outcome {
	c := q.Call
	chain := b.chain(q.point, c.Action, c.Text != nil)
	if len(chain) == 0 {
		return outcome{What: Allow.String()}
	}
	verdict := b.judgeIn(context.Background(), chain, &c, func() time.Time { return q.at }, w)
	undo(verdict.Rewrites)
	return outcomeOf(verdict)
}
