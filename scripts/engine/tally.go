package engine

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Durations are counted in quarters of an octave: 19 % apart.
const (
	perOctave = 4
	buckets   = 40 * perOctave // up to a quarter of an hour
)

// tally counts the judgements of one bundle.
type tally struct {
	faults atomic.Int64 // of scripts, but for:
	budget atomic.Int64
	denied atomic.Int64 // or shadowed, rerouted, held: those whom they were for do not get them
	took   [buckets]atomic.Int64
}

func (t *tally) add(v *Verdict) {
	t.took[bucket(v.Took)].Add(1)
	if v.Decision != Allow {
		t.denied.Add(1)
	}
	if f, ok := v.Err.(*Fault); ok {
		switch f.Kind {
		case FaultBudget:
			t.budget.Add(1)
		case FaultStarved: // the machine's, not the script's
		default:
			t.faults.Add(1)
		}
	}
}

// bucket is where a duration is counted: its highest three binary digits.
func bucket(d time.Duration) int {
	n := uint64(max(d, perOctave))
	octave := bits.Len64(n) - 3
	return min((octave*perOctave)+int(n>>octave)-perOctave, buckets-1)
}

// ceiling is the longest duration of a bucket.
func ceiling(b int) time.Duration {
	return time.Duration(uint64(b%perOctave+perOctave+1)<<(b/perOctave)) - 1
}

// counts is a tally at one moment.
type counts struct {
	calls, faults, budget, denied int64
	took                          [buckets]int64
}

func (t *tally) counts() (c counts) {
	c.faults, c.budget, c.denied = t.faults.Load(), t.budget.Load(), t.denied.Load()
	for i := range t.took {
		n := t.took[i].Load()
		c.took[i] = n
		c.calls += n
	}
	return c
}

// since is what came after an earlier moment.
func (c counts) since(before counts) counts {
	c.calls, c.faults, c.budget, c.denied = c.calls-before.calls, c.faults-before.faults, c.budget-before.budget, c.denied-before.denied
	for i := range c.took {
		c.took[i] -= before.took[i]
	}
	return c
}

// within is the time that a share of the judgements took at most.
func (c counts) within(share float64) time.Duration {
	left := int64(float64(c.calls) * share)
	for i, n := range c.took {
		if left -= n; left < 0 {
			return ceiling(i)
		}
	}
	return 0
}

func (c counts) share(n int64) float64 {
	if c.calls == 0 {
		return 0
	}
	return float64(n) / float64(c.calls)
}

// Measured is what a bundle did since it became active, or a candidate.
type Measured struct {
	Calls  int64         // actions about which hooks were asked
	Faults int64         // of which a script failed
	Budget int64         // of which a script worked too much or too long
	Denied int64         // or shadowed, rerouted, held
	P50    time.Duration // of all hooks of one action, to a fifth
	P99    time.Duration
}

func (c counts) measured() Measured {
	return Measured{c.calls, c.faults, c.budget, c.denied, c.within(0.5), c.within(0.99)}
}
