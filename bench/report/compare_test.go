package report_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"freeim/bench/report"
)

// run is a run of rounds that delivered so many a second.
func run(target string, perSecond ...float64) *report.Run {
	r := &report.Run{}
	for i, f := range perSecond {
		r.Rows = append(r.Rows, report.Row{
			Scenario: "fanout", Target: target, Round: i + 1, Seconds: 1000, Sent: 1, Delivered: int64(f * 1000),
			Params: report.Params{Loop: report.Closed, Window: 4},
		})
	}
	return r
}

func TestCompareVerdicts(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b []float64
		want report.Verdict
		loss bool // of more than 10 %
	}{
		{"the same", []float64{100, 101, 102}, []float64{100, 101, 102}, report.NoneSeen, false},
		{"overlapping", []float64{100, 110, 120}, []float64{90, 101, 111}, report.NoneSeen, false},
		{"better", []float64{100, 101, 102}, []float64{120, 121, 125}, report.Better, false},
		{"a little worse", []float64{100, 101, 102}, []float64{95, 96, 97}, report.Worse, false},
		{"worse", []float64{100, 101, 102}, []float64{50, 55, 60}, report.Worse, true},
		{"one round", []float64{100}, []float64{50, 50, 50}, report.NoVerdict, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, onlyA, onlyB := report.Compare(run("freeim", test.a...), run("freeim", test.b...))
			if len(found) != 1 || len(onlyA)+len(onlyB) != 0 {
				t.Fatalf("got %v, %v, %v", found, onlyA, onlyB)
			}
			c := found[0]
			if c.Verdict != test.want || c.LossOver(.1) != test.loss {
				t.Errorf("got %s (%g, %g to %g), loss %v; want %s, %v", c.Verdict, c.Ratio, c.Low, c.High, c.LossOver(.1), test.want, test.loss)
			}
			if c.Low > c.Ratio || c.High < c.Ratio {
				t.Errorf("%g is not within %g and %g", c.Ratio, c.Low, c.High)
			}
		})
	}
}

// Of costs less is better.
func TestCompareCosts(t *testing.T) {
	cost := func(seconds float64) *report.Run {
		r := run("freeim", 100, 100, 100)
		for i := range r.Rows {
			r.Rows[i].CPU = map[string]report.CPU{report.Edge: {System: seconds}, report.Core: {User: .01}}
		}
		return r
	}
	found, _, _ := report.Compare(cost(1), cost(2))
	verdicts := map[string]report.Verdict{}
	for _, c := range found {
		verdicts[c.Metric.Name] = c.Verdict
	}
	if verdicts["edge CPU"] != report.Worse || verdicts["servers' CPU"] != report.Worse || verdicts["per second"] != report.NoneSeen {
		t.Errorf("got %v", verdicts)
	}
}

func TestComparePairs(t *testing.T) {
	a, b := run("freeim", 1, 1), run("freeim", 1, 1)
	a.Rows[0].Params.Window, b.Rows[0].Params.Window = 1, 32
	_, onlyA, onlyB := report.Compare(a, b)
	if len(onlyA) != 1 || !strings.Contains(onlyA[0], "window=1") || len(onlyB) != 1 || !strings.Contains(onlyB[0], "window=32") {
		t.Errorf("got %q and %q", onlyA, onlyB)
	}
	both := run(report.Limit, 100, 100)
	both.Rows = append(both.Rows, run(report.Freeim, 200, 200).Rows...)
	found, err := report.CompareTargets(both, report.Limit, report.Freeim)
	if err != nil || len(found) != 1 || found[0].Ratio != 2 {
		t.Errorf("targets: got %v, %v", found, err)
	}
	if _, err := report.CompareTargets(both, "nats", report.Freeim); err == nil {
		t.Error("nats was not measured")
	}
}

// The interval holds what is true about as often as it says, and equals are seldom
// taken to differ.
func TestBootstrapOfKnownDistributions(t *testing.T) {
	const rounds = 12
	comparisons := 150
	if testing.Short() { // the race detector is slow
		comparisons = 40
	}
	random := rand.New(rand.NewPCG(3, 4))
	sample := func(center float64) (f []float64) {
		for range rounds {
			f = append(f, center*math.Exp(.05*random.NormFloat64()))
		}
		return f
	}
	for _, ratio := range []float64{1, 1.03, 1.5} {
		within, differ := 0, 0
		for range comparisons {
			found, _, _ := report.Compare(run("x", sample(1000)...), run("x", sample(1000*ratio)...))
			if c := found[0]; c.Low <= ratio && ratio <= c.High {
				within++
			}
			if found[0].Verdict != report.NoneSeen {
				differ++
			}
		}
		t.Logf("ratio %g: within %d, differ %d of %d", ratio, within, differ, comparisons)
		if within < comparisons*88/100 {
			t.Errorf("ratio %g: the interval held it %d times of %d", ratio, within, comparisons)
		}
		switch {
		case ratio == 1 && differ > comparisons*12/100:
			t.Errorf("equals differed %d times of %d", differ, comparisons)
		case ratio == 1.5 && differ < comparisons:
			t.Errorf("half as much again was seen %d times of %d", differ, comparisons)
		}
	}
}
