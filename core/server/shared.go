package server

import (
	"context"
	"errors"
	"time"

	"freeim/core/redis"
	"freeim/scripts/engine"
)

// shared is Redis as the rules' memory for all cores: it only knows the engine's names
// for what is no fault of the way.
type shared struct{ *redis.Shared }

var _ engine.Shared = shared{}

// Incr implements engine.KV.
func (s shared) Incr(ctx context.Context, key string, by int64, ttl time.Duration) (int64, error) {
	sum, err := s.Shared.Incr(ctx, key, by, ttl)
	if errors.Is(err, redis.ErrNotANumber) {
		err = engine.ErrNotANumber
	}
	return sum, err
}

// Mark implements engine.Shared.
func (s shared) Mark(ctx context.Context, key, member, value string, ttl time.Duration) (string, bool, error) {
	marked, fresh, err := s.Shared.Mark(ctx, key, member, value, ttl)
	if errors.Is(err, redis.ErrFull) {
		err = engine.ErrFull
	}
	return marked, fresh, err
}
