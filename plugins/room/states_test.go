package room

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestStatesForgetByRoom: a change of one room leaves what is remembered of others; that
// there is no such room is remembered too; a reading begun before a change is not used.
func TestStatesForgetByRoom(t *testing.T) {
	now, read := time.Unix(1000, 0), map[string]int{}
	s := newStates(func(_ context.Context, k key) (state, error) {
		read[k.room]++
		return state{}, errUnknown
	}, nil, func() time.Time { return now })
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
		t.Errorf("read %v a minute later", read)
	}
}

// several is a room that other cores change, in the tables as they are.
type several struct {
	changes int64
	gone    bool
	away    error
	read    int
	slow    chan struct{} // a reading lasts until it is closed; nil: no time
}

func (s *several) load(context.Context, key) (state, error) {
	s.read++
	found := state{room: room{name: "a", changes: s.changes}}
	if slow := s.slow; slow != nil {
		<-slow
	}
	return found, nil
}

func (s *several) count(context.Context, string) (int64, bool, error) {
	return s.changes, !s.gone, s.away
}

// TestStatesOfSeveralCores: what another core changed is read anew at once, and only then.
func TestStatesOfSeveralCores(t *testing.T) {
	now, rows := time.Unix(1000, 0), &several{changes: 3}
	s := newStates(rows.load, rows.count, func() time.Time { return now })
	want := func(changes int64, read int, wantErr error) {
		t.Helper()
		got, err := s.get(t.Context(), key{"a", 1})
		if got.room.changes != changes || err != wantErr || rows.read != read {
			t.Errorf("got %d changes and %v after %d readings, want %d and %v after %d", got.room.changes, err, rows.read, changes, wantErr, read)
		}
	}
	if _, known := s.last(key{"a", 1}); known {
		t.Error("it knows what it has not read")
	}
	want(3, 1, nil)
	now = now.Add(fresh - 1)
	want(3, 1, nil)
	rows.changes = 4
	want(4, 2, nil)
	rows.changes = 2 // the directory was put back
	want(2, 3, nil)
	now = now.Add(fresh)
	want(2, 4, nil)
	rows.away = errors.New("away")
	want(0, 4, rows.away)
	if last, known := s.last(key{"a", 1}); !known || last.room.changes != 2 {
		t.Errorf("last it read %+v, %v", last, known)
	}
	rows.away, rows.gone = nil, true
	want(0, 4, errUnknown)
}

// TestReadingsOfSeveralCores: who asks when another core's change is committed does not wait for a
// reading that began before it; those who ask at once wait for one.
func TestReadingsOfSeveralCores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := make(chan struct{}), make(chan struct{})
		rows := &several{changes: 3, slow: first}
		s := newStates(rows.load, rows.count, time.Now)
		got := make(chan int64, 4)
		ask := func() {
			go func() {
				found, err := s.get(t.Context(), key{"a", 1})
				if err != nil {
					t.Error(err)
				}
				got <- found.room.changes
			}()
			synctest.Wait()
		}
		ask()
		ask()
		rows.changes, rows.slow = 4, second
		ask()
		ask()
		if _, known := s.last(key{"a", 1}); known || rows.read != 2 {
			t.Errorf("%d readings were begun, known: %v", rows.read, known)
		}
		close(second)
		for range 2 {
			if n := <-got; n != 4 {
				t.Errorf("got %d changes, want 4", n)
			}
		}
		close(first)
		for range 2 {
			if n := <-got; n != 3 {
				t.Errorf("who asked before got %d changes, want 3", n)
			}
		}
		ask()
		if n := <-got; n != 4 || rows.read != 2 {
			t.Errorf("got %d changes after %d readings, want 4 after 2", n, rows.read)
		}
	})
}
