package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"freeim/scripts/engine/texts"
)

func testState(t *testing.T, now func() time.Time) *state {
	t.Helper()
	s, err := newState(nil, now, bounds{octets: 2 << 20, keys: 1000}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// A flood of keys finds an end, and does not push out the key that is in use.
func TestStateIsBounded(t *testing.T) {
	s, ctx := testState(t, time.Now), t.Context()
	value := strings.Repeat("v", maxValue)
	for i := range 4 * (2 << 20) / maxValue {
		if err := s.KV.Set(ctx, fmt.Sprint("flood", i), value, maxTTL); err != nil {
			t.Fatal(err)
		}
		if _, err := s.KV.Incr(ctx, "used", 1, maxTTL); err != nil {
			t.Fatal(err)
		}
	}
	inside(s.local.cache).CleanUp()
	if got := inside(s.local.cache).WeightedSize(); got > (2 << 20) {
		t.Errorf("got %d octets, want at most %d", got, (2 << 20))
	}
	if got, ok, _ := s.KV.Get(ctx, "used"); !ok || got != fmt.Sprint(4*(2<<20)/maxValue) {
		t.Errorf("got %q for the key in use", got)
	}
	now := time.Now().UnixNano()
	for i := range 2 * 1000 {
		s.rate(rateKey{fmt.Sprint(i), 1, maxTTL}, now)
		s.count(windowKey{fmt.Sprint(i), maxTTL}, 1, now)
	}
	const set = 16*maxUniq + kvOverhead // octets of a full one
	for i := range 2 * (2 << 20) / set * maxUniq {
		s.uniq(windowKey{fmt.Sprint(i / maxUniq), maxTTL}, fmt.Sprint(i), now)
	}
	var c texts.Comparer
	for i := range 2 * (2 << 20) / (1200 + kvOverhead) {
		k := windowKey{fmt.Sprint(i), maxTTL}
		s.alike(k, "short", 1, &c, now)
		s.alike(k, strings.Repeat("好", saidLetters), 1, &c, now)
	}
	inside(s.rates).CleanUp()
	inside(s.windows).CleanUp()
	inside(s.sets).CleanUp()
	inside(s.said).CleanUp()
	if got := inside(s.sets).WeightedSize(); got > 2<<20 {
		t.Errorf("got %d octets of sets, want at most %d", got, 2<<20)
	}
	octets := int64(0)
	for _, one := range s.said.(*otter.Cache[windowKey, *said]).All() {
		octets += int64(len(one.looks))
	}
	if octets == 0 || octets > 2<<20 {
		t.Errorf("got %d octets of texts, want at most %d", octets, 2<<20)
	}
	for name, got := range map[string]int{"rates": inside(s.rates).EstimatedSize(), "windows": inside(s.windows).EstimatedSize()} {
		if got > 1000 {
			t.Errorf("got %d %s, want at most %d", got, name, 1000)
		}
	}
}

// The caches keep house beside those who write, a millisecond later: meanwhile they have little more than they may,
// however many write, and then no more, without anybody asking.
func TestStateIsBoundedWhileManyWrite(t *testing.T) {
	const keys, octets, people, each = 1000, 1 << 20, 4, 20_000
	s, err := newState(nil, time.Now, bounds{octets, keys}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	value := strings.Repeat("v", 1024-kvOverhead)
	more := 2048 * runtime.GOMAXPROCS(0) // what a cache notes before a writer keeps house himself
	for name, cache := range map[string]struct {
		write func(key string)
		size  func() int
		most  int
	}{
		"rates":   {func(key string) { s.rate(rateKey{key, 1, maxTTL}, time.Now().UnixNano()) }, inside(s.rates).EstimatedSize, keys},
		"windows": {func(key string) { s.count(windowKey{key, maxTTL}, 1, time.Now().UnixNano()) }, inside(s.windows).EstimatedSize, keys},
		"sets":    {func(key string) { s.uniq(windowKey{key, maxTTL}, "x", time.Now().UnixNano()) }, inside(s.sets).EstimatedSize, octets / kvOverhead},
		"said":    {func(key string) { s.alike(windowKey{key, maxTTL}, "x", 1, nil, time.Now().UnixNano()) }, inside(s.said).EstimatedSize, octets / (saidRoom + kvOverhead)},
		"values": {func(key string) {
			if err := s.KV.Set(context.Background(), key, value, maxTTL); err != nil {
				t.Error(err)
			}
		}, inside(s.local.cache).EstimatedSize, octets / 1024},
	} {
		var all sync.WaitGroup
		for p := range people {
			all.Go(func() {
				for n := range each {
					cache.write(fmt.Sprint(p, "-", n))
					if got := cache.size(); got > cache.most+more {
						t.Errorf("%s: got %d while they are written, want at most %d, and %d more", name, got, cache.most, more)
						return
					}
				}
			})
		}
		all.Wait()
		until(t, name+" are no more than they may be", func() bool { return cache.size() <= cache.most })
		if cache.size() == 0 {
			t.Errorf("%s: none is left", name)
		}
	}
}

// What nobody asks for any more leaves by itself.
func TestStateExpires(t *testing.T) {
	now := time.Now()
	s := testState(t, func() time.Time { return now })
	for i := range 1000 {
		s.rate(rateKey{fmt.Sprint(i), 1, time.Second}, now.UnixNano())
		s.count(windowKey{fmt.Sprint(i), time.Second}, 1, now.UnixNano())
		s.uniq(windowKey{fmt.Sprint(i), time.Second}, "x", now.UnixNano())
		s.alike(windowKey{fmt.Sprint(i), time.Second}, "x", 1, nil, now.UnixNano())
		if err := s.KV.Set(t.Context(), fmt.Sprint(i), "v", time.Second); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	inside(s.rates).CleanUp()
	inside(s.windows).CleanUp()
	inside(s.sets).CleanUp()
	inside(s.said).CleanUp()
	inside(s.local.cache).CleanUp()
	if n := inside(s.rates).EstimatedSize() + inside(s.windows).EstimatedSize() + inside(s.sets).EstimatedSize() + inside(s.said).EstimatedSize() + inside(s.local.cache).EstimatedSize(); n != 0 {
		t.Errorf("got %d entries, want none", n)
	}
}

// A rate leaves when it is full again, and not before.
func TestRatesLeaveWhenFull(t *testing.T) {
	const day = 24 * time.Hour
	begun := time.Unix(1_700_000_000, 0)
	now := begun
	s := testState(t, func() time.Time { return now })
	take := func(k rateKey, n int) (taken int) {
		for range n {
			if ok, _ := s.rate(k, now.UnixNano()); ok {
				taken++
			}
		}
		return taken
	}
	once, spent, single := rateKey{"once", 100, day}, rateKey{"spent", 100, day}, rateKey{"single", 1, day}
	if a, b, c := take(once, 1), take(spent, 200), take(single, 2); a != 1 || b != 100 || c != 1 {
		t.Fatalf("took %d, %d, %d", a, b, c)
	}
	now = begun.Add(time.Hour)
	inside(s.rates).CleanUp()
	if _, there := s.rates.(*otter.Cache[rateKey, *refill]).GetEntryQuietly(once); there {
		t.Error("a rate of which one turn was taken is kept after it is full")
	}
	now = begun.Add(23 * time.Hour)
	inside(s.rates).CleanUp()
	if a, b := take(spent, 200), take(single, 1); a != 95 || b != 0 {
		t.Errorf("after 23 hours took %d of 95, and %d of none", a, b)
	}
	now = begun.Add(2*day + time.Minute)
	inside(s.rates).CleanUp()
	if n := inside(s.rates).EstimatedSize(); n != 0 {
		t.Errorf("got %d rates, want none", n)
	}
}

// A call whose time stood still before a span began does not empty it.
func TestWindowsTakeLateCalls(t *testing.T) {
	s := testState(t, time.Now)
	k := windowKey{"k", time.Minute}
	begins := int64(1_000_000 * time.Minute)
	for _, call := range []struct {
		at, add int64
		least   float64
	}{{-1, 100, 100}, {0, 1, 101}, {-1, 1, 101}, {0, 0, 102}, {int64(-2 * time.Minute), 1, 1}} {
		if got := s.count(k, float64(call.add), begins+call.at); got < call.least {
			t.Errorf("%d added at %d: got %v, want %v at least", call.add, call.at, got, call.least)
		}
	}
}

// brokenKV is a store that cannot be reached.
type brokenKV struct{ KV }

func (brokenKV) Get(context.Context, string) (string, bool, error) {
	return "", false, errors.New("no answer")
}

func TestForeignKV(t *testing.T) {
	b := bundleOf(t, hookSource(`im.kv.get("x")`), nil)
	s, err := newState(brokenKV{}, time.Now, usualBounds(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	b.opts.state, s = s, b.opts.state
	v := judged(t.Context(), b, "hello")
	b.opts.state, s = s, b.opts.state
	if v.Err == nil || !strings.Contains(v.Err.Error(), "im.kv: no answer") {
		t.Errorf("got %v, want the store's error", v.Err)
	}
}

// TestCompared: of a long text its beginning is looked at and no more, whatever it is of.
func TestCompared(t *testing.T) {
	const hidden = "\u200B"
	for _, row := range []struct{ text, want string }{
		{"PАУРАL", texts.Skeleton("paypal")},
		{strings.Repeat("A", 64<<10), strings.Repeat("a", saidLetters)},
		{strings.Repeat("é", 32<<10), strings.Repeat("e", saidLetters)},
		{strings.Repeat(hidden, saidLooked-2) + "abc", "ab"},
		{strings.Repeat(hidden+"a", saidLooked), strings.Repeat("a", saidLetters)},
		{strings.Repeat(hidden, saidLooked) + "a", ""},
	} {
		if got := compared(row.text); got != row.want {
			t.Errorf("of %.20q: got %.40q, want %.40q", row.text, got, row.want)
		}
	}
}

// inside is what tests ask of a cache beside what it is used for.
func inside(cache any) interface {
	CleanUp()
	EstimatedSize() int
	WeightedSize() uint64
} {
	return cache.(interface {
		CleanUp()
		EstimatedSize() int
		WeightedSize() uint64
	})
}
