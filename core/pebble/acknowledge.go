package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
)

// acknowledging is a receipt on its way through the committer.
type acknowledging struct {
	timeline.Receipt
	audience []im.UserID
	moved    bool
	done     chan error // of length 1
}

// Acknowledge implements timeline.Store.
func (s *Store) Acknowledge(ctx context.Context, r timeline.Receipt, audience []im.UserID) (bool, error) {
	if n := len(r.Conversation); n < 1 || n > maxName {
		return false, fmt.Errorf("acknowledge: a conversation ID has 1-%d octets, this one %d", maxName, n)
	}
	a := &acknowledging{Receipt: r, audience: slices.Clone(audience), done: make(chan error, 1)}
	if err := s.submit(ctx, a, a.done, nil); err != nil {
		return false, fmt.Errorf("acknowledge conversation %s: %w", r.Conversation, err)
	}
	return a.moved, nil
}

// filing is where one receipt goes: user's timeline of receipts at seq, and the
// place of the one that it replaces, 0 for none.
type filing struct {
	user     im.UserID
	seq, old int64
}

// stage implements op.
func (a *acknowledging) stage(c *committer) error {
	who := holderKey{a.By, a.Conversation}
	if held, err := c.position(who); err != nil || a.Seq <= held {
		return err
	}
	filings, err := a.places(c, who)
	if err != nil {
		return err
	}
	// Nothing fails from here on.
	a.moved = true
	c.held[who] = a.Seq
	c.key = positionKey(c.key[:0], a.By, a.Conversation)
	c.val = binary.AppendUvarint(c.val[:0], uint64(a.Seq))
	c.writes.set(c.key, c.val)
	for _, f := range filings {
		a.file(c, who, f)
	}
	return nil
}

// places finds where the receipt goes for each of the audience.
func (a *acknowledging) places(c *committer, who holderKey) ([]filing, error) {
	filings := make([]filing, len(a.audience))
	for i, user := range a.audience {
		head, err := c.userHead(&c.receipts, kindReceipt, user)
		if err != nil {
			return nil, err
		}
		old, err := c.receipt(receiptKey{user, who})
		if err != nil {
			return nil, err
		}
		filings[i] = filing{user, head + 1, old}
	}
	return filings, nil
}

// file puts the receipt in its place and takes the one it replaces away.
func (a *acknowledging) file(c *committer, who holderKey, f filing) {
	if f.old != 0 {
		c.key = userKey(c.key[:0], kindReceipt, f.user, f.old)
		c.writes.delete(c.key)
	}
	c.key = userKey(c.key[:0], kindReceipt, f.user, f.seq)
	c.val = filed(a.Receipt).append(c.val[:0])
	c.writes.set(c.key, c.val)

	c.key = latestKey(c.key[:0], f.user, a.By, a.Conversation)
	c.val = binary.AppendUvarint(c.val[:0], uint64(f.seq))
	c.writes.set(c.key, c.val)
	c.receipts.set(f.user, f.seq)
	c.latest[receiptKey{f.user, who}] = f.seq
}

// finish implements op.
func (a *acknowledging) finish(err error) { a.done <- err }

// Positions implements timeline.Store.
func (s *Store) Positions(ctx context.Context, c im.ConversationID, people []im.UserID) ([]int64, error) {
	held := make([]int64, len(people))
	err := s.read(ctx, func(v *view) error {
		var key []byte
		for i, by := range people {
			key = positionKey(key[:0], by, c)
			_, err := get(v, key, func(value []byte) (err error) {
				held[i], err = decodeInt(value)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("positions in conversation %s: %w", c, err)
	}
	return held, nil
}

// Receipts implements timeline.Store.
func (s *Store) Receipts(ctx context.Context, user im.UserID, since int64, limit int) (
	rs []timeline.Receipt, next int64, more bool, err error) {
	err = s.read(ctx, func(v *view) error {
		return scan(v, userPrefix(nil, kindReceipt, user), func(iter *db.Iterator, prefix []byte) error {
			for ok := seekAfter(iter, prefix, since); ok; ok = iter.Next() {
				f, err := decodeFiled(iter.Value())
				if err != nil {
					return err
				}
				if more = len(rs) == limit; more {
					return nil
				}
				rs = append(rs, timeline.Receipt(f))
				next = seqOf(iter.Key())
			}
			next = last(iter)
			return nil
		})
	})
	if err != nil {
		return nil, 0, false, fmt.Errorf("receipts for %d: %w", user, err)
	}
	return rs, next, more, nil
}
