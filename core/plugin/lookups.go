package plugin

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	lookers  = 2               // queries at a time
	lookTime = 5 * time.Second // for one query
)

// Lookups joins look-ups of single keys. While its queries run, what others ask gathers for the
// next one, so that a thousand calls at once cost some queries, and none of them waits for a
// connection by chance. A query begins after everybody whom it answers has asked. Those who
// wait are calls under way, whose number the core bounds; who has given up is dropped.
// Safe for concurrent use.
type Lookups[K cmp.Ordered, V any] struct {
	host  Host
	what  string // as in "look tokens up"
	batch int    // keys in one query
	find  func(ctx context.Context, keys []K) (map[K]V, error)

	mu      sync.Mutex // guards the fields below
	waiting []*lookup[K, V]
	running int // goroutines; each ends when nobody waits
}

// lookup is one who asks.
type lookup[K cmp.Ordered, V any] struct {
	ctx   context.Context // the caller's: whether it still waits
	key   K
	done  chan struct{} // closed when the fields below are set
	value V
	found bool
	err   error
}

// NewLookups joins look-ups by find, which is called with batch different keys at most, in their order, and
// leaves out what is not there. what says what it does, for logs.
func NewLookups[K cmp.Ordered, V any](h Host, what string, batch int, find func(ctx context.Context, keys []K) (map[K]V, error)) *Lookups[K, V] {
	return &Lookups[K, V]{host: h, what: what, batch: batch, find: find}
}

// Find gives what there is of a key as it is after the call.
func (l *Lookups[K, V]) Find(ctx context.Context, key K) (value V, found bool, err error) {
	one := &lookup[K, V]{ctx: ctx, key: key, done: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, one)
	more := l.running < lookers
	if more {
		l.running++
	}
	l.mu.Unlock()
	if more {
		l.host.Go(l.what, l.run)
	}
	select {
	case <-one.done:
		return one.value, one.found, one.err
	case <-ctx.Done():
		return value, false, ctx.Err()
	}
}

// Waiting is how many ask and are in no query yet.
func (l *Lookups[K, V]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// run asks for all that wait, until nobody does. First it lets those run who are about to
// ask too.
func (l *Lookups[K, V]) run(ctx context.Context) {
	runtime.Gosched()
	for batch := l.take(); len(batch) > 0; batch = l.take() {
		l.ask(ctx, batch)
	}
}

// take gives the next batch; without one the caller counts as ended.
func (l *Lookups[K, V]) take() (batch []*lookup[K, V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(one *lookup[K, V]) bool { return one.ctx.Err() != nil })
	n := min(l.batch, len(l.waiting))
	if n == 0 {
		l.running--
		return nil
	}
	batch = slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return batch
}

func (l *Lookups[K, V]) ask(ctx context.Context, batch []*lookup[K, V]) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	keys := make([]K, len(batch))
	for i, one := range batch {
		keys[i] = one.key
	}
	slices.Sort(keys)
	all, err := l.guarded(ctx, slices.Compact(keys))
	for _, one := range batch {
		if one.err = err; err == nil {
			one.value, one.found = all[one.key]
		}
		close(one.done)
	}
}

// guarded is find behind a barrier: a panic is an answer too, and the goroutine goes on.
func (l *Lookups[K, V]) guarded(ctx context.Context, keys []K) (all map[K]V, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			l.host.Log().Error("a look-up panicked", "of", l.what, "cause", cause, "stack", string(debug.Stack()))
			err = errors.New("the look-up panicked")
		}
	}()
	return l.find(ctx, keys)
}
