package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Table is a table of text. The first Left columns are words, the rest figures.
type Table struct {
	Title string
	Note  string
	Head  []string
	Left  int
	Rows  [][]string
}

// Tables are the results, a table for each scenario.
func (r *Run) Tables() (tables []Table) {
	for _, s := range r.scenarios() {
		tables = append(tables, s.table())
	}
	return tables
}

// scenario is what a run has of one.
type scenario struct {
	name   string
	common []string // of the words of the parameters: in every group
	groups []*Group
}

// scenarios are in the order of their first rows.
func (r *Run) scenarios() (all []scenario) {
	for _, g := range r.Groups() {
		at := slices.IndexFunc(all, func(s scenario) bool { return s.name == g.Scenario })
		if at < 0 {
			at = len(all)
			all = append(all, scenario{name: g.Scenario, common: g.Params.words()})
		}
		words := g.Params.words()
		all[at].common = slices.DeleteFunc(all[at].common, func(w string) bool { return !slices.Contains(words, w) })
		all[at].groups = append(all[at].groups, g)
	}
	return all
}

// differs are the words in which a group differs from others of the scenario.
func (s *scenario) differs(g *Group) string {
	words := slices.DeleteFunc(g.Params.words(), func(w string) bool { return slices.Contains(s.common, w) })
	return strings.Join(words, " ")
}

// label names a group among those of the scenario.
func (s *scenario) label(g *Group) string { return strings.TrimSpace(g.Target + " " + s.differs(g)) }

// measured are the metrics that some group has.
func (s *scenario) measured() []Metric {
	return slices.DeleteFunc(metrics(), func(m Metric) bool {
		return !slices.ContainsFunc(s.groups, func(g *Group) bool { return len(g.Figures(m)) > 0 })
	})
}

func (s *scenario) table() Table {
	t := Table{Title: s.name, Note: strings.Join(s.common, " "), Head: []string{"target", "parameters"}, Left: 2}
	shown := s.measured()
	for _, m := range shown {
		t.Head = append(t.Head, strings.TrimSpace(m.Name+" "+strings.TrimPrefix(m.Unit, "1/s")))
	}
	t.Head = append(t.Head, "rounds", "skipped", "faults")
	for _, g := range s.groups {
		row := []string{g.Target, s.differs(g)}
		for _, m := range shown {
			row = append(row, cell(g, m))
		}
		var skipped int64
		var faults []string
		for _, r := range g.Rows {
			skipped += r.Skipped
			if f := r.Faults(); f != "" {
				faults = append(faults, f)
			}
		}
		t.Rows = append(t.Rows, append(row, fmt.Sprint(len(g.Rows)), fmt.Sprint(skipped), dash(strings.Join(faults, "; "))))
	}
	return t
}

// cell is a median, with the range where there are rounds and the metric is one
// that servers are compared by.
func cell(g *Group, m Metric) string {
	middle, low, high, known := g.Median(m)
	switch {
	case !known:
		return "–"
	case m.Name != Rate().Name && m.Name != EdgeCPU().Name || figure(low) == figure(high):
		return figure(middle)
	}
	return fmt.Sprintf("%s (%s–%s)", figure(middle), figure(low), figure(high))
}

func dash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// Text writes the table for a terminal.
func (t *Table) Text(w io.Writer) {
	fmt.Fprintln(w, strings.TrimSuffix(t.Title+": "+t.Note, ": "))
	widths := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		var line strings.Builder
		for i, c := range row {
			gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i < t.Left {
				line.WriteString(" " + c + gap + " ")
			} else {
				line.WriteString(" " + gap + c + " ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
	fmt.Fprintln(w)
}

// Markdown writes the table for a README.
func (t *Table) Markdown(w io.Writer) {
	if t.Title != "" {
		fmt.Fprintf(w, "### %s\n\n", t.Title)
	}
	if t.Note != "" {
		fmt.Fprintf(w, "%s\n\n", t.Note)
	}
	rule := make([]string, len(t.Head))
	for i := range rule {
		rule[i] = "---:"
		if i < t.Left {
			rule[i] = "---"
		}
	}
	for _, row := range append([][]string{t.Head, rule}, t.Rows...) {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(c)
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Fprintln(w)
}

// facts are what the figures depend on, as names and values.
func (r *Run) facts() [][2]string {
	m := &r.Machine
	commit := dash(r.Commit)
	if r.Dirty {
		commit += ", with changes that were not committed"
	}
	loads := func(l [3]float64) string { return fmt.Sprintf("%.2f %.2f %.2f", l[0], l[1], l[2]) }
	return [][2]string{
		{"started", r.Started.UTC().Format(time.DateTime + " UTC")},
		{"command", dash(r.Command)},
		{"commit", commit},
		{"machine", fmt.Sprintf("%d × %s, %s of memory", m.CPUs, dash(m.Model), octets(float64(m.MemoryBytes)))},
		{"system", fmt.Sprintf("%s, %s, TCP %s, %s open files for a process", dash(m.Kernel), dash(m.Go), dash(m.Congestion), grouped(float64(m.OpenFiles)))},
		{"load average", fmt.Sprintf("%s before, %s after", loads(m.LoadBefore), loads(m.LoadAfter))},
	}
}

// Text writes all tables for a terminal.
func (r *Run) Text(w io.Writer) {
	for _, f := range r.facts() {
		fmt.Fprintf(w, "%-13s %s\n", f[0], f[1])
	}
	fmt.Fprintln(w)
	for _, t := range r.Tables() {
		t.Text(w)
	}
	for _, row := range r.Faults() {
		fmt.Fprintf(w, "FAULTS: %s, round %d: %s\n", row.Key(), row.Round, row.Faults())
	}
}

// Markdown writes all tables for a README.
func (r *Run) Markdown(w io.Writer) {
	for _, f := range r.facts() {
		fmt.Fprintf(w, "- %s: %s\n", f[0], f[1])
	}
	fmt.Fprintln(w)
	for _, t := range r.Tables() {
		t.Markdown(w)
	}
	for _, row := range r.Faults() {
		fmt.Fprintf(w, "**FAULTS** in %s, round %d: %s\n\n", row.Key(), row.Round, row.Faults())
	}
	fmt.Fprintln(w, "Medians over the rounds, with the least and the greatest. CPU is in seconds for a million")
	fmt.Fprintln(w, "deliveries (or connections): in µs for one.")
}
