package sql

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"freeim/core/timeline"
)

// Erase implements timeline.Store. It is no matter of the committer's: no head moves, and who appends looks at no
// message's row. Those of one log of which the same is left are one statement, and many statements a transaction; two cores
// that erase the same take its rows in the same order.
func (r *Record) Erase(ctx context.Context, gone []timeline.Erasure) error {
	for _, one := range gone {
		if n := len(one.Left); n > r.packet/4 {
			return fmt.Errorf("erase: what is left, %d octets, is too large for MySQL's max_allowed_packet", n)
		}
	}
	all := slices.SortedFunc(slices.Values(gone), func(x, y timeline.Erasure) int {
		return cmp.Or(cmp.Compare(x.Conversation, y.Conversation), bytes.Compare(x.Left, y.Left), cmp.Compare(x.Seq, y.Seq))
	})
	for len(all) > 0 {
		s := script{limit: math.MaxInt}
		s.statement("START TRANSACTION", nil)
		for room := min(maxStatement, r.packet/4); len(all) > 0 && len(s.text) < room; {
			n := alike(all)
			s.erase(all[:n])
			all = all[n:]
		}
		s.statement("COMMIT", nil)
		if err := r.query(ctx, &s); err != nil {
			return fmt.Errorf("erase messages: %w", err)
		}
	}
	return nil
}

// alike is how many erasures at the beginning of all, which is sorted, are one statement.
func alike(all []timeline.Erasure) int {
	n := slices.IndexFunc(all, func(e timeline.Erasure) bool {
		return e.Conversation != all[0].Conversation || !bytes.Equal(e.Left, all[0].Left)
	})
	if n < 0 {
		n = len(all)
	}
	return min(n, maxList)
}

// erase has the key find the rows, by their seqs; that they are those messages their IDs say.
func (s *script) erase(some []timeline.Erasure) {
	s.raw("UPDATE record_messages SET body = ")
	s.bytes(some[0].Left)
	s.raw(" WHERE conversation = ")
	s.name(string(some[0].Conversation))
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
}

// before is what stands before the i-th of a list that begins with head.
func before(i int, head string) string {
	if i == 0 {
		return head
	}
	return ","
}
