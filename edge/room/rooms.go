package room

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Rooms is the rooms of one edge. Its methods are safe for concurrent use.
type Rooms struct {
	opts   Options
	closed atomic.Bool
	spare  sync.Pool // *pass
	counts counts
	work   sync.WaitGroup // passes, the look under way or to come, and expulsions

	mu     sync.RWMutex // guards byName
	byName map[string]*room

	watchMu sync.Mutex // guards the fields below; taken with a room's mu held
	uneasy  []*room    // are looked at every tick
	ticking bool
	timer   *time.Timer
}

type counts struct {
	members, passes, writes, delivered, refused, missed, sampled, lost, evicted, doubled, asked atomic.Int64
}

// Stats is what rooms have counted since they began.
type Stats struct {
	Rooms     int64 // now
	Members   int64 // now, each counted in every room
	Passes    int64
	Writes    int64 // blocks given to a member
	Delivered int64 // messages in them
	Sampled   int64 // messages declared skipped by the governor
	Missed    int64 // messages that members missed since they do not read, each of its own
	Lost      int64 // messages declared lost between the servers
	Slow      int64 // times that a member fell behind
	Evicted   int64 // members taken out since they were behind for too long
	Doubled   int64 // broadcasts that came again
	Asked     int64 // times that missing messages were asked for
}

// New returns rooms without any. Close ends them.
func New(o Options) *Rooms {
	return &Rooms{opts: o, byName: make(map[string]*room), spare: sync.Pool{New: func() any { return new(pass) }}}
}

// Close ends passes and timers, and returns when they have. What is called later does
// nothing more.
func (rs *Rooms) Close() {
	rs.closed.Store(true)
	for _, r := range rs.all() {
		r.mu.Lock() // whoever starts something does it with mu held, and sees closed then
		r.lanes.clear()
		r.later.stop()
		r.mu.Unlock()
	}
	rs.watchMu.Lock()
	if rs.ticking && rs.timer.Stop() {
		rs.ticking = false
		rs.work.Done()
	}
	rs.watchMu.Unlock()
	rs.work.Wait()
}

// Stats returns the counts of this moment.
func (rs *Rooms) Stats() Stats {
	rs.mu.RLock()
	rooms := int64(len(rs.byName))
	rs.mu.RUnlock()
	c := &rs.counts
	return Stats{Rooms: rooms, Members: c.members.Load(), Passes: c.passes.Load(), Writes: c.writes.Load(), Delivered: c.delivered.Load(),
		Sampled: c.sampled.Load(), Missed: c.missed.Load(), Lost: c.lost.Load(), Slow: c.refused.Load(), Evicted: c.evicted.Load(),
		Doubled: c.doubled.Load(), Asked: c.asked.Load()}
}

// Broadcast takes a message or frame for a room's members. One that comes again is
// dropped; one that comes too early waits.
func (rs *Rooms) Broadcast(b Broadcast) {
	rs.with(b.Room, b.Seq > 0, func(r *room) { r.accept(&b, time.Now()) })
}

// Answer takes a core's word that it has given what was missing.
func (rs *Rooms) Answer(a Answer) {
	var members []*Member
	rs.with(a.Room, false, func(r *room) {
		if r.answered(a, time.Now()) {
			members = slices.Concat(r.members[:]...)
		}
	})
	for _, m := range members {
		m.mu.Lock()
		m.above = min(m.above, a.Through)
		m.mu.Unlock()
	}
}

// Policy changes how a room is treated, unless a newer one is known.
func (rs *Rooms) Policy(name string, p Policy) {
	rs.with(name, false, func(r *room) { r.regulate(p) })
}

// Unlinked says that no core is linked any more: a policy that comes now is taken whatever
// its version. Nothing from before can follow it, and the directory may have been restored
// meanwhile, to one in which there were fewer changes.
func (rs *Rooms) Unlinked() {
	for _, r := range rs.all() {
		r.mu.Lock()
		r.policy.Version = 0
		r.mu.Unlock()
	}
}

