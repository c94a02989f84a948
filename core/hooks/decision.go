package hooks

import (
	"fmt"
	"strings"
	"time"

	"freeim/scripts/engine"
)

// Decision is what the rules said about one action, as the pages and the tool show
// it. Texts are in it only where somebody asked for one user's.
type Decision struct {
	At      time.Time `json:"at"`
	Bundle  string    `json:"bundle"`
	Action  string    `json:"action"`
	User    string    `json:"user,omitempty"`
	Trace   string    `json:"trace,omitempty"`
	Verdict string    `json:"verdict"` // "allow", "rewrite", "deny" …
	Code    string    `json:"code,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	To      string    `json:"to,omitempty"`   // the target of a reroute, the queue of a hold
	Rule    string    `json:"rule,omitempty"` // that decided, name@file:line
	Fields  []string  `json:"rewritten,omitempty"`
	Tags    []string  `json:"tags,omitempty"`
	Scores  []string  `json:"scores,omitempty"`
	Units   int       `json:"units"`
	Us      int64     `json:"us"`
	Fault   string    `json:"fault,omitempty"`
	Steps   []Step    `json:"steps,omitempty"` // what each hook said, if that was asked for
}

// Step is what one hook of the chain said.
type Step struct {
	Rule    string   `json:"rule"`
	Hook    string   `json:"hook"` // what registered it: "im.before"
	Said    string   `json:"said"`
	Ends    bool     `json:"ends,omitempty"`
	Code    string   `json:"code,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Rewrote []string `json:"rewrote,omitempty"` // field: "before" -> "after"
	Tags    []string `json:"tags,omitempty"`
	Scores  []string `json:"scores,omitempty"`
	Units   int      `json:"units"`
	Us      int64    `json:"us"`
	Fault   string   `json:"fault,omitempty"`
}

// rewriteVerdict is what a Decision says of an action that is allowed and was changed.
const rewriteVerdict = "rewrite"

// NewDecision shows a verdict. Who calls adds whose it is.
func NewDecision(v engine.Verdict) Decision {
	d := Decision{At: time.Now(), Bundle: v.Bundle, Verdict: v.Decision.String(), Code: v.Code, Reason: v.Reason, To: v.To(), Rule: v.Rule,
		Tags: v.Tags, Scores: scores(v.Scores), Units: v.Units, Us: v.Took.Microseconds()}
	for _, w := range v.Rewrites {
		d.Fields = append(d.Fields, w.Field)
	}
	if v.Decision == engine.Allow && len(v.Rewrites) > 0 {
		d.Verdict = rewriteVerdict
	}
	if v.Err != nil {
		d.Fault = v.Err.Error()
	}
	return d
}

// NewStep shows what one hook said.
func NewStep(s engine.Step) Step {
	out := Step{Rule: s.Rule, Hook: s.Function, Said: s.Said, Ends: s.Ends, Code: s.Code, Reason: s.Reason,
		Tags: s.Tags, Scores: scores(s.Scores), Units: s.Units, Us: s.Took.Microseconds()}
	for _, w := range s.Rewrites {
		out.Rewrote = append(out.Rewrote, fmt.Sprintf("%s: %q -> %q", w.Field, w.Before, w.After))
	}
	if s.Fault != nil {
		out.Fault = s.Fault.Kind + ": " + s.Fault.Msg
	}
	return out
}

func scores(all []engine.Score) (out []string) {
	for _, s := range all {
		out = append(out, fmt.Sprintf("%s %+g", s.Name, s.Points))
	}
	return out
}

// Summary is the verdict in a few words.
func (d Decision) Summary() string {
	out := d.Verdict
	if d.Code != "" {
		out += " " + d.Code
	}
	if d.Reason != "" {
		out += fmt.Sprintf(" (%s)", d.Reason)
	}
	if d.To != "" {
		out += " to " + d.To
	}
	if d.Rule != "" {
		out += " by " + d.Rule
	}
	if len(d.Fields) > 0 {
		out += " of " + strings.Join(d.Fields, ", ")
	}
	if len(d.Tags) > 0 {
		out += " tags " + strings.Join(d.Tags, ", ")
	}
	if len(d.Scores) > 0 {
		out += " scores " + strings.Join(d.Scores, ", ")
	}
	if d.Fault != "" {
		out += " fault " + d.Fault
	}
	return out
}
