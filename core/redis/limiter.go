package redis

import (
	"context"
	"time"

	"freeim/core/limit"
	"freeim/core/plugin"
)

// Limiter is a plugin.Limiter that all cores share. A key is one string in Redis,
// the moment at which it will be full again (GCRA), by the clock of its server.
//
// The keys of one call may be in different slots of a Cluster. They are not bound
// to one slot by a common tag: that would put a whole limit on one shard, and the
// limits are hot. Each key is taken by a script of its own, all in one pipeline,
// and when one refuses, what the others gave is given back in a second. Between the
// two another call may be refused that could have been let in, never the reverse.
//
// While Redis does not answer, or not within readTime, this core counts alone.
type Limiter struct {
	client *Client
	keys   keys
	name   string
	rate   rate // its own
	alone  *limit.Limiter
}

// rate is how many events there are at once, and how soon one comes back.
type rate struct {
	burst    int // 0: no limit
	interval time.Duration
}

func rateOf(n int, per time.Duration) rate {
	return rate{n, max(per/time.Duration(max(n, 1)), time.Microsecond)}
}

var _ plugin.Limiter = (*Limiter)(nil)

// NewLimiter allows n events per period and key, 0: any number. name keeps its keys
// apart from other limits'.
func NewLimiter(c *Client, name string, n int, per time.Duration) *Limiter {
	return &Limiter{
		client: c, keys: keys{c.config.Prefix}, name: name, rate: rateOf(n, per), alone: limit.New(n, per, nil),
	}
}

// limitScript asks for, takes or gives back one event of a key.
//
//	KEYS[1] the key; ARGV: wait, take or give; in how many µs an event comes back;
//	how many there are.
//
// What was taken at a slower rate is cut to what this one has a key wait for at most, and that is kept:
// who waits as long as he is told must have waited for it.
//
// It returns how many µs to wait; 0: none.
const limitScript = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local key, interval, burst = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local full = redis.pcall('GET', key)
if type(full) == 'table' then
  redis.call('DEL', key)
  full = false
end
full = tonumber(string.match(full or '', '^%d+$') or 0)
full = math.max(full, now)
local most = now + interval * burst
if full > most then
  full = most
  redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
if ARGV[1] == 'give' then
  full = full - interval
else
  local wait = full - now - (burst - 1) * interval
  if wait > 0 then return math.ceil(wait) end
  if ARGV[1] == 'wait' then return 0 end
  full = full + interval
end
if full <= now then
  redis.call('DEL', key)
else
  redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return 0
`

// Wait implements plugin.Limiter.
func (l *Limiter) Wait(ctx context.Context, keys ...string) time.Duration {
	waits, ok := l.run(ctx, "wait", l.rate, keys)
	if !ok {
		return l.alone.Wait(ctx, keys...)
	}
	return longest(waits)
}

// Take implements plugin.Limiter.
func (l *Limiter) Take(ctx context.Context, keys ...string) time.Duration {
	wait, ok := l.take(ctx, l.rate, keys)
	if !ok {
		return l.alone.Take(ctx, keys...)
	}
	return wait
}

// TakeAt implements plugin.Limiter.
func (l *Limiter) TakeAt(ctx context.Context, n int, per time.Duration, keys ...string) time.Duration {
	wait, ok := l.take(ctx, rateOf(n, per), keys)
	if !ok {
		return l.alone.TakeAt(ctx, n, per, keys...)
	}
	return wait
}

func (l *Limiter) take(ctx context.Context, r rate, keys []string) (wait time.Duration, ok bool) {
	waits, ok := l.run(ctx, "take", r, keys)
	if !ok {
		return 0, false
	}
	refused := longest(waits)
	if refused > 0 && len(keys) > 1 {
		var taken []string
		for i, key := range keys {
			if waits[i] == 0 {
				taken = append(taken, key)
			}
		}
		l.run(ctx, "give", r, taken) // if it fails, these have an event less for a while
	}
	return refused, true
}

// GiveBack implements plugin.Limiter.
func (l *Limiter) GiveBack(ctx context.Context, keys ...string) {
	if _, ok := l.run(ctx, "give", l.rate, keys); !ok {
		l.alone.GiveBack(ctx, keys...)
	}
}

// GiveBackAt implements plugin.Limiter.
func (l *Limiter) GiveBackAt(ctx context.Context, n int, per time.Duration, keys ...string) {
	if _, ok := l.run(ctx, "give", rateOf(n, per), keys); !ok {
		l.alone.GiveBackAt(ctx, n, per, keys...)
	}
}

func longest(waits []time.Duration) (wait time.Duration) {
	for _, w := range waits {
		wait = max(wait, w)
	}
	return wait
}

// run does one thing with every key. ok is false when Redis did not answer for all.
func (l *Limiter) run(ctx context.Context, do string, r rate, keys []string) (waits []time.Duration, ok bool) {
	if r.burst == 0 || len(keys) == 0 {
		return nil, true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime) // counted is counted, though the caller has gone
	defer cancel()
	b := l.client.batch()
	for _, key := range keys {
		b.run(ctx, l.client.scripts.limit, l.keys.limit(l.name, key), do, r.interval.Microseconds(), r.burst)
	}
	if err := b.exec(ctx); err != nil {
		l.client.failed("limits", err)
		return nil, false
	}
	waits = make([]time.Duration, len(keys))
	for i := range keys {
		micros, err := b.runs[i].Int64()
		if err != nil {
			l.client.failed("limits", err)
			return nil, false
		}
		waits[i] = time.Duration(micros) * time.Microsecond
	}
	return waits, true
}
