package load

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"time"
)

// The buckets of a Histogram: 128 for each doubling, so a value is at most 0.8 %
// off, from 1 µs to 71 minutes.
const (
	subBits = 7
	buckets = (32 - subBits + 1) << subBits
)

// Histogram counts durations. The zero value is ready. Recording is an increment,
// so that the loop can do it for every delivery; the report makes more of it.
type Histogram struct {
	counts [buckets]int64
}

// Record counts one; a negative duration, which two clocks could give, is 0.
func (h *Histogram) Record(d time.Duration) { h.counts[bucket(d)]++ }

func bucket(d time.Duration) int {
	us := uint64(max(d, 0)) / uint64(time.Microsecond)
	if us >= 1<<32 {
		return buckets - 1
	}
	exp := max(bits.Len64(us)-subBits-1, 0)
	return exp<<subBits + int(us>>exp)
}

// value is the middle of a bucket.
func value(i int) time.Duration {
	if i < 2<<subBits {
		return time.Duration(i) * time.Microsecond
	}
	exp := i>>subBits - 1
	low := uint64(i-exp<<subBits) << exp
	return time.Duration(low+(1<<exp)/2) * time.Microsecond
}

// Add counts what o has counted.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// Count is how many were recorded.
func (h *Histogram) Count() (n int64) {
	for _, c := range h.counts {
		n += c
	}
	return n
}

// Each gives every duration that was recorded, to a bucket, and how often.
func (h *Histogram) Each(fn func(d time.Duration, times int64)) {
	for i, n := range h.counts {
		if n > 0 {
			fn(value(i), n)
		}
	}
}

// Quantile is the duration that a part q of all does not exceed; 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	left := int64(q * float64(h.Count()))
	last := time.Duration(0)
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		last = value(i)
		if left -= n; left <= 0 {
			break
		}
	}
	return last
}

// MarshalJSON writes pairs of bucket and count.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	pairs := [][2]int64{}
	for i, n := range h.counts {
		if n > 0 {
			pairs = append(pairs, [2]int64{int64(i), n})
		}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON reads them.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var pairs [][2]int64
	if err := json.Unmarshal(text, &pairs); err != nil {
		return err
	}
	for _, p := range pairs {
		if p[0] < 0 || p[0] >= buckets || p[1] < 0 {
			return fmt.Errorf("bucket %d of a histogram with count %d", p[0], p[1])
		}
		h.counts[p[0]] += p[1]
	}
	return nil
}
