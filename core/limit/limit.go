// Package limit counts events by key in this process's memory and says how long
// to wait when there are too many: plugin.Limiter for one core. It knows nothing
// of what the events are. core/server and plugintest give it to plugins;
// core/redis counts here while Redis is away.
package limit

import (
	"context"
	"sync"
	"time"
)

// maxKeys bounds how many keys a limiter remembers. Beyond it the one that is
// least in debt among a few is forgotten.
const maxKeys = 1 << 16

// Limiter is a plugin.Limiter: each key may have burst at once and gets one back
// every interval (a token bucket, kept as one instant per key: the time at which
// the bucket will be full again). Safe for concurrent use.
type Limiter struct {
	rate rate
	now  func() time.Time

	mu   sync.Mutex           // guards full
	full map[string]time.Time // a key that is not there has a full bucket
}

// rate is how many events there are at once, and how soon one comes back.
type rate struct {
	burst    int // 0: no limit
	interval time.Duration
}

func rateOf(n int, per time.Duration) rate { return rate{n, per / time.Duration(max(n, 1))} }

// New allows n events per period and key; 0: any number. now is the clock; nil:
// time.Now.
func New(n int, period time.Duration, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{rate: rateOf(n, period), now: now, full: map[string]time.Time{}}
}

// Wait implements plugin.Limiter.
func (l *Limiter) Wait(_ context.Context, keys ...string) time.Duration {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waitLocked(now, l.rate, keys)
}

// Take implements plugin.Limiter.
func (l *Limiter) Take(_ context.Context, keys ...string) time.Duration { return l.take(l.rate, keys) }

// TakeAt implements plugin.Limiter.
func (l *Limiter) TakeAt(_ context.Context, n int, per time.Duration, keys ...string) time.Duration {
	return l.take(rateOf(n, per), keys)
}

func (l *Limiter) take(r rate, keys []string) time.Duration {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := l.waitLocked(now, r, keys); wait > 0 || r.burst == 0 {
		return wait
	}
	for _, key := range keys {
		l.makeRoom(now, key)
		l.full[key] = l.fullLocked(now, r, key).Add(r.interval)
	}
	return 0
}

// GiveBack implements plugin.Limiter.
func (l *Limiter) GiveBack(_ context.Context, keys ...string) { l.giveBack(l.rate, keys) }

// GiveBackAt implements plugin.Limiter.
func (l *Limiter) GiveBackAt(_ context.Context, n int, per time.Duration, keys ...string) {
	l.giveBack(rateOf(n, per), keys)
}

func (l *Limiter) giveBack(r rate, keys []string) {
	if r.burst == 0 {
		return
	}
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if _, known := l.full[key]; known {
			l.full[key] = l.fullLocked(now, r, key).Add(-r.interval)
		}
	}
}

// waitLocked is Wait; l.mu must be held.
func (l *Limiter) waitLocked(now time.Time, r rate, keys []string) (longest time.Duration) {
	if r.burst == 0 {
		return 0
	}
	room := time.Duration(r.burst-1) * r.interval // how far from full a key may be
	for _, key := range keys {
		longest = max(longest, l.fullLocked(now, r, key).Sub(now)-room)
	}
	return longest
}

// fullLocked is when a key is full again, now at the earliest. At this rate an empty bucket takes no longer than burst
// intervals, whatever it was taken at before, or if the clock was set back since: that is noted, since who waits as long as
// he is told must have waited for it; l.mu must be held.
func (l *Limiter) fullLocked(now time.Time, r rate, key string) time.Time {
	full, most := l.full[key], now.Add(time.Duration(r.burst)*r.interval)
	switch {
	case full.After(most):
		l.full[key] = most
		return most
	case full.After(now):
		return full
	}
	return now
}

// makeRoom forgets a key when there are too many and key is a new one; l.mu must
// be held. Go's maps begin a range at random, so a few keys are a fair sample.
func (l *Limiter) makeRoom(now time.Time, key string) {
	if _, known := l.full[key]; known || len(l.full) < maxKeys {
		return
	}
	const sample = 16
	var victim string
	var least time.Time
	seen := 0
	for candidate, at := range l.full {
		if seen == 0 || at.Before(least) {
			victim, least = candidate, at
		}
		if seen++; seen == sample || !least.After(now) {
			break
		}
	}
	delete(l.full, victim)
}
