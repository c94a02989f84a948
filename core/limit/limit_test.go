package limit

import (
	"fmt"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ctx := t.Context()
	l := New(3, time.Minute, func() time.Time { return now })
	for i := range 3 {
		if wait := l.Take(ctx, "a"); wait != 0 {
			t.Fatalf("event %d waits %v", i, wait)
		}
	}
	if wait := l.Take(ctx, "a"); wait != 20*time.Second {
		t.Errorf("got %v, want 20s: three a minute", wait)
	}
	if wait := l.Wait(ctx, "b"); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	if wait := l.Take(ctx, "b", "a"); wait != 20*time.Second {
		t.Errorf("got %v, want the longest of both", wait)
	}
	now = now.Add(-time.Hour)
	if wait := l.Wait(ctx, "b"); wait != 0 {
		t.Errorf("a refused event counted for the other key, or time stepping back costs: %v", wait)
	}
	now = now.Add(time.Hour)
	l.GiveBack(ctx, "a")
	if wait := l.Take(ctx, "a"); wait != 0 {
		t.Errorf("after giving back: got %v", wait)
	}
	now = now.Add(time.Hour)
	for i := range 3 {
		if wait := l.Take(ctx, "a"); wait != 0 {
			t.Errorf("an hour later event %d waits %v", i, wait)
		}
	}
	if wait := l.Take(ctx, "a"); wait == 0 {
		t.Error("an idle key saved more than its burst")
	}
}

// TestTakeAt: a key may be taken at a rate of its own.
func TestTakeAt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ctx := t.Context()
	l := New(1, time.Second, func() time.Time { return now })
	for i := range 5 {
		if wait := l.TakeAt(ctx, 5, time.Minute, "a"); wait != 0 {
			t.Errorf("event %d of 5 waits %v", i, wait)
		}
	}
	if wait := l.TakeAt(ctx, 5, time.Minute, "a"); wait != 12*time.Second {
		t.Errorf("got %v, want 12s: five a minute", wait)
	}
	l.GiveBackAt(ctx, 5, time.Minute, "a")
	for i := range 2 {
		if wait := l.TakeAt(ctx, 5, time.Minute, "a"); (wait != 0) != (i == 1) {
			t.Errorf("one of 5 was given back: event %d waits %v", i, wait)
		}
	}
	if wait := l.TakeAt(ctx, 1, time.Hour, "b"); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	if wait := l.TakeAt(ctx, 1, time.Hour, "b"); wait != time.Hour {
		t.Errorf("got %v, want 1h", wait)
	}
	if wait := l.TakeAt(ctx, 0, time.Hour, "b"); wait != 0 {
		t.Errorf("no bound: waits %v", wait)
	}
}

// TestRateChanges: who waits at a slow rate waits no longer than a new one has him, and gets back no more than he had.
func TestRateChanges(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ctx := t.Context()
	l := New(1, time.Second, func() time.Time { return now })
	l.TakeAt(ctx, 1, time.Hour, "a")
	l.TakeAt(ctx, 1, time.Hour, "b")
	if wait := l.TakeAt(ctx, 1, 10*time.Second, "a"); wait != 10*time.Second {
		t.Errorf("got %v, want 10s: an hour was what it took before", wait)
	}
	now = now.Add(4 * time.Second)
	if wait := l.TakeAt(ctx, 1, 10*time.Second, "a"); wait != 6*time.Second {
		t.Errorf("got %v, want 6s: what he was told, less what has passed", wait)
	}
	now = now.Add(6 * time.Second)
	if wait := l.TakeAt(ctx, 1, 10*time.Second, "a"); wait != 0 {
		t.Errorf("got %v after as long as he was told", wait)
	}
	l.GiveBackAt(ctx, 1, 10*time.Second, "b")
	if wait := l.TakeAt(ctx, 1, 10*time.Second, "b"); wait != 0 {
		t.Errorf("given back at the new rate: got %v", wait)
	}
	if wait := l.TakeAt(ctx, 1, 10*time.Second, "b"); wait != 10*time.Second {
		t.Errorf("got %v, want 10s: one was given back", wait)
	}
	now = now.Add(-time.Hour)
	if wait := l.TakeAt(ctx, 1, 10*time.Second, "b"); wait != 10*time.Second {
		t.Errorf("got %v, want 10s: the clock was set back", wait)
	}
}

func TestNoLimit(t *testing.T) {
	l := New(0, time.Minute, nil)
	for range 1000 {
		if wait := l.Take(t.Context(), "a"); wait != 0 {
			t.Fatalf("got %v, want no limit", wait)
		}
	}
	if len(l.full) != 0 {
		t.Error("keys are kept for nothing")
	}
}

func TestLimiterIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	ctx := t.Context()
	l := New(10, time.Minute, func() time.Time { return now })
	for range 10 {
		l.Take(ctx, "the guilty one")
	}
	for i := range 2 * maxKeys {
		l.Take(ctx, fmt.Sprint(i))
	}
	if len(l.full) > maxKeys {
		t.Errorf("%d keys are kept, want at most %d", len(l.full), maxKeys)
	}
	if l.Wait(ctx, "the guilty one") == 0 {
		t.Error("the key most in debt was forgotten before others")
	}
}
