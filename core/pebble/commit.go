package pebble

import (
	"context"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
)

// A batch ends at maxOps or, about, at maxBatch octets: small enough for a
// memtable, large enough that a flush serves everybody who waits.
const (
	maxOps   = queueLen
	maxBatch = 4 << 20
)

// op is one caller's write on its way through the committer.
type op interface {
	// stage puts the write into the committer's batch. After an error the batch
	// and the heads are as before.
	stage(c *committer) error
	// finish tells the caller: err is nil when the write is durable.
	finish(err error)
}

// committer is the only writer. It takes everything that is queued, builds one
// batch of it, flushes, tells everybody in order, and starts again; what comes
// while it flushes is the next batch. No timer is involved.
//
// Everything is owned by the goroutine of run.
type committer struct {
	*Store
	ids     *im.IDGenerator
	figures *figures

	full bool // the disk was, at the last batch

	logs     heads[im.ConversationID]
	inboxes  heads[im.UserID]
	receipts heads[im.UserID]

	// The batch being built.
	ops      []op
	errs     []error // of stage, as ops
	writes   writes
	iter     *db.Iterator // over what was there before the batch; nil until needed
	newest   im.MessageID // of the batch; zero: none
	drafts   map[draftKey]*appending
	held     map[holderKey]int64  // positions
	latest   map[receiptKey]int64 // receipt seqs
	key, val []byte               // scratch
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

func newCommitter(s *Store, o Options, f *figures) *committer {
	return &committer{
		Store: s, ids: o.IDs, figures: f,
		logs: newHeads[im.ConversationID](o.Heads), inboxes: newHeads[im.UserID](o.Heads),
		receipts: newHeads[im.UserID](o.Heads),
		drafts:   map[draftKey]*appending{}, held: map[holderKey]int64{}, latest: map[receiptKey]int64{},
	}
}

// submit queues o, calls queued, if it is not nil, and waits until o is finished. A
// caller that gives up leaves its write queued: it may still be committed.
func (s *Store) submit(ctx context.Context, o op, done <-chan error, queued func()) error {
	if err := s.enqueue(ctx, o); err != nil {
		return err
	}
	if queued != nil {
		queued()
	}
	return s.await(ctx, done)
}

// enqueue puts o behind what is queued.
func (s *Store) enqueue(ctx context.Context, o op) error {
	if err := s.refusal(ctx); err != nil {
		return err
	}
	select {
	case s.queue <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return timeline.ErrClosed
	}
}

// await waits until what was queued is finished.
func (s *Store) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
	}
	select {
	case err := <-done: // finished just before the end
		return err
	default:
		return timeline.ErrClosed
	}
}

// refusal is why nothing can be written now, nil if it can.
func (s *Store) refusal(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return timeline.ErrClosed
	default:
		return s.Broken() // a full disk is the committer's to find
	}
}

// run commits until the store closes and the queue is empty.
func (c *committer) run() {
	defer close(c.stopped)
	for {
		select {
		case first := <-c.queue:
			c.commit(first)
			continue
		default:
		}
		select {
		case first := <-c.queue:
			c.commit(first)
		case <-c.closing:
			if len(c.queue) == 0 {
				return
			}
		}
	}
}

// commit makes one batch of first and of all that is queued, flushes it, and
// tells the callers in the order of their seqs. With a full disk it refuses first.
func (c *committer) commit(first op) {
	if err := c.roomy(); err != nil {
		first.finish(err)
		return
	}
	c.begin()
	for next := first; next != nil; next = c.more() {
		c.ops = append(c.ops, next)
		c.errs = append(c.errs, next.stage(c))
	}
	fault := c.flush()
	for i, o := range c.ops {
		if fault != nil {
			o.finish(fault)
		} else {
			o.finish(c.errs[i])
		}
	}
}

// roomy is room.check; it logs when the disk becomes full, and when it is no more.
func (c *committer) roomy() error {
	err := c.room.check()
	switch {
	case err != nil && !c.full:
		c.log.Error("no writes are taken", "err", err)
	case err == nil && c.full:
		c.log.Info("the disk has room again: writes are taken")
	}
	c.full = err != nil
	return err
}

