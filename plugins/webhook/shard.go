package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
)

const (
	// lazy is how many items that do not concern an endpoint are passed over before that is stored.
	lazy = 1000
	// lazyTime is after what time it is.
	lazyTime = 10 * time.Second
	// storePause is the pause after a store failed.
	storePause = time.Second
)

// shard tells an endpoint of one feed.
type shard struct {
	// Static.
	endpoint *endpoint
	feed     im.UserID
	wake     chan struct{} // of length 1: the feed has grown

	pending, oldestMs atomic.Int64 // for figures: items before the end, and when the first was committed; 0: none

	// Owned by run.
	lease  *lease
	at     cursor    // all up to at.place is done
	lastID string    // of the item there
	saved  time.Time // when at was stored
	stored int64     // the place that is
	most   int       // events in the next delivery
	since  time.Time // when what comes next failed first; zero: it did not
	untold []int64   // places that are told nobody, in order, and not counted yet
	push   pushes    // of an endpoint for those
}

// awake has the shard look at its feed.
func (s *shard) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run delivers until ctx ends, or there is a reason that concerns the whole endpoint.
func (s *shard) run(ctx context.Context, l *lease) error {
	s.lease, s.most, s.since, s.untold, s.push = l, s.config().Batch, time.Time{}, nil, pushes{}
	for loaded, failing := false, false; ; {
		var more bool
		err := error(nil)
		if !loaded {
			err = s.load(ctx)
			loaded = err == nil
		}
		if loaded {
			more, err = s.step(ctx)
		}
		switch {
		case ctx.Err() != nil:
			s.flush(ctx)
			return nil
		case errors.Is(err, errFenced), errors.Is(err, errStopped):
			return err
		case err != nil:
			if !failing {
				s.endpoint.plugin.host.Log().Error("a feed waits to be delivered", "webhook", s.endpoint.Name, "feed", -s.feed, "err", err)
			}
			s.wait(ctx, storePause, false)
		case !more:
			s.wait(ctx, s.config().Poll, true)
		}
		failing = err != nil
	}
}

func (s *shard) config() *Config { return &s.endpoint.plugin.config }

// wait waits, or until the feed has grown if that matters.
func (s *shard) wait(ctx context.Context, d time.Duration, wakes bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	wake := s.wake
	if !wakes {
		wake = nil
	}
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
	}
}

// load reads where the shard is. When the store has another life than the position, it goes on
// behind the last message that was done.
func (s *shard) load(ctx context.Context) (err error) {
	if s.at, err = s.endpoint.plugin.store.cursor(ctx, s.endpoint.Name, s.feed); err != nil {
		return err
	}
	s.lastID, s.stored, s.saved = s.at.lastID, s.at.place, time.Now()
	epoch := s.endpoint.plugin.host.Timelines().Epoch()
	if s.at.epoch == epoch {
		return nil
	}
	end, err := s.endpoint.plugin.outbox.Fed(ctx, s.feed, 0, 0)
	if err != nil {
		return err
	}
	place := min(s.at.place, end.Head)
	if id, err := im.ParseMessageID(s.at.lastID); err == nil {
		if place, err = s.endpoint.plugin.host.Timelines().Locate(ctx, s.feed, id); err != nil {
			return err
		}
	}
	s.endpoint.plugin.host.Log().Warn("the timelines were restored or reset: a webhook goes on behind the last message that it has",
		"webhook", s.endpoint.Name, "feed", -s.feed, "was", s.at.place, "is", place)
	s.at.place, s.at.epoch = place, epoch
	return s.save(ctx)
}

// save stores where the shard is, if nothing was taken from it.
func (s *shard) save(ctx context.Context) error {
	s.at.lastID = s.lastID
	if err := s.endpoint.plugin.store.move(ctx, s.endpoint.Name, s.lease.fence, s.at, nil); err != nil {
		return err
	}
	s.noted()
	return nil
}

// noted remembers that where the shard is is stored. What is told nobody is counted only now: whoever goes on from the place
// that was stored before passes it over again.
func (s *shard) noted() {
	s.stored, s.saved = s.at.place, time.Now()
	n := s.behind()
	s.endpoint.crowded.Add(int64(n))
	s.untold = s.untold[n:]
}

// behind is how many of the places that are told nobody the shard has passed.
func (s *shard) behind() int {
	n, _ := slices.BinarySearch(s.untold, s.at.place+1)
	return n
}

// flush stores what was passed over, at the end: if that fails it is looked at again.
func (s *shard) flush(ctx context.Context) {
	if s.at.place == s.stored || s.at.epoch == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = s.save(ctx)
}

