package account

import (
	"fmt"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := newLimiter(3, time.Minute)
	for i := range 3 {
		if wait := l.take(now, "a"); wait != 0 {
			t.Fatalf("event %d waits %v", i, wait)
		}
	}
	if wait := l.take(now, "a"); wait != 20*time.Second {
		t.Errorf("got %v, want 20s: three a minute", wait)
	}
	if wait := l.wait(now, "b"); wait != 0 {
		t.Errorf("another key waits %v", wait)
	}
	if wait := l.take(now, "b", "a"); wait != 20*time.Second {
		t.Errorf("got %v, want the longest of both", wait)
	}
	if wait := l.wait(now.Add(-time.Hour), "b"); wait != 0 {
		t.Errorf("a refused event counted for the other key, or time stepping back costs: %v", wait)
	}
	l.giveBack("a")
	if wait := l.take(now, "a"); wait != 0 {
		t.Errorf("after giving back: got %v", wait)
	}
	now = now.Add(time.Hour)
	for i := range 3 {
		if wait := l.take(now, "a"); wait != 0 {
			t.Errorf("an hour later event %d waits %v", i, wait)
		}
	}
	if wait := l.take(now, "a"); wait == 0 {
		t.Error("an idle key saved more than its burst")
	}
}

func TestNoLimit(t *testing.T) {
	l := newLimiter(0, time.Minute)
	for range 1000 {
		if wait := l.take(time.Unix(0, 0), "a"); wait != 0 {
			t.Fatalf("got %v, want no limit", wait)
		}
	}
	if len(l.full) != 0 {
		t.Error("keys are kept for nothing")
	}
}

func TestLimiterIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	l := newLimiter(10, time.Minute)
	for range 10 {
		l.take(now, "the guilty one")
	}
	for i := range 2 * maxKeys {
		l.take(now, fmt.Sprint(i))
	}
	if len(l.full) > maxKeys {
		t.Errorf("%d keys are kept, want at most %d", len(l.full), maxKeys)
	}
	if l.wait(now, "the guilty one") == 0 {
		t.Error("the key most in debt was forgotten before others")
	}
}

func TestAddressKey(t *testing.T) {
	for _, test := range []struct{ a, b string }{
		{"192.0.2.1:1", "192.0.2.1:2"},
		{"192.0.2.1:1", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:2"},
		{"[2001:db8::1]:1", "[2001:db8::ffff:2]:2"},
		{"[fe80::1%eth0]:1", "[fe80::2]:1"},
	} {
		if addressKey(test.a) != addressKey(test.b) {
			t.Errorf("%s and %s differ: %q, %q", test.a, test.b, addressKey(test.a), addressKey(test.b))
		}
	}
	for _, test := range []struct{ a, b string }{
		{"192.0.2.1:1", "192.0.2.2:1"},
		{"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"},
		{"", "192.0.2.1:1"},
	} {
		if addressKey(test.a) == addressKey(test.b) {
			t.Errorf("%s and %s are one: %q", test.a, test.b, addressKey(test.a))
		}
	}
}
