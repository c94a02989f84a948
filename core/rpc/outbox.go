package rpc

import (
	"sync"

	"freeim/idl/kitex_gen/corepb"
)

const (
	// batchItems and batchSize (octets, roughly) close a batch: an edge starts on
	// it when all of it is there.
	batchItems = 1024
	batchSize  = 256 << 10
	// overhead is what an item takes beside its bodies, roughly.
	overhead = 64
)

// outbox holds what waits for one edge, already joined into batches. It is
// bounded by size: past the limit it takes nothing any more, and the link is
// dropped, since an edge that has missed a part must resync its clients anyway.
// Safe for concurrent use; take belongs to the link's sender.
type outbox struct {
	wake  chan struct{} // has one token when there is something to take
	limit int           // octets

	mu      sync.Mutex // guards the fields below
	batches []*corepb.Downlink
	held    bool // nothing is taken before release
	closed  bool
	size    int // octets in batches
	items   int // in the last batch
	octets  int // in the last batch
}

func newOutbox(limit int) *outbox {
	return &outbox{wake: make(chan struct{}, 1), limit: limit, held: true}
}

// release puts the Welcome before everything that was queued so far, and starts
// the sending.
func (o *outbox) release(welcome *corepb.Downlink) {
	o.mu.Lock()
	o.batches = append([]*corepb.Downlink{welcome}, o.batches...)
	if len(o.batches) == 1 {
		o.items = batchItems // Welcome stays alone
	}
	o.held = false
	o.mu.Unlock()
	o.signal()
}

// reply, push, kick and drain return false when the outbox is full or closed:
// then it is closed.
func (o *outbox) reply(r *corepb.Reply) bool {
	return o.add(len(r.Body), func(d *corepb.Downlink) bool { d.Replies = append(d.Replies, r); return true })
}

func (o *outbox) push(p *corepb.Push) bool {
	size := len(p.Protobuf) + len(p.Json) + 16*len(p.Sessions)
	return o.add(size, func(d *corepb.Downlink) bool {
		// The edge takes a batch's kicks last: a push behind a kick needs a new one.
		if len(d.Kicks) > 0 {
			return false
		}
		d.Pushes = append(d.Pushes, p)
		return true
	})
}

func (o *outbox) kick(k *corepb.Kick) bool {
	size := len(k.Message) + 8*len(k.Sessions)
	return o.add(size, func(d *corepb.Downlink) bool { d.Kicks = append(d.Kicks, k); return true })
}

func (o *outbox) drain() bool {
	return o.add(0, func(d *corepb.Downlink) bool { d.Drain = true; return true })
}

// add puts an item into the last batch, or into a new one when that is full or
// put declines it.
func (o *outbox) add(size int, put func(*corepb.Downlink) bool) bool {
	size += overhead
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.size+size > o.limit {
		o.closed = true
		return false
	}
	if len(o.batches) == 0 || o.items >= batchItems || o.octets+size > batchSize || !put(o.batches[len(o.batches)-1]) {
		fresh := &corepb.Downlink{}
		put(fresh)
		o.batches = append(o.batches, fresh)
		o.items, o.octets = 0, 0
	}
	o.items++
	o.octets += size
	o.size += size
	o.signal()
	return true
}

// take gives everything that is queued, oldest first.
func (o *outbox) take() []*corepb.Downlink {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held {
		return nil
	}
	all := o.batches
	o.batches, o.size = nil, 0
	return all
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.batches = true, nil
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
