package pebble

import (
	"context"
	"errors"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
)

// op is one caller's write on its way through the committer.
type op interface {
	// stage puts the write into the committer's batch. After an error the batch
	// and the heads are as before.
	stage(c *committer) error
	// finish tells the caller: err is nil when the write is durable.
	finish(err error)
}

// committer decides what is written, and in which order. It stages what is queued into a batch, and
// gives that to the flusher when it has no other; while that one flushes, what comes is the next batch. No timer is involved.
//
// Everything is owned by the goroutine of run.
type committer struct {
	*Store
	ids *im.IDGenerator

	noRoom bool // on the disk, at the last batch

	logs     heads[im.ConversationID]
	versions heads[im.ConversationID] // the least of drafts
	inboxes  heads[im.UserID]
	receipts heads[im.UserID]

	*round              // the batch being staged; nil before the first
	under  *round       // the batch that was given to the flusher last: it may not be in the database yet; nil: there is none
	iter   *db.Iterator // over what is in the database; nil until needed, and ends with the batch

	idle    <-chan struct{} // a token when the flusher has nothing
	flushes chan<- *round   // to the flusher
	spare   chan *round     // rounds that nobody uses, from the teller; the one that was used last comes last

	key, val []byte // scratch
}

// startCommitter starts the three that a write passes through.
func startCommitter(s *Store, o Options, figures *figures) {
	idle, flushes, flushed, spare := make(chan struct{}, 1), make(chan *round, 1), make(chan *round, 1), make(chan *round, rounds)
	for range rounds {
		spare <- newRound()
	}
	c := &committer{
		Store: s, ids: o.IDs,
		logs: newHeads[im.ConversationID](o.Heads), versions: newHeads[im.ConversationID](o.Heads), inboxes: newHeads[im.UserID](o.Heads),
		receipts: newHeads[im.UserID](o.Heads),
		idle:     idle, flushes: flushes, spare: spare,
	}
	go c.run()
	go (&flusher{Store: s, figures: figures, idle: idle, rounds: flushes, flushed: flushed}).run()
	go tell(flushed, spare, s.stopped)
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
	case s.queue <- o: // nearly always, and for a third of what it costs with the other cases
		return nil
	default:
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

// await waits until what was queued is finished. What was queued before the store began to close always is, and that is
// nearly always so: a channel that all callers wait for is one that they all lock.
func (s *Store) await(ctx context.Context, done <-chan error) error {
	select {
	case <-s.closing:
		return s.awaitEnd(ctx, done)
	default:
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitEnd is await for what may have been queued too late.
func (s *Store) awaitEnd(ctx context.Context, done <-chan error) error {
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
	defer close(c.flushes)
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

// commit makes one batch of first, of what is queued now, and of what is queued when the flusher is through with the batch
// before: to wake for each op meanwhile would cost more than to stage it. With a full disk, or a broken store, it refuses first.
func (c *committer) commit(first op) {
	err := c.Broken()
	if err == nil {
		err = c.roomy()
	}
	if err != nil {
		first.finish(err)
		return
	}
	c.begin()
	c.stage(first)
	c.drain()
	<-c.idle
	c.drain()
	c.flushes <- c.round
	c.letGo()
}

// stage has an op put itself into the batch.
func (c *committer) stage(o op) {
	c.ops = append(c.ops, o)
	c.errs = append(c.errs, o.stage(c))
}

// drain stages what is queued, until the batch is full.
func (c *committer) drain() {
	for !c.round.full() {
		select {
		case o := <-c.queue:
			c.stage(o)
		default:
			return
		}
	}
}

// roomy is room.check; it logs when the disk becomes full, and when it is no more.
func (c *committer) roomy() error {
	err := c.room.check()
	switch {
	case err != nil && !c.noRoom:
		c.log.Error("no writes are taken", "err", err)
	case err == nil && c.noRoom:
		c.log.Info("the disk has room again: writes are taken")
	}
	c.noRoom = err != nil
	return err
}

// begin takes a round for the next batch: not the one before, which comes last.
func (c *committer) begin() {
	c.under = c.round
	c.round = <-c.spare
	c.reset()
	c.logs.age()
	c.versions.age()
	c.inboxes.age()
	c.receipts.age()
}

// letGo closes the iterator.
func (c *committer) letGo() {
	if c.iter != nil {
		c.iter.Close() // its errors were seen where it was used
		c.iter = nil
	}
}

// settle waits until the callers of all batches but this one have been told.
func (c *committer) settle() {
	var others [rounds - 1]*round
	for i := range others {
		others[i] = <-c.spare
	}
	for _, r := range others {
		c.spare <- r
	}
}

// repeated is the answer to the draft that has that key in this batch, or in that before, with its digest; found is false where
// there is none, or where the database has it as well.
func (c *committer) repeated(k draftKey) (first timeline.Committed, digest [32]byte, found bool) {
	if a := c.drafts[k]; a != nil {
		first, _ = c.round.answer(a)
		return first, a.Digest, true
	}
	if c.under == nil || c.under.drafts[k] == nil {
		return first, digest, false
	}
	a := c.under.drafts[k]
	first, told := c.under.answer(a)
	if told {
		c.letGo() // the iterator may be from before
	}
	return first, a.Digest, !told
}

// position is up to where somebody holds a conversation, with what batches added.
func (c *committer) position(who holderKey) (seq int64, err error) {
	if seq, known := c.held[who]; known {
		return seq, nil
	}
	if c.under != nil {
		if seq, known := c.under.held[who]; known {
			return seq, nil
		}
	}
	c.key = positionKey(c.key[:0], who.by, who.c)
	return c.integer(c.key)
}

// receipt is where a person's newest receipt of that one and conversation is, with what batches added.
func (c *committer) receipt(k receiptKey) (seq int64, err error) {
	if seq, known := c.latest[k]; known {
		return seq, nil
	}
	if c.under != nil {
		if seq, known := c.under.latest[k]; known {
			return seq, nil
		}
	}
	c.key = latestKey(c.key[:0], k.user, k.by, k.c)
	return c.integer(c.key)
}

// head is the newest seq in the database of the timeline whose keys begin with prefix; 0: empty.
func (c *committer) head(prefix []byte) (int64, error) {
	iter, err := c.before()
	if err != nil {
		return 0, err
	}
	return headOf(iter, prefix), iter.Error()
}

// before is an iterator over what is in the database; it ends with the batch.
func (c *committer) before() (iter *db.Iterator, err error) {
	if c.iter == nil {
		c.iter, err = newLookup(c.db)
	}
	return c.iter, err
}

func hasPrefix(key, prefix []byte) bool {
	return len(key) == len(prefix)+8 && string(key[:len(prefix)]) == string(prefix)
}

// logHead is the newest seq of a conversation, with what batches added.
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

// least is the least version of drafts that a conversation takes, with what batches added; 0: any.
func (c *committer) least(id im.ConversationID) (int64, error) {
	if version, ok := c.versions.get(id); ok {
		return version, nil
	}
	c.key = versionKey(c.key[:0], id)
	version, err := c.integer(c.key)
	if err == nil {
		c.versions.set(id, version)
	}
	return version, err
}

// userHead is the newest seq of a timeline of user's, with what batches added.
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
