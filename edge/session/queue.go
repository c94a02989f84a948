package session

import (
	"bytes"
	"fmt"

	"freeim/edge/frame"
	"freeim/idl"
)

// inbound is a frame on its way through a session.
type inbound struct {
	header
	body  []byte
	owned bool // body is ours; otherwise it aliases the gateway's bytes
}

// size is what a frame counts for in the limit: its octets in binary.
func (in *inbound) size() int32 { return int32(frame.HeaderSize + len(in.body)) }

// keep returns the body for as long as anyone wants it.
func (in *inbound) keep() []byte {
	if in.owned || len(in.body) == 0 {
		return in.body
	}
	return bytes.Clone(in.body)
}

// spareFrames is the longest queue whose memory is used again.
const spareFrames = 64

// queue is the frames that wait behind those under way. It exists only while
// there are any.
type queue struct {
	frames []inbound // the first `taken` of them are handled already
	taken  int
	bytes  int
}

// enqueue keeps a frame for later. Beyond the limits, which count the frame
// under way too, the session is to be closed with FLOOD. Called with mu held.
func (s *Session) enqueue(in inbound) error {
	o := &s.hub.opts
	frames, octets := 1+int(s.under), int(s.size)+int(in.size())
	if q := s.waiting; q != nil {
		frames += len(q.frames) - q.taken
		octets += q.bytes
	}
	if frames > o.QueueFrames || octets > o.QueueBytes {
		text := fmt.Sprintf("more than %d frames or %d octets unanswered", o.QueueFrames, o.QueueBytes)
		return &frame.CloseError{Reason: idl.CloseFlood, Text: text}
	}
	if s.waiting == nil { // not before: one that is there has a frame
		s.waiting = s.hub.queues.Get().(*queue)
	}
	q := s.waiting
	in.body, in.owned = in.keep(), true
	q.frames = append(q.frames, in)
	q.bytes += int(in.size())
	return nil
}

// dequeue takes the oldest frame; there is one. Called with mu held.
func (s *Session) dequeue() inbound {
	q := s.waiting
	in := q.frames[q.taken]
	q.frames[q.taken] = inbound{}
	q.taken++
	q.bytes -= int(in.size())
	if q.taken == len(q.frames) {
		s.waiting = nil
		q.frames, q.taken = q.frames[:0], 0
		if cap(q.frames) <= spareFrames {
			s.hub.queues.Put(q)
		}
	}
	return in
}
