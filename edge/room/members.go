package room

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// room is one room's members at this edge, and what comes for them.
type room struct {
	// Static.
	rooms *Rooms
	name  string

	over atomic.Bool // gone

	mu       sync.Mutex // guards the fields below
	gone     bool       // it is let go: another may have its name
	policy   Policy
	log      log
	lanes    lanes
	members  [Forms][]*Member
	count    int       // of the members
	holes    int       // places in the arrays of members that left while a pass walked
	passing  bool      // a goroutine makes passes; only it moves members then
	busy     busy      // what the last pass was like
	later    later     // starts one when the governor lets something go
	uneasy   bool      // it is among Rooms.uneasy
	emptied  time.Time // since when there are no members
	changed  time.Time // since when a report is due; zero: none is
	expelled []expulsion
}

// expulsion is kept for joins that were under way when it came.
type expulsion struct {
	Expel
	at time.Time
}

// enter puts a member in. Called with mu held, and the member's.
func (r *room) enter(m *Member, e Enter, now time.Time) (since join) {
	m.room = r
	if i := slices.IndexFunc(r.expelled, func(x expulsion) bool { return x.Seq > e.Head && x.means(m.user) }); i >= 0 {
		since.expelled = &r.expelled[i].Expel
		return since
	}
	r.regulate(e.Policy)
	first := r.count == 0
	if !r.log.known || first && e.Head >= r.log.next {
		r.log.jump(e.Head)
		r.follow(now)
	}
	r.log.horizon = max(r.log.horizon, e.Head)
	m.above = max(e.Head, r.log.next-1)
	since.messages, since.lost = r.log.ring.after(e.Head)
	m.place = int32(len(r.members[m.form]))
	r.members[m.form] = append(r.members[m.form], m)
	r.count++
	r.rooms.counts.members.Add(1)
	if first { // a core may have been told that nobody is here, after it was asked to
		r.changed = time.Time{}
		r.rooms.opts.Report(r.state(true))
	}
	r.change(now)
	return since
}

// regulate takes a policy, unless a newer one came before: a join's, an answer's and a
// change's come by several ways. Called with mu held.
func (r *room) regulate(p Policy) {
	if p.Version == 0 || p.Version >= r.policy.Version {
		r.policy = p
	}
}

func (e *Expel) means(user int64) bool {
	if len(e.Users) == 0 {
		return true
	}
	_, named := slices.BinarySearch(e.Users, user)
	return named
}

// change says that the members are others. Called with mu held.
func (r *room) change(now time.Time) {
	if r.changed.IsZero() {
		r.changed = now
	}
	r.disturb()
}

// remove takes a member out of the arrays; while a pass walks them only its place is
// marked.
func (r *room) remove(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.dropped {
		return
	}
	m.dropped = true
	r.count--
	r.rooms.counts.members.Add(-1)
	if r.passing {
		r.holes++
	} else {
		list := r.members[m.form]
		last := len(list) - 1
		list[m.place] = list[last]
		list[m.place].place = m.place
		list[last] = nil
		r.members[m.form] = fit(list[:last])
	}
	now := time.Now()
	if r.count == 0 {
		r.emptied = now
		r.lanes.clear()
		r.later.stop()
	}
	r.change(now)
}

// compact closes the holes. Called with mu held, by the one who makes passes.
func (r *room) compact() {
	if r.holes == 0 {
		return
	}
	r.holes = 0
	for f, list := range r.members {
		list = slices.DeleteFunc(list, func(m *Member) bool { return m.dropped })
		for i, m := range list {
			m.place = int32(i)
		}
		r.members[f] = fit(list)
	}
}

// fit gives memory back that an array does not need any more.
func fit(list []*Member) []*Member {
	switch {
	case len(list) == 0:
		return nil
	case cap(list) > 64 && len(list) < cap(list)/4:
		return slices.Clone(list)
	}
	return list
}

// expel finds those who are to go, and remembers it for those who come by an older
// head. Called with mu held.
func (r *room) expel(e Expel, now time.Time) (out []*Member) {
	if e.Seq > 0 {
		e.Room = r.name // not the caller's memory
		r.expelled = append(r.expelled, expulsion{e, now})
		r.disturb()
	}
	for _, list := range r.members {
		for _, m := range list {
			if !m.dropped && e.means(m.user) && (e.Seq == 0 || m.head < e.Seq) {
				out = append(out, m)
			}
		}
	}
	return out
}

// users names the members once each. Called with mu held.
func (r *room) users() []int64 {
	list := make([]int64, 0, r.count)
	for _, members := range r.members {
		for _, m := range members {
			if !m.dropped {
				list = append(list, m.user)
			}
		}
	}
	slices.SortFunc(list, cmp.Compare[int64])
	return slices.Compact(list)
}

// state says how the room is. Called with mu held.
func (r *room) state(want bool) State {
	s := State{Room: r.name, Members: int64(r.count), After: max(0, r.log.next-1), Want: want}
	if r.count > 0 && r.count <= r.policy.List {
		s.Users = r.users()
	}
	return s
}
