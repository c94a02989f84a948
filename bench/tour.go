package main

import (
	"context"
	"io"
	"time"

	"freeim/bench/report"
)

// runTour is "bench tour": everything at a small size, in five to ten minutes with
// the default flags and two processors.
func runTour(ctx context.Context, args []string, out io.Writer) error {
	sc := scenario{name: "tour", set: func(s *settings) {
		s.rounds, s.warm, s.measure, s.hold, s.heartbeat = 3, 500*time.Millisecond, 2*time.Second, 5*time.Second, 2*time.Second
	}, run: func(ctx context.Context, b *bench) error { return b.all(ctx, small()) }}
	return runOne(ctx, sc, "tour", args, out)
}

// runTargets is "bench targets": what the table of targets speaks of, at its size, but
// for the million sessions.
func runTargets(ctx context.Context, args []string, out io.Writer) error {
	sc := scenario{name: "targets", set: func(s *settings) { s.hold = time.Minute },
		run: func(ctx context.Context, b *bench) error { return b.all(ctx, atTargets()) }}
	return runOne(ctx, sc, "targets", args, out)
}

// part is a scenario of several, with settings of its own.
type part struct {
	name string
	set  func(*settings)
}

func small() []part {
	return []part{
		{"idle", func(s *settings) { s.sessions = 5000 }},
		{"chat", nil},
		{"room", func(s *settings) { s.windows, s.targets = "1,4,32", "freeim,limit,limit-joined" }},
		{"room", func(s *settings) { s.windows, s.transport = "32", report.WebSocket }},
		{"group", func(s *settings) { s.members = 500 }},
		{"slow", flooded},
		{"mixed", func(s *settings) { s.sessions, s.members, s.rate = 2000, 500, 50 }},
		{"hooks", nil},
		{"reconnect", func(s *settings) { s.sessions = 2000 }},
		{"echo", func(s *settings) { s.sessions = 500 }},
	}
}

func atTargets() []part {
	members := func(n int, windows, transport, targets string, half bool) func(*settings) {
		return func(s *settings) {
			s.members, s.windows, s.transport, s.targets, s.half = n, windows, transport, targets, half
		}
	}
	return []part{
		{"idle", func(s *settings) { s.sessions = perProcess }},
		{"idle", func(s *settings) { s.sessions, s.transport = perProcess, report.WebSocket }},
		{"chat", nil},
		{"chat", func(s *settings) { s.store = "memory" }},
		{"group", func(s *settings) { s.members, s.windows = 500, "1,4,32" }},
		{"room", members(10_000, "1,4,32", report.TCP, "freeim,limit,limit-joined", true)},
		{"room", members(10_000, "32", report.WebSocket, report.Freeim, false)},
		{"room", members(1000, "1,4,32", report.TCP, "freeim,limit,limit-joined", true)},
		{"slow", flooded},
	}
}

// all is one round of the parts; what takes turns does so within each.
func (b *bench) all(ctx context.Context, parts []part) error {
	own := b.set
	defer func() { b.set = own }()
	for _, p := range parts {
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
