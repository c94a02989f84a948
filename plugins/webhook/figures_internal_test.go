package webhook

import (
	"context"
	"errors"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/timeline"
	"freeim/idl/kitex_gen/chatpb"
)

// shownPage is a feed of which one page is shown.
type shownPage struct {
	plugin.Outbox
	page timeline.Page[plugin.Fed]
}

func (s shownPage) Fed(context.Context, im.UserID, int64, int) (timeline.Page[plugin.Fed], error) {
	return s.page, nil
}

// looking is a shard of an endpoint that is told what is said in rooms, with a lease and at the beginning of its feed.
func looking(t *testing.T) *shard {
	t.Helper()
	hook, _ := housed(t)
	hook.config.RoomBacklog = 10
	e := &endpoint{Endpoint: Endpoint{Name: "x", Events: []string{"room.*"}}, plugin: hook}
	e.mine.Store(true)
	s := &shard{endpoint: e, feed: -1}
	for i := range e.shards {
		e.shards[i] = &shard{}
	}
	e.shards[0] = s
	if err := hook.store.begin(t.Context(), e.Name, []cursor{{feed: s.feed, epoch: "e"}}); err != nil {
		t.Fatal(err)
	}
	l, _, err := hook.store.take(t.Context(), e.Name, "core", hook.host.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.lease, s.most, s.saved, s.at = l, hook.config.Batch, time.Now(), cursor{feed: s.feed, epoch: "e"}
	return s
}

// pageOf is the first page of a feed with so many items in all, the first of which are of events, a second apart.
func pageOf(now time.Time, head int64, events ...string) (page timeline.Page[plugin.Fed]) {
	for i, name := range events {
		page.Items = append(page.Items, plugin.Fed{Position: int64(i + 1), Event: name, Time: now.Add(time.Duration(i-60) * time.Second), Message: &chatpb.Message{}})
	}
	page.Head, page.HasMore = head, head > int64(len(events))
	return page
}

// While much is passed over, figures say what waits behind it.
func TestFiguresWhilePassingOver(t *testing.T) {
	for name, row := range map[string]struct {
		events  []string
		head    int64
		pending int64
		oldest  time.Duration
	}{
		"others' events":            {[]string{"chat.edited", "chat.edited"}, 500, 498, 59 * time.Second},
		"all is too much":           {[]string{roomMessage, roomMessage, roomMessage}, 500, 497, 58 * time.Second},
		"too much, behind others'":  {[]string{"chat.edited", roomMessage}, 500, 498, 59 * time.Second},
		"others', and that was all": {[]string{"chat.edited", "chat.edited"}, 2, 0, 0},
		"nothing":                   {nil, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := looking(t)
			page := pageOf(s.endpoint.plugin.host.Now(), row.head, row.events...)
			s.endpoint.plugin.outbox = shownPage{page: page}
			more, err := s.step(t.Context())
			if err != nil || more != page.HasMore {
				t.Fatalf("got %v, %v", more, err)
			}
			if pending, oldest := s.endpoint.lags(); pending != row.pending || oldest != row.oldest {
				t.Errorf("%d wait, the oldest for %v; want %d, %v", pending, oldest, row.pending, row.oldest)
			}
		})
	}
}

// What is told nobody is counted when that is stored, once: not by a core that lost the lease, and not again when a page is looked
// at again.
func TestCrowdedIsCountedWhenStored(t *testing.T) {
	s := looking(t)
	now := s.endpoint.plugin.host.Now()
	s.endpoint.plugin.outbox = shownPage{page: pageOf(now, 500, roomMessage, roomMessage, "chat.edited", roomMessage)}
	crowded := s.endpoint.crowded.Load
	if _, err := s.step(t.Context()); err != nil || crowded() != 0 || s.at.place != 4 {
		t.Fatalf("%d are counted, before it is stored that they are passed; at %d, %v", crowded(), s.at.place, err)
	}
	fence := s.lease.fence
	s.lease.fence--
	if err := s.save(t.Context()); !errors.Is(err, errFenced) || crowded() != 0 {
		t.Errorf("%d are counted by who lost the lease: %v", crowded(), err)
	}
	s.lease.fence = fence
	for range 2 {
		if err := s.save(t.Context()); err != nil || crowded() != 3 {
			t.Errorf("%d are counted, want 3: %v", crowded(), err)
		}
	}
}

