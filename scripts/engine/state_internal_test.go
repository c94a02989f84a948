package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
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
	s.local.cache.CleanUp()
	if got := s.local.cache.WeightedSize(); got > (2 << 20) {
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
	s.rates.CleanUp()
	s.windows.CleanUp()
	s.sets.CleanUp()
	if got := s.sets.WeightedSize(); got > 2<<20 {
		t.Errorf("got %d octets of sets, want at most %d", got, 2<<20)
	}
	for name, got := range map[string]int{"rates": s.rates.EstimatedSize(), "windows": s.windows.EstimatedSize()} {
		if got > 1000 {
			t.Errorf("got %d %s, want at most %d", got, name, 1000)
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
		if err := s.KV.Set(t.Context(), fmt.Sprint(i), "v", time.Second); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	s.rates.CleanUp()
	s.windows.CleanUp()
	s.sets.CleanUp()
	s.local.cache.CleanUp()
	if n := s.rates.EstimatedSize() + s.windows.EstimatedSize() + s.sets.EstimatedSize() + s.local.cache.EstimatedSize(); n != 0 {
		t.Errorf("got %d entries, want none", n)
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
