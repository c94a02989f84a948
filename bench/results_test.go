package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"freeim/bench/e2e/browser"
	"freeim/bench/report"
)

// results is a file of two servers and some rounds, with as many deliveries a
// second.
func results(t *testing.T, name string, perSecond ...int64) string {
	t.Helper()
	r := &report.Run{Version: report.Version, Started: time.Now(), Command: "bench of a test", Machine: report.Machine{CPUs: 2}}
	for i, n := range perSecond {
		for target, times := range map[string]int64{report.Freeim: 2, report.Limit: 1} {
			l := report.NewLatency()
			l.RecordMany(3*time.Millisecond, 100)
			r.Rows = append(r.Rows, report.Row{
				Scenario: report.FanOut, Target: target, Round: i + 1, Seconds: 1, Sent: 1, Delivered: n * times, Latency: l,
				Params: report.Params{Transport: report.TCP, Members: 10_000, Loop: report.Closed, Window: 32},
				CPU:    map[string]report.CPU{report.Edge: {System: 1}},
				Series: []report.Series{{Name: "deliveries", Unit: "1/s", Points: []report.Point{{At: 0, Value: 1}, {At: 1, Value: float64(n)}}}},
			})
		}
	}
	file := filepath.Join(t.TempDir(), name)
	if err := r.Write(file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCompareCommand(t *testing.T) {
	fast, slow, once := results(t, "fast.json", 1000, 1010, 1020), results(t, "slow.json", 500, 510, 520), results(t, "once.json", 500)
	for _, test := range []struct {
		name, args, want, fails string
	}{
		{"a loss", fast + " " + slow, "worse", ""},
		{"a loss that fails", "-fail-over 10% " + fast + " " + slow, "worse", "worse by more than 10 %"},
		{"a gain", "-fail-over 10% " + slow + " " + fast, "better", ""},
		{"the same", "-fail-over 0% " + fast + " " + fast, "no difference seen", ""},
		{"a loss that is allowed", "-fail-over 99% " + fast + " " + slow, "worse", ""},
		{"one round", "-fail-over 10% " + fast + " " + once, "no verdict: one round", "needs two rounds"},
		{"targets", "-targets limit,freeim " + fast, "fanout limit → freeim", ""},
		{"no such target", "-targets nats,freeim " + fast, "", `no rows of "nats"`},
		{"one file", fast, "", "compare two files"},
		{"no file", "", "", "name A.json"},
		{"no such file", fast + " nowhere.json", "", "nowhere.json"},
		{"no part", "-fail-over much " + fast + " " + slow, "", "no part of the whole"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			err := runCompare(t.Context(), strings.Fields(test.args), &out)
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("got %q, want %q in it", out.String(), test.want)
			}
			if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("got %v, want %q", err, test.fails)
			}
		})
	}
}

func TestTableCommand(t *testing.T) {
	var out strings.Builder
	if err := runTable(t.Context(), []string{results(t, "a.json", 600_001, 600_002, 600_003)}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 1,200,004 (1,200,002–1,200,006) | met |", "NATS"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s, want %q in it", out.String(), want)
		}
	}
	for _, args := range [][]string{nil, {"nowhere.json"}, {results(t, "none.json")}} {
		out.Reset()
		if err := runTable(t.Context(), args, &out); err == nil || out.Len() != 0 {
			t.Errorf("%v: got %v and %q, want an error alone", args, err, out.String())
		}
	}
}

// The pages of a run are made, and a browser shows them without a fault, without
// network, and within the width of a phone.
func TestReportCommand(t *testing.T) {
	file := results(t, "run.json", 1000, 1010)
	dir := t.TempDir()
	var out strings.Builder
	if err := runReport(t.Context(), []string{"-dir", dir, "-png=false", file}, &out); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "run.md"))
	if err != nil || !strings.Contains(string(text), "### fanout") || !strings.Contains(out.String(), "limit") {
		t.Errorf("%v\n%s\n%s", err, text, out.String())
	}

	b := browser.ForTest(t)
	p := browser.OpenPage(t, b, "report", "file://"+filepath.Join(dir, "run.html"))
	for _, width := range []int{360, 1280} {
		p.Resize(width, 800)
		var wide int
		if p.Eval("document.documentElement.scrollWidth", &wide); wide > width {
			t.Errorf("at %d pixels the page is %d wide", width, wide)
		}
	}
	p.WaitFor("document.querySelectorAll('svg').length >= 4")
	p.NoFaults()

	out.Reset()
	if err := runReport(t.Context(), []string{"-dir", dir, file}, &out); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "run-fanout.png")); err != nil || info.Size() < 1000 {
		t.Errorf("the picture: %v, %s", err, out.String())
	}
}

// TestReadmeJudgesItsFigures: met or missed is what the first number of freeim's cell is,
// beside the target's. Of numbers that are equal as printed it may be either.
func TestReadmeJudgesItsFigures(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`[0-9][0-9,]*(\.[0-9]+)?`)
	first := func(cell string) (n float64, ok bool) {
		n, err := strconv.ParseFloat(strings.ReplaceAll(number.FindString(cell), ",", ""), 64)
		return n, err == nil
	}
	judged := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 || !strings.ContainsAny(cells[2], "≤≥<") {
			continue
		}
		judged++
		want, _ := first(cells[2])
		got, measured := first(cells[3])
		met := got <= want
		if strings.Contains(cells[2], "≥") {
			met = got >= want
		}
		verdict := strings.TrimSpace(cells[4])
		switch {
		case !measured && verdict == "", measured && got == want && (verdict == "met" || verdict == "missed"):
		case !measured, met && verdict != "met", !met && verdict != "missed":
			t.Errorf("%s: %s is called %q", strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3]), verdict)
		}
	}
	if rows := len((&report.Run{}).Targets().Rows); judged != rows {
		t.Errorf("%d lines of the table of targets were found, want %d", judged, rows)
	}
}

// The table of targets in README.md is the one that bench table fills.
func TestReadmeTellsTargets(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	table := (&report.Run{}).Targets()
	for _, row := range table.Rows {
		line := "\n| " + row[0] + " | " + row[1] + " | "
		_, rest, found := strings.Cut(string(text), line)
		rest, _, _ = strings.Cut(rest, "\n")
		if !found || !strings.HasSuffix(rest, "| "+row[4]+" |") {
			t.Errorf("README.md lacks the line of %q, or tells it otherwise: %q", row[0], rest)
		}
	}
}
