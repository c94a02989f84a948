package hooks

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/scripts/engine"
)

const (
	effectQueue = 1024 // effects that wait; then the newest are dropped and counted
	keptEvents  = 1000 // that a page shows
	kickTime    = 5 * time.Second
)

// Effects does what scripts ask for beside their verdicts, one after the other and
// aside from the actions: it implements engine.Effects.
type Effects struct {
	// Static.
	log   *slog.Logger
	kick  func(ctx context.Context, user im.UserID, reason string) error
	queue chan engine.Effect // never closed

	done [2]atomic.Int64 // emitted, kicked
	lost atomic.Int64

	mu     sync.Mutex // guards the fields below
	events []Event    // a ring of the last: number n is at n % keptEvents
	next   int64      // number of the next event
	fresh  chan struct{}
}

// Event is one im.emit, as the page shows it.
type Event struct {
	Number int64           `json:"n"` // counts from 0 since the start
	At     time.Time       `json:"at"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
	Rule   string          `json:"rule"`
	Bundle string          `json:"bundle"`
	Action string          `json:"action,omitempty"`
	User   string          `json:"user,omitempty"`
	Trace  string          `json:"trace,omitempty"`
}

// NewEffects makes effects that happen while Run runs. kick ends all sessions of a
// person.
func NewEffects(log *slog.Logger, kick func(ctx context.Context, user im.UserID, reason string) error) *Effects {
	return &Effects{log: log, kick: kick, queue: make(chan engine.Effect, effectQueue), fresh: make(chan struct{})}
}

// Do implements engine.Effects.
func (e *Effects) Do(all []engine.Effect) {
	for _, one := range all {
		select {
		case e.queue <- one:
		default:
			e.lost.Add(1)
		}
	}
}

// Counts are how many effects happened, and how many were dropped since too many
// waited.
func (e *Effects) Counts() (emitted, kicked, lost int64) {
	return e.done[0].Load(), e.done[1].Load(), e.lost.Load()
}

// Run does what is asked for until ctx ends; what waits then is dropped.
func (e *Effects) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-e.queue:
			e.one(ctx, one)
		}
	}
}

func (e *Effects) one(ctx context.Context, one engine.Effect) {
	if one.Kind == "kick" {
		e.end(ctx, one)
		return
	}
	e.done[0].Add(1)
	e.log.LogAttrs(ctx, slog.LevelInfo, "a rule tells", slog.String("event", one.Event), slog.String("data", one.Data), slog.String("rule", one.Rule),
		slog.String("bundle", one.Bundle), slog.String("action", one.Action), slog.String("user", one.User), slog.String("trace", one.Trace))
	e.mu.Lock()
	defer e.mu.Unlock()
	event := Event{Number: e.next, At: one.At, Event: one.Event, Data: json.RawMessage(one.Data), Rule: one.Rule,
		Bundle: one.Bundle, Action: one.Action, User: one.User, Trace: one.Trace}
	if len(e.events) < keptEvents {
		e.events = append(e.events, event)
	} else {
		e.events[e.next%keptEvents] = event
	}
	e.next++
	close(e.fresh)
	e.fresh = make(chan struct{})
}

// end kicks.
func (e *Effects) end(ctx context.Context, one engine.Effect) {
	user, err := strconv.ParseInt(one.Target, 10, 64)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, kickTime)
		defer cancel()
		err = e.kick(ctx, im.UserID(user), one.Reason)
	}
	if err != nil {
		e.log.Error("a rule's kick failed", "user", one.Target, "rule", one.Rule, "bundle", one.Bundle, "err", err)
		return
	}
	e.done[1].Add(1)
	e.log.Info("a rule kicked", "user", one.Target, "reason", one.Reason, "rule", one.Rule, "bundle", one.Bundle)
}

// Events gives the kept events from number on, the number to ask from next, and a
// channel that is closed when there is another.
func (e *Effects) Events(from int64) (events []Event, next int64, fresh <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := max(from, e.next-int64(len(e.events))); n < e.next; n++ {
		events = append(events, e.events[n%keptEvents])
	}
	return events, e.next, e.fresh
}
