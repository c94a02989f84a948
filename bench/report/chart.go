package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
	"time"
)

// Charts are drawn for the width of a phone and grow with the page.
const (
	chartWidth  = 360.
	chartHeight = 200.
	maxLines    = 8  // of one chart; more cannot be told apart
	maxLabel    = 40 // characters above a bar
)

// chart is a figure of the page.
type chart struct {
	Title  string
	SVG    template.HTML
	Legend []key
}

// key is an entry of a legend.
type key struct {
	Class string // of the page's style: the colour
	Label string
}

// bar is one bar, with a whisker from Low to High.
type bar struct {
	label, class     string
	value, low, high float64
}

// bars draws values under each other, each below its label.
func bars(title string, all []bar) chart {
	const rowHeight, thick = 38., 14.
	most := 0.
	for _, b := range all {
		most = max(most, b.value, b.high)
	}
	at := func(v float64) float64 { return chartWidth * v / max(most, math.SmallestNonzeroFloat64) }
	var s strings.Builder
	begin(&s, title, rowHeight*float64(len(all)))
	for i, b := range all {
		top := rowHeight * float64(i)
		fmt.Fprintf(&s, `<g><title>%s: %s</title>`, html.EscapeString(b.label), figure(b.value))
		fmt.Fprintf(&s, `<text x="0" y="%.1f">%s</text>`, top+13, html.EscapeString(cut(b.label, maxLabel)))
		fmt.Fprintf(&s, `<text class="value" x="%.0f" y="%.1f" text-anchor="end">%s</text>`, chartWidth, top+13, figure(b.value))
		fmt.Fprintf(&s, `<rect class="%s" x="0" y="%.1f" width="%.1f" height="%.0f" rx="2"/>`, b.class, top+18, max(at(b.value), 1), thick)
		if b.high > b.low {
			y := top + 18 + thick/2
			fmt.Fprintf(&s, `<path class="whisker" d="M%.1f %.1fH%.1fM%.1f %.1fv6M%.1f %.1fv6"/>`, at(b.low), y, at(b.high), at(b.low), y-3, at(b.high), y-3)
		}
		s.WriteString(`</g>`)
	}
	s.WriteString(`</svg>`)
	return chart{Title: title, SVG: template.HTML(s.String())}
}

// stroke is one line of a chart: points from left to right.
type stroke struct {
	label, class string
	x, y         []float64
}

// axis places values and names some of them.
type axis struct {
	at    func(float64) float64 // from 0 to 1
	ticks []tick
}

type tick struct {
	value float64
	label string
}

// lines draws lines over two axes.
func lines(title string, x, y axis, all []stroke) chart {
	const left, right, top, bottom = 44., 10., 8., 22.
	px := func(v float64) float64 { return left + (chartWidth-left-right)*min(max(x.at(v), 0), 1) }
	py := func(v float64) float64 {
		return chartHeight - bottom - (chartHeight-top-bottom)*min(max(y.at(v), 0), 1)
	}
	var s strings.Builder
	begin(&s, title, chartHeight)
	for _, t := range y.ticks {
		fmt.Fprintf(&s, `<path class="grid" d="M%.1f %.1fH%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			left, py(t.value), chartWidth-right, left-6, py(t.value)+4, t.label)
	}
	for i, t := range x.ticks {
		anchor := "middle"
		if i == len(x.ticks)-1 && px(t.value) > chartWidth-30 {
			anchor = "end"
		}
		fmt.Fprintf(&s, `<path class="grid" d="M%.1f %.1fv4"/><text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`,
			px(t.value), chartHeight-bottom, px(t.value), chartHeight-5, anchor, t.label)
	}
	c := chart{Title: title}
	for _, l := range all {
		var d strings.Builder
		for i := range l.x {
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], px(l.x[i]), py(l.y[i]))
		}
		fmt.Fprintf(&s, `<path class="line %s" d="%s"><title>%s</title></path>`, l.class, d.String(), html.EscapeString(l.label))
		c.Legend = append(c.Legend, key{l.class, l.label})
	}
	s.WriteString(`</svg>`)
	c.SVG = template.HTML(s.String())
	return c
}

func begin(s *strings.Builder, title string, height float64) {
	fmt.Fprintf(s, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, chartWidth, height, html.EscapeString(title))
}

// fromZero is an axis of even steps from 0 on.
func fromZero(most float64, label func(float64) string) axis {
	step := 1.
	if most > 0 {
		step = math.Pow(10, math.Floor(math.Log10(most/2)))
		for _, f := range []float64{1, 2, 5, 10} {
			if most/(step*f) <= 5 {
				step *= f
				break
			}
		}
	}
	end := max(math.Ceil(most/step), 1) * step
	a := axis{at: func(v float64) float64 { return v / end }}
	for i := range int(math.Round(end/step)) + 1 {
		a.ticks = append(a.ticks, tick{step * float64(i), label(step * float64(i))})
	}
	return a
}

// decades is a logarithmic axis from a power of ten to one; both are above 0.
func decades(least, most float64) axis {
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	to = max(to, from+1)
	a := axis{at: func(v float64) float64 { return (math.Log10(max(v, math.SmallestNonzeroFloat64)) - from) / (to - from) }}
	for e := from; e <= to; e++ {
		a.ticks = append(a.ticks, tick{math.Pow(10, e), short(math.Pow(10, e))})
	}
	return a
}

// latencies draws distributions: how long the slowest of ten, of a hundred, of a
// thousand take.
func latencies(all []stroke, most float64) chart {
	x := axis{at: func(q float64) float64 { return nines(q) / most }}
	for _, q := range []struct {
		part  float64
		label string
	}{{.5, "50 %"}, {.9, "90"}, {.99, "99"}, {.999, "99.9"}, {.9999, "99.99"}, {.99999, "99.999"}} {
		if nines(q.part) <= most+1e-9 {
			x.ticks = append(x.ticks, tick{q.part, q.label})
		}
	}
	least, longest := math.Inf(1), 0.
	for _, l := range all {
		for _, ms := range l.y {
			least, longest = min(least, ms), max(longest, ms)
		}
	}
	return lines("latency in ms, by the part of deliveries that took no longer", x, decades(max(least, .001), longest), all)
}

// nines is how far a part is from all: 1 for 90 %, 2 for 99 %.
func nines(part float64) float64 { return -math.Log10(max(1-part, 1e-9)) }

// distribution is a latency as a line; most says how many nines its count allows
// to tell, up to 5.
func distribution(l *Latency, label, class string) (d stroke, most float64) {
	most = min(max(math.Floor(math.Log10(float64(l.Count()))), 1), 5)
	d = stroke{label: label, class: class}
	for i := range int(most)*20 + 1 {
		part := 1 - math.Pow(10, -float64(i)/20)
		d.x, d.y = append(d.x, part), append(d.y, l.Quantile(part).Seconds()*1e3)
	}
	return d, most
}

// overTime draws series over the seconds of their rows.
func overTime(title string, all []stroke) chart {
	seconds, most := 0., 0.
	for _, l := range all {
		for i := range l.x {
			seconds, most = max(seconds, l.x[i]), max(most, l.y[i])
		}
	}
	return lines(title, fromZero(seconds, func(s float64) string {
		return strings.TrimSuffix((time.Duration(s * float64(time.Second))).String(), ".0s")
	}), fromZero(most, short), all)
}

// short writes the label of a tick.
func short(f float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if f >= unit.size {
			return figure(f/unit.size) + unit.name
		}
	}
	return figure(f)
}
