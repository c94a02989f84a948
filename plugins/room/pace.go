package room

import (
	"sync"
	"time"
)

// maxPaces bounds the keys that a pace remembers, in each of two halves.
const maxPaces = 1 << 15

// pace bounds how often something happens by key, each key at a rate that the caller
// names. It counts in this core only, and costs no look-up elsewhere. Safe for
// concurrent use.
type pace struct {
	now func() time.Time

	mu         sync.Mutex        // guards the fields below
	young, old map[key]time.Time // when the key may have everything again
}

func newPace(now func() time.Time) *pace {
	return &pace{now: now, young: map[key]time.Time{}, old: map[key]time.Time{}}
}

// take counts one event of k and gives 0, or counts none and gives the time to wait:
// one may come every interval, and burst at once.
func (p *pace) take(k key, interval time.Duration, burst int) time.Duration {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	full, known := p.young[k]
	if !known {
		full = p.old[k]
	}
	if full.Before(now) {
		full = now
	}
	if most := now.Add(time.Duration(burst) * interval); full.After(most) {
		full = most // the clock stepped back
	}
	if wait := full.Sub(now) - time.Duration(burst-1)*interval; wait > 0 {
		return min(wait, interval)
	}
	if len(p.young) >= maxPaces {
		p.young, p.old = map[key]time.Time{}, p.young
	}
	p.young[k] = full.Add(interval)
	return 0
}