// step reads a page of the feed and delivers what concerns the endpoint; more says that there is
// more already.
func (s *shard) step(ctx context.Context) (more bool, err error) {
	page, err := s.endpoint.plugin.outbox.Fed(ctx, s.feed, s.at.place, s.config().Batch)
	if err != nil {
		return false, err
	}
	if len(page.Items) > 0 && page.Items[0].Position > s.at.place+1 {
		s.endpoint.plugin.host.Log().Error("a feed was trimmed before it was delivered: events are lost", "webhook", s.endpoint.Name,
			"feed", -s.feed, "after", s.at.place, "next", page.Items[0].Position)
	}
	if s.endpoint.Push != nil {
		return s.alert(ctx, page)
	}
	s.untold = s.untold[:s.behind()] // what is not passed is picked anew
	rest := s.skipCrowded(page)
	events, crowded, through, err := s.pick(rest)
	if err != nil {
		return false, err
	}
	s.untold = append(s.untold, crowded...)
	if len(events) == 0 {
		err = s.pass(ctx, through)
		s.seenThrough(page)
		return page.HasMore, err
	}
	s.seen(page, events[0].TimeMs)
	return true, s.tell(ctx, events, through)
}

// roomMessage is the event of which there may be more than an endpoint takes: what else is in its feed does not wait for all.
const roomMessage = "room.message"

// crowded reports whether an item is told nobody, since too much waits behind it. What an operator has replayed is told.
func (s *shard) crowded(head int64, item plugin.Fed) bool {
	most := s.config().RoomBacklog
	return most > 0 && item.Event == roomMessage && head-item.Position > most && item.Time.UnixMilli() >= s.at.floorMs && wants(s.endpoint.Events, item.Event)
}

// skipCrowded moves on over the first items of a page that are told nobody, and gives the rest: what failed of them is tried no more.
func (s *shard) skipCrowded(page timeline.Page[plugin.Fed]) timeline.Page[plugin.Fed] {
	n := 0
	for n < len(page.Items) && s.crowded(page.Head, page.Items[n]) {
		s.untold = append(s.untold, page.Items[n].Position)
		n++
	}
	if n > 0 {
		last := page.Items[n-1]
		s.at.place, s.lastID, s.at.tries = last.Position, last.ID.String(), 0
		s.since, s.most = time.Time{}, s.config().Batch
		page.Items = page.Items[n:]
	}
	return page
}

// seen notes figures: what waits behind the shard's place, and since when; 0: nothing that is to be told.
func (s *shard) seen(page timeline.Page[plugin.Fed], oldestMs int64) {
	s.pending.Store(max(0, page.Head-s.at.place))
	s.oldestMs.Store(oldestMs)
}

// seenThrough is seen when nothing of a page is to be told: what waits is behind it, and may be as old as its last item.
func (s *shard) seenThrough(page timeline.Page[plugin.Fed]) {
	if !page.HasMore || len(page.Items) == 0 {
		s.pending.Store(0)
		s.oldestMs.Store(0)
		return
	}
	s.seen(page, page.Items[len(page.Items)-1].Time.UnixMilli())
}

// pick takes the events of a page that concern the endpoint, as many as one delivery may have.
// crowded are the places among them that are told nobody, through is the last item that was looked at.
func (s *shard) pick(page timeline.Page[plugin.Fed]) (events []event, crowded []int64, through plugin.Fed, err error) {
	size := 0
	for _, item := range page.Items {
		if s.crowded(page.Head, item) {
			crowded = append(crowded, item.Position)
		} else if wants(s.endpoint.Events, item.Event) {
			e, err := eventOf(s.feed, item)
			if err != nil {
				return nil, nil, through, err
			}
			if size += len(e.Message); len(events) > 0 && (size > s.config().BatchBytes || len(events) >= s.most) {
				return events, crowded, through, nil
			}
			events = append(events, e)
		}
		through = item
	}
	return events, crowded, through, nil
}

// pass moves on over items that do not concern the endpoint.
func (s *shard) pass(ctx context.Context, through plugin.Fed) error {
	if through.Position > s.at.place {
		s.at.place, s.lastID = through.Position, through.ID.String()
	}
	if passed := s.at.place - s.stored; passed == 0 || passed < lazy && time.Since(s.saved) < lazyTime {
		return nil
	}
	return s.save(ctx)
}

// done moves on over what was delivered.
func (s *shard) done(ctx context.Context, place int64, id im.MessageID) error {
	s.at.place, s.lastID, s.at.tries = place, id.String(), 0
	s.since, s.most = time.Time{}, s.config().Batch
	return s.save(ctx)
}

// try delivers events once, when it is the shard's turn. An error says nothing of the endpoint.
func (s *shard) try(ctx context.Context, events []event) (result, error) {
	for {
		d := s.endpoint.turn()
		if d == 0 {
			break
		}
		if events[0].Push != nil { // looked up as of now, and no longer true then
			return result{verdict: late}, nil
		}
		if s.wait(ctx, d, false); ctx.Err() != nil {
			return result{}, ctx.Err()
		}
	}
	limited, cancel := context.WithTimeout(ctx, min(time.Until(s.lease.end()), s.endpoint.Timeout))
	defer cancel()
	r := result{verdict: refused}
	if limited.Err() == nil {
		r = s.endpoint.deliver(limited, delivery{Delivery: nameOfDelivery(events), Attempt: s.at.tries + 1, Events: events})
	}
	if r.verdict != taken && (ctx.Err() != nil || !time.Now().Before(s.lease.end())) {
		s.endpoint.settle(result{verdict: refused}) // this core's end says nothing of the endpoint
		return r, cmp.Or(ctx.Err(), errFenced)
	}
	s.endpoint.settle(r)
	return r, nil
}

