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
	for some := l.take(); len(some) > 0; some = l.take() {
		taken += len(some)
		if len(some) > lookedAt || some[5].User == 5 && some[5].Session != 2 {
			t.Fatalf("%d at once, of 5 %+v", len(some), some[5])
		}
	}
	if taken != mostWaiting {
		t.Errorf("%d came out", taken)
	}
	l.hear(presence.Went, route(5, 4))
	l.back(map[im.UserID]presence.Route{5: route(5, 3), 6: route(6, 3)})
	if some := l.take(); len(some) != 2 || some[5].Session != 4 || some[6].Session != 3 {
		t.Errorf("got %+v", some)
	}
	now := time.Now()
	l.found([]im.UserID{5}, now)
	l.hear(presence.Listed, route(5, 1), route(6, 1))
	if some := l.take(); len(some) != 1 || some[6].User != 6 {
		t.Errorf("a census has %+v be looked at", some)
	}
	l.hear(presence.Came, route(5, 1))
	if some := l.take(); len(some) != 1 {
		t.Errorf("%+v are looked at of one who came", some)
	}
	for range 2 {
		now = now.Add(recentFor)
		l.found(nil, now)
	}
	l.hear(presence.Listed, route(5, 1))
	if some := l.take(); len(some) != 1 {
		t.Error("who was found long ago is never looked at again")
	}
}

// What is looked for all the time has an index, in its order.
func TestOnlinePlans(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{New()}, Stubs: []plugintest.Stub{new(plugintest.Messages).Outbox()}})
	plugintest.WantOrdered(t, h, selectDue, 3, 1, 10)
	plugintest.WantOrdered(t, h, selectAll, 1, 10)
}
