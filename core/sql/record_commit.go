package sql

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"freeim/core/im"
	"freeim/core/timeline"
)

// queueLen is how many writes wait for the next batch; further callers wait for
// room until their ctx ends.
const queueLen = 4096

// A batch ends at maxOps writes, at about maxBatch octets, or at maxRows rows of
// inboxes and receipts: its rows are locked while it is committed.
const (
	maxOps   = 1024
	maxBatch = 1 << 20
	maxRows  = 8192
)

// maxAttempts is how often a batch is tried that others' locks or resends
// thwart.
const maxAttempts = 8

// recordOp is one caller's write on its way through the committer.
type recordOp interface {
	// weigh says how much of a batch the write takes.
	weigh() (octets, rows int)
	// touch names the timelines that the write needs the heads of.
	touch(b *recordBatch)
	// stage assigns IDs and seqs from the heads of b, which it moves on. It may
	// be called again when the batch is tried again. After an error, which is
	// the caller's alone, the heads are as before.
	stage(b *recordBatch, ids *im.IDGenerator) error
	// free reports whether b holds the heads of all that the write touches.
	free(b *recordBatch) bool
	// finish tells the caller: err is nil when the write is durable.
	finish(r *Record, err error)
}

// recordCommitter is the only writer of this record; other cores have theirs.
// It takes everything that is queued, commits it in one transaction, tells
// everybody in order, and starts again; what comes meanwhile is the next batch.
// No timer is involved.
//
// Everything is owned by the goroutine of run.
type recordCommitter struct {
	*Record
	ids       *im.IDGenerator
	doubt     func()
	figures   *recordFigures
	ops       []recordOp
	held      recordOp // taken from the queue, too large for the batch before
	batch     recordBatch
	script    script
	logs      known[im.ConversationID]
	people    known[im.UserID]
	careful   int   // for how many batches more resends are looked for at once
	marks     marks // as the transaction found them
	marked    int64 // the mark of the transaction tried last
	undecided bool  // of some writes of the batch nobody knows whether they were committed

	wary   time.Time              // until then heads that others hold are passed over
	parked []recordOp             // those that were passed over, to be tried again
	until  map[recordOp]time.Time // for how long, of each of them
	again  time.Time              // when they are tried next
	recall time.Time              // when a doubt is repeated; zero: there is none
}

func newCommitter(r *Record, o RecordOptions, f *recordFigures) *recordCommitter {
	return &recordCommitter{Record: r, ids: o.IDs, doubt: o.Doubt, figures: f, batch: newRecordBatch(), script: script{limit: r.packet / 4}, until: map[recordOp]time.Time{}}
}

// submit queues o and waits until it is finished. A caller that gives up leaves
// its write queued: it may still be committed.
func (r *Record) submit(ctx context.Context, o recordOp, done <-chan error) error {
	if err := r.enqueue(ctx, o); err != nil {
		return err
	}
	return r.await(ctx, done)
}

// enqueue puts o behind what is queued.
func (r *Record) enqueue(ctx context.Context, o recordOp) error {
	if err := r.refusal(ctx); err != nil {
		return err
	}
	select {
	case r.queue <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closing:
		return timeline.ErrClosed
	}
}

// await waits for what a goroutine of the record says on done.
func (r *Record) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ended:
	}
	select {
	case err := <-done: // finished just before the end
		return err
	default:
		return timeline.ErrClosed
	}
}

// run commits until the record closes and the queue is empty.
func (c *recordCommitter) run(ctx context.Context) {
	for {
		first, open := c.next()
		if !open {
			c.unpark(timeline.ErrClosed)
			return
		}
		if first != nil {
			c.gather(first)
			c.commit(ctx, c.ops)
		}
		c.retry(ctx)
		c.repeat()
	}
}

// next waits for a write. It gives nil when it is time for something else, and not
// open when the record closes and the queue is empty.
func (c *recordCommitter) next() (first recordOp, open bool) {
	if first, c.held = c.held, nil; first != nil {
		return first, true
	}
	select {
	case first = <-c.queue:
		return first, true
	default:
	}
	select {
	case first = <-c.queue:
		return first, true
	case <-c.due():
		return nil, true
	case <-c.closing:
		return nil, len(c.queue) > 0
	}
}

