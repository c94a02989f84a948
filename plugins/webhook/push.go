package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// This file is an endpoint that is told of people whom messages did not reach, for it to pass that on to their
// phones: the same feeds, lease, signature and pauses as of the others, but later, and what nobody needs any
// more is left out. README.md says what it gets.

// Push has an endpoint be one for offline pushes.
type Push struct {
	// After is how long devices have to acknowledge a message. 0: 10 s.
	After time.Duration `yaml:"after"`
	// Expire is the age at which a message is no reason any more to wake somebody. 0: 1 h.
	Expire time.Duration `yaml:"expire"`
	// Content has the name of the sender, and the beginning of what he wrote, be told too.
	Content bool `yaml:"content"`
}

const (
	pushEvent = "push.offline"
	// lookAgain is for how long whom a message did not reach is believed.
	lookAgain = 2 * time.Second
)

func (p *Push) after() time.Duration  { return cmp.Or(p.After, 10*time.Second) }
func (p *Push) expire() time.Duration { return cmp.Or(p.Expire, time.Hour) }

func (p *Push) validate(key string) error {
	if p.After < 0 || p.after() > 5*time.Minute {
		return im.Invalid(key+".after", "must be at most 5m, or 0 for 10s")
	}
	if p.Expire < 0 || p.expire() > 7*24*time.Hour || p.expire() <= p.after() {
		return im.Invalid(key+".expire", "must be more than after and at most 168h, or 0 for 1h")
	}
	return nil
}

// pushes is what a shard remembers of offline pushes. What it forgets with the core's end is told again.
type pushes struct {
	told map[string]bool // of the items that come next, what the endpoint took, or never will, by ID
	// Everything up to seen was in the feed at seenAt, by this core's clock that never steps back: where the
	// clocks of cores differ, or are set, that decides.
	seen   int64
	seenAt time.Time
}

