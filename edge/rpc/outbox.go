package rpc

import (
	"context"
	"errors"
	"runtime"
	"slices"

	"freeim/edge/session"
	"freeim/idl"
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
// is bounded by what it is made of: the calls by Options.Pending, one page of a
// census, the rooms of this edge, the rest by the sessions that end.
type outbox struct {
	wake chan struct{} // has one token when the sender has something to do

	calls   []queued
	gones   []*corepb.Gone
	listing *listing
	rooms   map[string]*corepb.RoomState // by room; nil: none
	ask     bool                         // the core is to say whether it is there
}

// listing is one page of a census, or its end.
type listing struct {
	registers []*corepb.Register
	rooms     []*corepb.RoomState
	end       *corepb.Census
	taken     chan struct{} // closed when it was sent, or will not be
	sent      bool          // static once taken is closed
}

// queued is a call with what it points to, so that a queue of them is one piece
// of memory.
type queued struct {
	call  corepb.Call
	who   corepb.Identity
	pool  string
	bound bool // who is set
}

func (o *outbox) call(number uint32, w waiting) {
	q := queued{call: corepb.Call{
		Session: uint64(w.Session), Action: uint32(w.Action), Sequence: number, Codec: uint32(w.Codec),
		Body: w.Body, Address: w.Address, Trace: w.Trace, Rooms: w.Rooms, Alone: w.Alone, Bearer: w.Bearer,
	}, pool: w.Pool}
	if w.Identity != nil {
		q.who, q.bound = toWire(*w.Identity), true
	}
	o.calls = append(o.calls, q)
	o.signal()
}

// waiting is the call that q was made of, which p is kept of.
func (q *queued) waiting(p pendingCall) waiting {
	w := waiting{session.Call{
		Session: p.session, Action: idl.Action(q.call.Action), Sequence: p.sequence, Codec: p.codec,
		Body: q.call.Body, Address: q.call.Address, Trace: q.call.Trace, Pool: q.pool, Rooms: q.call.Rooms, Alone: q.call.Alone, Bearer: q.call.Bearer,
	}, p.deadline}
	if q.bound {
		who := fromWire(&q.who)
		w.Identity = &who
	}
	return w
}

func (o *outbox) gone(g *corepb.Gone) {
	o.gones = append(o.gones, g)
	o.signal()
}

func (o *outbox) asks() {
	o.ask = true
	o.signal()
}

func (o *outbox) reset() {
	o.listing.done(false)
	o.calls, o.gones, o.listing, o.rooms, o.ask = nil, nil, nil, nil, false
}

func (p *listing) done(sent bool) {
	if p != nil {
		p.sent = sent
		close(p.taken)
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

var errListing = errors.New("the list of live sessions was broken off")

// list queues p and waits until it was sent.
func (k *link) list(p *listing) error {
	p.taken = make(chan struct{})
	k.mu.Lock()
	if k.phase != open || k.suspect {
		k.mu.Unlock()
		return errListing
	}
	k.outbox.listing = p
	k.outbox.signal()
	k.mu.Unlock()
	<-p.taken // by the sender, or by the end of the link
	if !p.sent {
		return errListing
	}
	return nil
}

// sender is the state of one stream's sender: what it is sending.
type sender struct {
	stream  core.Core_LinkClient
	counts  *counts
	calls   []queued
	gones   []*corepb.Gone
	listing *listing
	rooms   map[string]*corepb.RoomState
	ask     bool
	last    bool // nothing more will come
	ptrs    []*corepb.Call
}

// send takes all that is queued and sends it, as soon as the last is sent: what
// comes meanwhile makes the next batch. Before it takes, it lets the connections run
// that are ready to and about to queue more; no timer is involved. It closes the stream of a core that
// drains when nothing is under way any more; the core ends it then.
func (k *link) send(ctx context.Context, stream core.Core_LinkClient) {
	s := sender{stream: stream, counts: &k.links.counts}
	for !s.last {
		select {
		case <-k.outbox.wake:
		case <-ctx.Done():
			return
		}
		runtime.Gosched()
		k.take(&s)
		rest, err := s.flush()
		s.listing.done(err == nil)
		if err != nil { // the receiver hears of it too, and says why
			k.restore(rest)
			return
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
	s.gones, s.listing, s.rooms, s.ask = o.gones, o.listing, o.rooms, o.ask
	o.gones, o.listing, o.rooms, o.ask = nil, nil, nil, false
	s.last = k.phase == leaving && len(k.pending) == 0
}

// restore puts calls back that were taken and never sent; lost finds them.
func (k *link) restore(rest []queued) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.outbox.calls = append(slices.Clone(rest), k.outbox.calls...)
}

// flush sends what was taken in pieces of bounded size, and gives the calls that
// were not sent, for certain, when that fails. Registers go before Gone: the core
// reads them in that order too.
func (s *sender) flush() (unsent []queued, err error) {
	if err := s.flushSessions(); err != nil {
		return s.calls, err
	}
	if err := s.flushRooms(); err != nil {
		return s.calls, err
	}
	for rest := s.calls; len(rest) > 0; {
		n, size := fits(rest)
		s.ptrs = pointers(s.ptrs[:0], rest[:n])
		if err := s.stream.SendMsg(&batch{corepb.Uplink{Calls: s.ptrs}, size}); err != nil {
			return rest[n:], err
		}
		s.counts.upBatches.Add(1)
		s.counts.calls.Add(int64(n))
		rest = rest[n:]
	}
	clear(s.calls) // lets go of the bodies
	return nil, nil
}

// flushSessions sends what is no call. An Uplink without anything in it asks the
// core whether it is there.
func (s *sender) flushSessions() error {
	var up corepb.Uplink
	if s.listing != nil {
		up.Registers, up.Rooms, up.Census = s.listing.registers, s.listing.rooms, s.listing.end
	}
	up.Gone = s.gones
	if s.listing == nil && len(s.gones) == 0 && !s.ask {
		return nil
	}
	s.counts.upBatches.Add(1)
	if err := s.stream.Send(&up); err != nil {
		return err
	}
	if s.ask && (s.listing != nil || len(s.gones) > 0) {
		return s.stream.Send(&corepb.Uplink{})
	}
	return nil
}

// batch is an Uplink that is encoded into memory taken at once.
type batch struct {
	corepb.Uplink
	size int // octets, roughly
}

// Marshal implements what Kitex asks of a message that it sends.
func (b *batch) Marshal([]byte) ([]byte, error) { return b.Uplink.Marshal(make([]byte, 0, b.size)) }

// fits is how many of the calls make one Uplink, one at least, and its size. It does not
// end before a call that follows.
func fits(calls []queued) (n, size int) {
	for i := range calls {
		more := len(calls[i].call.Body) + overhead
		if i > 0 && !calls[i].call.Follows && (i >= batchItems || size+more > batchSize) {
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
