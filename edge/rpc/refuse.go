package rpc

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"freeim/edge/session"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
)

// pendingCall is what is kept of a call until its reply.
type pendingCall struct {
	deadline time.Time
	session  session.ID
	sequence uint32
	codec    idl.Codec
}

func pendingOf(w waiting) pendingCall {
	return pendingCall{w.deadline, w.Session, w.Sequence, w.Codec}
}

// refusals are replies made here, on their way to the attendant: Call must not
// answer on its caller's goroutine. As many as there are calls at most.
type refusals struct {
	wake chan struct{} // has one token when there are some

	mu      sync.Mutex // guards the fields below
	replies []session.Reply
	alone   bool // the attendant has ended: each refusal goes its own way
}

// refuse answers a call that no core answers.
func (l *Links) refuse(p pendingCall, code idl.Code, message string) {
	reply := session.Reply{Session: p.session, Action: idl.ActionError, Sequence: p.sequence, Body: refusal(p.codec, code, message)}
	r := &l.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.alone {
		go l.receiver.Reply(reply)
		return
	}
	r.replies = append(r.replies, reply)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// refusal encodes the body. Whoever is told "not now" comes back after 500 to
// 1,500 ms, not all at once. It is empty in a codec that is not known, which the
// edge has refused long before.
func refusal(c idl.Codec, code idl.Code, message string) []byte {
	e := wirepb.Error{Code: code, Message: message}
	if code == idl.CodeUnavailable {
		e.RetryAfterMs = 500 + rand.Int64N(1000)
	}
	body, err := idl.Append(nil, c, &e)
	if err != nil {
		return nil
	}
	return body
}

// attend hands refusals to the Receiver and looks for calls whose time is over:
// one goroutine and one ticker instead of a timer for each call.
func (l *Links) attend() {
	tick := time.NewTicker(min(sweepEvery, l.options.CallTimeout/4+1))
	defer tick.Stop()
	for {
		select {
		case <-l.refusals.wake:
		case now := <-tick.C:
			l.sweep(now)
		case <-l.running.Done():
			return
		}
		l.answerRefusals(false)
	}
}

// answerRefusals hands over what there is; last is for Close, when the attendant
// has ended.
func (l *Links) answerRefusals(last bool) {
	if l.receiver == nil {
		return
	}
	r := &l.refusals
	r.mu.Lock()
	replies := r.replies
	r.replies, r.alone = nil, last
	r.mu.Unlock()
	for _, reply := range replies {
		l.receiver.Reply(reply)
	}
}

// sweep refuses the calls whose deadline has passed. Parked ones were never
// sent; of the others nobody knows what became of them.
func (l *Links) sweep(now time.Time) {
	for _, p := range l.overdueParked(now) {
		l.refuse(p, idl.CodeUnavailable, "no core can be reached")
	}
	for _, link := range l.links {
		for _, p := range link.overdue(now) {
			l.refuse(p, idl.CodeDeadlineExceeded, "no answer in time")
		}
	}
}

func (l *Links) overdueParked(now time.Time) (late []pendingCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parked = slices.DeleteFunc(l.parked, func(w waiting) bool {
		over := w.deadline.Before(now)
		if over {
			late = append(late, pendingOf(w))
		}
		return over
	})
	return late
}