// A delivery that fails has the same page be looked at again: what is too much behind the place of the shard is counted once.
func TestCrowdedIsCountedOnce(t *testing.T) {
	s := looking(t)
	s.endpoint.URL, s.endpoint.Timeout, s.endpoint.client = "http://127.0.0.1:1", time.Second, newClient(true)
	s.endpoint.plugin.config.Pause, s.endpoint.plugin.config.MostPause = time.Millisecond, time.Millisecond
	s.lease.extend(time.Now().Add(time.Minute))
	s.endpoint.plugin.outbox = shownPage{page: pageOf(s.endpoint.plugin.host.Now(), 500, "room.muted", roomMessage)}
	for range 3 {
		if _, err := s.step(t.Context()); err != nil || s.at.place != 0 {
			t.Fatalf("at %d, %v", s.at.place, err)
		}
	}
	s.at.place = 2
	if err := s.save(t.Context()); err != nil || s.endpoint.crowded.Load() != 1 {
		t.Errorf("%d are counted, want 1: %v", s.endpoint.crowded.Load(), err)
	}
}

// While a dead letter cannot be stored the shard stays before it: it is nowhere else.
func TestDeadLettersThatCannotBeStored(t *testing.T) {
	s := looking(t)
	hook := s.endpoint.plugin
	hook.config.MostDead = 10
	given := []event{{Position: "1-1", ID: "a", Event: "room.muted", place: 1}}
	rename(t, hook, "webhook_dead", "elsewhere")
	if err := s.giveUp(t.Context(), given, "refused"); err == nil || s.at.place != 0 {
		t.Errorf("the shard is at %d: %v", s.at.place, err)
	}
	rename(t, hook, "elsewhere", "webhook_dead")
	if err := s.giveUp(t.Context(), given, "refused"); err != nil || s.at.place != 1 {
		t.Errorf("the shard is at %d: %v", s.at.place, err)
	}
	if all, err := hook.store.dead(t.Context(), "x", position{-1, 0}, 10); err != nil || len(all) != 1 || all[0].id != "a" {
		t.Errorf("got %+v, %v", all, err)
	}
}

// An endpoint of offline pushes that is left alone for a while has what waited wait on: an operator sees how old that is.
func TestFiguresOfPushesThatWait(t *testing.T) {
	s := looking(t)
	p := s.endpoint.plugin
	s.endpoint.Push = &Push{}
	s.endpoint.failures, s.endpoint.until = breakAt, time.Now().Add(time.Hour)
	p.config.Poll = time.Millisecond
	p.outbox = shownPage{page: pageOf(p.host.Now(), 3, "message.committed", "message.committed", "message.committed")}
	s.oldestMs.Store(p.host.Now().Add(-time.Minute).UnixMilli()) // as the delivery that failed had it
	if _, err := s.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pending, oldest := s.endpoint.lags(); pending != 3 || oldest != time.Minute {
		t.Errorf("%d wait, the oldest for %v", pending, oldest)
	}
}

// What was too old to be told does not make what is left seem new.
func TestFiguresBehindWhatIsTooOld(t *testing.T) {
	s := looking(t)
	p := s.endpoint.plugin
	s.endpoint.Push = &Push{}
	s.endpoint.failures, s.endpoint.until = breakAt, time.Now().Add(time.Hour)
	p.config.Poll = time.Millisecond
	page := pageOf(p.host.Now(), 3, "message.committed", "message.committed", "message.committed")
	page.Items[0].Time = p.host.Now().Add(-1000 * time.Hour)
	for range 2 { // the second look is behind it
		p.outbox = shownPage{page: page}
		if _, err := s.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		page.Items = page.Items[int(s.at.place):]
	}
	if pending, oldest := s.endpoint.lags(); pending != 2 || oldest != 59*time.Second {
		t.Errorf("%d wait, the oldest for %v", pending, oldest)
	}
}

// What is too old to be told is counted when it is stored that it was passed, once: not by a core that lost the lease.
func TestExpiredIsCountedWhenStored(t *testing.T) {
	for name, tries := range map[string]int{"expired": 0, "dead": 2} {
		t.Run(name, func(t *testing.T) {
			s := looking(t)
			p := s.endpoint.plugin
			s.endpoint.Push = &Push{}
			page := pageOf(p.host.Now(), 2, "message.committed", "message.committed")
			for i := range page.Items {
				page.Items[i].Time = p.host.Now().Add(-1000 * time.Hour)
			}
			p.outbox = shownPage{page: page}
			s.at.tries = tries
			counted := map[string]func() int64{"expired": s.endpoint.expired.Load, "dead": s.endpoint.dead.Load}[name]
			fence := s.lease.fence
			s.lease.fence--
			if _, err := s.step(t.Context()); !errors.Is(err, errFenced) || counted() != 0 || s.at.place != 0 {
				t.Errorf("%d are counted by who lost the lease, at %d: %v", counted(), s.at.place, err)
			}
			s.lease.fence = fence
			if _, err := s.step(t.Context()); err != nil || counted() != 2 || s.stored != 2 || s.at.tries != 0 {
				t.Errorf("%d are counted, want 2; %d is stored: %v", counted(), s.stored, err)
			}
		})
	}
}
