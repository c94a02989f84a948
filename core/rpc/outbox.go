package rpc

import (
	"slices"
	"sync"

	"freeim/idl/kitex_gen/corepb"
)

const (
	// batchItems and batchSize (octets, roughly) close a batch: an edge starts on
	// it when all of it is there.
	batchItems = 1024
	batchSize  = 256 << 10
	// long is from how many octets on a reply lets others go first.
	long = 16 << 10
	// overhead is what an item takes beside its bodies, roughly.
	overhead = 64
)

// outbox holds what waits for one edge, already joined into batches. A long reply
// is a batch of its own, and waits aside: each time the sender takes, it gets one of them, behind
// everything else. So an ack waits for one page of somebody's log at most, not for
// those of a thousand people. The outbox is bounded by size: past the limit it takes nothing any more, and the link is
// dropped, since an edge that has missed a part must resync its clients anyway.
// Safe for concurrent use; take belongs to the link's sender.
type outbox struct {
	wake  chan struct{} // has one token when there is something to take
	limit int           // octets

	mu      sync.Mutex // guards the fields below
	batches []*batch   // the last one is open
	aside   []*batch   // of one long reply each
	held    bool       // nothing is taken before release
	sealed  bool       // nothing is added, what there is still leaves
	closed  bool
	size    int           // octets in batches, and in those that the sender has taken and not sent
	eased   chan struct{} // closed when it is not over half full any more; nil: nobody waits
}

// batch is a Downlink in the making. It is sent as it is, encoded into memory
// that was taken at once.
type batch struct {
	corepb.Downlink
	items  int
	octets int      // roughly
	told   []func() // what is called when the stream has taken it in
}

// Marshal implements what Kitex asks of a message that it sends.
func (b *batch) Marshal([]byte) ([]byte, error) {
	return b.Downlink.Marshal(make([]byte, 0, b.octets))
}

func newOutbox(limit int) *outbox {
	return &outbox{wake: make(chan struct{}, 1), limit: limit, held: true}
}

// release puts the Welcome before everything that was queued so far, and starts
// the sending.
func (o *outbox) release(w *corepb.Welcome) {
	o.mu.Lock()
	o.batches = append([]*batch{{Downlink: corepb.Downlink{Welcome: w}}}, o.batches...)
	o.held = false
	o.mu.Unlock()
	o.signal()
}

// item is what goes down: one of its fields.
type item struct {
	reply *corepb.Reply
	sent  func() // with reply: called when the stream has taken it in; nil: nobody asks
	push  *corepb.Push
	kick  *corepb.Kick
	// Of rooms.
	broadcast *corepb.Broadcast
	answer    *corepb.RoomAnswer
	expel     *corepb.Expel
	policy    *corepb.RoomPolicy

	wake *corepb.Wake

	// catalogue is all actions that there are from now on.
	catalogue *corepb.Catalogue

	drain bool
	// census asks the edge to list its sessions.
	census bool
	// missed has the edge's clients sync.
	missed bool
	// here answers the question whether this core is there: any Downlink does.
	here bool
}

// size is roughly what the item takes on the wire, in octets.
func (i item) size() int {
	switch {
	case i.reply != nil:
		return overhead + len(i.reply.Body) + followsSize(i.reply.Follows)
	case i.push != nil:
		return overhead + len(i.push.Protobuf) + len(i.push.Json) + 16*len(i.push.Sessions)
	case i.wake != nil:
		return overhead + len(i.wake.Log) + len(i.wake.Epoch)
	case i.kick != nil:
		return overhead + len(i.kick.Message) + 8*len(i.kick.Sessions)
	case i.broadcast != nil:
		return overhead + len(i.broadcast.Room) + len(i.broadcast.Protobuf) + len(i.broadcast.Json)
	case i.expel != nil:
		return overhead + len(i.expel.Room) + len(i.expel.Protobuf) + len(i.expel.Json) + 8*len(i.expel.UserIds)
	case i.catalogue != nil:
		return overhead * (1 + len(i.catalogue.Actions))
	}
	return overhead
}

// followsSize is about what logs take that somebody follows, who may follow many.
func followsSize(f *corepb.Follows) (n int) {
	if f == nil {
		return 0
	}
	for _, log := range f.Logs {
		n += len(log) + 8 // its seq, and their tags
	}
	return n + len(f.Epoch)
}

