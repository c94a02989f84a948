package session

import (
	"sync"
	"time"

	"freeim/idl"
)

// This file is how sessions learn that a log has grown of which nothing is pushed to them: the log of a
// large group. The core says once to the edge how far the log is; the edge asks those who follow it, and
// have less, to sync, each once for all that came meanwhile, and not all at the same moment.

const (
	wakeTick     = 50 * time.Millisecond
	wakesPerTick = 100                    // so 2,000 a second: an edge does not have the cores syncing only
	wakeGap      = 250 * time.Millisecond // between two of one session
	heardFor     = 2 * time.Minute        // how long it is known of a log that nobody follows: longer than a sync takes
)

// Followed is a log that a session follows, and up to which seq its person has it.
type Followed struct {
	Log string
	Seq int64
}

// Wake says up to which seq a log has grown.
type Wake struct {
	Log string
	Seq int64
}

// followers are the sessions that follow logs. The zero value takes init.
type followers struct {
	hub    *Hub
	signal chan struct{} // of length 1: somebody is due

	mu        sync.Mutex // guards the fields below, and those of every follower
	bySession map[ID]*follower
	byLog     map[string]map[*follower]int64 // the seq that it has
	heard     map[string]heard
	due       []*follower
	swept     time.Time // when heard was last gone through
}

type heard struct {
	seq int64
	at  time.Time
}

type follower struct {
	session *Session
	logs    []Followed
	due     bool      // it is in followers.due
	gone    bool      // it follows nothing any more
	woken   time.Time // last
}

func (f *followers) init(h *Hub) {
	f.hub, f.signal = h, make(chan struct{}, 1)
	f.bySession, f.byLog, f.heard = map[ID]*follower{}, map[string]map[*follower]int64{}, map[string]heard{}
}

// follow has a session follow logs, and no others. What they grew by while the core looked them up is
// not missed: it was heard.
func (f *followers) follow(s *Session, logs []Followed) {
	f.mu.Lock()
	one := f.bySession[s.id]
	if one == nil && len(logs) > 0 {
		one = &follower{session: s}
		f.bySession[s.id] = one
	}
	if one != nil {
		f.leave(one)
		one.logs = logs
		for _, l := range logs {
			if f.byLog[l.Log] == nil {
				f.byLog[l.Log] = map[*follower]int64{}
			}
			f.byLog[l.Log][one] = l.Seq
		}
		f.owe(one)
		if len(logs) == 0 {
			f.drop(one)
		}
	}
	f.mu.Unlock()
	if one != nil && !s.isLive() { // it ended meanwhile
		f.remove(s.id)
	}
}

// remove forgets a session.
func (f *followers) remove(id ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.bySession[id]; one != nil {
		f.leave(one)
		f.drop(one)
	}
}

// leave takes a session out of its logs. Called with mu held, as all below.
func (f *followers) leave(one *follower) {
	for _, l := range one.logs {
		delete(f.byLog[l.Log], one)
		if len(f.byLog[l.Log]) == 0 {
			delete(f.byLog, l.Log)
		}
	}
	one.logs = nil
}

func (f *followers) drop(one *follower) {
	one.gone = true
	delete(f.bySession, one.session.id)
}

// behind reports whether a log has more than the session's person.
func (f *followers) behind(one *follower) bool {
	for _, l := range one.logs {
		if f.heard[l.Log].seq > l.Seq {
			return true
		}
	}
	return false
}

// owe has a session be asked to sync if it is behind.
func (f *followers) owe(one *follower) {
	if one.due || one.gone || !f.behind(one) {
		return
	}
	one.due = true
	f.due = append(f.due, one)
	select {
	case f.signal <- struct{}{}:
	default:
	}
}

// wake takes the word of a core that a log has grown.
func (f *followers) wake(w Wake) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.heard[w.Log] = heard{max(w.Seq, f.heard[w.Log].seq), now}
	for one := range f.byLog[w.Log] { // in no order: nobody is always the last
		f.owe(one)
	}
	if now.Sub(f.swept) < heardFor {
		return
	}
	f.swept = now
	for log, h := range f.heard {
		if len(f.byLog[log]) == 0 && now.Sub(h.at) > heardFor {
			delete(f.heard, log)
		}
	}
}

// run asks those who are due, until the hub closes.
func (f *followers) run() {
	for {
		select {
		case <-f.hub.stop:
			return
		case <-f.signal:
		}
		for f.askSome() {
			select {
			case <-f.hub.stop:
				return
			case <-time.After(wakeTick):
			}
		}
	}
}

// askSome asks as many as one tick may; more says that others are due.
func (f *followers) askSome() (more bool) {
	asked, more := f.some(time.Now())
	out := outgoing{hub: f.hub, push: Push{Action: idl.ActionSync}}
	for _, s := range asked {
		out.to(s, 0)
	}
	return more
}

// some takes those who are to be asked now.
func (f *followers) some(now time.Time) (asked []*Session, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.due[:0]
	for _, one := range f.due {
		switch {
		case one.gone || !f.behind(one): // it has synced by itself
			one.due = false
		case len(asked) == wakesPerTick || now.Sub(one.woken) < wakeGap:
			kept = append(kept, one)
		default:
			one.due, one.woken = false, now
			asked = append(asked, one.session)
		}
	}
	clear(f.due[len(kept):])
	f.due = kept
	return asked, len(kept) > 0
}
