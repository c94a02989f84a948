package sql

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"time"

	"freeim/core/im"
)

// A core that is stopped or cut off inside a transaction holds the heads of its
// batch until MySQL ends it. Who waits for one of them holds up all that shares his
// batch. So a lock that does not come free within MySQL's patience
// (innodb_lock_wait_timeout) makes the committer wary: for waryTime, which is as long
// as MySQL lets such a transaction live, it passes over the heads that others hold.
// The writes that need them are parked and tried again every parkTime, until they
// have waited as long as MySQL may take to answer; then they fail. In ordinary times
// heads are waited for: MySQL grants them in the order of asking, so nobody starves.
const (
	waryTime = 10 * time.Second
	parkTime = 25 * time.Millisecond
	// maxParked bounds the writes that are parked; further ones fail at once.
	maxParked = maxOps
)

// errHeld is why a write fails that was parked for too long.
var errHeld = errors.New("another core holds a timeline of this message for too long")

// passOver parks the writes of the batch whose heads it does not hold.
func (c *recordCommitter) passOver() {
	b := &c.batch
	kept := b.ops[:0]
	for _, o := range b.ops {
		if o.free(b) {
			kept = append(kept, o)
		} else {
			c.park(o)
		}
	}
	b.ops, b.errs = kept, b.errs[:len(kept)]
}

// park keeps o to be tried again, if it has time left and there is room.
func (c *recordCommitter) park(o recordOp) {
	until, known := c.until[o]
	if !known {
		until = time.Now().Add(c.patience)
	}
	if len(c.parked) >= maxParked || time.Now().After(until) {
		c.figures.failed.Inc()
		c.finish(o, errHeld)
		return
	}
	if len(c.parked) == 0 {
		c.again = time.Now().Add(parkTime)
	}
	c.until[o], c.parked = until, append(c.parked, o)
}

// retry tries the parked writes again, when it is time, as a batch of their own.
func (c *recordCommitter) retry(ctx context.Context) {
	if len(c.parked) == 0 || time.Now().Before(c.again) {
		return
	}
	ops := slices.Clone(c.parked)
	clear(c.parked)
	c.parked = c.parked[:0]
	c.wary = latest(c.wary, time.Now().Add(2*parkTime)) // they are not waited for
	c.commit(ctx, ops)
	c.again = time.Now().Add(parkTime)
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// unpark finishes the parked writes with err.
func (c *recordCommitter) unpark(err error) {
	for _, o := range c.parked {
		c.figures.failed.Inc()
		o.finish(c.Record, err)
	}
	clear(c.parked)
	clear(c.until)
	c.parked = c.parked[:0]
}

// finish tells o's caller and forgets o.
func (c *recordCommitter) finish(o recordOp, err error) {
	if len(c.until) > 0 {
		delete(c.until, o)
	}
	o.finish(c.Record, err)
}

// learn looks which heads of the batch that are not known are there, without asking
// for a lock: those are held or free, the others are yet to be made.
func (c *recordCommitter) learn(ctx context.Context, conn *stdsql.Conn) error {
	s := &c.script
	s.reset()
	s.begin("SELECT conversation FROM record_conversations WHERE conversation IN (", ")", func(row []driver.Value) error {
		cs := columns{row: row}
		c.logs.add(im.ConversationID(cs.name()))
		return cs.end()
	})
	for _, l := range c.batch.logs {
		if !c.logs.has(l.id) {
			s.row()
			s.name(string(l.id))
		}
	}
	s.end()
	s.begin("SELECT person FROM record_people WHERE person IN (", ")", func(row []driver.Value) error {
		cs := columns{row: row}
		c.people.add(im.UserID(cs.int()))
		return cs.end()
	})
	for _, p := range c.batch.people {
		if !c.people.has(p.id) {
			s.row()
			s.int(int64(p.id))
		}
	}
	s.end()
	for _, p := range s.all() {
		if len(p.text) == 0 {
			continue
		}
		if err := exchange(ctx, conn, p); err != nil {
			return err
		}
	}
	return nil
}
