package engine

import (
	"context"
	"time"
)

// Step is what one hook of a chain said.
type Step struct {
	Rule     string // name@file:line
	Function string // what registered it: "im.before"
	// Said is "allow", "pass", the decision, or "fault" when the hook failed: then
	// Ends tells whether its on_error ended the chain. It is NotAsked of a hook whose
	// options, or a switch, left it out: Reason is which.
	Said     string
	Ends     bool
	Code     string // of a denial
	Reason   string
	Rewrites []Rewrite
	Tags     []string
	Scores   []Score
	Units    int
	Took     time.Duration
	Fault    *Fault // nil: the hook worked
}

// NotAsked is what a hook said that was left out.
const NotAsked = "not asked"

// leftOut tells who wants to know that a hook was not asked.
func (j *judgement) leftOut(h *hook) {
	if j.c.Explain != nil {
		j.c.Explain(h.notAsked())
	}
}

// notAsked is the step of a hook that was left out.
func (h *hook) notAsked() Step {
	s := Step{Rule: h.rule, Function: h.point.function(), Said: NotAsked, Reason: h.gate.String()}
	if h.off.Load() {
		s.Reason = "switched off"
	}
	return s
}

// explain is ask for a call that wants to know what each hook said.
func (j *judgement) explain(ctx context.Context, i int, h *hook) (stop bool) {
	v := &j.verdict
	rewrites, tags, scores, units := len(v.Rewrites), len(v.Tags), len(v.Scores), v.Units
	first := v.Err
	v.Err = nil
	began := time.Now()
	stop = j.ask(ctx, i, h)
	s := Step{Rule: h.rule, Function: h.point.function(), Said: Allow.String(), Ends: stop, Took: time.Since(began), Units: v.Units - units,
		Rewrites: v.Rewrites[rewrites:len(v.Rewrites):len(v.Rewrites)],
		Tags:     v.Tags[tags:len(v.Tags):len(v.Tags)], Scores: v.Scores[scores:len(v.Scores):len(v.Scores)]}
	switch fault, failed := v.Err.(*Fault); {
	case failed:
		s.Said, s.Fault = "fault", fault
	case j.passed:
		s.Said = "pass"
	case stop:
		s.Said = v.Decision.String()
	}
	if stop && !j.passed {
		s.Code, s.Reason = v.Code, v.Reason
	}
	if first != nil {
		v.Err = first
	}
	j.c.Explain(s)
	return stop
}
