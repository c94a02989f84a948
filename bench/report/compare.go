package report

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Verdict is what a comparison says of b against a.
type Verdict string

const (
	Better     Verdict = "better"
	Worse      Verdict = "worse"
	NoneSeen   Verdict = "no difference seen"
	NoVerdict  Verdict = "no verdict: one round" // of a or of b
	confidence         = .95
	resamples          = 2000
)

// Comparison is one metric of one measurement that two runs share.
type Comparison struct {
	Key       string
	Metric    Metric
	A, B      float64 // medians over the rounds
	RoundsA   int
	RoundsB   int
	Ratio     float64 // of b to a
	Low, High float64 // where the ratio lies with 95 % confidence; equal to Ratio without a verdict
	Verdict   Verdict
}

// LossOver reports whether b is worse than a by more than a part of it, as .1.
func (c *Comparison) LossOver(part float64) bool {
	if c.Verdict != Worse {
		return false
	}
	if c.Metric.Higher {
		return c.Ratio < 1-part
	}
	return c.Ratio > 1+part
}

// Compare compares each metric of the measurements that both runs have, and names
// those that only one has.
func Compare(a, b *Run) (found []Comparison, onlyA, onlyB []string) {
	groups := map[string]*Group{}
	for _, g := range a.Groups() {
		groups[g.Key()] = g
	}
	for _, gb := range b.Groups() {
		ga := groups[gb.Key()]
		if ga == nil {
			onlyB = append(onlyB, gb.Key())
			continue
		}
		delete(groups, gb.Key())
		found = append(found, compareGroups(ga, gb)...)
	}
	for _, g := range a.Groups() {
		if groups[g.Key()] != nil {
			onlyA = append(onlyA, g.Key())
		}
	}
	return found, onlyA, onlyB
}

// CompareTargets compares the measurements of one run that differ in the target
// only.
func CompareTargets(r *Run, a, b string) ([]Comparison, error) {
	runs := map[string]*Run{a: {}, b: {}}
	for _, row := range r.Rows {
		if part := runs[row.Target]; part != nil {
			row.Target = a + " → " + b
			part.Rows = append(part.Rows, row)
		}
	}
	for _, target := range []string{a, b} {
		if len(runs[target].Rows) == 0 {
			return nil, fmt.Errorf("there are no rows of %q", target)
		}
	}
	found, _, _ := Compare(runs[a], runs[b])
	return found, nil
}

func compareGroups(a, b *Group) (found []Comparison) {
	for _, m := range metrics() {
		if m.Name == Rate().Name && a.Params.Loop == Open {
			continue // the rate was given
		}
		fa, fb := a.Figures(m), b.Figures(m)
		if len(fa) == 0 || len(fb) == 0 {
			continue
		}
		c := Comparison{Key: a.Key(), Metric: m, A: median(fa), B: median(fb), RoundsA: len(fa), RoundsB: len(fb)}
		if c.A <= 0 || c.B <= 0 { // below what was resolved: there is no ratio
			continue
		}
		c.Ratio = c.B / c.A
		c.Low, c.High = bootstrap(fa, fb)
		c.Verdict = verdict(c)
		found = append(found, c)
	}
	return found
}

func verdict(c Comparison) Verdict {
	switch {
	case c.RoundsA < 2 || c.RoundsB < 2:
		return NoVerdict
	case c.Low <= 1 && c.High >= 1:
		return NoneSeen
	case (c.Ratio > 1) == c.Metric.Higher:
		return Better
	}
	return Worse
}

// bootstrap says where the ratio of the medians, b to a, lies: the percentile
// interval over rounds drawn with replacement, each side by itself. The draws are
// the same each time, so the same files give the same words.
//
// With few rounds it is as wide as the rounds are apart, and excludes 1 only when
// every round of one side is beyond every round of the other. Chance does that to
// equals once in three comparisons of two rounds a side, in ten of three, in fifty
// of five.
func bootstrap(a, b []float64) (low, high float64) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(from, into []float64) float64 {
		for i := range into {
			into[i] = from[random.IntN(len(from))]
		}
		return median(into)
	}
	intoA, intoB := make([]float64, len(a)), make([]float64, len(b))
	ratios := make([]float64, 0, resamples)
	for range resamples {
		ma, mb := draw(a, intoA), draw(b, intoB)
		if ma > 0 {
			ratios = append(ratios, mb/ma)
		}
	}
	if len(ratios) == 0 {
		return 0, 0
	}
	median(ratios) // puts them in order
	tail := int((1 - confidence) / 2 * float64(len(ratios)))
	return ratios[tail], ratios[len(ratios)-1-tail]
}

// ComparisonTable shows comparisons.
func ComparisonTable(found []Comparison) Table {
	t := Table{Title: "comparison", Note: "medians; where the ratio lies with 95 % confidence", Head: []string{"measurement", "metric", "verdict", "a", "b", "rounds", "b/a", "95 %"}, Left: 3}
	for _, c := range found {
		between := "–"
		if c.Verdict != NoVerdict {
			between = fmt.Sprintf("%.2f to %.2f", c.Low, c.High)
		}
		t.Rows = append(t.Rows, []string{
			c.Key, strings.TrimSpace(c.Metric.Name + " " + c.Metric.Unit), string(c.Verdict),
			figure(c.A), figure(c.B), fmt.Sprintf("%d, %d", c.RoundsA, c.RoundsB), fmt.Sprintf("%.2f", c.Ratio), between,
		})
	}
	return t
}

// Apart says in which ways two runs were not measured alike, beside the commit.
func Apart(a, b *Run) (found []string) {
	for _, f := range []struct{ name, a, b string }{
		{"processors", fmt.Sprint(a.Machine.CPUs, " × ", a.Machine.Model), fmt.Sprint(b.Machine.CPUs, " × ", b.Machine.Model)},
		{"kernel", a.Machine.Kernel, b.Machine.Kernel},
		{"Go", a.Machine.Go, b.Machine.Go},
		{"TCP congestion control", a.Machine.Congestion, b.Machine.Congestion},
	} {
		if f.a != f.b {
			found = append(found, fmt.Sprintf("%s: %s and %s", f.name, f.a, f.b))
		}
	}
	return found
}
