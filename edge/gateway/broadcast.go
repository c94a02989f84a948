package gateway

import "freeim/edge/session"

// roomShare is the part of a connection's backlog, one in so many, that broadcasts
// may fill: what is left lets answers and pushes pass while a room is behind.
const roomShare = 2

// refused is who waits until a connection has room again, in the order of their
// refusals. There are as many at most as the session has rooms, and the session itself.
type refused struct{ waiters []session.Waiter }

// broadcast is send for bytes that many connections get. It is false when the
// backlog is over a room's share: then nothing was queued, and w is called when
// less than half of the share is left.
func (o *outbound) broadcast(p []byte, w session.Waiter) bool {
	o.mu.Lock()
	if !o.room(len(p), o.shared.backlog/roomShare) {
		o.wait(w)
		o.mu.Unlock()
		return false
	}
	o.take(nil, p)
	return true
}

// behind reports whether the socket has not taken what was written to it, or more waits for the
// client than broadcasts may fill. Then w is called when the client has read some.
func (o *outbound) behind(w session.Waiter) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ending || o.backlog == 0 || !o.draining && o.backlog <= o.shared.backlog/roomShare {
		return false
	}
	o.wait(w)
	return true
}

// wait has w called when there is room. Called with mu held.
func (o *outbound) wait(w session.Waiter) {
	if o.refused == nil {
		o.refused = new(refused)
	}
	o.refused.waiters = append(o.refused.waiters, w)
}

// left counts octets off the backlog that have left, and calls who waited for
// room. They are called aside, since a sender may be the one who made it. Called
// with mu held.
func (o *outbound) left(n int) {
	o.backlog -= n
	if o.refused == nil || o.backlog >= o.shared.backlog/roomShare/2 {
		return
	}
	go o.refused.call()
	o.refused = nil
}

func (r *refused) call() {
	for _, w := range r.waiters {
		w.Writable()
	}
}