// due tells when parked writes or a doubt want something done; it is nil when
// there are none.
func (c *recordCommitter) due() <-chan time.Time {
	at := c.recall
	if len(c.parked) > 0 && (at.IsZero() || c.again.Before(at)) {
		at = c.again
	}
	if at.IsZero() {
		return nil
	}
	return time.After(time.Until(at))
}

// gather makes a batch of first and of what is queued.
func (c *recordCommitter) gather(first recordOp) {
	clear(c.ops) // let go of the callers
	c.ops = append(c.ops[:0], first)
	octets, rows := first.weigh()
	for len(c.ops) < maxOps {
		select {
		case o := <-c.queue:
			b, n := o.weigh()
			if octets += b; octets > maxBatch {
				c.held = o
				return
			}
			if rows += n; rows > maxRows {
				c.held = o
				return
			}
			c.ops = append(c.ops, o)
		default:
			return
		}
	}
}

// commit commits ops, within the time that MySQL is given, and when MySQL does not
// answer waits until it does.
func (c *recordCommitter) commit(ctx context.Context, ops []recordOp) {
	limited, cancel := context.WithTimeout(ctx, c.patience)
	err := c.settle(limited, ops)
	cancel()
	if err != nil {
		c.awaitReturn(ctx, err)
	}
	if c.undecided {
		c.undecided, c.recall = false, time.Now().Add(doubtAgain)
		c.doubt()
	}
}

// doubtAgain is how long after a doubt it is repeated. By then what a server that was
// frozen still had to do has ended: it waits for a lock for 5 s at most.
const doubtAgain = 8 * time.Second

// repeat repeats a doubt once, when it is time: a COMMIT that was given up may still
// have been under way when MySQL answered again.
func (c *recordCommitter) repeat() {
	if c.recall.IsZero() || time.Now().Before(c.recall) {
		return
	}
	c.recall = time.Time{}
	c.doubt()
}

// settle commits ops and tells their callers. When MySQL refuses what one of them
// says it halves them, so that the others do not fail with it. The error is that
// of the connection, if it failed.
func (c *recordCommitter) settle(ctx context.Context, ops []recordOp) error {
	ops, err := c.persist(ctx, ops)
	if err == nil {
		return nil
	}
	if len(ops) > 1 && (faulty(err) || number(err) == errLockTimeout) && ctx.Err() == nil {
		half := len(ops) / 2
		return errors.Join(c.settle(ctx, ops[:half]), c.settle(ctx, ops[half:]))
	}
	err = fmt.Errorf("message record: %w", inTime(err))
	if !astray(err) { // of which the log has been told
		c.log.Error("a batch of messages was not committed", "writes", len(ops), "err", err)
	}
	c.figures.failed.Add(float64(len(ops)))
	for _, o := range ops {
		c.finish(o, err)
	}
	if number(err) != 0 || errors.Is(err, timeline.ErrCorrupt) || astray(err) {
		return nil // MySQL is there
	}
	return err
}

// persist commits ops in one transaction and tells their callers. What others'
// locks, resends and stale connections thwart is tried again. After an error left
// have been told nothing; those whose heads others hold may have been parked.
func (c *recordCommitter) persist(ctx context.Context, ops []recordOp) (left []recordOp, err error) {
	c.batch.begin(ops)
	how := manner{check: c.careful > 0, create: !c.familiar(), pass: c.skips && time.Now().Before(c.wary)}
	if how.check {
		c.careful--
	}
	started, lost := time.Now(), false
	for attempt := 1; ; attempt++ {
		sent, err := c.try(ctx, how)
		ops = c.batch.ops
		if err == nil {
			c.answer()
			c.figures.committed(len(ops), time.Since(started))
			c.remember()
			if c.Lost() != nil {
				_ = c.lookForLoss(ctx) // it is over
			}
			for i, o := range ops {
				c.finish(o, c.batch.errs[i])
			}
			return nil, nil
		}
		n := number(err)
		c.undecided = c.undecided || sent && n == 0
		switch {
		case errors.Is(err, errHeld): // all of them: nothing is left
			return nil, nil
		case attempt == maxAttempts || ctx.Err() != nil:
			return ops, err
		case n == errDeadlock:
		case n == errLockTimeout && c.skips && !how.pass:
			how.pass, c.wary = true, time.Now().Add(waryTime)
		case n == errDuplicate:
			how.check = true // somebody resends, or another core was faster
			c.careful = 16
		case errors.Is(err, errHeadless):
			how.create = true
		case astray(err):
			// It tells all cores and the log; what it cannot, the next batch does.
			if c.lookForLoss(ctx) != nil || c.Lost() != nil {
				return ops, err
			} // the flags were void
		case n == 0 && !sent && !lost && !errors.Is(err, timeline.ErrCorrupt):
			lost = true // a connection from before MySQL's restart: nothing was committed
			c.lostConnection()
		default:
			return ops, err
		}
		c.figures.retries.Inc()
	}
}

