package client

import (
	"context"
	"fmt"
	"time"
)

const (
	savedAtOnce = 64               // events handled between two saves, at most, while more wait
	saveTime    = 30 * time.Second // for one Save
	saveRetry   = time.Second      // after one that failed
)

// keeper is what the handler has taken, on its way to the store. The run loop
// owns it.
type keeper struct {
	cursor  Cursor
	dirty   bool // cursor is newer than what was saved
	handled int  // events since the last save
	inHand  bool // the dispatcher works on a job
	failed  bool // the last save failed
	retryAt time.Time
}

// rest reports whether nothing is left to do.
func (k *keeper) rest() bool { return !k.inHand && (!k.dirty || k.failed) }

// due is when a failed save is tried again.
func (k *keeper) due() time.Time {
	if k.dirty && k.failed && !k.inHand {
		return k.retryAt
	}
	return time.Time{}
}

// hold notes that the device holds a conversation up to seq.
func (k *keeper) hold(conversation string, seq int64) {
	if seq <= k.cursor.Unacked[conversation] {
		return
	}
	if k.cursor.Unacked == nil {
		k.cursor.Unacked = make(map[string]int64)
	}
	k.cursor.Unacked[conversation] = seq
	k.dirty = true
}

// confirmed notes that the server knows it. That is stored with the next save:
// an ack that comes twice does no harm.
func (k *keeper) confirmed(conversation string, seq int64) {
	if k.cursor.Unacked[conversation] <= seq {
		delete(k.cursor.Unacked, conversation)
	}
}

// offer is the next job for the dispatcher; no channel when there is none. A
// save comes before the next event when none waits or many were handled.
func (s *Session) offer() (chan<- job, job) {
	k := &s.keeper
	if k.inHand {
		return nil, job{}
	}
	rested := !k.failed || !time.Now().Before(k.retryAt)
	if k.dirty && rested && (s.events.empty() || k.handled >= savedAtOnce) {
		c := k.cursor.clone()
		return s.jobs, job{save: &c}
	}
	if s.events.empty() {
		return nil, job{}
	}
	return s.jobs, job{event: s.events.queue[0]}
}

// handed notes that the dispatcher took j.
func (s *Session) handed(j job) {
	s.keeper.inHand = true
	if j.save == nil {
		s.events.pop()
		return
	}
	s.keeper.dirty, s.keeper.handled = false, 0
}

// dispatch is the dispatcher. It ends after the run loop.
func (s *Session) dispatch(ctx context.Context) {
	for {
		select {
		case j := <-s.jobs:
			s.perform(ctx, j)
		case <-s.over:
			return
		}
	}
}

func (s *Session) perform(ctx context.Context, j job) {
	if j.save != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTime)
		defer cancel()
		err := s.opts.Store.Save(ctx, *j.save)
		s.post(func() { s.saved(j.save, err) })
		return
	}
	err := s.opts.Handler.tell(ctx, j.event)
	s.post(func() { s.handled(j.event, err) })
}

// saved makes the acks due that the stored cursor covers.
func (s *Session) saved(c *Cursor, err error) {
	k := &s.keeper
	k.inHand, k.failed = false, err != nil
	if err != nil {
		k.dirty, k.retryAt = true, time.Now().Add(saveRetry)
		s.opts.Log.Warn("cursor not saved, acks wait for it", "err", err)
		return
	}
	if c.Epoch == s.inbox.epoch && c.User == s.inbox.user {
		s.acks.add(c.Unacked)
	}
}

// handled moves the cursor to where the handler is.
func (s *Session) handled(e *event, err error) {
	k := &s.keeper
	k.inHand = false
	if err != nil {
		s.notTaken(e, err)
		return
	}
	k.handled++
	switch e.kind {
	case messageEvent:
		k.move(e)
		k.cursor.InboxSeq = e.entry.InboxSeq
		if !e.entry.Mine && !e.known && !s.opts.ManualAck {
			k.hold(e.entry.ConversationId, e.entry.Seq)
		}
	case receiptsEvent:
		k.move(e)
		k.dirty = k.dirty || k.cursor.ReceiptsHead != e.head
		k.cursor.ReceiptsHead = e.head
	case resetEvent:
		k.cursor = Cursor{User: e.user, Epoch: e.reset.Epoch}
		k.dirty = true
	}
}

// move notes whose position in which epoch the cursor is.
func (k *keeper) move(e *event) {
	if e.kind == messageEvent || k.cursor.User != e.user || k.cursor.Epoch != e.epoch {
		k.dirty = true
	}
	k.cursor.User, k.cursor.Epoch = e.user, e.epoch
}

// notTaken ends the session: the application does not have the message, so
// nothing after it may be told.
func (s *Session) notTaken(e *event, err error) {
	s.events.dropMessages()
	if s.ending() { // by Close perhaps, which ended the handler's ctx
		return
	}
	err = fmt.Errorf("message %s not taken: %w", e.entry.Id, err)
	s.finish(err)
	if s.link.conn != nil {
		s.link.conn.end(err)
	}
}
