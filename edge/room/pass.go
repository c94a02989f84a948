package room

import (
	"math"
	"time"

	"freeim/edge/frame"
	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// pass gives what has gathered in a room to its members, each with one write. It is
// owned by the room's goroutine, which exists while there is something to give.
type pass struct {
	room *room
	now  time.Time

	high, low, asides []message
	sampled, lost     spans
	first             int64 // the smallest seq that is pushed or declared
	all               spans // every seq that is; made when it is asked for

	members [Forms][]*Member // as they were when it began
	frames  []frame.Frame
	block   []byte   // for all
	piece   []byte   // for one
	stuck   []uint64 // sessions that could not even be told that they are out
}

// run makes one pass after the other until nothing is left to give.
func (r *room) run() {
	p := r.rooms.spare.Get().(*pass)
	p.room = r
	for {
		more, pause := r.begin(p)
		if pause > 0 {
			time.Sleep(pause)
			continue
		}
		if !more {
			break
		}
		p.deliver()
		r.finish(p)
	}
	p.room = nil
	r.rooms.spare.Put(p)
}

// begin takes what waits, or says how long to wait for more of it; neither: nothing may
// go now, and the goroutine ends.
func (r *room) begin(p *pass) (more bool, pause time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.compact()
	p.now = time.Now()
	if r.count > 0 {
		if pause := r.busy.gather(&r.lanes, p.now); pause > 0 {
			return false, pause
		}
		if r.take(p) {
			p.members = r.members
			return true, 0
		}
	}
	r.passing = false
	return false, 0
}

// busy is what a room's last pass was like. What is pushed often brings the next
// messages about, and a pass that starts with the first of them leaves the others to
// another one: twice the writes. So a pass that follows closely on another waits, for
// half of what that one took at most, until as many messages are there as were under
// way then. A room that is not busy never waits.
type busy struct {
	ended  time.Time
	took   time.Duration
	expect int // messages
}

// finish notes how the pass went. It takes mu.
func (r *room) finish(p *pass) {
	now := time.Now()
	r.mu.Lock()
	r.busy = busy{ended: now, took: now.Sub(p.now), expect: len(p.high) + len(p.low) + r.lanes.waiting()}
	r.mu.Unlock()
	p.clear()
}

// gather is how long to wait before it is asked again; 0: the pass may begin.
func (b *busy) gather(l *lanes, now time.Time) time.Duration {
	most := min(b.took/2, gatherMost)
	waiting := l.waiting()
	if most < gatherLeast || waiting == 0 || waiting >= b.expect {
		return 0
	}
	since := b.ended
	if first := l.oldest(); first.After(since) {
		since = first
	}
	if since.Sub(b.ended) > b.took { // it was idle
		return 0
	}
	return min(since.Add(most).Sub(now), max(most/8, gatherLeast))
}

// take fills a pass; false: there is nothing that may go now. Called with mu held.
func (r *room) take(p *pass) bool {
	l := &r.lanes
	wait := l.govern(r.policy, p.now)
	if len(l.high.list) == 0 && l.free == 0 && len(l.lost) == 0 && (wait > 0 || len(l.asides.list) == 0 && len(l.sampled) == 0) {
		r.wait(wait)
		return false
	}
	left := l.high.take(&p.high, math.MaxInt, blockOctets)
	if left > 0 && l.free > 0 {
		left = l.low.take(&p.low, l.free, left)
		l.free -= len(p.low)
	}
	if left > 0 {
		l.asides.take(&p.asides, math.MaxInt, left)
	}
	p.sampled, p.lost = l.sampled, l.lost
	l.sampled, l.lost = nil, nil
	p.first = p.smallest()
	return true
}

func (p *pass) smallest() int64 {
	first := int64(math.MaxInt64)
	for _, list := range [][]message{p.high, p.low} {
		if len(list) > 0 {
			first = min(first, list[0].seq)
		}
	}
	for _, s := range []spans{p.sampled, p.lost} {
		if len(s) > 0 {
			first = min(first, s[0].from)
		}
	}
	return first
}

// deliver is the loop that all the rest is for.
func (p *pass) deliver() {
	for f := range Form(Forms) {
		members := p.members[f]
		if len(members) == 0 {
			continue
		}
		p.block = p.write(p.block[:0], f, 0)
		block, first, rest := p.block, p.first, 0
		for _, m := range members {
			m.mu.Lock()
			if m.state != present || m.above >= first || !m.out.Broadcast(block, m) {
				p.other(m, f)
				rest++
			}
			m.mu.Unlock()
		}
		p.room.rooms.counts.delivered.Add(int64(len(members)-rest) * int64(len(p.high)+len(p.low)))
		p.room.rooms.counts.writes.Add(int64(len(members) - rest))
	}
	p.room.rooms.counts.passes.Add(1)
	p.room.rooms.counts.sampled.Add(p.sampled.seqs())
	for _, session := range p.stuck {
		p.room.rooms.opts.Slow(session)
	}
}

// write appends the block of a form: what of the pass is above a seq.
func (p *pass) write(dst []byte, f Form, above int64) []byte {
	c := p.room.rooms.opts.Codec(f)
	frames := p.frames[:0]
	for _, list := range [][]message{p.high, p.low} {
		for i := range list {
			if list[i].seq > above {
				frames = append(frames, list[i].frame(c))
			}
		}
	}
	frames = declare(frames, p.room.name, p.sampled.above(above), roompb.RoomSkipReason_ROOM_SKIP_SAMPLED, c)
	frames = declare(frames, p.room.name, p.lost.above(above), roompb.RoomSkipReason_ROOM_SKIP_LOST, c)
	for i := range p.asides {
		frames = append(frames, p.asides[i].frame(c))
	}
	p.frames = frames
	return p.room.rooms.opts.Block(dst, f, frames)
}

func declare(frames []frame.Frame, room string, s spans, why roompb.RoomSkipReason, c idl.Codec) []frame.Frame {
	if len(s) == 0 {
		return frames
	}
	return append(frames, frame.Frame{Codec: c, Action: idl.ActionRoomHistory, Body: skip(room, s, why, c)})
}

// other is a member for whom the block is not: one that has left, one that was given
// a part of it when it came in, or one that does not read. Called with its mu held.
func (p *pass) other(m *Member, f Form) {
	switch {
	case m.state == behind:
		m.miss(p.seqs(m.above), p.now)
		if p.now.Sub(m.late.since) >= slowPatience {
			p.evict(m)
		}
	case m.state != present:
	case m.above >= p.first:
		p.piece = p.write(p.piece[:0], f, m.above)
		if len(p.piece) > 0 && !m.out.Broadcast(p.piece, m) {
			m.miss(p.seqs(m.above), p.now)
		}
	default: // it has just refused the block
		m.miss(p.seqs(m.above), p.now)
	}
}

// evict takes out a member that has been behind for too long. Called with its mu held.
func (p *pass) evict(m *Member) {
	body := &roompb.RoomLeft{Room: nameOf(p.room.name), Reason: roompb.RoomLeftReason_ROOM_LEFT_SLOW, Message: "the client does not read fast enough"}
	if !m.turnOut(idl.ActionLeaveRoom, encode(body, idl.CodecProtobuf), encode(body, idl.CodecJSON)) {
		p.stuck = append(p.stuck, m.session)
	}
	p.room.rooms.counts.evicted.Add(1)
}

// seqs gives all that the pass pushes or declares above a seq.
func (p *pass) seqs(above int64) spans {
	if p.all == nil {
		for _, list := range [][]message{p.high, p.low} {
			for i := range list {
				p.all.add(list[i].seq, list[i].seq)
			}
		}
		for _, s := range []spans{p.sampled, p.lost} {
			for _, e := range s {
				p.all.add(e.from, e.to)
			}
		}
	}
	return p.all.above(above)
}

// clear lets go of what was given.
func (p *pass) clear() {
	clear(p.high)
	clear(p.low)
	clear(p.asides)
	clear(p.frames)
	p.high, p.low, p.asides, p.frames = p.high[:0], p.low[:0], p.asides[:0], p.frames[:0]
	p.sampled, p.lost, p.all, p.stuck = nil, nil, nil, nil
	p.members = [Forms][]*Member{}
	if cap(p.block) > 2*blockOctets {
		p.block = nil
	}
}
