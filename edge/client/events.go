package client

import "freeim/idl/kitex_gen/chatpb"

// events is the queue before the dispatcher. The run loop owns it.
//
// Overflow: messages and receipts that would be more than max are not taken;
// the inbox fetches them again by Sync. The others are few by themselves: of
// connection events that nobody has seen yet only the last of a row stays.
type events struct {
	max     int
	queue   []*event
	counted int // of the queue, what max bounds
}

func (q *events) empty() bool { return len(q.queue) == 0 }

// room is how many messages or receipts may be added.
func (q *events) room() int { return max(0, q.max-q.counted) }

func (q *events) add(e *event) {
	if e.kind == connectedEvent || e.kind == disconnectedEvent {
		q.forgetLinks()
	}
	if counts(e) {
		q.counted++
	}
	q.queue = append(q.queue, e)
}

// counts reports whether max bounds e.
func counts(e *event) bool { return e.kind == messageEvent || e.kind == deliveredEvent }

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

// pop removes the first event.
func (q *events) pop() {
	if counts(q.queue[0]) {
		q.counted--
	}
	q.queue[0] = nil
	q.queue = q.queue[1:]
}

// clear drops everything.
func (q *events) clear() { q.queue, q.counted = nil, 0 }

// dropMessages drops what may not be told after a message that was not taken.
func (q *events) dropMessages() {
	kept := q.queue[:0]
	for _, e := range q.queue {
		if e.kind != messageEvent && e.kind != receiptsEvent && e.kind != resetEvent {
			kept = append(kept, e)
		}
	}
	clear(q.queue[len(kept):])
	q.queue, q.counted = kept, 0
	for _, e := range kept {
		if counts(e) {
			q.counted++
		}
	}
}
