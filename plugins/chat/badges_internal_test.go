package chat

import (
	"errors"
	"sync/atomic"
	"testing"

	"freeim/core/im"
)

// TestEachOfStops: a store that fails is not asked once for each person.
func TestEachOfStops(t *testing.T) {
	var calls atomic.Int64
	fault := errors.New("no store")
	err := eachOf(make([]im.UserID, 100), func(int, im.UserID) error {
		calls.Add(1)
		return fault
	})
	if n := calls.Load(); n < 1 || n > badgesAtOnce || err != fault {
		t.Errorf("%d calls, %v", n, err)
	}
	calls.Store(0)
	if err := eachOf(make([]im.UserID, 100), func(int, im.UserID) error { calls.Add(1); return nil }); err != nil || calls.Load() != 100 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
}
