package room

import (
	"math"
	"time"

	"freeim/idl/kitex_gen/roompb"
)

// lanes is what waits for a room's next pass. Its fields are guarded by the room's mu.
type lanes struct {
	high   queue
	low    queue
	asides queue // in no log: told with the others, or not
	free   int   // how many at the front of low the governor has let go

	sampled spans // not pushed, and not declared yet
	lost    spans

	tokens   float64   // of the low lane, at most a second's worth
	refilled time.Time // when tokens were counted
	freed    time.Time // when the governor let some go last
}

// queue is messages in the order of their seqs.
type queue struct {
	list   []message
	octets int
}

func (q *queue) push(m message) {
	q.list = append(q.list, m)
	q.octets += m.octets()
}

// pop drops the oldest.
func (q *queue) pop() message {
	m := q.list[0]
	q.list[0] = message{}
	q.list = q.list[1:]
	q.octets -= m.octets()
	return m
}

// over reports whether the queue is beyond a bound, with more than one message.
func (q *queue) over(messages, octets int) bool {
	return len(q.list) > messages || q.octets > octets && len(q.list) > 1
}

func (q *queue) clear() { *q = queue{} }

// push takes a message for the next pass. Beyond the bounds the oldest go.
func (l *lanes) push(m message) {
	switch {
	case m.seq == 0:
		l.asides.push(m)
		if l.asides.over(asideFrames, lowOctets) {
			l.asides.pop()
		}
	case m.important:
		l.high.push(m)
		if l.high.over(highMessages, highOctets) {
			l.skip(l.high.pop())
		}
	default:
		l.low.push(m)
		if l.low.over(lowMessages, lowOctets) {
			l.skip(l.low.pop())
			l.free = max(0, l.free-1)
		}
	}
}

// waiting is how many messages wait.
func (l *lanes) waiting() int { return len(l.high.list) + len(l.low.list) }

// oldest is since when; some do.
func (l *lanes) oldest() time.Time {
	switch {
	case len(l.high.list) == 0:
		return l.low.list[0].at
	case len(l.low.list) == 0 || l.high.list[0].at.Before(l.low.list[0].at):
		return l.high.list[0].at
	}
	return l.low.list[0].at
}

func (l *lanes) skip(m message) { l.sampled.add(m.seq, m.seq) }

// clear forgets everything: there is nobody to give it to.
func (l *lanes) clear() {
	l.high.clear()
	l.low.clear()
	l.asides.clear()
	l.free, l.sampled, l.lost = 0, nil, nil
}

// govern lets messages of the low lane go, by the policy. What a sampled room does
// not push is taken out here. wait is how long until some may go, 0 when some do or
// none wait.
func (l *lanes) govern(p Policy, now time.Time) (wait time.Duration) {
	n := len(l.low.list) - l.free
	if n == 0 || l.free > 0 {
		return 0
	}
	if p.LowPerSecond <= 0 || p.Overload == roompb.RoomOverload_ROOM_OVERLOAD_SLOW {
		l.free = n
		return 0
	}
	rate := float64(p.LowPerSecond)
	l.tokens = min(rate, l.tokens+rate*now.Sub(l.refilled).Seconds()) // rate at first: refilled is long ago
	l.refilled = now
	pause := samplePause
	if p.Overload == roompb.RoomOverload_ROOM_OVERLOAD_BATCH {
		pause = batchPause
	}
	pushed := n
	if l.tokens < float64(n) { // too many: in larger pieces from now on
		if wait = pause - now.Sub(l.freed); wait > 0 {
			return wait
		}
		if p.Overload == roompb.RoomOverload_ROOM_OVERLOAD_SAMPLE {
			if l.tokens < 1 {
				return max(time.Duration((1-l.tokens)/rate*float64(time.Second)), time.Millisecond)
			}
			pushed = int(l.tokens)
			l.sample(pushed)
		}
	}
	l.tokens = math.Max(0, l.tokens-float64(pushed))
	l.free, l.freed = pushed, now
	return 0
}

// sample leaves n of the low lane's messages, evenly apart and the newest among them.
func (l *lanes) sample(n int) {
	all := l.low.list
	kept := all[:0]
	octets := 0
	for i := range all {
		if (i+1)*n/len(all) > i*n/len(all) {
			kept = append(kept, all[i])
			octets += all[i].octets()
		} else {
			l.skip(all[i])
		}
	}
	clear(all[len(kept):])
	l.low = queue{kept, octets}
}

// take moves messages from the front of q to p, at most n and so many octets, but
// one if there is room at all.
func (q *queue) take(p *[]message, n, octets int) (left int) {
	for ; n > 0 && len(q.list) > 0; n-- {
		size := q.list[0].octets() / 2 // about what one codec takes
		if size > octets && octets < blockOctets {
			return 0
		}
		octets -= size
		*p = append(*p, q.pop())
		if octets <= 0 {
			return 0
		}
	}
	if len(q.list) == 0 && cap(q.list) > 0 {
		q.list = nil
	}
	return octets
}
