package pebble

import (
	"sync"

	"freeim/core/im"
	"freeim/core/timeline"
)

// rounds is how many batches there are at most: one that is staged, one that is flushed, one whose
// callers wait to be told and one whose callers are being told. While all are in use the committer
// waits, and what comes waits in the queue.
const rounds = 4

// A batch ends at maxOps or, about, at maxBatch octets: small enough for a
// memtable, large enough that a flush serves everybody who waits.
const (
	maxOps   = queueLen
	maxBatch = 4 << 20
)

// round is one batch on its way: the committer stages what callers want, the flusher makes it
// durable, the teller tells them. It belongs to one of them at a time, but for what the committer
// looks for in it by name.
type round struct {
	ops    []op
	errs   []error // of stage, as ops
	writes writes
	newest im.MessageID // zero: no message
	failed error        // of the flush

	// The committer's, also while others have the round.
	drafts map[draftKey]*appending
	held   map[holderKey]int64  // positions
	latest map[receiptKey]int64 // receipt seqs

	mu   sync.Mutex // guards told
	told bool       // callers have their answers, which are theirs
}

type draftKey struct {
	sender   im.UserID
	clientID string
}

type holderKey struct {
	by im.UserID
	c  im.ConversationID
}

type receiptKey struct {
	user im.UserID
	holderKey
}

func newRound() *round {
	return &round{drafts: map[draftKey]*appending{}, held: map[holderKey]int64{}, latest: map[receiptKey]int64{}}
}

// mostSpare is how much memory a round keeps for its next batch, in octets, and so many listings.
const (
	mostSpare    = 1 << 20
	mostListings = 1 << 14
)

// reset makes the round empty, for its next use.
func (r *round) reset() {
	r.ops, r.errs, r.failed = r.ops[:0], r.errs[:0], nil
	r.writes.reset()
	r.newest = im.MessageID{}
	clear(r.drafts)
	clear(r.held)
	clear(r.latest)
	r.mu.Lock()
	r.told = false
	r.mu.Unlock()
}

func (r *round) full() bool { return len(r.ops) >= maxOps || r.writes.size() >= maxBatch }

// answer is a copy of what the draft of that key is answered; told: its caller has that, and may change it, so it is to be had
// from the database, where it is by then.
func (r *round) answer(a *appending) (c timeline.Committed, told bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told {
		return c, true
	}
	return copied(a.result), false
}

// tell tells the callers in the order of their seqs, and lets go of them.
func (r *round) tell() {
	r.mu.Lock()
	r.told = true
	r.mu.Unlock()
	for i, o := range r.ops {
		if r.failed != nil {
			o.finish(r.failed)
		} else {
			o.finish(r.errs[i])
		}
	}
	clear(r.ops)
}
