package sql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"

	"freeim/core/im"
	"freeim/core/timeline"
)

// recordAcknowledging is a receipt on its way through the committer.
type recordAcknowledging struct {
	timeline.Receipt
	audience []im.UserID
	moved    bool
	done     chan error // of length 1
}

// Acknowledge implements timeline.Store.
func (r *Record) Acknowledge(ctx context.Context, receipt timeline.Receipt, audience []im.UserID) (bool, error) {
	if n := len(receipt.Conversation); n < 1 || n > maxName {
		return false, fmt.Errorf("acknowledge: a conversation ID has 1-%d octets, this one %d", maxName, n)
	}
	a := &recordAcknowledging{Receipt: receipt, audience: slices.Clone(audience), done: make(chan error, 1)}
	if err := r.submit(ctx, a, a.done); err != nil {
		return false, fmt.Errorf("acknowledge conversation %s: %w", receipt.Conversation, err)
	}
	return a.moved, nil
}

// weigh implements recordOp.
func (a *recordAcknowledging) weigh() (octets, rows int) { return 64, len(a.audience) + 1 }

// touch implements recordOp. Whoever moves a person's position holds that
// person's head.
func (a *recordAcknowledging) touch(b *recordBatch) {
	b.touchPeople([]im.UserID{a.By})
	b.touchPeople(a.audience)
	b.touchPosition(a.holder())
}

func (a *recordAcknowledging) holder() holderKey { return holderKey{a.By, a.Conversation} }

// free implements recordOp.
func (a *recordAcknowledging) free(b *recordBatch) bool { return b.has(a.By) && b.has(a.audience...) }

// stage implements recordOp.
func (a *recordAcknowledging) stage(b *recordBatch, _ *im.IDGenerator) error {
	who := a.holder()
	if a.moved = a.Seq > b.held[who].seq; !a.moved {
		return nil
	}
	b.held[who] = position{a.Seq, true}
	for _, user := range a.audience {
		p := b.person(user)
		p.receipt, p.grown.receipts = p.receipt+1, p.grown.receipts+1
		b.filed[receiptKey{user, who}] = filing{a.Seq, p.receipt}
	}
	return nil
}

// finish implements recordOp.
func (a *recordAcknowledging) finish(_ *Record, err error) { a.done <- err }

// Positions implements timeline.Store.
func (r *Record) Positions(ctx context.Context, c im.ConversationID, people []im.UserID) ([]int64, error) {
	if len(people) == 0 {
		return nil, r.refusal(ctx)
	}
	found := map[im.UserID]int64{}
	s := script{limit: math.MaxInt}
	s.begin("SELECT person, seq FROM record_positions WHERE (person, conversation) IN (", ")", func(row []driver.Value) error {
		columns := columns{row: row}
		by, seq := im.UserID(columns.int()), columns.int()
		found[by] = seq
		return columns.end()
	})
	for _, by := range people {
		s.row()
		s.raw("(")
		s.int(int64(by))
		s.raw(",")
		s.name(string(c))
		s.raw(")")
	}
	s.end()
	if err := r.query(ctx, &s); err != nil {
		return nil, fmt.Errorf("positions in conversation %s: %w", c, err)
	}
	held := make([]int64, len(people))
	for i, by := range people {
		held[i] = found[by]
	}
	return held, nil
}

// Receipts implements timeline.Store. The cursor is read first: a receipt that
// moves meanwhile comes with the next one.
func (r *Record) Receipts(ctx context.Context, user im.UserID, since int64, limit int) (
	rs []timeline.Receipt, next int64, more bool, err error) {
	l := &lookup{people: []im.UserID{user}}
	if err := r.ask(ctx, l); err != nil {
		return nil, 0, false, fmt.Errorf("receipts for %d: %w", user, err)
	}
	head := l.heads[0].receipt
	if since >= head {
		return nil, head, false, nil
	}
	var s script
	s.raw("SELECT conversation, holder, seq, receipt_seq FROM record_receipts FORCE INDEX (cursors) WHERE person = ")
	s.int(int64(user))
	s.raw(" AND receipt_seq > ")
	s.int(since)
	s.raw(" AND receipt_seq <= ")
	s.int(head)
	s.raw(" ORDER BY receipt_seq LIMIT ")
	s.int(int64(limit) + 1)
	s.statement("", func(row []driver.Value) error {
		if more = len(rs) == limit; more {
			return nil
		}
		c := columns{row: row}
		rs = append(rs, timeline.Receipt{Conversation: im.ConversationID(c.name()), By: im.UserID(c.int()), Seq: c.int()})
		next = c.int()
		return c.end()
	})
	if err := r.query(ctx, &s); err != nil {
		return nil, 0, false, fmt.Errorf("receipts for %d: %w", user, err)
	}
	if !more {
		next = head
	}
	return rs, next, more, nil
}