// more is the next op for the batch, nil when the batch is full or the queue is
// empty.
func (c *committer) more() op {
	if len(c.ops) >= maxOps || c.writes.size() >= maxBatch {
		return nil
	}
	select {
	case o := <-c.queue:
		return o
	default:
		return nil
	}
}

func (c *committer) begin() {
	clear(c.ops) // let go of the callers
	c.ops, c.errs = c.ops[:0], c.errs[:0]
	c.writes.reset()
	c.newest = im.MessageID{}
	clear(c.drafts)
	clear(c.held)
	clear(c.latest)
	c.logs.age()
	c.inboxes.age()
	c.receipts.age()
}

// flush makes the batch durable and visible. After an error nobody knows what is
// on the disk, so the store takes no further write.
func (c *committer) flush() error {
	if c.iter != nil {
		c.iter.Close() // its errors were seen where it was used
		c.iter = nil
	}
	if err := c.Broken(); err != nil {
		return err
	}
	if c.writes.size() == 0 {
		return nil
	}
	started := time.Now()
	if err := c.apply(); err != nil {
		err = fmt.Errorf("timeline store takes no more writes: %w", err)
		c.fault.Store(&err)
		c.log.Error("timeline store is broken, restart the process", "err", err)
		return err
	}
	c.figures.committed(len(c.ops), time.Since(started))
	c.views.publish(c.db.NewSnapshot())
	return nil
}

// apply commits the batch with an fsync. Pebble reports a log that cannot be
// written by panics and by Logger.Fatalf, after which Apply would return nil.
func (c *committer) apply() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("commit: %v", r)
		}
	}()
	if c.newest != (im.MessageID{}) {
		c.writes.set(metaKey(metaLast), c.newest[:])
	}
	batch := c.db.NewBatchWithSize(c.writes.size())
	if err := c.writes.fill(batch); err != nil {
		return err
	}
	if err := c.db.Apply(batch, db.Sync); err != nil {
		return err
	}
	return batch.Close()
}

// head is the newest seq of the timeline whose keys begin with prefix, as it was
// before the batch; 0: empty.
func (c *committer) head(prefix []byte) (int64, error) {
	iter, err := c.before()
	if err != nil {
		return 0, err
	}
	return headOf(iter, prefix), iter.Error()
}

// before is an iterator over what was there before the batch; it ends with it.
func (c *committer) before() (iter *db.Iterator, err error) {
	if c.iter == nil {
		c.iter, err = newLookup(c.db)
	}
	return c.iter, err
}

func hasPrefix(key, prefix []byte) bool {
	return len(key) == len(prefix)+8 && string(key[:len(prefix)]) == string(prefix)
}

// logHead is the newest seq of a conversation, with what the batch added.
func (c *committer) logHead(id im.ConversationID) (int64, error) {
	if seq, ok := c.logs.get(id); ok {
		return seq, nil
	}
	c.key = logPrefix(c.key[:0], id)
	seq, err := c.head(c.key)
	if err == nil {
		c.logs.set(id, seq)
	}
	return seq, err
}

// userHead is the newest seq of a timeline of user's, with what the batch added.
func (c *committer) userHead(known *heads[im.UserID], kind byte, user im.UserID) (int64, error) {
	if seq, ok := known.get(user); ok {
		return seq, nil
	}
	c.key = userPrefix(c.key[:0], kind, user)
	seq, err := c.head(c.key)
	if err == nil {
		known.set(user, seq)
	}
	return seq, err
}

// integer reads a value that is one number; 0 when there is none.
func (c *committer) integer(key []byte) (n int64, err error) {
	_, err = get(c.db, key, func(value []byte) (err error) {
		n, err = decodeInt(value)
		return err
	})
	return n, err
}

// get calls read with the value of key, which is valid until read returns; found
// is false, and read not called, when there is none.
func get(r db.Reader, key []byte, read func(value []byte) error) (found bool, err error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, db.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(read(value), closer.Close())
}
