package engine

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Status is what an operator wants to know. It is a copy.
type Status struct {
	Bundle   string    // hash of the active bundle
	Since    time.Time // when it was activated
	Disk     string    // hash of the files on disk, as they were read last; empty: they could not be
	Files    []string
	Hooks    []HookStatus // in the order they run
	Tests    int          // of the bundle's own that passed
	Findings []Finding    // of Lint: what looks wrong, and did not refuse it
	Rejected *Rejected    // nil: nothing is wrong with the files on disk
	Held     *Held        // nil: the files on disk decide what is active
	Measured Measured
	VMs      VMStatus
	// Candidate is the bundle on trial; nil: there is none.
	Candidate *CandidateStatus
	// Results counts what became of reloads and decisions since the start:
	// "activated", "rejected", "rolled_back" …
	Results map[string]int64
	Dropped int64 // log lines of scripts over the limit of a call
	Off     bool  // the kill switch is pulled: no hook is asked
	Late    int   // actions that wait for after hooks
	Lost    int64 // actions whose after hooks were dropped since too many waited
	// Aside is how long after and on_tick hooks and candidates in shadow ran in all.
	Aside time.Duration
}

// HookStatus is one hook of the active bundle; counts begin at its activation.
type HookStatus struct {
	Name      string
	Rule      string // name@file:line
	Priority  int
	Function  string // what registered it: "im.before"
	Off       bool   // it is switched off
	Asleep    bool   // a setting that it names is off: it is not asked
	OnError   string // "open", "closed", "fallback", or the code of the denial
	Gate      string // as in Ordered
	Calls     int64
	Denied    int64
	Shadowed  int64
	Rerouted  int64
	Held      int64
	Rewritten int64
	Faults    int64
	LastFault string // empty: none
	Tripped   bool   // the breaker is open: the hook is not called, OnError applies
}

// CandidateStatus is the bundle beside the active one.
type CandidateStatus struct {
	Bundle string
	Policy Policy
	Since  time.Time
	By     By
	Hooks  []HookStatus
	// Findings are those of Lint, as in Status.
	Findings []Finding
	// Measured is what a canary did; of a candidate in shadow, nothing.
	Measured Measured
	// Of a candidate in shadow: questions it was asked, those that were left out
	// since too many waited, and where it would decide otherwise.
	Asked, Left int64
	Diffs       []Diff
}

// VMStatus counts the Lua VMs of the active bundle.
type VMStatus struct {
	Live, Idle int
	Replaced   int64 // after enough work
	Broken     int64 // thrown away after a fault
	Starved    int64 // calls that got none in time
}

// Rejected is the content on disk that is not active because it is wrong.
type Rejected struct {
	Bundle string // its hash; empty when it could not even be read
	At     time.Time
	Errors []string // each with file:line where there is one
}

// Status describes the active bundle and what was rejected since.
func (e *Engine) Status() Status {
	b := e.active.Load()
	s := Status{Bundle: b.tree.hash, Since: b.since, Files: b.tree.paths(), Tests: b.tests, Findings: slices.Clone(b.findings), Held: e.shelf.held(), Dropped: b.dropped.Load(),
		Off: b.off.Load(), Late: len(e.aside.queue), Lost: e.aside.dropped.Load(), Aside: time.Duration(e.aside.share.took.Load())}
	s.Hooks = b.status()
	s.Measured = b.tally.counts().measured()
	s.Candidate = e.active.candidate().status()
	p := b.pool
	s.VMs = VMStatus{Live: int(p.made.Load()), Idle: p.free(),
		Replaced: p.replaced.Load(), Broken: p.broken.Load(), Starved: p.starved.Load()}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Results, s.Disk = maps.Clone(e.results), e.disk
	if e.rejected != nil {
		copied := *e.rejected
		s.Rejected = &copied
	}
	return s
}

func (b *bundle) status() (all []HookStatus) {
	for _, h := range b.hooks {
		all = append(all, h.status())
	}
	return all
}

func (c *candidate) status() *CandidateStatus {
	if c == nil {
		return nil
	}
	s := &CandidateStatus{Bundle: c.b.tree.hash, Policy: c.policy, Since: c.since, By: c.by, Hooks: c.b.status(), Findings: slices.Clone(c.b.findings), Measured: c.b.tally.counts().measured()}
	if c.shadow != nil {
		s.Asked, s.Left, s.Diffs = c.shadow.asked.Load(), c.shadow.left.Load(), c.shadow.list()
	}
	return s
}

func (h *hook) status() HookStatus {
	s := HookStatus{Name: h.name, Rule: h.rule, Priority: h.priority, Function: h.point.function(), Off: h.off.Load(), Gate: h.gate.String(), Asleep: !h.gate.open(nil), OnError: h.onError.String(),
		Calls: h.calls.Load(), Denied: h.denied.Load(), Shadowed: h.shadowed.Load(), Rerouted: h.rerouted.Load(), Held: h.held.Load(), Rewritten: h.rewritten.Load(), Faults: h.faults.Load(),
		Tripped: h.breaker.open.Load()}
	if f := h.last.Load(); f != nil {
		s.LastFault = f.Kind + ": " + f.Msg
	}
	return s
}

// seen remembers what is on disk.
func (e *Engine) seen(hash string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.disk = hash
}

// reject remembers what is wrong with the files on disk, and logs it unless the
// same was logged before.
func (e *Engine) reject(hash string, err error) {
	r := &Rejected{Bundle: hash, At: time.Now(), Errors: strings.Split(err.Error(), "\n")}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rejected = r
	if key := hash + err.Error(); key != e.logged {
		e.logged = key
		e.results["rejected"]++
		e.opts.Log.Error("scripts rejected, the active bundle stays", "rejected", hash, "active", e.activeHash(), "errors", r.Errors)
	}
}

// settled forgets a rejection: the files on disk are what is active.
func (e *Engine) settled() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rejected, e.logged = nil, ""
}

// isRejected reports whether this content was rejected before.
func (e *Engine) isRejected(hash string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rejected != nil && e.rejected.Bundle == hash && hash != ""
}

func (e *Engine) activeHash() string {
	if b := e.active.Load(); b != nil {
		return b.tree.hash
	}
	return ""
}