// manner is how a batch is tried.
type manner struct {
	create bool // heads may be missing: make them
	check  bool // resends are about: look what was committed under the client IDs
	pass   bool // pass over the heads that others hold
}

// errHeadless means that a timeline's head, thought to be there, is not.
var errHeadless = errors.New("a timeline has no head")

// try makes one transaction of the batch. After an error nothing was committed
// if sent, of the COMMIT, is false or the error is MySQL's; else that is open.
func (c *recordCommitter) try(ctx context.Context, how manner) (sent bool, err error) {
	conn, err := c.writers.Conn(ctx)
	if err != nil {
		return false, err
	}
	if sent, err = c.transact(ctx, conn, how); err == nil {
		return sent, conn.Close()
	}
	// The driver's word that nothing was done, be it that the server takes no writes.
	sent = sent && !errors.Is(err, driver.ErrBadConn)
	ended := false
	if number(err) != 0 || errors.Is(err, errHeadless) || errors.Is(err, errHeld) || astray(err) {
		_, rolling := conn.ExecContext(ctx, "ROLLBACK")
		ended = rolling == nil
	}
	if ended {
		_ = conn.Close() // gives it back
	} else {
		discard(conn)
	}
	return sent, err
}

func (c *recordCommitter) transact(ctx context.Context, conn *stdsql.Conn, how manner) (sent bool, err error) {
	b, s := &c.batch, &c.script
	b.reset()
	if how.pass && how.create {
		if err := c.learn(ctx, conn); err != nil {
			return false, err
		}
	}
	s.reset()
	s.statement("START TRANSACTION", nil)
	if how.pass {
		b.lockFree(s, c.logs.has, c.people.has)
	} else {
		b.lock(s, how.create)
	}
	b.look(s, how.check)
	c.marks = marks{}
	acked := c.acked.Load() // before the marks are read: a COMMIT that was given up may end meanwhile
	s.statement(c.selectMarks(), c.readMark)
	for _, p := range s.all() {
		if err := exchange(ctx, conn, p); err != nil {
			return false, err
		}
	}
	if err := c.marks.judge(c.Record, acked); err != nil {
		return false, err
	}
	if how.pass {
		if c.passOver(); len(b.ops) == 0 {
			return false, errHeld
		}
	} else if !b.complete() {
		return false, errHeadless
	}
	for i, o := range b.ops {
		b.errs[i] = o.stage(b, c.ids)
	}
	if b.resent {
		c.careful = 16
	}
	s.reset()
	b.write(s)
	c.writeMark(s)
	s.statement("COMMIT", nil)
	packets := s.all()
	for i, p := range packets {
		if err := exchange(ctx, conn, p); err != nil {
			return i == len(packets)-1, err
		}
	}
	c.answeredTo(c.marked)
	return true, nil
}

// familiar reports whether the heads of all timelines of the batch are known to
// be there.
func (c *recordCommitter) familiar() bool {
	for _, l := range c.batch.logs {
		if !c.logs.has(l.id) {
			return false
		}
	}
	for _, p := range c.batch.people {
		if !c.people.has(p.id) {
			return false
		}
	}
	return true
}

// remember notes the heads that the batch found or made.
func (c *recordCommitter) remember() {
	for _, l := range c.batch.logs {
		if l.found {
			c.logs.add(l.id)
		}
	}
	for _, p := range c.batch.people {
		if p.found {
			c.people.add(p.id)
		}
	}
}
