package session

import (
	"slices"
	"strings"
	"sync"
	"time"

	"freeim/idl"
)

// This file is how sessions learn that a log has grown of which nothing is pushed to them: the log of a
// large group. The core says once to the edge how far the log is; the edge asks those who follow it, and
// have less, to sync, each once for all that came meanwhile, and not all at the same moment.

const (
	wakeTick     = 50 * time.Millisecond  // Options.Wakes of a second, in its ticks
	looksPerTick = 10_000                 // at followed logs, so that frames do not wait for the lock
	looksInTurn  = 500                    // at the members of one log that has grown, before the others have their turn
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
	Log   string
	Seq   int64
	Epoch string // of the store whose seq it is; empty: the core does not say it
	// Everybody: all sessions follow it. None of them is in followers for that.
	Everybody bool
}

// followers are the sessions that follow logs. The zero value takes init.
type followers struct {
	hub       *Hub
	perSecond int           // how many are asked, in ticks: 2 at least in each
	rest      int           // of perSecond, what the last tick could not share out; owned by run
	signal    chan struct{} // of length 1: there is something to look at

	everybody everybody

	mu        sync.Mutex // guards the fields below, and those of every follower and log
	epoch     string     // of the store that cores spoke of last
	life      int        // counts the epochs: seqs of two lives are not compared
	bySession map[ID]*follower
	byLog     map[string]*followedLog
	grown     []*followedLog // whose sessions are to be looked at
	due       []*follower    // in the order in which they are asked
	names     []*followedLog // those of byLog, in the order in which it is looked whether they can be forgotten
}

// followedLog is a log that sessions follow, or that was heard of.
type followedLog struct {
	name    string
	members []*following // in no order
	life    int          // of the store, when it was heard of
	seq     int64        // up to which it has grown by then; 0: nothing was heard
	at      time.Time
	next    int  // of members, who is looked at next
	left    int  // how many of them are to be looked at since it grew
	queued  bool // it is in followers.grown
}

// following is that one session follows one log.
type following struct {
	by   *follower
	log  *followedLog
	at   int // in log.members
	life int // of the store whose seq it is
	seq  int64
}

type follower struct {
	session *Session
	logs    []*following
	due     bool      // it is in followers.due
	gone    bool      // it follows nothing any more
	woken   time.Time // last
}

func (f *followers) init(h *Hub, perSecond int) {
	f.hub, f.perSecond, f.signal = h, perSecond, make(chan struct{}, 1)
	f.bySession, f.byLog = map[ID]*follower{}, map[string]*followedLog{}
}

