package report

import "slices"

// Group is one measurement: its rounds in the order of measuring.
type Group struct {
	Scenario string
	Target   string
	Params   Params
	Rows     []*Row
}

// Key is that of its rows.
func (g *Group) Key() string { return g.Rows[0].Key() }

// Groups puts the rounds together, by their first appearance.
func (r *Run) Groups() (groups []*Group) {
	known := map[string]*Group{}
	for i := range r.Rows {
		row := &r.Rows[i]
		g := known[row.Key()]
		if g == nil {
			g = &Group{Scenario: row.Scenario, Target: row.Target, Params: row.Params}
			known[row.Key()] = g
			groups = append(groups, g)
		}
		g.Rows = append(g.Rows, row)
	}
	return groups
}

// Figures are what a metric was in the rounds that measured it.
func (g *Group) Figures(m Metric) (figures []float64) {
	for _, row := range g.Rows {
		if f, known := m.Of(row); known {
			figures = append(figures, f)
		}
	}
	return figures
}

// Median of a metric over the rounds, with the least and the greatest. It reports
// false when no round measured it.
func (g *Group) Median(m Metric) (middle, low, high float64, known bool) {
	f := g.Figures(m)
	if len(f) == 0 {
		return 0, 0, 0, false
	}
	middle = median(f)
	return middle, f[0], f[len(f)-1], true
}

// Latency of all rounds together; nil when none measured it.
func (g *Group) Latency() *Latency {
	var all *Latency
	for _, row := range g.Rows {
		if row.Latency == nil || row.Latency.Count() == 0 {
			continue
		}
		if all == nil {
			all = NewLatency()
		}
		all.Merge(row.Latency)
	}
	return all
}

// Faults of the rounds: those that have some.
func (r *Run) Faults() (faulty []*Row) {
	for i := range r.Rows {
		if r.Rows[i].Faults() != "" {
			faulty = append(faulty, &r.Rows[i])
		}
	}
	return faulty
}

// Metric is a figure that a row may have.
type Metric struct {
	Name   string // in a table's head
	Unit   string
	Higher bool // is better
	Of     func(*Row) (float64, bool)
}

// The metrics of tables, charts and comparisons.
func Rate() Metric {
	return Metric{"per second", "1/s", true, func(r *Row) (float64, bool) {
		return r.PerSecond(), r.Units() > 0 && r.Scenario != Idle // whose sessions came before
	}}
}

// EdgeCPU is what an edge, or the server in its place, takes for a delivery.
func EdgeCPU() Metric {
	return Metric{"edge CPU", "s/million", false, func(r *Row) (float64, bool) {
		cost, known := r.CPUPerMillion(Edge)
		return cost, known && r.Scenario != Idle
	}}
}

// ServerCPU is that of all processes but the clients', where there are others than
// an edge.
func ServerCPU() Metric {
	return Metric{"servers' CPU", "s/million", false, func(r *Row) (float64, bool) {
		var classes []string
		for class := range r.CPU {
			if class != Load {
				classes = append(classes, class)
			}
		}
		if len(classes) == 0 || r.Scenario == Idle || len(classes) == 1 && classes[0] == Edge {
			return 0, false
		}
		slices.Sort(classes) // a sum of floats depends on its order
		return r.CPUPerMillion(classes...)
	}}
}

// Quantile of the latency.
func Quantile(name string, q float64) Metric {
	return Metric{name, "ms", false, func(r *Row) (float64, bool) {
		if r.Latency == nil || r.Latency.Count() == 0 {
			return 0, false
		}
		return r.Latency.Quantile(q).Seconds() * 1e3, true
	}}
}

// EdgeMemory is the user memory of an edge for one session.
func EdgeMemory() Metric {
	return Metric{"edge memory", "B/session", false, func(r *Row) (float64, bool) { return r.MemoryPerSession(Edge) }}
}

// SocketMemory is the kernel memory of the edge's sockets for one session.
func SocketMemory() Metric {
	return Metric{"sockets", "B/session", false, func(r *Row) (float64, bool) {
		m := r.Memory[Edge]
		return float64(m.Socket) / float64(max(r.Params.Sessions, 1)), m.Socket > 0 && r.Params.Sessions > 0
	}}
}

// PerRead is how many deliveries one read of a client brought.
func PerRead() Metric {
	return Metric{"per read", "", true, func(r *Row) (float64, bool) { return r.PerRead(), r.Reads > 0 }}
}

// metrics are all of them, as tables show them from left to right.
func metrics() []Metric {
	return []Metric{
		Rate(), EdgeCPU(), ServerCPU(), Quantile("p50", .5), Quantile("p99", .99), Quantile("p99.9", .999),
		PerRead(), EdgeMemory(), SocketMemory(),
	}
}
