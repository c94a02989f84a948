package report

import (
	"fmt"
	"slices"
	"strings"
)

// target is a line of the table of what freeim must reach on one machine with two
// processors.
type target struct {
	what  string
	want  string
	peers string // measured on a machine of the same kind, not in the same run
	// measure gives the figure and whether it is good enough; "" if the results do
	// not have it.
	measure func(*results) (figure string, met bool)
}

// unmeasured stands where a run has no figure.
const unmeasured = "–"

// results are looked through by the targets.
type results struct{ groups []*Group }

// find gives the group of a target that fits best: of those that pass, the first.
func (r *results) find(target, scenario string, fits func(Params) bool) *Group {
	at := slices.IndexFunc(r.groups, func(g *Group) bool {
		return g.Target == target && g.Scenario == scenario && fits(g.Params)
	})
	if at < 0 {
		return nil
	}
	return r.groups[at]
}

// Targets is the table of targets with what was measured. A line without a figure
// was not measured in this run.
func (r *Run) Targets() Table {
	t := Table{Head: []string{"what", "target", "freeim", "", "peers"}, Left: 5}
	found := &results{groups: r.Groups()}
	for _, line := range targets() {
		measured, met := line.measure(found)
		verdict := map[bool]string{true: "met", false: "missed"}[met]
		if measured == "" {
			measured, verdict = unmeasured, ""
		}
		t.Rows = append(t.Rows, []string{line.what, line.want, measured, verdict, line.peers})
	}
	return t
}

// AtTargets reports whether the run has any figure for the table of Targets.
func (r *Run) AtTargets() bool {
	return slices.ContainsFunc(r.Targets().Rows, func(row []string) bool { return row[2] != unmeasured })
}

func targets() []target {
	return []target{
		{"room of 10,000, window 32: edge CPU for a million", "≤ 0.6 s", "limit 9.49, goim 15.2, Centrifugo 20.3, NATS 24.6",
			atMost(0.6, " s", EdgeCPU(), Freeim, FanOut, room(TCP, 10_000, 32))},
		{"room of 10,000, window 4", "≤ 4.5 s", "limit 8.87, goim 16.7, Centrifugo 21.4, NATS 23.1, WuKongIM 38 (durable)",
			atMost(4.5, " s", EdgeCPU(), Freeim, FanOut, room(TCP, 10_000, 4))},
		{"room of 10,000, window 1, beside the limit's single writes", "≤ 1.4 ×", "Centrifugo 2.4 ×, NATS 3.0 ×",
			ratio(1.4, EdgeCPU(), Limit, Freeim, room(TCP, 10_000, 1))},
		{"room of 10,000, window 32: deliveries per second", "≥ 1,200,000", "limit 62,064, goim 54,640, Centrifugo 50,973, NATS 39,257",
			atLeast(1_200_000, "", Rate(), Freeim, FanOut, room(TCP, 10_000, 32))},
		{"the same over WebSocket, to TCP", "≥ 0.9 ×", "NATS 0.89 ×", webSocket},
		{"p99 at half of that rate, 10,000 members", "< 500 ms", "goim 199 at 34,461/s",
			atMost(500, " ms", Quantile("p99", .99), Freeim, FanOut, halfRate(10_000))},
		{"p99 at half of its rate, 1,000 members", "< 60 ms", "goim 36.8 at 44,817/s, Centrifugo 135 at 127,308/s, NATS (WebSocket) 192 at 201,132/s",
			atMost(60, " ms", Quantile("p99", .99), Freeim, FanOut, halfRate(1000))},
		{"user memory per idle session, 19,000 over TCP", "≤ 3.5 kB", "WuKongIM 6.2, goim 28.2, NATS 36.6, Centrifugo 38.9 kB",
			atMost(3500, " B", EdgeMemory(), Freeim, Idle, sessions(TCP, 19_000))},
		{"the same over WebSocket", "≤ 4.5 kB", "NATS 38.8 kB",
			atMost(4500, " B", EdgeMemory(), Freeim, Idle, sessions(WebSocket, 19_000))},
		{"connect and Auth: edge CPU each", "≤ 110 µs", "goim 114, Centrifugo 178, NATS 357, WuKongIM 403 µs",
			atMost(110, " µs", EdgeCPU(), Freeim, Connect, func(p Params) bool { return p.Transport == TCP })},
		{"1:1, not durable: CPU of all processes for a million", "≤ 16 s", "NATS 9.45, Centrifugo 24.5",
			atMost(16, " s", ServerCPU(), Freeim, Chat, chat("stores in memory"))},
		{"1:1, durable", "≤ 28 s", "WuKongIM 720 (50 pairs) to 4,143 (500)",
			atMost(28, " s", ServerCPU(), Freeim, Chat, chat(""))},
		{"edge to core and back, each message", "≤ 3 µs", "Kitex alone, 64 in a batch: 1.2 to 1.5 µs",
			func(*results) (string, bool) { return "", false }}, // by a benchmark of edge/rpc: no run holds it
		{"1,000,000 idle sessions: memory of all edges, none lost", "≤ 4.5 GB", "netpoll alone 3.8 GB", million},
		{"one member in a hundred reads nothing: p99 of the others", "≤ 1.2 ×", "not measured", stalled},
	}
}

