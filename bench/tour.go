package main

import (
	"context"
	"io"
	"time"
)

// runTour is "bench tour": every scenario at a small size.
func runTour(ctx context.Context, args []string, out io.Writer) error {
	sc := scenario{name: "tour", set: func(s *settings) {
		s.rounds, s.measure, s.hold = 2, 3*time.Second, 5*time.Second
	}, run: tour}
	return runOne(ctx, sc, "tour", args, out)
}

// tour is one round of everything; what takes turns does so within each part.
func tour(ctx context.Context, b *bench) error {
	own := b.set
	defer func() { b.set = own }()
	for _, part := range []struct {
		of  func(ctx context.Context, b *bench) error
		set func(s *settings)
	}{
		{idle, func(s *settings) { s.sessions = 5000 }},
		{chat, func(*settings) {}},
		{echo, func(s *settings) { s.sessions = 500 }},
	} {
		b.set = own
		part.set(&b.set)
		if err := part.of(ctx, b); err != nil {
			return err
		}
	}
	return nil
}