// alert is step for an endpoint of offline pushes.
func (s *shard) alert(ctx context.Context, page timeline.Page[plugin.Fed]) (more bool, err error) {
	if len(page.Items) == 0 {
		s.seenThrough(page)
		return false, s.pass(ctx, plugin.Fed{}) // what nobody was told of is noted some time
	}
	old, due, wait := s.due(page)
	switch {
	case old > 0:
		if err = s.skip(ctx, page.Items[:old]); err != nil {
			return false, err
		}
		oldestMs := int64(0)
		if old < len(page.Items) { // it is nearly as old
			oldestMs = page.Items[old].Time.UnixMilli()
		}
		s.seen(page, oldestMs)
		return true, nil
	case len(due) == 0:
		s.seen(page, 0)
		s.wait(ctx, min(wait, s.config().Poll), false)
		return true, nil
	}
	if d := s.endpoint.closed(); d > 0 { // what is looked up now would not be so when it is told; what waited waits on
		s.pending.Store(max(0, page.Head-s.at.place))
		s.wait(ctx, min(d, s.config().Poll), false)
		return true, nil
	}
	alerts, covered, err := s.endpoint.plugin.alerts.Alerts(ctx, due)
	if err != nil {
		return false, err
	}
	through := due[covered-1]
	var events []event
	for _, a := range alerts {
		if e := s.eventFor(a); !s.push.told[e.ID] {
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		err = s.over(ctx, through, len(alerts) > 0)
		s.seen(page, 0)
		return true, err
	}
	s.seen(page, events[0].TimeMs)
	for looked := time.Now(); len(events) > 0; {
		if time.Since(looked) > lookAgain { // some may have read it, or it was recalled
			return true, nil
		}
		some, err := s.fitting(events)
		if err != nil {
			return false, err
		}
		took, err := s.tellPushes(ctx, some)
		if !took || err != nil {
			return true, err
		}
		events = events[len(some):]
	}
	return true, s.over(ctx, through, true)
}

// over moves on over items of which everybody is told who has to be.
func (s *shard) over(ctx context.Context, through plugin.Fed, told bool) error {
	clear(s.push.told)
	if !told {
		return s.pass(ctx, through)
	}
	return s.done(ctx, through.Position, through.ID)
}

// skip moves on over items that are too old, and counts them: given up if they were tried, else expired.
func (s *shard) skip(ctx context.Context, items []plugin.Fed) error {
	tried, last := s.at.tries > 0, items[len(items)-1]
	if err := s.leave(ctx, last.Position, last.ID, nil); err != nil {
		return err
	}
	clear(s.push.told)
	if tried {
		s.endpoint.plugin.host.Log().Error("offline pushes could not be delivered in time: they are given up", "webhook", s.endpoint.Name, "feed", -s.feed,
			"items", len(items))
		s.endpoint.dead.Add(int64(len(items)))
		return nil
	}
	said := 0
	for _, item := range items {
		m, of := item.Message.(*chatpb.Message)
		if of && !item.Shadowed && m.Kind != chatpb.MessageKind_MESSAGE_KIND_EVENT && m.Kind != chatpb.MessageKind_MESSAGE_KIND_COMMAND {
			said++
		}
	}
	if said > 0 {
		s.endpoint.plugin.host.Log().Warn("messages were too old when their turn came: nobody is told of them", "webhook", s.endpoint.Name, "feed", -s.feed, "messages", said)
		s.endpoint.expired.Add(int64(said))
	}
	return nil
}

// due gives how many of the first items nobody need be told of any more and, if there are none, those whose time
// has come; wait is until the next one's has.
func (s *shard) due(page timeline.Page[plugin.Fed]) (old int, due []plugin.Fed, wait time.Duration) {
	after, expire := s.endpoint.Push.after(), s.endpoint.Push.expire()
	now, monotonic := s.endpoint.plugin.host.Now(), time.Now()
	if first := page.Items[0].Position; first > s.push.seen {
		s.push.seen, s.push.seenAt = page.Head, monotonic
	}
	waited := monotonic.Sub(s.push.seenAt)
	for i, item := range page.Items {
		age := now.Sub(item.Time)
		switch {
		case age > expire && old == i:
			old++
		case old > 0:
			return old, nil, 0
		case age < after && (item.Position > s.push.seen || waited < after):
			return 0, page.Items[:i], min(after-age, after)
		}
	}
	if old > 0 {
		return old, nil, 0
	}
	return 0, page.Items, 0
}

// eventFor is an alert as it is delivered.
func (s *shard) eventFor(a plugin.Alert) event {
	if !s.endpoint.Push.Content {
		a.Name, a.Text = "", ""
	}
	return event{ID: a.MessageID + "." + a.User.String(), Position: position{s.feed, a.Position}.String(), Event: pushEvent,
		TimeMs: a.TimeMs, UserID: int64(a.User), Push: &a, place: a.Position}
}

// fitting are as many of the first events as one delivery may have.
func (s *shard) fitting(events []event) ([]event, error) {
	size := 0
	for i, e := range events {
		text, err := json.Marshal(e.Push)
		if err != nil {
			return nil, err
		}
		if size += len(text); i > 0 && (size > s.config().BatchBytes || i >= s.most) {
			return events[:i], nil
		}
	}
	return events, nil
}

// tellPushes delivers some once, and says whether that is done with. What is refused by itself is given up; the
// rest is looked at again before it is tried again: perhaps nobody needs it any more.
func (s *shard) tellPushes(ctx context.Context, events []event) (took bool, err error) {
	r, err := s.try(ctx, events)
	if err != nil || r.verdict == late {
		return false, err
	}
	if s.push.told == nil {
		s.push.told = map[string]bool{}
	}
	switch r.verdict {
	case taken:
		for _, e := range events {
			s.push.told[e.ID] = true
		}
		s.at.tries, s.since, s.most = 0, time.Time{}, s.config().Batch
		return true, nil
	case gone:
		return false, s.stop(ctx, r.reason)
	}
	s.noteFailure(events, r)
	if s.hopeless(events, r) {
		s.endpoint.plugin.host.Log().Error("an offline push could not be delivered: it is given up", "webhook", s.endpoint.Name, "id", events[0].ID, "why", r.reason)
		s.endpoint.dead.Add(1)
		s.push.told[events[0].ID] = true
		s.at.tries, s.since, s.most = 0, time.Time{}, s.config().Batch
		return true, nil
	}
	return false, s.backOff(ctx, events, r)
}
