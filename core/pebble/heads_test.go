package pebble

import "testing"

// heads forgets what was not asked for lately, keeps what was, and never forgets
// what is of the batch or the one before.
func TestHeads(t *testing.T) {
	h := newHeads[int](10)
	h.set(-1, 7)
	for batch := range 20 {
		for i := range 5 {
			h.set(batch*5+i, int64(i))
		}
		if seq, ok := h.get(-1); !ok || seq != 7 {
			t.Fatalf("batch %d: the one always asked for: got %d, %t, want 7", batch, seq, ok)
		}
		if seq, ok := h.get(batch * 5); !ok || seq != 0 {
			t.Fatalf("batch %d: one of this batch: got %d, %t, want 0", batch, seq, ok)
		}
		h.age()
		if seq, ok := h.get(batch*5 + 1); !ok || seq != 1 {
			t.Fatalf("batch %d: one of the batch before: got %d, %t, want 1", batch, seq, ok)
		}
		if n := len(h.young) + len(h.old); n > 2*10+2*5 {
			t.Fatalf("batch %d: %d are remembered", batch, n)
		}
	}
	if _, ok := h.get(3); ok {
		t.Error("one of the first batch is still remembered")
	}
}
