package report

import (
	"fmt"
	"strings"
	"time"
)

// Summary is a row in one line.
func Summary(r *Row) string {
	parts := []string{fmt.Sprintf("%s round %d", r.Key(), r.Round)}
	if r.Units() > 0 {
		parts = append(parts, grouped(r.PerSecond())+"/s")
	}
	if r.Latency != nil && r.Latency.Count() > 0 {
		parts = append(parts, fmt.Sprintf("p50 %s p99 %s", milliseconds(r.Latency.Quantile(.5)), milliseconds(r.Latency.Quantile(.99))))
	}
	if cost, known := r.CPUPerMillion(Edge); known {
		parts = append(parts, "edge "+figure(cost)+" s/million")
	}
	if size, known := r.MemoryPerSession(Edge); known {
		parts = append(parts, "edge "+grouped(size)+" B/session")
	}
	if r.Skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", r.Skipped))
	}
	if faults := r.Faults(); faults != "" {
		parts = append(parts, "FAULTS: "+faults)
	}
	return strings.Join(parts, " · ")
}

// milliseconds writes a duration with three digits.
func milliseconds(d time.Duration) string { return figure(d.Seconds()*1e3) + " ms" }
