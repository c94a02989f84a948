package account

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
	lookers   = 2               // queries at a time
	lookBatch = 128             // tokens in one query
	lookTime  = 5 * time.Second // for one query
)

// looks finds the devices of tokens. While its queries run, what others ask gathers
// for the next one, so that ten thousand clients coming back at once cost some
// hundred queries, and none of them waits for a connection by chance. A query
// begins after everybody whom it answers has asked. Those who wait are calls under
// way, whose number the core bounds; who has given up is dropped.
type looks struct {
	host plugin.Host
	find func(ctx context.Context, hashes []string) (map[string]holder, error)

	mu      sync.Mutex // guards the fields below
	waiting []*look
	running int // goroutines; each ends when nobody waits
}

// look is one who asks.
type look struct {
	ctx  context.Context // the caller's: whether it still waits
	hash string
	done chan struct{} // closed when the fields below are set
	holder
	err error
}

// holder is whose a token is.
type holder struct {
	device device
	user   user
}

// holder finds whose token has the hash. It returns errUnknown when it is not valid.
func (l *looks) holder(ctx context.Context, hash string) (device, user, error) {
	one := &look{ctx: ctx, hash: hash, done: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, one)
	more := l.running < lookers
	if more {
		l.running++
	}
	l.mu.Unlock()
	if more {
		l.host.Go("look tokens up", l.run)
	}
	select {
	case <-one.done:
		return one.device, one.user, one.err
	case <-ctx.Done():
		return device{}, user{}, ctx.Err()
	}
}

// run asks for all that wait, until nobody does. First it lets those run who are
// about to ask too.
func (l *looks) run(ctx context.Context) {
	runtime.Gosched()
	for batch := l.take(); len(batch) > 0; batch = l.take() {
		l.ask(ctx, batch)
	}
}

// take gives the next batch; without one the caller counts as ended.
func (l *looks) take() (batch []*look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, func(one *look) bool { return one.ctx.Err() != nil })
	n := min(lookBatch, len(l.waiting))
	if n == 0 {
		l.running--
		return nil
	}
	batch = slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	return batch
}

func (l *looks) ask(ctx context.Context, batch []*look) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	hashes := make([]string, len(batch))
	for i, one := range batch {
		hashes[i] = one.hash
	}
	found, err := l.found(ctx, hashes)
	for _, one := range batch {
		known := false
		if one.holder, known = found[one.hash]; !known {
			one.err = errUnknown
		}
		if err != nil {
			one.err = err
		}
		close(one.done)
	}
}

// found is find behind a barrier: a panic is an answer too, and the goroutine goes on.
func (l *looks) found(ctx context.Context, hashes []string) (found map[string]holder, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			l.host.Log().Error("a look-up of tokens panicked", "cause", cause, "stack", string(debug.Stack()))
			err = errors.New("the look-up panicked")
		}
	}()
	return l.find(ctx, hashes)
}
