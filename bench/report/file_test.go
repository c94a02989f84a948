package report_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"freeim/bench/report"
)

// sample is a run with every kind of figure.
func sample() *report.Run {
	l := report.NewLatency()
	for i := range 1000 {
		l.Record(time.Duration(i+1) * time.Millisecond)
	}
	return &report.Run{
		Version: report.Version,
		Started: time.Date(2026, 11, 25, 21, 0, 0, 0, time.UTC),
		Command: "bench fanout -members 1000", Commit: "86fce6e", Dirty: true,
		Machine: report.Machine{CPUs: 2, Model: "a processor", MemoryBytes: 24 << 30, Kernel: "Linux 6.18", Go: "go1.26.8", OpenFiles: 20000, Congestion: "bbr"},
		Rows: []report.Row{{
			Scenario: "fanout", Target: report.Freeim, Round: 1, Seconds: 10,
			Params: report.Params{Transport: report.TCP, Codec: report.Protobuf, Sessions: 1000, Members: 1000, Payload: 128, Loop: report.Closed, Window: 32},
			Sent:   5000, Delivered: 5_000_000, Reads: 500_000, Latency: l,
			CPU:          map[string]report.CPU{report.Edge: {User: 1, System: 4}, report.Core: {User: .5}},
			Memory:       map[string]report.Memory{report.Edge: {Processes: 1, RSS: 30 << 20, PSS: 13 << 20}},
			MemoryBefore: map[string]report.Memory{report.Edge: {Processes: 1, RSS: 20 << 20, PSS: 10 << 20}},
			Series:       []report.Series{{Name: "deliveries", Unit: "1/s", Points: []report.Point{{At: 0, Value: 1}, {At: 1, Value: 2}}}},
			Notes:        []string{"a note"},
		}},
	}
}

