package load_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"freeim/bench/load"
)

func TestHistogramIsExactToOneInAHundred(t *testing.T) {
	for d := time.Microsecond; d < time.Hour; d += 1 + d/7 {
		var h load.Histogram
		h.Record(d)
		if got := h.Quantile(.5); math.Abs(float64(got-d)) > float64(d)/100+float64(time.Microsecond) {
			t.Fatalf("got %v for %v", got, d)
		}
	}
	var h load.Histogram
	h.Record(-time.Second)
	h.Record(1 << 62)
	if h.Count() != 2 {
		t.Errorf("got %d values, want 2", h.Count())
	}
}

func TestHistogramQuantilesAndJSON(t *testing.T) {
	var h, copied, sum load.Histogram
	for i := range 1000 {
		h.Record(time.Duration(i+1) * time.Microsecond)
	}
	text, err := json.Marshal(&h)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &copied); err != nil {
		t.Fatal(err)
	}
	sum.Add(&h)
	sum.Add(&copied)
	for q, want := range map[float64]float64{.5: 500, .99: 990, 1: 1000} {
		if got := sum.Quantile(q); math.Abs(float64(got.Microseconds())-want) > 10 {
			t.Errorf("quantile %v: got %v, want %v µs", q, got, want)
		}
	}
	if sum.Count() != 2000 {
		t.Errorf("got %d, want 2000", sum.Count())
	}
	if err := json.Unmarshal([]byte("[[99999,1]]"), &h); err == nil {
		t.Error("a bucket that there is not was read")
	}
}
