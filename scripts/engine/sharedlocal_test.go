package engine

import (
	"errors"
	"maps"
	"strconv"
	"testing"
	"time"
)

func TestLocalMarks(t *testing.T) {
	now := int64(0)
	m := marks{now: func() int64 { return now }, keys: map[string]*markedKey{}}
	if v, fresh, err := m.mark("k", "a", "yes", time.Second); v != "yes" || !fresh || err != nil {
		t.Errorf("got %q, %v, %v", v, fresh, err)
	}
	if v, fresh, err := m.mark("k", "a", "no", time.Hour); v != "yes" || fresh || err != nil {
		t.Errorf("again: got %q, %v, %v", v, fresh, err)
	}
	if counts, mine := m.count("k", "a"); !maps.Equal(counts, map[string]int64{"yes": 1}) || mine != "yes" {
		t.Errorf("got %v, %q", counts, mine)
	}
	for i := range maxValues - 1 {
		if _, _, err := m.mark("k", "b"+strconv.Itoa(i), strconv.Itoa(i), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := m.mark("k", "c", "one more", time.Second); !errors.Is(err, ErrFull) {
		t.Errorf("another value: got %v", err)
	}
	now = int64(time.Second)
	if counts, mine := m.count("k", "a"); len(counts) != 0 || mine != "" || m.all != 0 {
		t.Errorf("after its time: got %v, %q, %d", counts, mine, m.all)
	}
	for i := range maxAllMarks {
		if _, _, err := m.mark("k"+strconv.Itoa(i%3), strconv.Itoa(i), "v", time.Duration(1+i%3)*time.Second); err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
	}
	if _, _, err := m.mark("other", "a", "v", time.Second); !errors.Is(err, ErrFull) {
		t.Errorf("beyond all bounds: got %v", err)
	}
	now += int64(time.Second)
	if _, fresh, err := m.mark("other", "a", "v", time.Second); !fresh || err != nil {
		t.Errorf("when a key has ended: got %v, %v", fresh, err)
	}
	if !m.remove("other") || m.remove("other") {
		t.Error("want the key removed once")
	}
}

// What is the script's fault is so on a tape too: a rule does the same while it is recorded.
func TestTapedFaults(t *testing.T) {
	own, err := newState(nil, time.Now, usualBounds(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	for _, s := range []Shared{own.common(), (&tape{inner: own}).common()} {
		if err := s.Set(t.Context(), "k", "v", time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Incr(t.Context(), "k", 1, time.Hour); !errors.Is(err, ErrNotANumber) {
			t.Errorf("%T: got %v", s, err)
		}
	}
}
