package webhook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
)

// feeds is how many feeds an endpoint is told of, each by a shard of its own.
const feeds = im.Feeds

const (
	shownCalls = 10 // that operators see
	breakAt    = 5  // deliveries in a row that fail, of all shards together
)

// endpoint is an Endpoint as this core has it.
type endpoint struct {
	// Static after Provision.
	Endpoint
	plugin  *Webhook
	secrets [][]byte
	client  *http.Client
	shards  [feeds]*shard
	look    chan struct{} // of length 1: somebody changed what is stored of the endpoint

	delivered, failed, dead, expired, crowded atomic.Int64 // events, deliveries, events, items, items
	mine, stopped                             atomic.Bool  // this core delivers; nobody does, as far as it saw

	mu       sync.Mutex // guards the fields below
	calls    []call     // the last ones, the newest at the end
	failures int        // in a row
	until    time.Time  // nothing is tried before
	probing  bool       // one tries, the others wait for what comes of it
	good     time.Time  // when something was taken last
}

// call is a delivery as operators see it.
type call struct {
	Time     time.Time `json:"time"`
	Delivery string    `json:"delivery"`
	Attempt  int       `json:"attempt"`
	Events   int       `json:"events"`
	Status   int       `json:"status,omitempty"` // of the answer; none: there was none
	TookMs   int64     `json:"took_ms"`
	Fault    string    `json:"fault,omitempty"`
	Answer   string    `json:"answer,omitempty"` // its beginning
}

func (p *Webhook) newEndpoint(c Endpoint) (*endpoint, error) {
	secrets, err := c.secrets()
	if err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = p.config.Timeout
	}
	e := &endpoint{Endpoint: c, plugin: p, secrets: secrets, client: newClient(c.Private), look: make(chan struct{}, 1)}
	for i := range e.shards {
		e.shards[i] = &shard{endpoint: e, feed: im.UserID(-1 - i), wake: make(chan struct{}, 1)}
	}
	return e, nil
}

// begin makes what is stored of an endpoint, if it is new: it is told what is committed from now on.
func (p *Webhook) begin(ctx context.Context, e *endpoint) error {
	known, err := p.store.knows(ctx, e.Name)
	if known || err != nil {
		return err
	}
	var cursors []cursor
	for _, s := range e.shards {
		end, err := p.outbox.Fed(ctx, s.feed, 0, 0)
		if err != nil {
			return fmt.Errorf("webhook %s: read a feed: %w", e.Name, err)
		}
		cursors = append(cursors, cursor{feed: s.feed, place: end.Head, epoch: p.host.Timelines().Epoch(), floorMs: p.host.Now().UnixMilli()})
	}
	return p.store.beginOnce(ctx, e.Name, cursors)
}

// note keeps a delivery for operators, and counts it.
func (e *endpoint) note(d delivery, r result) {
	if r.verdict == taken {
		e.delivered.Add(int64(len(d.Events)))
	} else {
		e.failed.Add(1)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.calls) == shownCalls {
		e.calls = append(e.calls[:0], e.calls[1:]...)
	}
	e.calls = append(e.calls, call{Time: e.plugin.host.Now().UTC(), Delivery: d.Delivery, Attempt: d.Attempt, Events: len(d.Events), Status: r.status,
		TookMs: r.took.Milliseconds(), Fault: r.reason, Answer: r.answer})
}

// turn says how long to wait before something is tried; 0: now, and then settle must be called.
func (e *endpoint) turn() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failures < breakAt {
		return 0
	}
	if left := time.Until(e.until); left > 0 {
		return left
	}
	if e.probing {
		return e.plugin.config.Pause
	}
	e.probing = true
	return 0
}

// closed is how long nothing is tried at the earliest; unlike turn it begins nothing.
func (e *endpoint) closed() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.failures < breakAt:
		return 0
	case e.probing:
		return e.plugin.config.Pause
	}
	return max(0, time.Until(e.until))
}

// settle takes what came of it.
func (e *endpoint) settle(r result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probing = false
	if r.verdict != away {
		e.failures = 0
		if r.verdict == taken {
			e.good = time.Now()
		}
		return
	}
	e.failures++
	if e.failures >= breakAt {
		e.until = time.Now().Add(e.plugin.pause(e.failures-breakAt+1, r.after))
	}
}

// broken reports whether the endpoint is left alone for a while, all of it.
func (e *endpoint) broken() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failures >= breakAt
}

// goodSince reports whether something was taken after a moment.
func (e *endpoint) goodSince(at time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.good.After(at)
}

// pause is how long to wait after so many failures: less for some than for others, so that they do
// not come back together; longer if the endpoint advises it, but never longer than MostPause.
func (p *Webhook) pause(failures int, advice time.Duration) time.Duration {
	d := p.config.Pause
	for range min(failures-1, 30) {
		if d *= 2; d >= p.config.MostPause {
			break
		}
	}
	d = min(d, p.config.MostPause)
	d = d/2 + rand.N(d/2+1)
	return min(max(d, advice), p.config.MostPause)
}

// lags gives how many items of the feeds this core has not delivered or passed over, and how
// old the oldest of them is, as far as it saw.
func (e *endpoint) lags() (pending int64, oldest time.Duration) {
	if !e.mine.Load() {
		return 0, 0
	}
	for _, s := range e.shards {
		pending += s.pending.Load()
		if since := s.oldestMs.Load(); since > 0 {
			oldest = max(oldest, e.plugin.host.Now().Sub(time.UnixMilli(since)))
		}
	}
	return pending, oldest
}

// Forwarded implements plugin.Forwarder.
func (p *Webhook) Forwarded() map[string]plugin.Forwarded {
	all := map[string]plugin.Forwarded{}
	for _, e := range p.endpoints {
		pending, oldest := e.lags()
		all[e.Name] = plugin.Forwarded{Delivered: e.delivered.Load(), Failed: e.failed.Load(), Dead: e.dead.Load(), Expired: e.expired.Load(), Crowded: e.crowded.Load(),
			Pending: pending, Oldest: oldest, Broken: e.broken(), Stopped: e.stopped.Load()}
	}
	return all
}