// nameOfDelivery is the same whenever the same events are delivered.
func nameOfDelivery(events []event) string {
	name := fmt.Sprintf("%s-%d", events[0].Position, events[len(events)-1].place)
	if events[0].Push != nil { // one item may need several
		name += "-" + events[0].ID
	}
	return name
}

// tell delivers events once, waits after a failure, and gives up what is to be given up.
func (s *shard) tell(ctx context.Context, events []event, through plugin.Fed) error {
	r, err := s.try(ctx, events)
	if err != nil {
		return err
	}
	switch r.verdict {
	case taken:
		return s.done(ctx, through.Position, through.ID)
	case gone:
		return s.stop(ctx, r.reason)
	}
	return s.failed(ctx, events, r)
}

// stop ends deliveries until an operator says otherwise.
func (s *shard) stop(ctx context.Context, why string) error {
	s.endpoint.plugin.host.Log().Error("a webhook is stopped until an operator resumes it", "webhook", s.endpoint.Name, "why", why)
	if err := s.endpoint.plugin.store.stop(ctx, s.endpoint.Name, s.lease.fence, why); err != nil {
		return err
	}
	s.endpoint.stopped.Store(true)
	return errStopped
}

// failed decides what becomes of events that were not taken, and waits.
func (s *shard) failed(ctx context.Context, events []event, r result) error {
	s.noteFailure(events, r)
	given := 0 // how many of the first events are given up
	old := s.endpoint.plugin.host.Now().Add(-s.config().GiveUp).UnixMilli()
	for _, e := range events {
		if max(e.TimeMs, s.at.floorMs) > old {
			break
		}
		given++
	}
	if given == 0 && s.hopeless(events, r) {
		given = 1
	}
	if given > 0 {
		return s.giveUp(ctx, events[:given], r.reason)
	}
	return s.backOff(ctx, events, r)
}

// noteFailure counts a failure of what comes next.
func (s *shard) noteFailure(events []event, r result) {
	s.at.tries++
	s.since = cmp.Or(s.since, time.Now())
	s.endpoint.plugin.host.Log().Debug("a delivery failed", "webhook", s.endpoint.Name, "feed", -s.feed, "events", len(events), "tries", s.at.tries, "why", r.reason)
}

// hopeless reports whether it is one event that fails by itself, while others are taken: it is at fault itself.
func (s *shard) hopeless(events []event, r result) bool {
	return len(events) == 1 && s.at.tries >= s.config().Tries && (r.verdict == refused || s.endpoint.goodSince(s.since))
}

// backOff has what failed tried again after a pause, less of it at once if it was too much.
func (s *shard) backOff(ctx context.Context, events []event, r result) error {
	if r.verdict == refused || s.at.tries > 2 {
		s.most = max(1, len(events)/2)
	}
	if err := s.save(ctx); err != nil {
		return err
	}
	s.wait(ctx, s.endpoint.plugin.pause(s.at.tries, r.after), false)
	return nil
}

// giveUp makes events dead letters, and moves on.
func (s *shard) giveUp(ctx context.Context, events []event, why string) error {
	s.endpoint.plugin.host.Log().Error("events could not be delivered: they are dead letters", "webhook", s.endpoint.Name, "from", events[0].Position,
		"events", len(events), "why", why)
	letters := make([]letter, len(events))
	for i, e := range events {
		letters[i] = letter{feed: s.feed, place: e.place, id: e.ID, event: e.Event, diedMs: s.endpoint.plugin.host.Now().UnixMilli(), reason: why}
	}
	last := events[len(events)-1]
	if err := s.leave(ctx, last.place, last.itemID, letters); err != nil {
		return err // they are nowhere else
	}
	s.endpoint.dead.Add(int64(len(letters)))
	n, err := s.endpoint.plugin.store.countDead(ctx, s.endpoint.Name, s.config().MostDead)
	if err == nil && n >= s.config().MostDead {
		return s.stop(ctx, fmt.Sprintf("it has %d dead letters", n))
	}
	return err
}

// leave moves on over what is told no more, of which letters are kept; the shard stays before it until that is stored.
func (s *shard) leave(ctx context.Context, place int64, id im.MessageID, letters []letter) error {
	at := s.at
	at.place, at.lastID, at.tries = place, id.String(), 0
	if err := s.endpoint.plugin.store.move(ctx, s.endpoint.Name, s.lease.fence, at, letters); err != nil {
		return err
	}
	s.at, s.lastID = at, at.lastID
	s.since, s.most = time.Time{}, s.config().Batch
	s.noted()
	return nil
}
