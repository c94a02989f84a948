package client

import "slices"

// maxRanges bounds what a set remembers apart; see seqSet.add.
const maxRanges = 1024

// span is a run of seqs, both ends included.
type span struct{ from, to int64 }

// seqSet is which seqs of a log are settled: all up to through, and some above.
type seqSet struct {
	through int64
	above   []span // ascending, apart from each other and from through
}

// has reports whether seq is settled.
func (s *seqSet) has(seq int64) bool {
	if seq <= s.through {
		return true
	}
	i, found := s.find(seq)
	return found || i > 0 && s.above[i-1].to >= seq
}

func (s *seqSet) find(seq int64) (i int, found bool) {
	return slices.BinarySearchFunc(s.above, seq, func(a span, seq int64) int { return int(min(1, max(-1, a.from-seq))) })
}

// add settles from to to. When more than maxRanges lie apart, the lowest hole is
// given up: it comes back as lost, and is settled.
func (s *seqSet) add(from, to int64) (lost span) {
	from = max(from, s.through+1)
	if to < from {
		return span{}
	}
	s.join(span{from, to})
	if len(s.above) > maxRanges {
		lost = span{s.through + 1, s.above[0].from - 1}
		s.through = lost.to
	}
	for len(s.above) > 0 && s.above[0].from == s.through+1 {
		s.through = s.above[0].to
		s.above = s.above[1:]
	}
	if len(s.above) == 0 {
		s.above = nil
	}
	return lost
}

// join puts n among the spans above, and makes those it touches one with it.
func (s *seqSet) join(n span) {
	first, _ := s.find(n.from)
	if first > 0 && s.above[first-1].to >= n.from-1 {
		first--
	}
	last := first
	for last < len(s.above) && s.above[last].from <= n.to+1 {
		n.from, n.to = min(n.from, s.above[last].from), max(n.to, s.above[last].to)
		last++
	}
	s.above = slices.Replace(s.above, first, last, n)
}

// missing gives the parts of from to to that are not settled.
func (s *seqSet) missing(from, to int64) (holes []span) {
	from = max(from, s.through+1)
	for _, a := range s.above {
		if a.to < from {
			continue
		}
		if a.from > to {
			break
		}
		if from < a.from {
			holes = append(holes, span{from, a.from - 1})
		}
		from = a.to + 1
	}
	if from <= to {
		holes = append(holes, span{from, to})
	}
	return holes
}
