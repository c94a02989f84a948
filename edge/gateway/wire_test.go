package gateway

import "testing"

// What another goroutine seals while the read loop looks is no answer to key
// updates, however much it is.
func TestSealedMeanwhileIsNotUnasked(t *testing.T) {
	w := new(wire)
	w.Write(make([]byte, 100))
	if got := w.unasked(); got != 100 {
		t.Errorf("waiting: got %d, want 100", got)
	}
	w.lend(new([]byte))
	w.Write(make([]byte, 2*maxUnasked))
	if got := w.unasked(); got != 0 {
		t.Errorf("being sealed: got %d, want 0", got)
	}
	if got := len(*w.take()); got != 100+2*maxUnasked {
		t.Errorf("taken: got %d octets", got)
	}
	w.Write(make([]byte, 10))
	if got := w.unasked(); got != 10 {
		t.Errorf("after it: got %d, want 10", got)
	}
}