// add queues an item. It returns false when the outbox is sealed, or when it is
// full or closed: then it is closed.
func (o *outbox) add(i item) bool {
	size := i.size()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sealed {
		return false
	}
	if o.closed || o.size+size > o.limit {
		o.closed = true
		return false
	}
	var last *batch
	if i.waitsAside(size) {
		last = new(batch)
		o.aside = append(o.aside, last)
	} else {
		last = o.open(i, size)
	}
	switch {
	case i.reply != nil:
		last.Replies = append(last.Replies, i.reply)
		if i.sent != nil {
			last.told = append(last.told, i.sent)
		}
	case i.push != nil:
		last.Pushes = append(last.Pushes, i.push)
	case i.kick != nil:
		last.Kicks = append(last.Kicks, i.kick)
	case i.broadcast != nil:
		last.Broadcasts = append(last.Broadcasts, i.broadcast)
	case i.answer != nil:
		last.Answers = append(last.Answers, i.answer)
	case i.expel != nil:
		last.Expels = append(last.Expels, i.expel)
	case i.policy != nil:
		last.Policies = append(last.Policies, i.policy)
	case i.catalogue != nil:
		last.Catalogue = i.catalogue // a later one says all
	case i.wake != nil:
		last.Wakes = append(last.Wakes, i.wake)
	case i.drain:
		last.Drain = true
	case i.census:
		last.Census = true
	case i.missed:
		last.Missed = true
	}
	last.items++
	last.octets += size
	o.size += size
	o.signal()
	return true
}

// waitsAside reports whether the item may come behind any that is queued later. A reply that
// puts its session into a room may not: what is said there comes behind it.
func (i item) waitsAside(size int) bool {
	return i.reply != nil && size >= long && i.reply.Enter == nil
}

// open gives the batch that the item joins: the last one, unless that is full, or an
// edge would take the item before one that it must come behind.
func (o *outbox) open(i item, size int) *batch {
	if n := len(o.batches); n > 0 {
		last := o.batches[n-1]
		full := last.Welcome != nil || last.items >= batchItems || last.octets+size > batchSize
		if !full && !last.overtakes(i) {
			return last
		}
	}
	fresh := new(batch)
	o.batches = append(o.batches, fresh)
	return fresh
}

// overtakes reports whether the item must not join the batch. An edge takes of one
// batch the replies, the pushes, the broadcasts, the answers, the expels, the policies
// and then the kicks.
func (b *batch) overtakes(i item) bool {
	switch {
	case i.push != nil:
		return len(b.Kicks) > 0
	case i.broadcast != nil:
		return len(b.Expels) > 0
	case i.reply != nil:
		return i.reply.Enter != nil && len(b.Expels) > 0
	}
	return false
}

// take gives everything that is queued, oldest first, but of the long replies only the
// oldest: the sender is woken again for the next. Each batch waits still, until sent says
// that it does not.
func (o *outbox) take() []*batch {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held {
		return nil
	}
	all := o.batches
	o.batches = nil
	if len(o.aside) > 0 {
		all = append(all, o.aside[0])
		o.aside = slices.Delete(o.aside, 0, 1)
	}
	if len(o.aside) > 0 {
		o.signal()
	}
	return all
}

// sent says that the stream has taken a batch in: as long as an edge takes nothing in,
// nothing of what waits for it gets less.
func (o *outbox) sent(b *batch) {
	for _, tell := range b.told {
		tell()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size -= b.octets; o.size <= o.limit/2 {
		o.ease()
	}
}

// easing is closed when at most half of what may wait does, or the outbox is; nil: that
// is so now.
func (o *outbox) easing() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.size <= o.limit/2 {
		return nil
	}
	if o.eased == nil {
		o.eased = make(chan struct{})
	}
	return o.eased
}

// ease lets those go on who wait. The caller holds mu.
func (o *outbox) ease() {
	if o.eased != nil {
		close(o.eased)
		o.eased = nil
	}
}

// seal lets nothing more in.
func (o *outbox) seal() {
	o.mu.Lock()
	o.sealed = true
	o.mu.Unlock()
	o.signal()
}

// isSealed reports whether seal was called.
func (o *outbox) isSealed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sealed
}

// finished reports whether nothing will leave any more.
func (o *outbox) finished() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sealed && (o.held || len(o.batches)+len(o.aside) == 0)
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.batches, o.aside = true, nil, nil
	o.ease()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
