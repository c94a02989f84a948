package room

import "time"

// This file is what moves a room: broadcasts that come, gaps among them, and time.
// Its functions are called with the room's mu held, unless they say otherwise.

// accept takes a broadcast that has just come.
func (r *room) accept(b *Broadcast, now time.Time) {
	l := &r.log
	switch {
	case b.Seq == 0:
		if r.count > 0 {
			r.lanes.push(own(b, now))
		}
	case l.known && b.Seq < l.next:
		r.rooms.counts.doubled.Add(1)
	case !l.known || b.Seq > l.next:
		r.early(own(b, now))
	default:
		r.admit(own(b, now))
		r.follow(now)
	}
	r.start()
	r.disturb()
}

// early keeps a message that an earlier one must come before. When too many wait, that
// one is lost.
func (r *room) early(m message) {
	l := &r.log
	if !l.hold(m) {
		r.rooms.counts.doubled.Add(1)
		return
	}
	if l.since.IsZero() {
		l.since = m.at
	}
	if !l.crowded() {
		return
	}
	if !l.known {
		l.pull()
		return
	}
	r.lose(l.held[0].seq-1, m.at)
}

// admit takes the message whose turn it is.
func (r *room) admit(m message) {
	r.log.ring.add(m)
	r.log.next = m.seq + 1
	r.log.horizon = max(r.log.horizon, m.seq)
	if r.count > 0 {
		r.lanes.push(m)
	}
}

// follow admits what was held for the messages that have come.
func (r *room) follow(now time.Time) {
	l := &r.log
	for len(l.held) > 0 && l.held[0].seq == l.next {
		r.admit(l.pull())
	}
	l.filled()
	if l.missing() {
		l.since = now
	}
}

// lose declares all up to a seq lost that has not come.
func (r *room) lose(to int64, now time.Time) {
	l := &r.log
	if to >= l.next {
		l.ring.lose(l.next, to)
		if r.count > 0 {
			r.lanes.lost.add(l.next, to)
			r.rooms.counts.lost.Add(to - l.next + 1)
		}
		l.next = to + 1
	}
	r.follow(now)
}

// answered gives up what a core does not have either. begun says that the log has
// begun anew, at a lower seq than was given already.
func (r *room) answered(a Answer, now time.Time) (begun bool) {
	if a.Policy != nil {
		r.regulate(*a.Policy)
	}
	l := &r.log
	if !l.known || a.After >= l.next {
		return false
	}
	if begun = a.Through < a.After; begun {
		if a.Policy != nil { // the room may have begun anew too
			r.policy = *a.Policy
		}
		l.held, l.octets, l.horizon = nil, 0, a.Through
		l.ring.restart(a.Through + 1)
		l.jump(a.Through)
	}
	for l.next <= a.Through {
		to := a.Through
		if len(l.held) > 0 {
			to = min(to, l.held[0].seq-1)
		}
		r.lose(to, now)
	}
	r.start()
	r.disturb()
	return begun
}

// start has passes made, if there is anything to give, and nobody makes them.
func (r *room) start() {
	l := &r.lanes
	if r.passing || r.count == 0 || r.rooms.closed.Load() {
		return
	}
	urgent := len(l.high.list) > 0 || len(l.lost) > 0
	if urgent || !r.later.set && (len(l.low.list) > 0 || len(l.asides.list) > 0 || len(l.sampled) > 0) {
		r.passing = true
		r.rooms.work.Go(r.run)
	}
}

// later is a timer that starts passes.
type later struct {
	timer *time.Timer
	set   bool
}

func (t *later) stop() {
	if t.set {
		t.timer.Stop()
		t.timer, t.set = nil, false
	}
}

// wait has passes made after a pause; 0: there is nothing to wait for.
func (r *room) wait(pause time.Duration) {
	if pause == 0 || r.later.set || r.rooms.closed.Load() {
		return
	}
	r.later.set = true
	var timer *time.Timer
	timer = time.AfterFunc(pause, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.later.timer == timer { // it was not stopped in the last moment
			r.later.stop()
			r.start()
		}
	})
	r.later.timer = timer
}

// disturb has the room looked at from now on.
func (r *room) disturb() {
	if r.uneasy || r.rooms.closed.Load() {
		return
	}
	r.uneasy = true
	r.rooms.watch(r)
}

func (rs *Rooms) watch(r *room) {
	rs.watchMu.Lock()
	defer rs.watchMu.Unlock()
	rs.uneasy = append(rs.uneasy, r)
	rs.sleep()
}

// sleep sets the timer, unless it is set or nothing is to be looked at. Called with
// watchMu held.
func (rs *Rooms) sleep() {
	if rs.ticking || len(rs.uneasy) == 0 || rs.closed.Load() {
		return
	}
	rs.ticking = true
	rs.work.Add(1)
	rs.timer = time.AfterFunc(tick, rs.look)
}

// look looks at the rooms that something is due in; called by the timer.
func (rs *Rooms) look() {
	defer rs.work.Done()
	rs.watchMu.Lock()
	list := rs.uneasy
	rs.uneasy = nil
	rs.watchMu.Unlock()
	now := time.Now()
	kept := list[:0]
	for _, r := range list {
		if r.look(now) {
			kept = append(kept, r)
		}
	}
	clear(list[len(kept):])
	rs.watchMu.Lock()
	defer rs.watchMu.Unlock()
	rs.uneasy = append(kept, rs.uneasy...)
	rs.ticking = false
	rs.sleep()
}

// look does what is due; false: nothing will be until something happens. It takes mu.
func (r *room) look(now time.Time) (again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.ring.age(now.Add(-ringTime))
	for len(r.expelled) > 0 && now.Sub(r.expelled[0].at) >= expelTime {
		r.expelled = r.expelled[1:]
	}
	if len(r.expelled) == 0 {
		r.expelled = nil
	}
	if r.count == 0 {
		if now.Sub(r.emptied) >= emptyTime && r.expelled == nil {
			r.end()
			return false
		}
		return true
	}
	r.seek(now)
	if !r.changed.IsZero() && now.Sub(r.changed) >= reportPause {
		r.changed = time.Time{}
		r.rooms.opts.Report(r.state(false))
	}
	r.uneasy = r.log.missing() || !r.changed.IsZero() || len(r.log.ring.messages) > 0 || r.expelled != nil
	return r.uneasy
}

// seek asks for what is missing, and gives it up in the end.
func (r *room) seek(now time.Time) {
	l := &r.log
	switch {
	case !l.missing():
	case l.since.IsZero():
		l.since = now
	case now.Sub(l.since) < gapPatience || now.Sub(l.asked) < askAgain:
	case l.asks == asksInVain:
		to := l.horizon
		if len(l.held) > 0 {
			to = l.held[0].seq - 1
		}
		r.lose(to, now)
		r.start()
	default:
		l.asks++
		l.asked = now
		r.rooms.counts.asked.Add(1)
		r.rooms.opts.Report(r.state(true))
	}
}

// end lets a room go that nobody is in.
func (r *room) end() {
	r.gone = true
	r.over.Store(true)
	r.later.stop()
	r.rooms.opts.Report(State{Room: r.name, After: max(0, r.log.next-1)})
	r.rooms.drop(r)
}
