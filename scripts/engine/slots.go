package engine

import (
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"
)

// Mode is how a bundle comes to decide.
type Mode string

// The modes. A bundle in shadow or canary is the candidate: it stands beside the
// active one until it is promoted or aborted.
const (
	ModeNow    Mode = "now"
	ModeShadow Mode = "shadow" // it judges after the active one, and only differences are counted
	ModeCanary Mode = "canary" // it decides for a share of the users
)

// Policy is how a bundle is activated. The zero Policy is ModeNow.
type Policy struct {
	Mode    Mode
	Percent float64 // of the users, for ModeCanary
}

func (p Policy) staged() bool { return p.Mode == ModeShadow || p.Mode == ModeCanary }

// Validate reports what is wrong with a policy.
func (p Policy) Validate() error {
	switch p.Mode {
	case "", ModeNow, ModeShadow:
		return nil
	case ModeCanary:
		if p.Percent > 0 && p.Percent <= 100 {
			return nil
		}
		return fmt.Errorf("a canary for %v %% of the users: must be more than 0 and at most 100", p.Percent)
	}
	return fmt.Errorf("mode %q: must be now, shadow or canary", p.Mode)
}

func (p Policy) String() string {
	if p.Mode == ModeCanary {
		return fmt.Sprintf("canary %v %%", p.Percent)
	}
	return string(p.Mode)
}

// slots are the active bundle and the candidate, replaced as a whole.
type slots struct{ now atomic.Pointer[slotted] }

type slotted struct {
	active    *bundle    // never nil after New
	candidate *candidate // nil: none
}

// candidate is a bundle on trial.
type candidate struct {
	b      *bundle
	policy Policy
	since  time.Time
	by     By
	disk   bool    // it is what is on disk
	shadow *shadow // of ModeShadow
}

// Load gives the active bundle, nil before the first.
func (s *slots) Load() *bundle {
	if now := s.now.Load(); now != nil {
		return now.active
	}
	return nil
}

// Swap makes b the active bundle, without a candidate, and gives the old one.
func (s *slots) Swap(b *bundle) (old *bundle) {
	if before := s.now.Swap(&slotted{active: b}); before != nil {
		old = before.active
	}
	return old
}

func (s *slots) candidate() *candidate { return s.now.Load().candidate }

// put sets or, with nil, removes the candidate. Only the holder of the token of
// Engine.reloading replaces slots.
func (s *slots) put(c *candidate) { s.now.Store(&slotted{s.Load(), c}) }

// takes reports whether a canary decides for a user: the same ones for as long as
// the candidate is the same, and all of them still when the share grows. Who is
// not known yet is left to the active bundle.
func (c *candidate) takes(user string) bool {
	if user == "" {
		return false
	}
	sum := fnv.New64a()
	sum.Write([]byte(c.b.tree.hash)) // so that it is not always the same people
	sum.Write([]byte(user))
	n := sum.Sum64()
	n ^= n >> 32 // the last octets of the user's ID reach only some digits
	n *= 0xd6e8feb86659fd93
	n ^= n >> 32
	return float64(n%10_000) < c.policy.Percent*100
}

// Pin gives the bundle that decides for nobody in particular: the active one.
func (e *Engine) Pin() Pin { return Pin{e.active.Load()} }

// PinFor gives the bundle that decides for the user in f, which is read only while
// there is a canary.
func (e *Engine) PinFor(f Facts) Pin {
	now := e.active.now.Load()
	if c := now.candidate; c != nil && c.policy.Mode == ModeCanary && f != nil && c.takes(f.Fact(FactUser)) {
		return Pin{c.b}
	}
	return Pin{now.active}
}

var errNoCandidate = errors.New("there is no candidate")

// stage puts b beside the active bundle, in the place of another candidate.
func (e *Engine) stage(b *bundle, p Policy, by By, disk bool) error {
	c := &candidate{b: b, policy: p, since: time.Now(), by: by, disk: disk}
	if p.Mode == ModeShadow {
		var err error
		if c.shadow, err = newShadow(b, e.opts.Now, e.aside.share); err != nil {
			return err
		}
	}
	e.unstage(b)
	b.since = c.since
	b.words.Settle()
	e.mu.Lock()
	e.switchHooks(b)
	e.active.put(c)
	e.changed()
	e.mu.Unlock()
	e.active.Load().shadow.Store(c.shadow)
	if p.Mode == ModeCanary {
		e.watch(b, e.active.Load(), true)
	}
	e.offer()
	return nil
}

// unstage ends a candidate's trial; its VMs go in time unless it is kept.
func (e *Engine) unstage(keep *bundle) {
	if e.active.now.Load() == nil || e.active.candidate() == nil {
		return
	}
	c := e.active.candidate()
	e.active.Load().shadow.Store(nil)
	e.mu.Lock()
	e.active.put(nil)
	e.changed()
	e.mu.Unlock()
	e.offer()
	if c.policy.Mode == ModeCanary {
		e.unwatch()
	}
	if c.shadow != nil {
		c.shadow.close()
		for _, h := range c.b.hooks {
			h.begin() // that it counted, and failed, had no effect
		}
	}
	switch {
	case c.b == keep:
	case c.shadow == nil: // actions of its users may be under way
		e.retire(c.b)
	default:
		c.b.pool.close()
	}
}
