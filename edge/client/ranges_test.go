package client

import (
	"math/rand/v2"
	"testing"
)

// TestSeqSet holds a seqSet against a plain set.
func TestSeqSet(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s seqSet
		plain := map[int64]bool{}
		for range 100 {
			from := 1 + r.Int64N(80)
			to := from + r.Int64N(6) - 1
			var holes int
			for _, h := range s.missing(from, to) {
				for seq := h.from; seq <= h.to; seq++ {
					if plain[seq] {
						t.Fatalf("seed %d: %d is missing, and was added", seed, seq)
					}
					holes++
				}
			}
			want := 0
			for seq := from; seq <= to; seq++ {
				if !plain[seq] {
					want++
				}
				plain[seq] = true
			}
			if holes != want {
				t.Fatalf("seed %d: %d-%d: got %d missing, want %d", seed, from, to, holes, want)
			}
			if lost := s.add(from, to); lost != (span{}) {
				t.Fatalf("seed %d: lost %v", seed, lost)
			}
			for seq := int64(1); seq < 90; seq++ {
				if s.has(seq) != plain[seq] {
					t.Fatalf("seed %d: has(%d) is %v, set %+v", seed, seq, s.has(seq), s)
				}
			}
			if plain[s.through+1] {
				t.Fatalf("seed %d: through is %d, and the next is there", seed, s.through)
			}
		}
	}
}

// TestSeqSetIsBounded: what lies too far apart is given up from below.
func TestSeqSetIsBounded(t *testing.T) {
	var s seqSet
	var lost []span
	for i := range int64(maxRanges + 2) {
		if l := s.add(2+2*i, 2+2*i); l != (span{}) {
			lost = append(lost, l)
		}
	}
	if len(lost) != 2 || lost[0] != (span{1, 1}) || lost[1] != (span{3, 3}) || s.through != 4 || len(s.above) != maxRanges {
		t.Errorf("lost %v, through %d, %d apart", lost, s.through, len(s.above))
	}
}
