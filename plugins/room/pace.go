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
	p.mu.Lock()
	defer p.mu.Unlock()
	full, wait, _ := p.look(k, interval, burst)
	if wait > 0 {
		return wait
	}
	if len(p.young) >= maxPaces {
		p.young, p.old = map[key]time.Time{}, p.young
	}
	p.young[k] = full.Add(interval)
	return 0
}

// wait gives what take would, and counts nothing. cut says that it was longer until now, at
// another rate.
func (p *pace) wait(k key, interval time.Duration, burst int) (wait time.Duration, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, wait, cut = p.look(k, interval, burst)
	return wait, cut
}

// look gives when k may have everything again, and how long it has to wait for one; p.mu
// must be held. That is no later than this rate has it: what is cut is noted, since who waits
// as long as he is told must have waited for it.
func (p *pace) look(k key, interval time.Duration, burst int) (full time.Time, wait time.Duration, cut bool) {
	now, kept := p.now(), p.young
	full, known := kept[k]
	if !known {
		kept = p.old
		full = kept[k]
	}
	if full.Before(now) {
		full = now
	}
	if most := now.Add(time.Duration(burst) * interval); full.After(most) {
		full, kept[k], cut = most, most, true // the clock stepped back, or the rate is another one
	}
	return full, min(full.Sub(now)-time.Duration(burst-1)*interval, interval), cut
}

// maxOwed bounds the turns that are owed: past it nobody is owed one any more.
const maxOwed = 1 << 12

// owed are turns that were taken for nothing, each until the next would come anyway. The
// zero value is ready. Safe for concurrent use.
type owed struct {
	mu    sync.Mutex // guards until
	until map[key]time.Time
}

func (o *owed) give(k key, until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.until == nil || len(o.until) >= maxOwed {
		o.until = make(map[key]time.Time)
	}
	o.until[k] = until
}

func (o *owed) is(k key, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return now.Before(o.until[k])
}

func (o *owed) take(k key, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	until := o.until[k]
	delete(o.until, k)
	return now.Before(until)
}
