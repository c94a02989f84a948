package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/bench/report"
)

// TestMain lets the test's program be a load worker and a baseline, as bench is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "load-worker" || os.Args[1] == "limit-server") {
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestTour runs every scenario at its smallest, on real edges and cores, with the
// checker on: no delivery may be lost, doubled or reordered.
func TestTour(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: the load needs epoll")
	}
	out := &said{}
	file := filepath.Join(t.TempDir(), "tour.json")
	b := &bench{out: out, set: defaultSettings()}
	s := &b.set
	s.sessions, s.members, s.publishers, s.windows, s.rate = 20, 30, 3, "1,8", 0
	s.edges, s.workers, s.silent, s.rules, s.file = 2, 2, 10, filepath.Join("..", "scripts"), file
	s.warm, s.measure, s.hold, s.heartbeat, s.rounds = 50*time.Millisecond, 300*time.Millisecond, 500*time.Millisecond, 200*time.Millisecond, 1
	if err := b.prepare(t.Context(), t.TempDir(), "go test"); err != nil {
		t.Fatal(err)
	}
	ways := []struct{ transport, codec string }{{report.TCP, report.Protobuf}, {report.WebSocket, report.JSON}}
	for i, sc := range scenarios() {
		t.Run(sc.name, func(t *testing.T) {
			own := ways[i%2:][:1]
			if sc.name == "chat" || sc.name == "room" {
				own = ways
			}
			for _, way := range own {
				s.transport, s.codec, s.rate = way.transport, way.codec, 0
				if sc.name == "mixed" || sc.name == "slow" {
					s.rate = 50
				}
				b.round = 1
				runUntilMeasured(t, b, sc, out)
			}
		})
	}
	if len(b.wrong) > 0 {
		t.Errorf("faults:\n%s\nit said:\n%s", strings.Join(b.wrong, "\n"), out)
	}
	if err := b.run.Write(file); err != nil {
		t.Error(err)
	}
	if _, err := report.Read(file); err != nil {
		t.Error(err)
	}
}

// runUntilMeasured runs a scenario; and again, measuring for longer, where a busy
// machine let nothing through in so short a time.
func runUntilMeasured(t *testing.T, b *bench, sc scenario, out *said) {
	short := b.set.measure
	defer func() { b.set.measure = short }()
	for rows := len(b.run.Rows); ; b.set.measure *= 4 {
		b.run.Rows = b.run.Rows[:rows]
		if err := sc.run(t.Context(), b); err != nil {
			t.Fatalf("%v; it said:\n%s", err, out)
		}
		empty := slices.IndexFunc(b.run.Rows[rows:], func(r report.Row) bool { return r.Units() == 0 })
		if empty < 0 {
			return
		}
		if b.set.measure > 10*time.Second {
			t.Fatalf("%s: nothing was measured in %v", b.run.Rows[rows+empty].Key(), b.set.measure)
		}
	}
}
