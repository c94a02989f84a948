package report_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"freeim/bench/report"
)

// demo is a run as they are: three servers, three rounds, two loads, idle sessions,
// one measurement that went wrong. Its figures are made up.
func demo() *report.Run {
	r := sample()
	random := rand.New(rand.NewPCG(5, 6))
	around := func(f float64) float64 { return f * math.Exp(.06*random.NormFloat64()) }
	r.Rows = nil
	for round := range 3 {
		for _, window := range []int{4, 32} {
			for _, s := range []struct {
				target      string
				rate, cpu   float64
				millisecond float64
			}{{report.Freeim, 190e3 * float64(window) / 4, 3.8 * 4 / float64(window), 180}, {report.Limit, 64e3, 9.4, 550}, {report.LimitJoined, 230e3 * float64(window) / 4, 3.1 * 4 / float64(window), 160}} {
				row := report.Row{
					Scenario: report.FanOut, Target: s.target, Round: round + 1, Seconds: 10,
					Params: report.Params{Transport: report.TCP, Codec: report.Protobuf, Members: 10_000, Payload: 128, Loop: report.Closed, Window: window, Edges: 1},
					Sent:   int64(s.rate / 1000), Delivered: int64(around(s.rate * 10)), Latency: report.NewLatency(),
					CPU: map[string]report.CPU{report.Edge: {User: around(s.cpu * s.rate / 1e6), System: around(s.cpu * s.rate * 9 / 1e6)}},
				}
				row.Reads = row.Delivered / int64(window)
				series := report.Series{Name: "deliveries", Unit: "1/s"}
				for second := range 10 {
					series.Points = append(series.Points, report.Point{At: float64(second), Value: around(s.rate)})
				}
				row.Series = []report.Series{series}
				for range 5000 {
					row.Latency.Record(time.Duration(around(s.millisecond)*math.Exp(.3*random.ExpFloat64())*1e3) * time.Microsecond)
				}
				r.Rows = append(r.Rows, row)
			}
		}
	}
	for _, transport := range []string{report.TCP, report.WebSocket} {
		r.Rows = append(r.Rows, report.Row{
			Scenario: report.Idle, Target: report.Freeim, Round: 1, Seconds: 60, Connected: 19_000,
			Params:       report.Params{Transport: transport, Codec: report.Protobuf, Sessions: 19_000, Edges: 1},
			Memory:       map[string]report.Memory{report.Edge: {Processes: 1, RSS: 90e6, PSS: 85e6, Socket: 1e6}},
			MemoryBefore: map[string]report.Memory{report.Edge: {Processes: 1, RSS: 26e6, PSS: 22e6}},
			Notes:        []string{"allocations by pprof: <session> 41 %, hub 20 %"},
		})
	}
	r.Rows[0].Doubled = 2
	return r
}

func TestTables(t *testing.T) {
	var text, markdown strings.Builder
	r := demo()
	r.Text(&text)
	r.Markdown(&markdown)
	t.Logf("\n%s\n%s", text.String(), markdown.String())
	for _, want := range []string{
		"fanout: tcp protobuf members=10000 payload=128 closed edges=1\n", // what all rows share
		"limit-joined  window=32", "edge CPU s/million", "commit        86fce6e, with changes that were not committed",
		"FAULTS: fanout freeim tcp protobuf members=10000 payload=128 closed window=4 edges=1, round 1: 2 doubled",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	for _, want := range []string{"### idle", "| target | parameters | per second | edge CPU s/million |", "| --- | --- | ---: |", "2 doubled"} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("the Markdown lacks %q", want)
		}
	}
	widths := map[int]bool{}
	for line := range strings.Lines(markdown.String()) {
		if strings.HasPrefix(line, "| freeim | window") {
			widths[strings.Count(line, "|")] = true
		}
	}
	if len(widths) != 1 {
		t.Errorf("rows of %v cells", widths)
	}
}

// The page needs nothing from elsewhere, and no name in the results gets out of
// its place.
func TestPage(t *testing.T) {
	r := demo()
	const evil = `<script>alert(1)</script>"'&`
	r.Rows[1].Target, r.Rows[2].Params.Variant, r.Command = evil, evil, evil
	r.Rows[3].Series[0].Name = evil
	r.Rows[4].Notes = []string{evil}
	var b strings.Builder
	if err := r.Page(&b); err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"<script", "http:", "https:", "ZgotmplZ", "NaN", "Inf", "url("} {
		if strings.Contains(b.String(), never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, want := range []string{"Deliveries were wrong", "prefers-color-scheme: dark", "<svg", "&lt;script&gt;"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := len(r.Pictures()); n != 2 {
		t.Errorf("%d pictures, want one of each scenario", n)
	}
}

// A run may have nothing to show.
func TestPageOfLittle(t *testing.T) {
	r := sample()
	for _, rows := range [][]report.Row{nil, {{Scenario: "x", Target: "y", Round: 1, Latency: report.NewLatency(), Series: []report.Series{{Name: "empty"}, {Name: "zero", Points: []report.Point{{}}}}}}} {
		r.Rows = rows
		var b strings.Builder
		if err := r.Page(&b); err != nil || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("%d rows: %v\n%s", len(rows), err, b.String())
		}
		r.Text(&b)
		r.Markdown(&b)
	}
}

func TestTargets(t *testing.T) {
	r := demo()
	for window, want := range map[int]string{32: "met", 4: "missed"} { // a round with a fault meets nothing
		found := ""
		table := r.Targets()
		for _, row := range table.Rows {
			if strings.Contains(row[0], fmt.Sprintf("window %d", window)) && strings.HasPrefix(row[1], "≤") {
				found = row[3]
			}
		}
		if found != want {
			t.Errorf("window %d: got %q, want %q", window, found, want)
		}
	}
	figures := 0
	table := r.Targets()
	for _, row := range table.Rows {
		if row[2] != "–" {
			figures++
		}
	}
	if figures != 5 { // window 32 and 4, the rate, memory over both transports
		t.Errorf("%d figures, want 5: %v", figures, table.Rows)
	}
}
