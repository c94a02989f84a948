package sql

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"freeim/core/im"
	"freeim/core/timeline"
)

// Erase implements timeline.Store. It is no matter of the committer's: no head moves, and who appends looks at no
// message's row. Each statement is a transaction, of messages of one log of which the same is left.
func (r *Record) Erase(ctx context.Context, gone []timeline.Erasure) error {
	if err := r.refusal(ctx); err != nil {
		return fmt.Errorf("erase messages: %w", err)
	}
	type alike struct {
		log  im.ConversationID
		left string
	}
	all := map[alike][]timeline.Erasure{}
	for _, one := range gone {
		if n := len(one.Left); n > r.packet/4 {
			return fmt.Errorf("erase: what is left, %d octets, is too large for MySQL's max_allowed_packet", n)
		}
		key := alike{one.Conversation, string(one.Left)}
		all[key] = append(all[key], one)
	}
	for key, some := range all {
		slices.SortFunc(some, func(x, y timeline.Erasure) int { return cmp.Compare(x.Seq, y.Seq) })
		for some := range slices.Chunk(some, maxList) {
			if err := r.erase(ctx, key.log, key.left, some); err != nil {
				return fmt.Errorf("erase messages of conversation %s: %w", key.log, err)
			}
		}
	}
	return nil
}

// erase has the key find the rows, by their seqs; that they are those messages their IDs say.
func (r *Record) erase(ctx context.Context, log im.ConversationID, left string, some []timeline.Erasure) error {
	s := script{limit: math.MaxInt}
	s.raw("UPDATE record_messages SET body = ")
	s.name(left)
	s.raw(" WHERE conversation = ")
	s.name(string(log))
	for i, one := range some {
		s.raw(before(i, " AND seq IN ("))
		s.int(one.Seq)
	}
	for i, one := range some {
		s.raw(before(i, ") AND (seq, id) IN ("))
		s.raw("(")
		s.int(one.Seq)
		s.raw(",")
		s.bytes(one.ID[:])
		s.raw(")")
	}
	s.statement(")", nil)
	return r.query(ctx, &s)
}

// before is what stands before the i-th of a list that begins with head.
func before(i int, head string) string {
	if i == 0 {
		return head
	}
	return ","
}
