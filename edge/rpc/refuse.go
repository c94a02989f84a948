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

// why says why a call is refused here.
type why int

const (
	unreachable why = iota // no link is up, for too long or for too many
	busy                   // every link that is up has all it may have under way
	lost                   // its link ended; the core may have done it
	silent                 // its core says nothing; it may do it yet
	late                   // its core answers others; it may do it yet
	stopping               // the edge is
	whys                   // how many there are
)

// reasons are for the metric, messages for the client.
func (w why) reason() string {
	return [whys]string{"unreachable", "busy", "lost", "silent", "late", "stopping"}[w]
}

func (w why) message() string {
	return [whys]string{"no core can be reached", "the core is busy", "the core went away", "the core does not answer",
		"no answer in time", "the edge is stopping"}[w]
}

// refuse answers a call that no core answers.
func (l *Links) refuse(p pendingCall, w why) {
	l.counts.refused[w].Add(1)
	code := idl.CodeUnavailable
	if w == late {
		code = idl.CodeDeadlineExceeded
	}
	l.tell(session.Reply{Session: p.session, Action: idl.ActionError, Sequence: p.sequence, Body: refusal(p.codec, code, w.message())})
}

// giveBack tells the hub that no core has a call, which was to follow another.
func (l *Links) giveBack(p pendingCall) {
	l.tell(session.Reply{Session: p.session, Sequence: p.sequence, Unsent: true})
}

// tell has the attendant hand reply to the Receiver.
func (l *Links) tell(reply session.Reply) {
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

// attend hands refusals to the Receiver and looks for calls whose time is over
// and cores that are silent: one goroutine and one ticker instead of a timer for
// each call.
func (l *Links) attend() {
	tick := time.NewTicker(min(sweepEvery, l.options.CallTimeout/4+1))
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-l.refusals.wake:
		case <-tick.C:
			now := time.Now()
			l.sweep(now)
			l.watch(now.Sub(last))
			last = now
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
		l.refuse(p, unreachable)
	}
	for _, link := range *l.known.Load() {
		for _, p := range link.overdue(now) {
			l.refuse(p, late)
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
