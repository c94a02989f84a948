package report

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What a Latency holds: from 1 µs to 10 minutes, to three digits.
const (
	finest   = time.Microsecond
	longest  = 10 * time.Minute
	digits   = 3
	maxCoded = 1 << 20 // octets of an encoded histogram
)

// Latency is a histogram of durations with three significant digits, from 1 µs to
// 10 minutes; what is outside counts as the nearest. About 180 kB. For one
// goroutine: merge those of many.
type Latency struct{ h *hdrhistogram.Histogram }

// NewLatency gives an empty one.
func NewLatency() *Latency {
	return &Latency{hdrhistogram.New(1, int64(longest/finest), digits)}
}

// Record counts one duration.
func (l *Latency) Record(d time.Duration) { l.RecordMany(d, 1) }

// RecordMany counts n of the same duration, as of messages that one read brought.
func (l *Latency) RecordMany(d time.Duration, n int64) {
	_ = l.h.RecordValues(int64(min(max(d, finest), longest)/finest), n) // it fails outside the range only
}

// Merge adds what another counted.
func (l *Latency) Merge(from *Latency) { l.h.Merge(from.h) }

// Count is how many durations there are.
func (l *Latency) Count() int64 { return l.h.TotalCount() }

// Quantile is the duration that a part q, of 0 to 1, stays at or below; 0 when
// there is none.
func (l *Latency) Quantile(q float64) time.Duration {
	return time.Duration(l.h.ValueAtQuantile(100*q)) * finest
}

// Max is the longest; 0 when there is none.
func (l *Latency) Max() time.Duration { return time.Duration(l.h.Max()) * finest }

// coded is a Latency in a file: for readers a few figures, and for all others the
// histogram as HdrHistogram's V2 compressed encoding, in base64, in µs.
type coded struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
	HDR   string  `json:"hdr"`
}

// MarshalJSON writes the figures and the histogram.
func (l *Latency) MarshalJSON() ([]byte, error) {
	octets, err := l.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("encode a histogram: %w", err)
	}
	ms := func(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e3 }
	return json.Marshal(coded{
		Count: l.Count(), P50: ms(l.Quantile(.5)), P99: ms(l.Quantile(.99)), P999: ms(l.Quantile(.999)), Max: ms(l.Max()),
		HDR: string(octets),
	})
}

// UnmarshalJSON reads the histogram; the figures beside it are not looked at.
func (l *Latency) UnmarshalJSON(text []byte) error {
	var c coded
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	if len(c.HDR) > maxCoded {
		return fmt.Errorf("latency.hdr: %d octets are too many for a histogram", len(c.HDR))
	}
	h, err := hdrhistogram.Decode([]byte(c.HDR))
	if err != nil {
		return fmt.Errorf("latency.hdr is no HdrHistogram: %w", err)
	}
	if h.LowestTrackableValue() != 1 || h.HighestTrackableValue() != int64(longest/finest) || h.SignificantFigures() != digits {
		return fmt.Errorf("latency.hdr holds %d to %d with %d digits, not 1 µs to %v with %d", h.LowestTrackableValue(), h.HighestTrackableValue(), h.SignificantFigures(), longest, digits)
	}
	l.h = h
	return nil
}
