package server

import (
	"context"
	"errors"
	"fmt"
)

var errDraining = errors.New("the core is draining")

// Ready says what keeps the core from serving; nil: nothing. The stores must
// answer, since nothing is committed without them.
func (s *Server) Ready(ctx context.Context) error {
	if s.draining.Load() {
		return errDraining
	}
	if err := s.directory.Ping(ctx); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if err := s.healthy(ctx); err != nil {
		return fmt.Errorf("timelines: %w", err)
	}
	for name, err := range s.plugins.Health(ctx) {
		if err != nil {
			return fmt.Errorf("plugin %s: %w", name, err)
		}
	}
	return nil
}

// Degraded says that the registry of presence does not answer; nil: it does. The
// core serves nevertheless: messages are committed and synced, pushes are lost
// until it is back. Were the core unready for it, so would be every core at once,
// and what still works would stop as well.
func (s *Server) Degraded(ctx context.Context) error {
	if s.draining.Load() {
		return nil
	}
	if _, err := s.registry.Generation(ctx); err != nil {
		return fmt.Errorf("presence: %w", err)
	}
	return nil
}

// Durable says why what the core commits may be lost; nil: it is not. The core serves
// nevertheless, for the reason that Degraded gives; the operator's alert is loud.
func (s *Server) Durable(context.Context) error { return s.unsafe() }

// Alive says what only a restart mends: Kitex that answers no connection, a
// fan-out that stands still, or an embedded store whose disk failed; nil: nothing.
// A store that is away, or whose disk is full, is no such thing.
func (s *Server) Alive(ctx context.Context) error {
	if s.draining.Load() {
		return nil // it ends anyway
	}
	if err := errors.Join(s.fanout.Alive(), s.rooms.Alive()); err != nil {
		return err
	}
	if err := s.broken(); err != nil {
		return err
	}
	return s.rpc.Ping(ctx)
}
