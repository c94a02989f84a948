package report_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freeim/bench/report"
)

// Off a terminal the progress is a line now and then, and one for each result.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		p := report.NewProgress(&b, 2)
		p.Step("fanout")
		for i := range 250 { // 25 s
			p.Say("%d of 250", i)
			time.Sleep(100 * time.Millisecond)
		}
		p.Done(&sample().Rows[0])
		p.Step("idle")
		p.Failed(errors.New("no memory"))
		want := []string{
			"[1/2] fanout · starting · 0:00",
			"[1/2] fanout · 100 of 250 · 0:10",
			"[1/2] fanout · 200 of 250 · 0:20",
			"[1/2] fanout freeim tcp protobuf sessions=1000 members=1000 payload=128 closed window=32 round 1 · 500,000/s · p50 500 ms p99 990 ms · edge 1 s/million · edge 3,146 B/session",
			"[2/2] idle · starting · 0:00, about 0:25 left",
			"[2/2] idle: FAILED: no memory",
		}
		got := strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(got) != len(want) {
			t.Fatalf("got %d lines, want %d:\n%s", len(got), len(want), b.String())
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("got  %s\nwant %s", got[i], want[i])
			}
		}
	})
}

func TestBegin(t *testing.T) {
	r := report.Begin(t.Context(), "bench tour")
	r.End()
	if r.Version != report.Version || r.Machine.CPUs < 1 || r.Started.IsZero() || r.Machine.Go == "" {
		t.Errorf("got %+v", r)
	}
	if err := r.Write(t.TempDir() + "/a.json"); err != nil {
		t.Error(err)
	}
}
