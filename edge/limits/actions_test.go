package limits

import (
	"testing"
	"testing/synctest"
	"time"
)

// Everybody has a rate of his own for each action; what is refused counts nothing.
func TestRatesOfActions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewActions()
		one, two, somewhere := Caller{User: 1}, Caller{User: 2}, Caller{Address: "192.0.2.1"}
		for _, who := range []Caller{one, two, somewhere} {
			for i := range 5 {
				if wait := a.Take(200, who, 5, time.Minute); wait != 0 {
					t.Fatalf("call %d of %+v: got %v to wait", i+1, who, wait)
				}
			}
			for range 3 {
				if wait := a.Take(200, who, 5, time.Minute); wait != 12*time.Second {
					t.Errorf("got %v to wait, want 12 s", wait)
				}
			}
		}
		if wait := a.Take(201, one, 5, time.Minute); wait != 0 {
			t.Errorf("another action: got %v to wait", wait)
		}
		time.Sleep(12 * time.Second)
		if wait := a.Take(200, one, 5, time.Minute); wait != 0 {
			t.Errorf("after the pause: got %v to wait", wait)
		}
		if wait := a.Take(200, one, 0, 0); wait != 0 {
			t.Errorf("without a rate: got %v to wait", wait)
		}
	})
}

// However many callers there are, the table is bounded.
func TestRatesOfActionsAreBounded(t *testing.T) {
	a := NewActions()
	for i := range int64(2 * maxActionKeys) {
		a.Take(200, Caller{User: i + 1}, 1, time.Hour)
	}
	n := 0
	for i := range a.parts {
		n += len(a.parts[i].paid)
	}
	if n > maxActionKeys || n < maxActionKeys/2 {
		t.Errorf("%d keys", n)
	}
}
