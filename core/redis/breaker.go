package redis

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// breaker keeps calls from a server that does not answer: they get ErrAway at
// once, and nobody waits but one goroutine, which asks the server until it
// answers. There is one for each server, as a hook of its connections, so that
// the other shards of a Cluster go on.
type breaker struct {
	// Static.
	client *Client
	node   *goredis.Client

	failures atomic.Int32 // in a row
	open     atomic.Bool
}

const (
	// maxFailures in a row open the breaker; a timeout does alone.
	maxFailures = 3
	// patience is what a call must have waited before its end is the server's
	// fault and not its own short deadline's.
	patience = 100 * time.Millisecond
	// The pauses between two questions to a server that is away.
	firstPause = 20 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// probing marks the context of calls that pass an open breaker.
type probing struct{}

// watch gives every server its breaker.
func (c *Client) watch() {
	switch db := c.db.(type) {
	case *goredis.ClusterClient:
		db.OnNewNode(func(node *goredis.Client) { node.AddHook(&breaker{client: c, node: node}) })
	case *goredis.Client:
		db.AddHook(&breaker{client: c, node: db})
	}
}

// DialHook implements goredis.Hook.
func (b *breaker) DialHook(next goredis.DialHook) goredis.DialHook { return next }

// ProcessHook implements goredis.Hook.
func (b *breaker) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		if b.closed(ctx) {
			began := time.Now()
			err := next(ctx, cmd)
			b.note(ctx, err, time.Since(began))
			return err
		}
		cmd.SetErr(ErrAway)
		return ErrAway
	}
}

// ProcessPipelineHook implements goredis.Hook.
func (b *breaker) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		if b.closed(ctx) {
			began := time.Now()
			err := next(ctx, cmds)
			b.note(ctx, err, time.Since(began))
			return err
		}
		for _, cmd := range cmds {
			cmd.SetErr(ErrAway)
		}
		return ErrAway
	}
}

// closed reports whether the call may go to the server.
func (b *breaker) closed(ctx context.Context) bool {
	return !b.open.Load() || ctx.Value(probing{}) != nil
}

// note takes in how a call ended.
func (b *breaker) note(ctx context.Context, err error, took time.Duration) {
	switch {
	case answered(err):
		b.failures.Store(0)
	case errors.Is(err, context.Canceled), errors.Is(err, goredis.ErrClosed), errors.Is(err, goredis.ErrPoolTimeout):
		// The caller's own.
	case timeout(err):
		if took >= patience {
			b.trip(ctx, err)
		}
	case b.failures.Add(1) >= maxFailures:
		b.trip(ctx, err)
	}
}

// answered reports whether the server is there and serves, though it may refuse.
func answered(err error) bool {
	if err == nil {
		return true
	}
	if _, reply := errors.AsType[goredis.Error](err); !reply {
		return false
	}
	return !goredis.HasErrorPrefix(err, "LOADING") && !goredis.HasErrorPrefix(err, "MASTERDOWN") &&
		!goredis.HasErrorPrefix(err, "CLUSTERDOWN") && !goredis.HasErrorPrefix(err, "BUSY")
}

func timeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// trip opens the breaker and starts what closes it.
func (b *breaker) trip(ctx context.Context, cause error) {
	if !b.open.CompareAndSwap(false, true) {
		return
	}
	c := b.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.figures.away.Inc()
	c.log.Warn("redis is away: going on without it", "server", b.node.Options().Addr, "error", cause)
	ctx = context.WithoutCancel(ctx)
	c.probes.Go(func() { b.probe(ctx) })
}

// probe asks the server until it answers, and then lets calls through again. It
// ends with the Client, and when the Cluster has no such server any more.
func (b *breaker) probe(ctx context.Context) {
	defer b.client.figures.away.Dec()
	pause := time.NewTimer(firstPause)
	defer pause.Stop()
	for next := firstPause; ; {
		select {
		case <-b.client.closing:
			return
		case <-pause.C:
		}
		err := b.ask(ctx)
		if err == nil {
			break
		}
		if errors.Is(err, goredis.ErrClosed) {
			return
		}
		if cluster, ok := b.client.db.(*goredis.ClusterClient); ok {
			cluster.ReloadState(ctx) // a replica may have taken its place
		}
		next = min(2*next, lastPause)
		pause.Reset(next)
	}
	b.failures.Store(0)
	b.open.Store(false)
	b.client.log.Info("redis answers again", "server", b.node.Options().Addr)
}

func (b *breaker) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, probing{}, true), probeTime)
	defer cancel()
	return b.node.Ping(ctx).Err()
}
