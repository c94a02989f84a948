package pebble

// heads remembers the newest seq of the timelines that were written lately, in
// two generations: what the old one has and nobody asks for is forgotten when
// the young one is full. So at most twice the limit is held, plus one batch.
type heads[K comparable] struct {
	limit      int
	young, old map[K]int64
}

func newHeads[K comparable](limit int) heads[K] {
	return heads[K]{limit: limit, young: map[K]int64{}}
}

func (h *heads[K]) get(k K) (seq int64, ok bool) {
	if seq, ok = h.young[k]; ok {
		return seq, true
	}
	if seq, ok = h.old[k]; ok {
		h.young[k] = seq
	}
	return seq, ok
}

func (h *heads[K]) set(k K, seq int64) { h.young[k] = seq }

// age forgets what was not used lately, if there is too much. It is called between two
// batches: what a batch assigned is nowhere else while it, or the next one, is staged.
func (h *heads[K]) age() {
	if len(h.young) >= h.limit {
		h.old, h.young = h.young, make(map[K]int64, h.limit/2)
	}
}
