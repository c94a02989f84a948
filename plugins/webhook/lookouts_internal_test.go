package webhook

import (
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
)

// Who waits to be looked at is bounded, and counted beyond; of one person the last word stays.
func TestLookouts(t *testing.T) {
	l := newLookouts()
	route := func(u im.UserID, session uint64) presence.Route {
		return presence.Route{User: u, SessionRef: presence.SessionRef{Session: session}}
	}
	for u := im.UserID(1); u <= mostWaiting+7; u++ {
		l.hear(presence.Came, route(u, 1))
	}
	l.hear(presence.Went, route(5, 2)) // he waits already
	if n := l.dropped.Load(); n != 7 || len(l.waiting) != mostWaiting {
		t.Errorf("%d are dropped, %d wait", n, len(l.waiting))
	}
	taken := 0
	next := func() queue {
		some, _, _ := l.take(time.Now())
		l.nextListed = time.Time{}
		return some
	}
	for some := next(); len(some) > 0; some = next() {
		taken += len(some)
		if len(some) > lookedAt || some[5].User == 5 && some[5].Session != 2 {
			t.Fatalf("%d at once, of 5 %+v", len(some), some[5])
		}
	}
	if taken != mostWaiting {
		t.Errorf("%d came out", taken)
	}
	l.hear(presence.Went, route(5, 4))
	l.back(queue{5: route(5, 3), 6: route(6, 3)})
	if some := next(); len(some) != 2 || some[5].Session != 4 || some[6].Session != 3 {
		t.Errorf("got %+v", some)
	}
	now := time.Now()
	l.found([]im.UserID{5}, now)
	l.hear(presence.Listed, route(5, 1), route(6, 1))
	if some := next(); len(some) != 1 || some[6].User != 6 {
		t.Errorf("a census has %+v be looked at", some)
	}
	l.hear(presence.Came, route(5, 1))
	if some := next(); len(some) != 1 {
		t.Errorf("%+v are looked at of one who came", some)
	}
	for range 2 {
		now = now.Add(recentFor)
		l.found(nil, now)
	}
	l.hear(presence.Listed, route(5, 1))
	if some := next(); len(some) != 1 {
		t.Error("who was found long ago is never looked at again")
	}
}

// A census of more people than a core can know takes no room from those who come and go, nor their turn, and is looked
// at only so fast; whom it found it does not look at again.
func TestCensusGivesWay(t *testing.T) {
	const people = 1_000_000
	l, now := newLookouts(), time.Now()
	route := func(u im.UserID) presence.Route { return presence.Route{User: u} }
	for u := im.UserID(1); u <= people; u++ {
		l.hear(presence.Listed, route(u))
	}
	for u := im.UserID(people + 1); u <= people+mostWaiting; u++ {
		l.hear(presence.Came, route(u))
	}
	if l.dropped.Load() > 0 || len(l.waiting) != mostWaiting || len(l.listed) != mostListed {
		t.Errorf("%d are dropped, %d wait, and %d who are listed", l.dropped.Load(), len(l.waiting), len(l.listed))
	}
	for range mostWaiting / lookedAt {
		some, listed, _ := l.take(now)
		for u := range some {
			if u <= people || listed {
				t.Fatalf("the census names %d, who comes before those who came", u)
			}
		}
	}
	seen, end := 0, now.Add(10*time.Second)
	for at := now; at.Before(end); {
		some, listed, rest := l.take(at)
		if len(some) > 0 && !listed {
			t.Fatalf("%d came", len(some))
		}
		seen, at = seen+len(some), at.Add(rest)
	}
	if want := 10 * listedRate; seen < want || seen > want+lookedAt {
		t.Errorf("of a census %d are looked at in 10 s", seen)
	}
	all := make([]im.UserID, people)
	for i := range all {
		all[i] = im.UserID(i + 1)
	}
	clear(l.listed)
	l.found(all, now)
	for u := im.UserID(1); u <= people; u++ {
		l.hear(presence.Listed, route(u))
	}
	if len(l.listed) > 0 {
		t.Errorf("%d who are known are to be looked at again", len(l.listed))
	}
}

// The first round of a sweep gets round as fast as any other.
func TestFirstRound(t *testing.T) {
	hook := New()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{hook}, Stubs: []plugintest.Stub{new(plugintest.Messages).Outbox()}})
	hook.lookouts, hook.config.PresenceSweep = newLookouts(), 6*sweepEvery // three steps
	const people = 10*lookedAt + 1
	moves := make([]*move, people)
	for i := range moves {
		u := im.UserID(i + 1)
		moves[i] = &move{was: person{user: u}, is: person{user: u, state: stateOnline}}
	}
	if err := hook.online.apply(t.Context(), moves); err != nil {
		t.Fatal(err)
	}
	s := sweep{Webhook: hook, began: h.Now()}
	for range 3 {
		if err := s.round(t.Context(), h.Now()); err != nil {
			t.Fatal(err)
		}
	}
	away, err := hook.online.list(t.Context(), selectDue, stateAway, h.Now().UnixMilli(), people+1)
	if err != nil || len(away) != people || s.after != 0 {
		t.Errorf("%d of %d were looked at, %v; it is at %d", len(away), people, err, s.after)
	}
}

// What is looked for all the time has an index, in its order.
func TestOnlinePlans(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{New()}, Stubs: []plugintest.Stub{new(plugintest.Messages).Outbox()}})
	plugintest.WantOrdered(t, h, selectDue, 3, 1, 10)
	plugintest.WantOrdered(t, h, selectAll, 1, 10)
}
