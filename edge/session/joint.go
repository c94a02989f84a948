package session

import (
	"slices"

	"freeim/edge/frame"
	"freeim/idl"
)

// This file is frames of one session that go to the core together. Of one session one
// frame is handled at a time; but of actions that may be joined (ActionInfo.Joins) all
// that have come while the last were at the core go up at once, as one joint. The core
// begins them in their order, and the answers leave in it. So what a client sends without
// waiting is committed together, answered in one write and pushed in one.

// A joint ends at so many frames, and at so many octets of them.
const (
	jointFrames = 32
	jointOctets = 64 << 10
)

// joint is the frames of one session that are at the core together. It is guarded by
// the session's mu from when Session.joint is set.
type joint struct {
	frames []joined
	left   int  // answers that have left, from the front
	busy   bool // somebody is sending answers

	octets int32
	calls  []Call // scratch
}

// joined is one frame of a joint. One that the edge refuses is answered from the start.
type joined struct {
	in       inbound
	reply    Reply
	answered bool
	unsent   bool // no core has it: it goes up when the one before is answered
}

// Gather is Receive for a transport that has read several frames at once: what may be
// joined waits for those behind it, until Flush. The same goroutine calls both.
func (s *Session) Gather(f frame.Frame, text bool) error {
	s.seen.Store(s.hub.wheel.clock.Load())
	s.hub.counters.received.Add(1)
	in := inbound{header: header{f.Action, f.Sequence, form{f.Codec, text}}, body: f.Body}
	s.mu.Lock()
	s.heard = in.form
	switch {
	case s.state >= closing || s.leaving:
		s.mu.Unlock()
		return nil
	case s.busy:
		err := s.enqueue(in)
		s.mu.Unlock()
		return err
	case s.authed.Load() && s.hub.joins(in.action):
		s.busy, s.held = true, true
		err := s.enqueue(in)
		s.mu.Unlock()
		return err
	case s.waitsFor(in.action):
		s.busy, s.parked = true, true
		err := s.enqueue(in)
		s.mu.Unlock()
		return err
	}
	s.busy, s.size, s.under = true, in.size(), 1
	s.mu.Unlock()
	s.work(in)
	return nil
}

// Flush begins with what Gather holds.
func (s *Session) Flush() {
	if !s.held {
		return
	}
	s.held = false
	if in, more := s.next(); more {
		s.work(in)
	}
}

// joins reports whether an action may be joined.
func (h *Hub) joins(a idl.Action) bool {
	info, ok := h.core.Action(a)
	return ok && info.Joins && !info.Rooms
}

// together passes first to the core with what waits behind it and may be joined, as far
// as that is not refused here. It is as call.
func (s *Session) together(first inbound) (calling bool) {
	j := s.join(first)
	if j == nil {
		return s.call(first)
	}
	pool := s.pool(first)
	s.mu.Lock()
	if s.state >= closing {
		s.mu.Unlock()
		return false
	}
	s.joint, s.size, s.under = j, j.octets, int32(len(j.frames))
	traceparent := ""
	if s.traced = s.hub.traces.sampled(); s.traced {
		traceparent = s.hub.traces.begin(s, first)
	}
	calls := s.callsOf(j, pool, traceparent)
	s.mu.Unlock()
	s.hub.counters.calls.Add(int64(len(calls)))
	if !s.hub.core.CallTogether(calls) {
		s.mu.Lock()
		for i := 1; i < len(j.frames); i++ { // the first is never refused here
			j.frames[i].unsent = !j.frames[i].answered
		}
		alone := calls[0]
		s.mu.Unlock()
		s.hub.core.Call(alone)
	}
	return true
}

// join makes a joint of first and what may go with it; nil when it is alone.
func (s *Session) join(first inbound) *joint {
	var j *joint
	for {
		in, more := s.nextJoined(first, j)
		if !more {
			return j
		}
		no, ended := s.limited(in)
		if ended {
			return j // the session has ended, which together finds
		}
		if no == nil {
			no = s.admit(in)
		}
		if j == nil {
			j = s.hub.joints.Get().(*joint)
			j.add(first)
		}
		j.add(in)
		if no != nil {
			s.hub.counters.refused.Add(1)
			f := &j.frames[len(j.frames)-1]
			f.answered, f.reply = true, Reply{Action: idl.ActionError, Body: s.hub.body(no, in.form)}
		}
	}
}

