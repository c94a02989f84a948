package room

import (
	"cmp"
	"slices"
	"strings"

	"freeim/idl"
	"freeim/idl/kitex_gen/roompb"
)

// span is a range of seqs, both inclusive.
type span struct{ from, to int64 }

// spans is a set of seqs: ascending, apart.
type spans []span

// add puts a range in, which may touch or overlap others.
func (s *spans) add(from, to int64) {
	list := *s
	if n := len(list); n == 0 || list[n-1].to+1 < from { // mostly it is the newest
		*s = append(list, span{from, to})
		return
	}
	first, _ := slices.BinarySearchFunc(list, from, func(e span, from int64) int { return cmp.Compare(e.to+1, from) })
	last := first
	for last < len(list) && list[last].from <= to+1 {
		from, to = min(from, list[last].from), max(to, list[last].to)
		last++
	}
	*s = slices.Replace(list, first, last, span{from, to})
}

// above gives what of the set is above a seq. It may share s's memory.
func (s spans) above(seq int64) spans {
	first, _ := slices.BinarySearchFunc(s, seq, func(e span, seq int64) int { return cmp.Compare(e.to, seq+1) })
	if first == len(s) || s[first].from > seq {
		return s[first:]
	}
	rest := slices.Clone(s[first:])
	rest[0].from = seq + 1
	return rest
}

func (s spans) seqs() (n int64) {
	for _, e := range s {
		n += e.to - e.from + 1
	}
	return n
}

// skip is the body that declares spans of a room.
func skip(room string, s spans, why roompb.RoomSkipReason, c idl.Codec) []byte {
	body := &roompb.RoomSkip{Room: nameOf(room), Reason: why, Ranges: make([]*roompb.SeqRange, len(s))}
	for i, e := range s {
		body.Ranges[i] = &roompb.SeqRange{From: e.from, To: e.to}
	}
	return encode(body, c)
}

// nameOf is what clients call a room whose conversation ID is id.
func nameOf(id string) string { return strings.TrimPrefix(id, "r_") }

func encode(m idl.Message, c idl.Codec) []byte {
	b, err := idl.Append(nil, c, m)
	if err != nil {
		return nil // no value of these bodies has one
	}
	return b
}
