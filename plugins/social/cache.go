package social

import (
	"context"
	"math"
	"sync"
	"time"

	"freeim/core/im"
)

// forGood is for how long a cache believes what nobody else changes.
const forGood = time.Duration(math.MaxInt64)

// as is a key of what was read when somebody's version was that. With one core, whose changes are
// forgotten, versions are not asked for: who and version are 0.
type as[K comparable] struct {
	key     K
	who     im.UserID
	version int64
}

// maxCached bounds the values that a cache remembers, in each of two halves.
const maxCached = 1 << 16

// cache remembers what was read from the directory. Safe for concurrent use.
type cache[K comparable, V any] struct {
	// Static.
	believed time.Duration // 0: nothing is remembered
	now      func() time.Time

	mu sync.Mutex // guards the fields below
	// When fresh is full it becomes stale, and what was stale is forgotten.
	fresh, stale map[K]cached[V]
	forgotten    uint64 // counts calls of forget
}

type cached[V any] struct {
	value V
	read  time.Time // when it began to be
}

func newCache[K comparable, V any](believed time.Duration, now func() time.Time) *cache[K, V] {
	return &cache[K, V]{believed: believed, now: now, fresh: map[K]cached[V]{}, stale: map[K]cached[V]{}}
}

// get gives what is remembered of k, or what load reads. What was read while anything was
// forgotten is not remembered: it may be of before.
func (c *cache[K, V]) get(ctx context.Context, k K, load func(ctx context.Context, k K) (V, error)) (V, error) {
	begun := c.now()
	c.mu.Lock()
	one, ok := c.fresh[k]
	if !ok {
		one, ok = c.stale[k]
	}
	forgotten := c.forgotten
	c.mu.Unlock()
	if ok && begun.Sub(one.read) < c.believed {
		return one.value, nil
	}
	value, err := load(ctx, k)
	if err != nil {
		return value, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgotten != forgotten {
		return value, nil
	}
	if len(c.fresh) >= maxCached {
		c.fresh, c.stale = make(map[K]cached[V], maxCached), c.fresh
	}
	delete(c.stale, k)
	c.fresh[k] = cached[V]{value, begun}
	return value, nil
}

// forget drops what is remembered of the keys: called after they were changed.
func (c *cache[K, V]) forget(keys ...K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten++
	for _, k := range keys {
		delete(c.fresh, k)
		delete(c.stale, k)
	}
}
