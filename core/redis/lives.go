package redis

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/presence"

	goredis "github.com/redis/go-redis/v9"
)

// lives is what a core knows of the edges' lives: a copy of the hash of edges, not
// older than fresh. It is also the clock of all leases: the time of the server
// that holds the hash, so that no core's own clock matters.
type lives struct {
	// Static.
	client *Client
	key    string
	leases presence.Leases
	fresh  time.Duration

	table atomic.Pointer[table] // nil: not asked yet

	mu     sync.Mutex // guards asking
	asking *asking    // nil: nobody does
}

// table is the hash of edges at one moment. It is never changed.
type table struct {
	lives map[presence.EdgeID]keeping
	now   int64     // Redis's time in ms
	at    time.Time // the same moment here, for the monotonic clock
}

// keeping is what is known of the life of one edge. Moments are Redis's, in ms.
type keeping struct {
	epoch int64
	began int64 // routes listed before are over
	kept  int64 // last
}

// asking is one question that several callers wait for.
type asking struct {
	done  chan struct{} // closed when table and err are set
	table *table
	err   error
}

// moment is Redis's time now.
func (t *table) moment() int64 { return t.now + time.Since(t.at).Milliseconds() }

// maxFresh is how long a core may act on what it knows of the edges.
const maxFresh = time.Second

func newLives(c *Client, l presence.Leases) *lives {
	return &lives{
		client: c, key: keys{c.config.Prefix}.edges(), leases: l, fresh: min(maxFresh, l.Life/10),
	}
}

// keepScript renews lives.
//
//	KEYS[1] the hash of edges; ARGV: the lease of a life in ms, how long an edge that
//	nobody keeps is remembered in ms, then edge and epoch of each life.
//
// A field is an edge, its value three numbers: epoch, began, kept. Epochs are as
// sortable writes them, and compare as text. It returns the time in ms and the hash.
const keepScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%.0f', now)
for i = 3, #ARGV, 2 do
  local edge, mine = ARGV[i], ARGV[i + 1]
  local there = redis.call('HGET', KEYS[1], edge)
  local epoch, began, kept = string.match(there or '', '^(%d+) (%d+) (%d+)$')
  if not epoch or epoch < mine then
    redis.call('HSET', KEYS[1], edge, mine .. ' 0 ' .. stamp)
  elseif epoch == mine then
    if now - kept >= tonumber(ARGV[1]) then began = stamp end
    redis.call('HSET', KEYS[1], edge, mine .. ' ' .. began .. ' ' .. stamp)
  end
end
local all = redis.call('HGETALL', KEYS[1])
if #ARGV > 2 then
  for i = 2, #all, 2 do
    local kept = string.match(all[i], '(%d+)$')
    if not kept or now - kept > tonumber(ARGV[2]) then redis.call('HDEL', KEYS[1], all[i - 1]) end
  end
end
return {stamp, all}
`

// forgetEdge is how long an edge that nobody keeps any more is remembered: so long
// an earlier life of it stays fenced.
const forgetEdge = 24 * time.Hour

// keep renews lives, none to only ask, and returns what is known then.
func (l *lives) keep(ctx context.Context, some ...presence.Life) (*table, error) {
	args := make([]any, 0, 2+2*len(some))
	args = append(args, l.leases.Life.Milliseconds(), forgetEdge.Milliseconds())
	for _, life := range some {
		args = append(args, string(life.Edge), sortable(life.Epoch))
	}
	b := l.client.batch()
	b.run(ctx, l.client.scripts.keep, l.key, args...)
	if err := b.exec(ctx); err != nil {
		return nil, err
	}
	t, err := readTable(b.runs[0].Cmd)
	if err != nil {
		return nil, err
	}
	for {
		have := l.table.Load()
		if have != nil && have.at.After(t.at) || l.table.CompareAndSwap(have, t) {
			return t, nil
		}
	}
}

// readTable takes in what keepScript returns. An edge whose value cannot be read is
// not known.
func readTable(r *goredis.Cmd) (*table, error) {
	at := time.Now()
	reply, err := r.Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) != 2 {
		return nil, fmt.Errorf("the edges' hash came as %d parts", len(reply))
	}
	stamp, _ := reply[0].(string)
	now, ok := readInt(stamp)
	all, isList := reply[1].([]any)
	if !ok || !isList {
		return nil, fmt.Errorf("the edges' hash came as %T and %T", reply[0], reply[1])
	}
	t := &table{lives: make(map[presence.EdgeID]keeping, len(all)/2), now: now, at: at}
	for i := 0; i+1 < len(all); i += 2 {
		edge, _ := all[i].(string)
		value, _ := all[i+1].(string)
		if k, ok := decodeKeeping(value); ok {
			t.lives[presence.EdgeID(edge)] = k
		}
	}
	return t, nil
}

// get gives what is known of the edges, at most fresh old. Callers at once share
// one question. While Redis is away an older table serves, as long as a life lasts
// that is not kept: by then nobody knows better.
func (l *lives) get(ctx context.Context) (*table, error) {
	have := l.table.Load()
	if have != nil && time.Since(have.at) < l.fresh {
		return have, nil
	}
	l.mu.Lock()
	a := l.asking
	mine := a == nil
	if mine {
		a = &asking{done: make(chan struct{})}
		l.asking = a
	}
	l.mu.Unlock()
	if mine {
		l.ask(ctx, a)
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if a.err != nil && have != nil && time.Since(have.at) < l.leases.Life {
		return have, nil
	}
	return a.table, a.err
}

// ask answers a for all who wait, whatever becomes of the one who asks.
func (l *lives) ask(ctx context.Context, a *asking) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	a.table, a.err = l.keep(ctx)
	l.mu.Lock()
	l.asking = nil
	l.mu.Unlock()
	close(a.done)
}

// fenced reports whether a later life of the edge is known.
func (t *table) fenced(life presence.Life) bool {
	k, known := t.lives[life.Edge]
	return known && k.epoch > life.Epoch
}

// over reports whether a route that was listed at that moment is over.
func (l *lives) over(t *table, s *stored) bool {
	now := t.moment()
	if now-s.listed >= l.leases.Route.Milliseconds() {
		return true
	}
	k, known := t.lives[s.Edge]
	if !known || k.epoch < s.Epoch {
		return false
	}
	return k.epoch > s.Epoch || s.listed < k.began || now-k.kept >= l.leases.Life.Milliseconds()
}