func room(transport string, members, window int) func(Params) bool {
	return func(p Params) bool {
		return p.Transport == transport && p.Members == members && p.Loop == Closed && p.Window == window && p.Variant == ""
	}
}

// halfRate is at half of what window 32 found in the same round.
func halfRate(members int) func(Params) bool {
	return func(p Params) bool {
		return p.Transport == TCP && p.Members == members && p.Loop == Open && p.Variant == "half of window 32"
	}
}

func sessions(transport string, count int) func(Params) bool {
	return func(p Params) bool { return p.Transport == transport && p.Sessions == count && p.Variant == "" }
}

func chat(variant string) func(Params) bool {
	return func(p Params) bool { return p.Loop == Closed && p.Transport == TCP && p.Variant == variant }
}

func atMost(bound float64, unit string, m Metric, target, scenario string, fits func(Params) bool) func(*results) (string, bool) {
	return bounded(unit, m, target, scenario, fits, func(f float64) bool { return f <= bound })
}

func atLeast(bound float64, unit string, m Metric, target, scenario string, fits func(Params) bool) func(*results) (string, bool) {
	return bounded(unit, m, target, scenario, fits, func(f float64) bool { return f >= bound })
}

func bounded(unit string, m Metric, target, scenario string, fits func(Params) bool, good func(float64) bool) func(*results) (string, bool) {
	return func(r *results) (string, bool) {
		g := r.find(target, scenario, fits)
		if g == nil {
			return "", false
		}
		middle, _, _, known := g.Median(m)
		if !known {
			return "", false
		}
		return cell(g, m) + unit, good(middle) && g.flawless()
	}
}

// flawless reports whether no round had a fault: one that had meets nothing.
func (g *Group) flawless() bool {
	return !slices.ContainsFunc(g.Rows, func(r *Row) bool { return r.Faults() != "" })
}

// ratio is of b's fan-out to a's.
func ratio(most float64, m Metric, a, b string, fits func(Params) bool) func(*results) (string, bool) {
	return func(r *results) (string, bool) {
		f, good := quotient(m, r.find(a, FanOut, fits), r.find(b, FanOut, fits))
		if f == 0 {
			return "", false
		}
		return figure(f) + " ×", good && f <= most
	}
}

// quotient of the medians, b's to a's; 0 if there is none.
func quotient(m Metric, a, b *Group) (f float64, good bool) {
	if a == nil || b == nil {
		return 0, false
	}
	of, _, _, knownA := a.Median(m)
	is, _, _, knownB := b.Median(m)
	if !knownA || !knownB || of <= 0 {
		return 0, false
	}
	return is / of, a.flawless() && b.flawless()
}

func webSocket(r *results) (string, bool) {
	f, good := quotient(Rate(), r.find(Freeim, FanOut, room(TCP, 10_000, 32)), r.find(Freeim, FanOut, room(WebSocket, 10_000, 32)))
	if f == 0 {
		return "", false
	}
	return figure(f) + " ×", good && f >= .9
}

func stalled(r *results) (string, bool) {
	m := Quantile("p99", .99)
	b := r.find(Freeim, Slow, func(p Params) bool { return strings.HasPrefix(p.Variant, "1 in 100 ") })
	if b == nil {
		return "", false
	}
	// The same, with everybody reading.
	same := b.Params
	same.Variant = ""
	f, good := quotient(m, r.find(Freeim, Slow, func(p Params) bool { return p == same }), b)
	if f == 0 {
		return "", false
	}
	return figure(f) + " ×", good && f <= 1.2
}

func million(r *results) (string, bool) {
	g := r.find(Freeim, Idle, func(p Params) bool { return p.Sessions >= 1_000_000 })
	if g == nil {
		return "", false
	}
	var sizes []float64
	var faults []string
	for _, row := range g.Rows {
		m := row.Memory[Edge]
		size := m.PSS
		if size == 0 {
			size = m.RSS
		}
		sizes = append(sizes, float64(size))
		if f := row.Faults(); f != "" {
			faults = append(faults, f)
		}
	}
	size := median(sizes)
	if size == 0 {
		return "", false
	}
	text := octets(size)
	if len(faults) > 0 {
		text += fmt.Sprintf(" (%s)", strings.Join(faults, "; "))
	}
	return text, size <= 4.5e9 && len(faults) == 0
}