// with calls do with the room's mu held; create makes the room if there is none.
func (rs *Rooms) with(name string, create bool, do func(*room)) {
	for {
		r := rs.find(name, create)
		if r == nil {
			return
		}
		r.mu.Lock()
		if !r.gone {
			do(r)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

func (rs *Rooms) find(name string, create bool) *room {
	rs.mu.RLock()
	r := rs.byName[name]
	rs.mu.RUnlock()
	if r != nil && !r.over.Load() || !create || rs.closed.Load() {
		return r
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.byName[name]; r != nil && !r.over.Load() {
		return r
	}
	r = &room{rooms: rs, name: strings.Clone(name), emptied: time.Now()}
	rs.byName[r.name] = r
	return r
}

func (rs *Rooms) all() []*room {
	rs.mu.RLock()
	defer rs.mu.RUnlock()
	list := make([]*room, 0, len(rs.byName))
	for _, r := range rs.byName {
		list = append(list, r)
	}
	return list
}

// drop takes a room out of the table that is over.
func (rs *Rooms) drop(r *room) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.byName[r.name] == r {
		delete(rs.byName, r.name)
	}
}

// States gives the state of every room that has members, until yield returns false;
// want is what they all say of missing messages. yield may block.
func (rs *Rooms) States(want bool, yield func(State) bool) {
	for _, r := range rs.all() {
		r.mu.Lock()
		s, any := r.state(want), r.count > 0
		r.mu.Unlock()
		if any && !yield(s) {
			return
		}
	}
}

// Ask asks for what every room may have missed: a link was lost.
func (rs *Rooms) Ask() {
	rs.States(true, func(s State) bool {
		rs.opts.Report(s)
		return true
	})
}

// Who is a session that comes in.
type Who struct {
	Session uint64
	User    int64
	Out     Receiver
	Form    Form // of what Out is given
}

// Enter takes a session in that is not in the room. reply sends the answer to its
// join; then it gets what came since its head, then what passes bring. The member is
// nil, and the session has been told, if it was expelled meanwhile. sent is what reply
// returned.
func (rs *Rooms) Enter(e Enter, who Who, reply func() (sent bool)) (m *Member, sent bool) {
	m = &Member{out: who.Out, session: who.Session, user: who.User, head: e.Head, form: who.Form}
	m.mu.Lock()
	var since join
	rs.with(e.Room, true, func(r *room) { since = r.enter(m, e, time.Now()) })
	sent = reply()
	told := true
	switch out := since.expelled; {
	case m.room == nil: // closed
	case out != nil:
		m.end()
		told = rs.opts.Left(m.session, out.Action, out.Protobuf, out.JSON)
	default:
		m.catchUp(since)
	}
	m.mu.Unlock()
	if !told {
		rs.opts.Slow(who.Session)
	}
	if m.room == nil || since.expelled != nil {
		return nil, sent
	}
	return m, sent
}

// join is what a session needs that comes in.
type join struct {
	messages []message
	lost     spans
	expelled *Expel
}

// catchUp gives a member what came since its head. Called with mu held.
func (m *Member) catchUp(since join) {
	if len(since.messages) == 0 && len(since.lost) == 0 {
		return
	}
	rs := m.room.rooms
	p := rs.spare.Get().(*pass)
	p.room, p.now = m.room, time.Now()
	q := queue{list: since.messages}
	for p.lost = since.lost; len(q.list) > 0 || len(p.lost) > 0; p.clear() {
		q.take(&p.high, len(q.list), blockOctets)
		p.piece = p.write(p.piece[:0], m.form, 0)
		if m.state == behind || !m.out.Broadcast(p.piece, m) {
			m.miss(p.seqs(0), p.now)
		}
	}
	p.room = nil
	rs.spare.Put(p)
}

// fewExpelled is how many are turned out by the caller of Expel: more are aside.
const fewExpelled = 64

// Expel takes sessions out of a room and tells them.
func (rs *Rooms) Expel(e Expel) {
	e.Users, e.Protobuf, e.JSON = slices.Clone(e.Users), slices.Clone(e.Protobuf), slices.Clone(e.JSON)
	slices.Sort(e.Users)
	rs.with(e.Room, e.Seq > 0, func(r *room) {
		out := r.expel(e, time.Now())
		if len(out) == 0 || rs.closed.Load() {
			return
		}
		turn := func() {
			for _, m := range out {
				rs.turnOut(m, &e)
			}
		}
		if len(out) > fewExpelled {
			rs.work.Go(turn)
			return
		}
		r.mu.Unlock() // a member's mu is taken before its room's
		defer r.mu.Lock()
		turn()
	})
}

func (rs *Rooms) turnOut(m *Member, e *Expel) {
	m.mu.Lock()
	told := m.turnOut(e.Action, e.Protobuf, e.JSON)
	m.mu.Unlock()
	if !told {
		rs.opts.Slow(m.session)
	}
}