// nextJoined takes the frame that waits first, if it may join those of j, or first when
// that is nil. Replies are told apart by sequence, so none may be there twice.
func (s *Session) nextJoined(first inbound, j *joint) (in inbound, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil || s.state >= closing || s.leaving {
		return in, false
	}
	front := &s.waiting.frames[s.waiting.taken]
	if !s.hub.joins(front.action) || front.sequence == first.sequence {
		return in, false
	}
	if j != nil && (len(j.frames) == jointFrames || j.octets+front.size() > jointOctets ||
		slices.ContainsFunc(j.frames, func(f joined) bool { return f.in.sequence == front.sequence })) {
		return in, false
	}
	return s.dequeue(), true
}

func (j *joint) add(in inbound) {
	j.frames = append(j.frames, joined{in: in})
	j.octets += in.size()
}

// callsOf are the calls of what is not answered, which are valid until the joint ends.
// Called with mu held.
func (s *Session) callsOf(j *joint, pool, traceparent string) []Call {
	for i := range j.frames {
		if f := &j.frames[i]; !f.answered {
			j.calls = append(j.calls, Call{
				Session: s.id, Action: f.in.action, Sequence: f.in.sequence, Codec: f.in.form.codec,
				Body: f.in.keep(), Identity: s.identity, Address: s.transport.Address(), Trace: traceparent, Pool: pool,
			})
			traceparent = ""
		}
	}
	return j.calls
}

// replyTogether takes the answer to a frame of j, or that it was not sent; false when r is
// neither. Called with mu held, which it releases.
func (s *Session) replyTogether(j *joint, r Reply) bool {
	i := slices.IndexFunc(j.frames, func(f joined) bool {
		return !f.answered && !f.unsent && f.in.sequence == r.Sequence && (r.Unsent || r.Action == f.in.action || r.Action == idl.ActionError)
	})
	if s.state >= closing || i < 0 {
		s.mu.Unlock()
		return false
	}
	f := &j.frames[i]
	f.reply, f.answered, f.unsent = r, !r.Unsent, r.Unsent
	if i == 0 && s.traced {
		s.traced = false
		s.hub.traces.end(s.id, r.Action, "")
	}
	if j.busy {
		s.mu.Unlock() // whoever is sends this one too
		return true
	}
	s.answerTogether(j)
	return true
}

// answerTogether sends the answers that are there, in the order of the frames, and goes
// on when they were the last. Called with mu held, which it releases.
func (s *Session) answerTogether(j *joint) {
	j.busy = true
	for s.joint == j && j.left < len(j.frames) && j.frames[j.left].answered {
		f := &j.frames[j.left]
		j.left++
		s.size -= f.in.size()
		s.under--
		s.mu.Unlock()
		if !s.move(f.in.header, f.reply) {
			s.slow()
		}
		s.mu.Lock()
	}
	j.busy = false
	switch {
	case s.joint != j: // the session has ended
		s.mu.Unlock()
	case j.left < len(j.frames) && !j.frames[j.left].unsent:
		s.mu.Unlock()
	case j.left < len(j.frames) && !s.leaving:
		f := &j.frames[j.left]
		f.unsent = false
		next := j.calls[slices.IndexFunc(j.calls, func(c Call) bool { return c.Sequence == f.in.sequence })]
		s.mu.Unlock()
		s.hub.core.Call(next)
	default: // all are answered, or those that are not were not sent
		s.joint = nil
		s.mu.Unlock()
		s.hub.doneWith(j)
		if in, more := s.next(); more {
			s.goOn(in)
		}
	}
}

func (h *Hub) doneWith(j *joint) {
	clear(j.frames)
	clear(j.calls)
	*j = joint{frames: j.frames[:0], calls: j.calls[:0]}
	h.joints.Put(j)
}
