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
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
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
	means Means
	queue chan queued            // never closed
	lanes [sendLanes]chan queued // of messages, the same

	emitted, kicked, pushed, sent, unsent, lost atomic.Int64

	mu     sync.Mutex // guards the fields below
	events []Event    // a ring of the last: number n is at n % keptEvents
	next   int64      // number of the next event
	fresh  chan struct{}
}

// queued is an effect, or, when reached is set, the question whether all before it
// have happened: then that is closed.
type queued struct {
	engine.Effect
	reached chan struct{}
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

// Means are what effects happen by.
type Means struct {
	Kick func(ctx context.Context, user im.UserID, reason string) error // ends all sessions of a person
	Push func(p plugin.Push)                                            // to all sessions of people
	Post func(said engine.Effect)                                       // to an endpoint; it counts for itself
	Send func(ctx context.Context, m Message) error                     // commits it, or finds it committed
}

// NewEffects makes effects that happen while Run runs.
func NewEffects(log *slog.Logger, by Means) *Effects {
	e := &Effects{log: log, means: by, queue: make(chan queued, effectQueue), fresh: make(chan struct{})}
	for i := range e.lanes {
		e.lanes[i] = make(chan queued, sendQueue)
	}
	return e
}

// Do implements engine.Effects.
func (e *Effects) Do(all []engine.Effect) {
	for _, one := range all {
		queue := e.queue
		if one.Kind == "send" {
			queue = e.lane(one)
		}
		select {
		case queue <- queued{Effect: one}:
		default:
			e.lost.Add(1)
		}
	}
}

// Counts are how many effects happened, by kind, how many were dropped since too many
// waited, and how many messages could not be sent. Posts count for themselves.
func (e *Effects) Counts() (done map[string]int64, lost, unsent int64) {
	return map[string]int64{"emit": e.emitted.Load(), "kick": e.kicked.Load(), "push": e.pushed.Load(), "send": e.sent.Load()}, e.lost.Load(), e.unsent.Load()
}

// Run does what is asked for until ctx ends; what waits then is dropped.
func (e *Effects) Run(ctx context.Context) {
	var senders sync.WaitGroup
	defer senders.Wait()
	for _, lane := range e.lanes {
		senders.Go(func() { e.sendAll(ctx, lane) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-e.queue:
			if one.reached != nil {
				close(one.reached)
				continue
			}
			e.one(ctx, one.Effect)
		}
	}
}

// Drain waits until all that was asked for has happened, or ctx ends. Run must run.
func (e *Effects) Drain(ctx context.Context) {
	for _, queue := range append(e.lanes[:], e.queue) {
		mark := queued{reached: make(chan struct{})}
		select {
		case queue <- mark:
		case <-ctx.Done():
			return
		}
		select {
		case <-mark.reached:
		case <-ctx.Done():
			return
		}
	}
}

func (e *Effects) one(ctx context.Context, one engine.Effect) {
	switch one.Kind {
	case "kick":
		e.end(ctx, one)
	case "push":
		e.notify(one)
	case "post":
		e.means.Post(one)
	default:
		e.tell(ctx, one)
	}
}

// tell shows an event to operators.
func (e *Effects) tell(ctx context.Context, one engine.Effect) {
	e.emitted.Add(1)
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
		err = e.means.Kick(ctx, im.UserID(user), one.Reason)
	}
	if err != nil {
		e.log.Error("a rule's kick failed", "user", one.Target, "rule", one.Rule, "bundle", one.Bundle, "err", err)
		return
	}
	e.kicked.Add(1)
	e.log.Info("a rule kicked", "user", one.Target, "reason", one.Reason, "rule", one.Rule, "bundle", one.Bundle)
}

// notify pushes a notice. Fan-out has nobody wait long, and tells nobody whether
// somebody was there.
func (e *Effects) notify(one engine.Effect) {
	user, err := strconv.ParseInt(one.Target, 10, 64)
	if err != nil { // the engine has looked
		return
	}
	e.pushed.Add(1)
	e.means.Push(plugin.Push{Action: idl.ActionNotice, Users: []im.UserID{im.UserID(user)},
		Body: &wirepb.Notice{Event: one.Event, Text: one.Text, Data: one.Data, TimeMs: one.At.UnixMilli()}})
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
