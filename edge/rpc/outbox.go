package rpc

import (
	"context"

	"freeim/idl/kitex_gen/corepb"
	"freeim/idl/kitex_gen/corepb/core"
)

const (
	// batchItems and batchSize (octets, roughly) end an Uplink: a core starts on
	// it when all of it is there.
	batchItems = 1024
	batchSize  = 256 << 10
	// overhead is what a call takes beside its body, roughly.
	overhead = 96
	// spareItems is the longest queue whose memory is used again.
	spareItems = 8192
)

// outbox holds what goes up next. All but wake is guarded by the link's mu. It
// is bounded by what it is made of: the calls by Options.Pending, the rest by the
// edge's sessions.
type outbox struct {
	wake chan struct{} // has one token when the sender has something to do

	calls     []queued
	gones     []*corepb.Gone
	registers []*corepb.Register
}

// queued is a call with what it points to, so that a queue of them is one piece
// of memory.
type queued struct {
	call  corepb.Call
	who   corepb.Identity
	bound bool // who is set
}

func (o *outbox) call(number uint32, w waiting) {
	q := queued{call: corepb.Call{
		Session: uint64(w.Session), Action: uint32(w.Action), Sequence: number, Codec: uint32(w.Codec),
		Body: w.Body, Address: w.Address,
	}}
	if w.Identity != nil {
		q.who, q.bound = toWire(*w.Identity), true
	}
	o.calls = append(o.calls, q)
	o.signal()
}

func (o *outbox) gone(g *corepb.Gone) {
	o.gones = append(o.gones, g)
	o.signal()
}

func (o *outbox) register(r *corepb.Register) {
	o.registers = append(o.registers, r)
	o.signal()
}

func (o *outbox) reset() { o.calls, o.gones, o.registers = nil, nil, nil }

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// sender is the state of one stream's sender: what it is sending.
type sender struct {
	stream core.Core_LinkClient
	calls  []queued
	other  corepb.Uplink // Registers and Gone
	last   bool          // nothing more will come
	ptrs   []*corepb.Call
}

// send takes all that is queued and sends it, as soon as the last is sent: what
// comes meanwhile makes the next batch. It closes the stream of a core that
// drains when nothing is under way any more; the core ends it then.
func (k *link) send(ctx context.Context, stream core.Core_LinkClient) {
	s := sender{stream: stream}
	for !s.last {
		select {
		case <-k.outbox.wake:
		case <-ctx.Done():
			return
		}
		k.take(&s)
		if err := s.flush(); err != nil {
			return // the receiver hears of it too, and says why
		}
	}
	_ = stream.Close() // the receiver hears how that went
	<-ctx.Done()
}

// take swaps the queue of calls for the one that was sent last.
func (k *link) take(s *sender) {
	spare := s.calls[:0]
	if cap(spare) > spareItems {
		spare = nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	o := &k.outbox
	s.calls, o.calls = o.calls, spare
	s.other = corepb.Uplink{Registers: o.registers, Gone: o.gones}
	o.registers, o.gones = nil, nil
	s.last = k.phase == leaving && len(k.pending) == 0
}

// flush sends what was taken in pieces of bounded size. Registers go before
// Gone: the core reads them in that order too.
func (s *sender) flush() error {
	if len(s.other.Registers)+len(s.other.Gone) > 0 {
		if err := s.stream.Send(&s.other); err != nil {
			return err
		}
	}
	for rest := s.calls; len(rest) > 0; {
		n, size := fits(rest)
		s.ptrs = pointers(s.ptrs[:0], rest[:n])
		if err := s.stream.SendMsg(&batch{corepb.Uplink{Calls: s.ptrs}, size}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	clear(s.calls) // lets go of the bodies
	return nil
}

// batch is an Uplink that is encoded into memory taken at once.
type batch struct {
	corepb.Uplink
	size int // octets, roughly
}

// Marshal implements what Kitex asks of a message that it sends.
func (b *batch) Marshal([]byte) ([]byte, error) { return b.Uplink.Marshal(make([]byte, 0, b.size)) }

// fits is how many of the calls make one Uplink, one at least, and its size.
func fits(calls []queued) (n, size int) {
	for i := range calls {
		more := len(calls[i].call.Body) + overhead
		if i > 0 && (i == batchItems || size+more > batchSize) {
			return i, size
		}
		size += more
	}
	return len(calls), size
}

func pointers(to []*corepb.Call, calls []queued) []*corepb.Call {
	for i := range calls {
		q := &calls[i]
		if q.bound {
			q.call.Identity = &q.who
		}
		to = append(to, &q.call)
	}
	return to
}
