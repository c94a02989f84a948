package engine

import "time"

// Message is a message before it is committed, as on_message sees it. IDs are
// strings, because a Lua number holds only 53 bits.
type Message struct {
	Action           string // "chat.send"
	User             string
	Device           string
	DeviceType       string
	Conversation     string
	ConversationType string // "chat", "group", "room"
	Kind             string // "text"
	ClientAddr       string // host:port as the edge saw it

	Text string // what a rule may rewrite

	// Set by the engine.
	Rewritten bool   // Text is not what it was
	Bundle    string // the hash of the bundle that judged
}

// Verdict is what the active bundle says about a message. The zero Verdict, but
// for Bundle, allows it.
type Verdict struct {
	Denied     bool
	Code       string        // why, as the lower-case name of a wire code: "rejected"
	Reason     string        // for operators and the client's developer
	RetryAfter time.Duration // advice; 0: none
	Rule       string        // the hook that decided, "name@file:line"; empty when none did
	Bundle     string        // hash of the bundle that judged
	// Err is the first *Fault of a script, after the hook's on_error was applied:
	// the message may be allowed or denied all the same.
	Err error
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
