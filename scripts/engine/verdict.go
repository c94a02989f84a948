package engine

import "time"

// Decision is what is to happen to an action.
type Decision uint8

// The decisions. A host that cannot do one at a point says so in Options.
const (
	Allow   Decision = iota
	Deny             // refuse it
	Reroute          // to Verdict.Target
	Shadow           // the sender sees success, nobody else anything
	Hold             // until somebody decides, or its deadline; see Verdict.Holding
)

func (d Decision) String() string {
	switch d {
	case Allow:
		return "allow"
	case Deny:
		return "deny"
	case Reroute:
		return "reroute"
	case Shadow:
		return "shadow"
	case Hold:
		return "hold"
	}
	return "unknown"
}

// Verdict is what a bundle says about an action. The zero Verdict, but for
// Bundle, allows it.
type Verdict struct {
	Decision   Decision
	Target     string        // where it goes, a name of Options.Targets
	Holding    *Holding      // how it waits, if it is held
	Code       string        // of a denial, as the lower-case name of a wire code: "rejected"
	Reason     string        // for operators and the client's developer
	RetryAfter time.Duration // advice; 0: none
	Rule       string        // the hook that decided, "name@file:line"; empty when none did
	Bundle     string        // hash of the bundle that judged

	// What the hooks left behind, in the order they ran.
	Rewrites []Rewrite // already made; none when the action is denied
	Tags     []string
	Scores   []Score

	Units int           // of work, of all hooks together
	Took  time.Duration // by all hooks together
	// Err is the first *Fault of a script, after the hook's on_error was applied:
	// the action may be allowed or denied all the same.
	Err error
}

// Denied reports whether the action is to be refused.
func (v Verdict) Denied() bool { return v.Decision == Deny }

// To is where the verdict sends the action: a target, a pool, or a queue of reviewers;
// empty: nowhere else.
func (v Verdict) To() string {
	if v.Holding != nil {
		return v.Holding.Queue
	}
	return v.Target
}

// Rewrite is one assignment to a field of the request.
type Rewrite struct {
	Rule          string // name@file:line
	Field         string
	Before, After string

	target *string
}

// Score is what one hook thinks of an action.
type Score struct {
	Name   string
	Points float64
}

// FaultCode is the code of a denial by a hook that failed and is on_error =
// "closed": not now, try again.
const FaultCode = "unavailable"

// faultRetry is the advice that goes with FaultCode.
const faultRetry = time.Second

// The kinds of faults.
const (
	FaultScript  = "script"  // a run-time error
	FaultVerdict = "verdict" // the hook returned something that is no verdict
	FaultBudget  = "budget"  // too much work, or too long
	FaultPanic   = "panic"   // an error in the engine or the VM, caught
	FaultStarved = "starved" // no VM became free in time
	FaultBreaker = "breaker" // the hook failed so often that it is not called for a while
)

// Fault is a hook that gave no verdict.
type Fault struct {
	Kind string // one of the Fault constants
	Rule string // name@file:line
	Msg  string // with file:line where the script is to blame
}

func (f *Fault) Error() string { return f.Rule + ": " + f.Kind + ": " + f.Msg }
