package client

import (
	"freeim/idl/kitex_gen/chatpb"
	"freeim/idl/kitex_gen/roompb"
	"freeim/idl/kitex_gen/socialpb"
	"freeim/idl/kitex_gen/wirepb"
)

// events is the queue before the dispatcher. The run loop owns it.
//
// Overflow: messages and receipts that would be more than max are not taken;
// the inbox fetches them again by Sync. Rooms have as many places of their own, so
// that a busy room does not stop the inbox; what does not fit is told as skipped.
// Notices have as many again, and the newest are dropped.
// The others are few by themselves: of connection events that nobody has seen yet
// only the last of a row stays.
type events struct {
	max     int
	queue   []*event
	counted int // of the queue, what max bounds
	crowd   int // of the queue, what comes from rooms; max bounds it too
	notices int // of the queue; max bounds them too
}

func (q *events) empty() bool { return len(q.queue) == 0 }

// room is how many messages or receipts may be added.
func (q *events) room() int { return max(0, q.max-q.counted) }

func (q *events) add(e *event) {
	if e.kind == connectedEvent || e.kind == disconnectedEvent {
		q.forgetLinks()
	}
	q.count(e, 1)
	q.queue = append(q.queue, e)
}

// count adds n to what bounds events of e's kind, if anything does.
func (q *events) count(e *event, n int) {
	switch e.kind {
	case messageEvent, deliveredEvent, readEvent:
		q.counted += n
	case roomMessageEvent, roomSkipEvent, roomInfoEvent, roomPresenceEvent, heldEvent, typingEvent, friendsEvent:
		q.crowd += n
	case noticeEvent:
		q.notices += n
	}
}

// addSkip adds p to a skip of the same room and reason that still waits, if there
// is one: so each room takes a place or two, however many seqs are skipped.
func (q *events) addSkip(p *roompb.RoomSkip) {
	for _, e := range q.queue {
		if e.kind == roomSkipEvent && e.skip.Room == p.Room && e.skip.Reason == p.Reason {
			e.skip.Ranges = append(e.skip.Ranges, p.Ranges...)
			return
		}
	}
	q.add(&event{kind: roomSkipEvent, skip: p})
}

// addRoomInfo adds info, in place of an older one of the same room that still waits.
func (q *events) addRoomInfo(info *roompb.RoomInfo) {
	for _, e := range q.queue {
		if e.kind == roomInfoEvent && e.info.Room == info.Room {
			e.info = info
			return
		}
	}
	q.add(&event{kind: roomInfoEvent, info: info})
}

// addHeld adds h, or drops it when the queue is full: Held lists those that wait.
func (q *events) addHeld(h *chatpb.Held) {
	if q.crowd < q.max {
		q.add(&event{kind: heldEvent, held: h})
	}
}

// addPresence adds p, or drops it when the queue is full.
func (q *events) addPresence(p *roompb.RoomPresence) {
	if q.crowd < q.max {
		q.add(&event{kind: roomPresenceEvent, presence: p})
	}
}

// addNotice adds n, or drops it when the queue is full.
func (q *events) addNotice(n *wirepb.Notice) {
	if q.notices < q.max {
		q.add(&event{kind: noticeEvent, notice: n})
	}
}

// forgetLinks drops the connection events at the end of the queue.
func (q *events) forgetLinks() {
	for n := len(q.queue); n > 0; n-- {
		if k := q.queue[n-1].kind; k != connectedEvent && k != disconnectedEvent {
			return
		}
		q.queue = q.queue[:n-1]
	}
}

// addReceipt adds r, in place of an older one of the same conversation that
// still waits.
func (q *events) addReceipt(r *chatpb.Receipt) {
	for _, e := range q.queue {
		if e.kind == deliveredEvent && e.receipt.ConversationId == r.ConversationId && e.receipt.UserId == r.UserId {
			e.receipt = r
			return
		}
	}
	q.add(&event{kind: deliveredEvent, receipt: r})
}

// addRead adds r, in place of an older one of the same conversation and person that still waits.
func (q *events) addRead(r *chatpb.Read) {
	for _, e := range q.queue {
		if e.kind == readEvent && e.read.ConversationId == r.ConversationId && e.read.UserId == r.UserId {
			e.read = r
			return
		}
	}
	q.add(&event{kind: readEvent, read: r})
}

// addTyping adds p, or drops it when the queue is full.
func (q *events) addTyping(p *chatpb.Typing) {
	if q.crowd < q.max {
		q.add(&event{kind: typingEvent, typing: p})
	}
}

// addFriends adds p, or drops it when the queue is full.
func (q *events) addFriends(p *socialpb.Presence) {
	if q.crowd < q.max {
		q.add(&event{kind: friendsEvent, friends: p})
	}
}

// pop removes the first event.
func (q *events) pop() {
	q.count(q.queue[0], -1)
	q.queue[0] = nil
	q.queue = q.queue[1:]
}

// clear drops everything.
func (q *events) clear() { q.queue, q.counted, q.crowd, q.notices = nil, 0, 0, 0 }

// dropMessages drops what may not be told after a message that was not taken.
func (q *events) dropMessages() {
	kept := q.queue[:0]
	for _, e := range q.queue {
		if e.kind != messageEvent && e.kind != receiptsEvent && e.kind != resetEvent {
			kept = append(kept, e)
		}
	}
	clear(q.queue[len(kept):])
	q.queue, q.counted, q.crowd, q.notices = kept, 0, 0, 0
	for _, e := range kept {
		q.count(e, 1)
	}
}