// follow has a session follow logs, and no others; epoch is that of the store whose seqs they have. What they grew
// by while the core looked them up is not missed: it was heard.
func (f *followers) follow(s *Session, epoch string, logs []Followed) {
	f.mu.Lock()
	f.live(epoch)
	one := f.bySession[s.id]
	if one == nil && len(logs) > 0 {
		one = &follower{session: s}
		f.bySession[s.id] = one
	}
	if one != nil {
		f.leave(one)
		for _, l := range logs {
			log := f.log(l.Log)
			to := &following{by: one, log: log, at: len(log.members), life: f.life, seq: l.Seq}
			log.members, one.logs = append(log.members, to), append(one.logs, to)
		}
		if f.behind(one) {
			f.owe(one)
		}
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

// live takes what a core says of the store's epoch. With another one begins another life: what was heard before
// counts no more, and who follows by seqs of before is behind whatever grows now. Called with mu held, as all below.
func (f *followers) live(epoch string) {
	if epoch == "" || epoch == f.epoch {
		return
	}
	if f.epoch != "" {
		f.life++
	}
	f.epoch = strings.Clone(epoch) // not all that it came with
}

func (f *followers) log(name string) *followedLog {
	log := f.byLog[name]
	if log == nil {
		now := time.Now()
		f.forget(now)
		log = &followedLog{name: strings.Clone(name), at: now}
		f.byLog[log.name] = log
		f.names = append(f.names, log)
	}
	return log
}

// leave takes a session out of its logs. The last member of each takes its place.
func (f *followers) leave(one *follower) {
	for _, l := range one.logs {
		log, end := l.log, len(l.log.members)-1
		last := log.members[end]
		log.members[l.at], last.at = last, l.at
		log.members[end] = nil
		log.members = log.members[:end]
		if log.left > 0 && last != l && f.ahead(last) { // it may be before those that are looked at still now
			f.owe(last.by)
		}
		log.left = min(log.left, end)
	}
	one.logs = nil
}

func (f *followers) drop(one *follower) {
	one.gone = true
	delete(f.bySession, one.session.id)
}

// ahead reports whether a log has more than the person of a session that follows it.
func (f *followers) ahead(l *following) bool {
	return l.log.seq > 0 && l.log.life == f.life && (l.life != f.life || l.log.seq > l.seq)
}

// behind reports whether a log has more than the session's person.
func (f *followers) behind(one *follower) bool { return slices.ContainsFunc(one.logs, f.ahead) }

// owe has a session that is behind be asked to sync.
func (f *followers) owe(one *follower) {
	if one.due || one.gone {
		return
	}
	one.due = true
	f.due = append(f.due, one)
	f.toDo()
}

func (f *followers) toDo() {
	select {
	case f.signal <- struct{}{}:
	default:
	}
}

// wake takes the word of a core that a log has grown. It does not look who follows: that takes its time.
func (f *followers) wake(w Wake) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live(w.Epoch)
	if w.Everybody {
		if f.everybody.hears(f.life, w.Seq) {
			f.toDo()
		}
		return
	}
	log, now := f.log(w.Log), time.Now()
	if log.life != f.life {
		log.life, log.seq = f.life, 0
	}
	log.seq, log.at = max(log.seq, w.Seq), now
	if n := len(log.members); n > 0 {
		if !log.queued {
			log.queued = true
			f.grown = append(f.grown, log)
		}
		log.left = n // from where it is on, so that who is behind has his turn however often it grows
		f.toDo()
	}
	f.forget(now)
}

// forget drops logs that nobody follows, once it need not be known any more what was heard of them. It looks at two: each
// word and each new log has it do so, so more are looked at than come, and nobody waits for all of them.
func (f *followers) forget(now time.Time) {
	for range min(2, len(f.names)) {
		log := f.names[0]
		f.names[0] = nil
		f.names = f.names[1:]
		if len(log.members) == 0 && (log.seq == 0 || now.Sub(log.at) > heardFor) {
			delete(f.byLog, log.name)
		} else {
			f.names = append(f.names, log)
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

// askSome asks as many as one tick may; more says that others are due. While everybody is asked, who follows logs has half
// of the tick at most.
func (f *followers) askSome() (more bool) {
	const ticks = int(time.Second / wakeTick)
	inTick := (f.perSecond + f.rest) / ticks
	f.rest = (f.perSecond + f.rest) % ticks
	most := inTick
	if f.everybody.under() {
		most /= 2
	}
	asked, more := f.some(time.Now(), most)
	asked = append(asked, f.everybody.next(&f.hub.sessions, inTick-len(asked))...)
	more = more || f.everybody.under()
	out := outgoing{hub: f.hub, push: Push{Action: idl.ActionSync}}
	for _, s := range asked {
		out.to(s, 0)
	}
	return more
}

// some takes those who are to be asked now, up to most. It looks at so many logs of sessions as one tick may: the others have
// their turn in the next ones. Of those who are due no more are within wakeGap than were asked in it, so
// it comes to those who may be asked.
func (f *followers) some(now time.Time, most int) (asked []*Session, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	looks := f.lookAtGrown(looksPerTick)
	for n := len(f.due); n > 0 && looks > 0 && len(asked) < most; n-- {
		one := f.due[0]
		f.due[0] = nil
		f.due = f.due[1:]
		looks -= 1 + len(one.logs)
		switch {
		case one.gone || !f.behind(one): // it has synced by itself
			one.due = false
		case now.Sub(one.woken) < wakeGap:
			f.due = append(f.due, one)
		default:
			one.due, one.woken = false, now
			asked = append(asked, one.session)
		}
	}
	return asked, len(f.due)+len(f.grown) > 0
}

// lookAtGrown finds who is due since logs have grown, with half the looks at most, and gives those that are left. The logs
// take turns, so that one that grows all the time does not keep the members of others waiting.
func (f *followers) lookAtGrown(looks int) (left int) {
	for least := looks / 2; len(f.grown) > 0 && looks > least; {
		log := f.grown[0]
		f.grown[0] = nil
		f.grown = f.grown[1:]
		for share := looksInTurn; log.left > 0 && share > 0 && looks > least; looks, share = looks-1, share-1 {
			if log.next >= len(log.members) {
				log.next = 0
			}
			if l := log.members[log.next]; f.ahead(l) {
				f.owe(l.by)
			}
			log.next++
			log.left--
		}
		if log.queued = log.left > 0; log.queued {
			f.grown = append(f.grown, log)
		}
	}
	return looks
}

// waiting is about how many sessions are to be asked still, live of them all being there: those who are due, those who are looked at
// since their logs have grown, once for each log, and those who are left of the rounds for everybody.
func (f *followers) waiting(live int64) (logs, all int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	logs = int64(len(f.due))
	for _, log := range f.grown {
		logs += int64(log.left)
	}
	return logs, f.everybody.waiting(live)
}
