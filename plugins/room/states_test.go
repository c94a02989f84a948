package room

import (
	"context"
	"testing"
	"time"
)

// TestStatesForgetByRoom: a change of one room leaves what is remembered of others; that
// there is no such room is remembered too; a reading begun before a change is not used.
func TestStatesForgetByRoom(t *testing.T) {
	now, read := time.Unix(1000, 0), map[string]int{}
	s := newStates(func(_ context.Context, k key) (state, error) {
		read[k.room]++
		return state{}, errUnknown
	}, func() time.Time { return now })
	get := func() {
		for _, room := range []string{"a", "b"} {
			if _, err := s.get(t.Context(), key{room, 1}); err != errUnknown {
				t.Error(err)
			}
		}
	}
	get()
	get()
	s.forget("a")
	get()
	if read["a"] != 2 || read["b"] != 1 {
		t.Errorf("read %v", read)
	}
	for range maxChanged { // more than are remembered: all is read anew
		s.forget("c")
		s.forget(string(rune(0x4e00 + len(s.changed))))
	}
	get()
	if read["b"] != 2 || len(s.changed) > maxChanged {
		t.Errorf("read %v, %d changes are remembered", read, len(s.changed))
	}
	now = now.Add(fresh)
	get()
	if read["b"] != 3 {
		t.Errorf("read %v a second later", read)
	}
}
