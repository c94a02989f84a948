package room

import (
	"cmp"
	"slices"
	"time"
)

// log puts a room's broadcasts in order, which come by several links, and keeps the
// newest for those who are just joining. Its fields are guarded by the room's mu.
type log struct {
	known   bool      // next says something: a session has come in
	next    int64     // all seqs below it are taken: pushed, waiting for a pass, or lost
	horizon int64     // the highest seq that is known to exist
	held    []message // above next, ascending
	octets  int       // of held

	since time.Time // when next was found missing; zero: it is not
	asked time.Time // when it was asked for last
	asks  int

	ring ring
}

// missing reports whether a seq is wanted that has not come.
func (l *log) missing() bool { return l.known && l.horizon >= l.next }

// hold keeps a message that came before an earlier one; false: it is there already.
func (l *log) hold(m message) bool {
	i, there := slices.BinarySearchFunc(l.held, m.seq, bySeq)
	if there {
		return false
	}
	l.held = slices.Insert(l.held, i, m)
	l.octets += m.octets()
	l.horizon = max(l.horizon, m.seq)
	return true
}

func bySeq(m message, seq int64) int { return cmp.Compare(m.seq, seq) }

func (l *log) crowded() bool { return len(l.held) > heldMessages || l.octets > heldOctets }

// pull takes the oldest that is held.
func (l *log) pull() message {
	m := l.held[0]
	l.held[0] = message{}
	l.held = l.held[1:]
	l.octets -= m.octets()
	if len(l.held) == 0 {
		l.held = nil
	}
	return m
}

// jump goes on after head, for a room that nobody wants earlier messages of. Those
// held right up to head stay in the ring: another join may have an older head.
func (l *log) jump(head int64) {
	for len(l.held) > 0 && l.held[0].seq <= head {
		m := l.pull()
		if m.seq != l.ring.to+1 {
			l.ring.restart(m.seq)
		}
		l.ring.add(m)
	}
	if l.ring.to != head {
		l.ring.restart(head + 1)
	}
	l.known, l.next = true, head+1
	l.horizon = max(l.horizon, head)
	l.filled()
}

// filled forgets the gap: next has gone on.
func (l *log) filled() { l.since, l.asked, l.asks = time.Time{}, time.Time{}, 0 }

// ring is the newest messages, for who is just joining: all seqs in [from, to] are
// in it or in lost.
type ring struct {
	from, to int64
	messages []message
	octets   int
	lost     spans
}

func (r *ring) restart(from int64) { *r = ring{from: from, to: from - 1} }

func (r *ring) add(m message) {
	r.messages = append(r.messages, m)
	r.octets += m.octets()
	r.to = m.seq
	for len(r.messages) > ringMessages || r.octets > ringOctets && len(r.messages) > 1 {
		r.drop()
	}
}

func (r *ring) lose(from, to int64) {
	r.lost.add(from, to)
	r.to = to
}

func (r *ring) drop() {
	m := &r.messages[0]
	r.octets -= m.octets()
	r.from = m.seq + 1
	*m = message{}
	r.messages = r.messages[1:]
	r.lost = r.lost.above(r.from - 1)
}

// age drops what came before a time.
func (r *ring) age(before time.Time) {
	for len(r.messages) > 0 && r.messages[0].at.Before(before) {
		r.drop()
	}
	if len(r.messages) == 0 {
		r.restart(r.to + 1)
	}
}

// after gives what came after head, and what of that never will.
func (r *ring) after(head int64) (messages []message, lost spans) {
	if head >= r.to {
		return nil, nil
	}
	if head+1 < r.from {
		lost.add(head+1, r.from-1)
	}
	lost = append(lost, r.lost.above(head)...)
	i, _ := slices.BinarySearchFunc(r.messages, head+1, bySeq)
	return slices.Clone(r.messages[i:]), lost
}
