package main

import (
	"context"
	"io"
	"time"

	"freeim/bench/report"
)

// runTour is "bench tour": everything at a small size, in about five minutes with
// the default flags and two processors.
func runTour(ctx context.Context, args []string, out io.Writer) error {
	sc := scenario{name: "tour", set: func(s *settings) {
		s.rounds, s.warm, s.measure, s.hold, s.heartbeat = 3, 500*time.Millisecond, 2*time.Second, 5*time.Second, 2*time.Second
	}, run: tour}
	return runOne(ctx, sc, "tour", args, out)
}

// part is a scenario within the tour, with settings of its own.
type part struct {
	name string
	set  func(*settings)
}

func parts() []part {
	return []part{
		{"idle", func(s *settings) { s.sessions = 5000 }},
		{"chat", nil},
		{"room", func(s *settings) { s.windows, s.targets = "1,4,32", "freeim,limit,limit-joined" }},
		{"room", func(s *settings) { s.windows, s.transport = "32", report.WebSocket }},
		{"slow", flooded},
		{"mixed", func(s *settings) { s.sessions, s.members, s.rate = 2000, 500, 50 }},
		{"hooks", nil},
		{"reconnect", func(s *settings) { s.sessions = 2000 }},
		{"echo", func(s *settings) { s.sessions = 500 }},
	}
}

// tour is one round of everything; what takes turns does so within each part.
func tour(ctx context.Context, b *bench) error {
	own := b.set
	defer func() { b.set = own }()
	for _, p := range parts() {
		b.set = own
		if p.set != nil {
			p.set(&b.set)
		}
		sc, err := scenarioNamed(p.name)
		if err != nil {
			return err
		}
		if err := sc.run(ctx, b); err != nil {
			return err
		}
	}
	return nil
}
