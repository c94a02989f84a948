package rpc

import "time"

// A core that hangs, is stopped, or is behind a network that swallows everything
// says nothing, and nobody knows whether it ever will. In multiples of
// Options.Silence, counted only while calls wait for it:
const (
	askAfter    = 0.5 // it is asked whether it is there: any message is the answer
	answerAfter = 2   // what it was sent is answered UNAVAILABLE
	dropAfter   = 5   // the link is dropped
)

// silence is what the attendant knows of a link's.
type silence struct {
	heard  uint32        // link.heard when it was looked at last
	lasted time.Duration // since something came, as far as this process was awake
	asked  time.Duration // lasted, when the core was asked last
}

// watch looks after the links that say nothing. step is the time since it looked
// last: a process that was stopped itself must not take that for silence.
func (l *Links) watch(step time.Duration) {
	for _, k := range *l.known.Load() {
		k.watch(min(step, 2*sweepEvery), l.options.Silence)
	}
}

func (k *link) watch(step, bound time.Duration) {
	s := &k.silence
	heard := k.heard.Load()
	spoke := heard != s.heard
	s.heard = heard
	k.mu.Lock()
	was := k.suspect
	if spoke || k.phase < open || len(k.pending) == 0 && !was {
		s.lasted, s.asked, k.suspect = 0, 0, false
		k.mu.Unlock()
		if was {
			k.links.log.Info("core answers again", "core", k.address)
			k.links.rise(k, false)
		}
		return
	}
	s.lasted += step
	if s.lasted-s.asked >= time.Duration(askAfter*float64(bound)) {
		s.asked = s.lasted
		k.outbox.asks()
	}
	k.suspect = s.lasted >= bound
	avoid := k.suspect && !was
	k.mu.Unlock()
	if avoid {
		k.avoid()
	}
	if s.lasted >= answerAfter*bound {
		k.giveUp()
	}
	if s.lasted >= dropAfter*bound {
		k.links.log.Warn("core is silent for too long", "core", k.address)
		k.abandon()
	}
}

// avoid keeps calls from a silent core. Those that the sender has not taken go to
// another link, if there is one.
func (k *link) avoid() {
	k.links.log.Warn("core is silent while calls wait", "core", k.address)
	k.links.fall(k)
	if !k.links.Ready() {
		return
	}
	k.mu.Lock()
	unsent := k.unsent()
	k.mu.Unlock()
	for _, w := range unsent {
		k.links.place(w)
	}
}

// giveUp answers what a silent core was sent. What it still does with that is not
// known, as when a link is lost.
func (k *link) giveUp() {
	k.mu.Lock()
	unsent, pending := k.unsent(), k.pending
	k.pending = make(map[uint32]pendingCall)
	k.settled()
	k.mu.Unlock()
	for _, p := range pending {
		k.links.refuse(p, silent)
	}
	for _, w := range unsent {
		k.links.place(w)
	}
}

// abandon ends the stream.
func (k *link) abandon() {
	k.mu.Lock()
	drop := k.drop
	k.mu.Unlock()
	if drop != nil {
		drop()
	}
}
