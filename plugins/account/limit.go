package account

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxKeys bounds how many keys a limiter remembers. Beyond it the one that is
// least in debt among a few is forgotten.
const maxKeys = 1 << 16

// limiter counts events by key: each key may have burst at once and gets one
// back every interval (a token bucket, kept as one instant per key: the time at
// which the bucket will be full again). Safe for concurrent use.
type limiter struct {
	burst    int // 0: no limit
	interval time.Duration

	mu   sync.Mutex           // guards full
	full map[string]time.Time // a key that is not there has a full bucket
}

// newLimiter allows n events per period and key; 0: any number.
func newLimiter(n int, period time.Duration) *limiter {
	return &limiter{burst: n, interval: period / time.Duration(max(n, 1)), full: map[string]time.Time{}}
}

// wait gives how long it takes until every key may have one more event, 0: now.
func (l *limiter) wait(now time.Time, keys ...string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waitLocked(now, keys)
}

// take counts one event of every key, or of none and gives the time to wait.
func (l *limiter) take(now time.Time, keys ...string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait := l.waitLocked(now, keys); wait > 0 || l.burst == 0 {
		return wait
	}
	for _, key := range keys {
		l.makeRoom(now, key)
		l.full[key] = later(l.full[key], now).Add(l.interval)
	}
	return 0
}

// giveBack takes one event of every key back.
func (l *limiter) giveBack(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if at, known := l.full[key]; known {
			l.full[key] = at.Add(-l.interval)
		}
	}
}

// waitLocked is wait; l.mu must be held.
func (l *limiter) waitLocked(now time.Time, keys []string) (longest time.Duration) {
	if l.burst == 0 {
		return 0
	}
	room := time.Duration(l.burst-1) * l.interval // how far from full a key may be
	for _, key := range keys {
		longest = max(longest, later(l.full[key], now).Sub(now)-room)
	}
	return longest
}

// makeRoom forgets a key when there are too many and key is a new one; l.mu must
// be held. Go's maps begin a range at random, so a few keys are a fair sample.
func (l *limiter) makeRoom(now time.Time, key string) {
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

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// addressKey is what an address is limited by: the host without the port, and
// of IPv6 the network of 64 bits that one customer usually has.
func addressKey(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "address " + host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is6() {
		network, _ := ip.Prefix(64) // 64 fits every IPv6 address
		return "address " + network.String()
	}
	return "address " + ip.String()
}

func accountKey(name string) string { return "account " + name }
