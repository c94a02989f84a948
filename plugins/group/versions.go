package group

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"freeim/core/plugin"
)

const (
	versionReaders = 2               // queries at a time
	versionBatch   = 256             // groups in one query
	versionTime    = 5 * time.Second // for one query
)

// versions reads the versions of groups. While its queries run, what others ask gathers for
// the next one, so that a thousand messages at once cost some queries. A query begins after
// everybody whom it answers has asked. Those who wait are calls under way, whose number the
// core bounds; who has given up is dropped.
type versions struct {
	host plugin.Host
	find func(ctx context.Context, ids []int64) (map[int64]int64, error)

	mu      sync.Mutex // guards the fields below
	waiting []*versionOf
	running int // goroutines; each ends when nobody waits
}

// versionOf is one who asks.
type versionOf struct {
	ctx     context.Context // the caller's: whether it still waits
	id      int64
	done    chan struct{} // closed when the fields below are set
	version int64         // 0: no such group
	err     error
}

// read gives a group's version as it is after the call: 0 when there is no such group.
func (v *versions) read(ctx context.Context, id int64) (int64, error) {
	one := &versionOf{ctx: ctx, id: id, done: make(chan struct{})}
	v.mu.Lock()
	v.waiting = append(v.waiting, one)
	more := v.running < versionReaders
	if more {
		v.running++
	}
	v.mu.Unlock()
	if more {
		v.host.Go("read versions of groups", v.run)
	}
	select {
	case <-one.done:
		return one.version, one.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// run asks for all that wait, until nobody does. First it lets those run who are about to
// ask too.
func (v *versions) run(ctx context.Context) {
	runtime.Gosched()
	for batch := v.take(); len(batch) > 0; batch = v.take() {
		v.ask(ctx, batch)
	}
}

// take gives the next batch; without one the caller counts as ended.
func (v *versions) take() (batch []*versionOf) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting = slices.DeleteFunc(v.waiting, func(one *versionOf) bool { return one.ctx.Err() != nil })
	n := min(versionBatch, len(v.waiting))
	if n == 0 {
		v.running--
		return nil
	}
	batch = slices.Clone(v.waiting[:n])
	v.waiting = slices.Delete(v.waiting, 0, n)
	return batch
}

func (v *versions) ask(ctx context.Context, batch []*versionOf) {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	var ids []int64
	for _, one := range batch {
		ids = append(ids, one.id)
	}
	slices.Sort(ids)
	found, err := v.found(ctx, slices.Compact(ids))
	for _, one := range batch {
		one.version, one.err = found[one.id], err
		close(one.done)
	}
}

// found is find behind a barrier: a panic is an answer too, and the goroutine goes on.
func (v *versions) found(ctx context.Context, ids []int64) (found map[int64]int64, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			v.host.Log().Error("a reading of versions panicked", "cause", cause, "stack", string(debug.Stack()))
			err = errors.New("the reading panicked")
		}
	}()
	return v.find(ctx, ids)
}

const versionsOf = "SELECT id, version FROM group_groups WHERE dissolved = 0 AND id IN "

// readVersions gives the versions of those groups that there are.
func readVersions(ctx context.Context, q querier, ids []int64) (map[int64]int64, error) {
	type row struct{ id, version int64 }
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	all, err := list(ctx, q, func(r *row) []any { return []any{&r.id, &r.version} },
		versionsOf+marks(len(ids)), args...)
	found := make(map[int64]int64, len(all))
	for _, r := range all {
		found[r.id] = r.version
	}
	return found, err
}
