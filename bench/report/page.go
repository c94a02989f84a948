package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
)

//go:embed page.html
var pageText string

// page is what the template draws.
type page struct {
	Title    string
	Facts    [][2]string
	Faults   []string
	Sections []section
	Targets  Table // no rows: none was measured
	Picture  bool  // one section alone, for a picture
}

type section struct {
	Title  string
	Note   string
	Charts []chart
	Table  Table
	Notes  []note
}

type note struct {
	Row   string
	Notes []string
}

// Page writes the results as one HTML page that needs nothing else: no script, no
// network, light and dark.
func (r *Run) Page(w io.Writer) error {
	p := page{Title: "freeim bench " + r.Started.UTC().Format("2006-01-02 15:04"), Facts: r.facts()}
	for _, row := range r.Faults() {
		p.Faults = append(p.Faults, fmt.Sprintf("%s, round %d: %s", row.Key(), row.Round, row.Faults()))
	}
	for _, s := range r.scenarios() {
		p.Sections = append(p.Sections, s.section())
	}
	p.Targets = r.Targets()
	p.Targets.Rows = slices.DeleteFunc(p.Targets.Rows, func(row []string) bool { return row[2] == unmeasured })
	return p.write(w)
}

// Picture is a page to make a picture of.
type Picture struct {
	Name  string // the scenario
	Write func(io.Writer) error
}

// Pictures are pages of the charts of each scenario, without the tables.
func (r *Run) Pictures() (pictures []Picture) {
	for _, s := range r.scenarios() {
		part := s.section()
		if len(part.Charts) == 0 {
			continue
		}
		p := page{Title: s.name, Sections: []section{part}, Picture: true}
		pictures = append(pictures, Picture{s.name, p.write})
	}
	return pictures
}

func (p *page) write(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	return t.Execute(w, p)
}

func (s *scenario) section() section {
	t := s.table()
	part := section{Title: s.name, Note: t.Note, Charts: s.charts(), Table: t}
	for _, g := range s.groups {
		for _, row := range g.Rows {
			if len(row.Notes) > 0 {
				part.Notes = append(part.Notes, note{fmt.Sprintf("%s, round %d", s.label(g), row.Round), row.Notes})
			}
		}
	}
	return part
}

// charts are bars of what tells servers apart, distributions of latency, and what
// was followed over time.
func (s *scenario) charts() (charts []chart) {
	for _, m := range []Metric{Rate(), EdgeCPU(), Quantile("p99", .99), EdgeMemory()} {
		var all []bar
		for _, g := range s.groups {
			if middle, low, high, known := g.Median(m); known {
				all = append(all, bar{s.label(g), s.class(g), middle, low, high})
			}
		}
		if len(all) > 0 {
			charts = append(charts, bars(s.title(m), all))
		}
	}
	var all []stroke
	most := 1.
	for _, g := range s.groups {
		if l := g.Latency(); l != nil && len(all) < maxLines {
			d, n := distribution(l, s.label(g), fmt.Sprint("c", len(all)))
			all, most = append(all, d), max(most, n)
		}
	}
	if len(all) > 0 {
		charts = append(charts, latencies(all, most))
	}
	return append(charts, s.overTime()...)
}

// title names a metric as a chart's heading.
func (s *scenario) title(m Metric) string {
	better := "less is better"
	if m.Higher {
		better = "more is better"
	}
	name := m.Name
	switch m.Name {
	case Rate().Name:
		name = "deliveries per second"
		if s.groups[0].Rows[0].Delivered == 0 {
			name = "connections per second"
		}
	case EdgeCPU().Name:
		name = "edge CPU, seconds for a million"
	default:
		name += ", " + m.Unit
	}
	return name + " · " + better
}

// class is the colour of a target: freeim's own, grey for limits, others in turn.
func (s *scenario) class(g *Group) string {
	switch g.Target {
	case Freeim:
		return "c0"
	case Limit, LimitJoined:
		return "limit"
	}
	var others []string
	for _, g := range s.groups {
		if g.Target != Freeim && g.Target != Limit && g.Target != LimitJoined && !slices.Contains(others, g.Target) {
			others = append(others, g.Target)
		}
	}
	return fmt.Sprint("c", 1+slices.Index(others, g.Target)%(maxLines-1))
}

// overTime draws a chart for each name of a series, with the last round of each
// group.
func (s *scenario) overTime() (charts []chart) {
	var titles []string
	byTitle := map[string][]stroke{}
	for _, g := range s.groups {
		row := g.Rows[len(g.Rows)-1]
		for _, series := range row.Series {
			title := series.Name
			if series.Unit != "" {
				title += ", " + series.Unit
			}
			if byTitle[title] == nil {
				titles = append(titles, title)
			}
			if len(series.Points) == 0 || len(byTitle[title]) == maxLines {
				continue
			}
			l := stroke{label: s.label(g), class: fmt.Sprint("c", len(byTitle[title]))}
			for _, p := range series.Points {
				l.x, l.y = append(l.x, p.At), append(l.y, p.Value)
			}
			byTitle[title] = append(byTitle[title], l)
		}
	}
	for _, title := range titles {
		if len(byTitle[title]) > 0 {
			charts = append(charts, overTime(title+" over time", byTitle[title]))
		}
	}
	return charts
}