func TestFileKeepsEverything(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.json")
	want := sample()
	if err := want.Write(name); err != nil {
		t.Fatal(err)
	}
	got, err := report.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	g, w := got.Rows[0].Latency, want.Rows[0].Latency
	if g.Count() != w.Count() || g.Quantile(.99) != w.Quantile(.99) || g.Max() != w.Max() {
		t.Errorf("latency: got %d, p99 %v, max %v", g.Count(), g.Quantile(.99), g.Max())
	}
	got.Rows[0].Latency, want.Rows[0].Latency = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// The same results are the same octets, so that files can be compared.
func TestFileIsStable(t *testing.T) {
	dir := t.TempDir()
	var texts [2][]byte
	for i := range texts {
		name := filepath.Join(dir, "a.json")
		if err := sample().Write(name); err != nil {
			t.Fatal(err)
		}
		var err error
		if texts[i], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Error("two writes differ")
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(r *report.Run)
		want string
	}{
		{"other version", func(r *report.Run) { r.Version = 9 }, "results of version 9: this bench reads version 1"},
		{"no start", func(r *report.Run) { r.Started = time.Time{} }, "started is missing"},
		{"no machine", func(r *report.Run) { r.Machine.CPUs = 0 }, "machine.cpus is 0"},
		{"no scenario", func(r *report.Run) { r.Rows[0].Scenario = "" }, "rows[0]: scenario is missing"},
		{"no target", func(r *report.Run) { r.Rows[0].Target = "" }, "rows[0]: target is missing"},
		{"round", func(r *report.Run) { r.Rows[0].Round = 0 }, "rows[0]: round is 0"},
		{"negative", func(r *report.Run) { r.Rows[0].Lost = -1 }, "rows[0]: lost is -1"},
		{"no time", func(r *report.Run) { r.Rows[0].Seconds = 0 }, "rows[0]: 5000000 deliveries or connections in no time"},
		{"negative time", func(r *report.Run) { r.Rows[0].Seconds = -1 }, "rows[0]: seconds is -1"},
		{"loop", func(r *report.Run) { r.Rows[0].Params.Loop = "loose" }, `rows[0]: params.loop is "loose"`},
		{"rate", func(r *report.Run) { r.Rows[0].Params.Rate = -1 }, "rows[0]: params.rate is -1"},
		{"window", func(r *report.Run) { r.Rows[0].Params.Window = -4 }, "rows[0]: params.window is -4"},
		{"cpu", func(r *report.Run) { r.Rows[0].CPU["edge"] = report.CPU{User: -1} }, "rows[0]: cpu.edge is -1 user"},
		{"memory", func(r *report.Run) { r.Rows[0].Memory["edge"] = report.Memory{RSS: -1} }, "rows[0]: memory of edge"},
		{"points", func(r *report.Run) { r.Rows[0].Series[0].Points[1].At = -1 }, "rows[0]: series[0]: points[1] is 2 at -1 s"},
		{"note", func(r *report.Run) { r.Rows[0].Notes[0] = strings.Repeat("x", 5000) }, "rows[0]: notes[0] is longer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := sample()
			test.edit(r)
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			_, err = report.Decode(text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err := r.Write(filepath.Join(t.TempDir(), "a.json")); err == nil {
				t.Error("it was written")
			}
		})
	}
	for text, want := range map[string]string{
		``:                            "no results of bench",
		`[]`:                          "no results of bench",
		`{}`:                          "there is no version",
		`{"version":1,"speed":3}`:     `unknown field "speed"`,
		`{"version":1,"started":"x"}`: "parsing time",
		`{"version":1,"rows":[{"latency":{"hdr":"AAAA"}}]}`: "latency.hdr is no HdrHistogram",
	} {
		if _, err := report.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestFigures(t *testing.T) {
	r := &sample().Rows[0]
	if got := r.PerSecond(); got != 500_000 {
		t.Errorf("per second: got %g", got)
	}
	if got, ok := r.CPUPerMillion(report.Edge); got != 1 || !ok {
		t.Errorf("edge: got %g %v", got, ok)
	}
	if got, ok := r.CPUPerMillion(report.Edge, report.Core); got != 1.1 || !ok {
		t.Errorf("edge and core: got %g %v", got, ok)
	}
	if _, ok := r.CPUPerMillion(report.Edge, report.Store); ok {
		t.Error("the store's time was not read")
	}
	if got, ok := r.MemoryPerSession(report.Edge); got != 3<<20/1000. || !ok {
		t.Errorf("memory: got %g %v", got, ok)
	}
	if got := r.PerRead(); got != 10 {
		t.Errorf("per read: got %g", got)
	}
	if got, want := r.Key(), "fanout freeim tcp protobuf sessions=1000 members=1000 payload=128 closed window=32"; got != want {
		t.Errorf("key: got %q, want %q", got, want)
	}
	if r.Faults() != "" {
		t.Errorf("faults: %s", r.Faults())
	}
	r.Lost, r.Errors = 1, 2
	if got := r.Faults(); got != "1 lost, 2 errors" {
		t.Errorf("faults: got %q", got)
	}
}

func TestLatency(t *testing.T) {
	a, b := report.NewLatency(), report.NewLatency()
	a.RecordMany(10*time.Millisecond, 99)
	b.Record(time.Second)
	a.Merge(b)
	for q, want := range map[float64]time.Duration{.5: 10 * time.Millisecond, .99: 10 * time.Millisecond, 1: time.Second} {
		if got := a.Quantile(q); got < want || got > want+want/1000 {
			t.Errorf("quantile %g: got %v, want %v and three digits", q, got, want)
		}
	}
	a.Record(0)
	a.Record(time.Hour) // outside, and counted
	if a.Count() != 102 || a.Max() < 10*time.Minute {
		t.Errorf("got %d, max %v", a.Count(), a.Max())
	}
}

func TestSummary(t *testing.T) {
	r := &sample().Rows[0]
	r.Lost = 3
	want := "fanout freeim tcp protobuf sessions=1000 members=1000 payload=128 closed window=32 round 1 · 500,000/s · p50 500 ms p99 990 ms · edge 1 s/million · edge 3,146 B/session · FAULTS: 3 lost"
	if got := report.Summary(r); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBegin(t *testing.T) {
	r := report.Begin(t.Context(), "bench tour")
	r.End()
	if r.Version != report.Version || r.Machine.CPUs < 1 || r.Started.IsZero() || r.Machine.Go == "" {
		t.Errorf("got %+v", r)
	}
	if err := r.Write(filepath.Join(t.TempDir(), "a.json")); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	r := sample()
	r.Rows[0].Latency = report.NewLatency() // a short seed is changed faster
	r.Rows[0].Latency.Record(time.Millisecond)
	text, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"started":"2026-11-25T21:00:00Z","machine":{"cpus":2},"rows":[{"scenario":"a","target":"b","round":1,"seconds":1,"sent":1,"delivered":1,"cpu":{"edge":{"user":1,"system":2}},"series":[{"name":"s","unit":"","points":[{"at":1,"value":2}]}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := report.Decode(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		if _, err := report.Decode(again); err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, again)
		}
	})
}
