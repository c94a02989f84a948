package pebble

import (
	"freeim/core/im"
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
// remembers of it.
type round struct {
	ops    []op
	errs   []error // of stage, as ops
	writes writes
	newest im.MessageID // zero: no message
	failed error        // of the flush

	staged // the committer's, also while others have the round
}

// staged is what a batch adds that is looked for by name.
type staged struct {
	drafts map[draftKey]*appending
	held   map[holderKey]int64  // positions
	latest map[receiptKey]int64 // receipt seqs
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
	return &round{staged: staged{drafts: map[draftKey]*appending{}, held: map[holderKey]int64{}, latest: map[receiptKey]int64{}}}
}

// reset makes the round empty, for its next use.
func (r *round) reset() {
	clear(r.ops) // let go of the callers
	r.ops, r.errs, r.failed = r.ops[:0], r.errs[:0], nil
	r.writes.reset()
	r.newest = im.MessageID{}
	clear(r.drafts)
	clear(r.held)
	clear(r.latest)
}

func (r *round) full() bool { return len(r.ops) >= maxOps || r.writes.size() >= maxBatch }

// tell tells the callers in the order of their seqs.
func (r *round) tell() {
	for i, o := range r.ops {
		if r.failed != nil {
			o.finish(r.failed)
		} else {
			o.finish(r.errs[i])
		}
	}
}
