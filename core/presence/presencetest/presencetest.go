// Package presencetest is what every presence.Registry must do, as tests. Each
// implementation's own test calls Run; nothing else does.
package presencetest

import (
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
	"freeim/idl"
)

// Run tests the Registry that open makes: an empty one for every call, with the
// leases of that test, closed with t.Cleanup by open if it needs that. Leases
// that matter are short, and tests poll until they are over.
func Run(t *testing.T, open func(t *testing.T, l presence.Leases) presence.Registry) {
	for _, test := range []struct {
		name   string
		leases presence.Leases
		run    func(t *testing.T, r *registry)
	}{
		{"RegisterAndRoutes", presence.Leases{}, registerAndRoutes},
		{"DeviceReplaced", presence.Leases{}, deviceReplaced},
		{"OlderRefused", presence.Leases{}, olderRefused},
		{"EqualAgeReplaced", presence.Leases{}, equalAgeReplaced},
		{"SameSessionAgain", presence.Leases{}, sameSessionAgain},
		{"UnregisterComparesSession", presence.Leases{}, unregisterComparesSession},
		{"UnregisterAfterRebind", presence.Leases{}, unregisterAfterRebind},
		{"UnregisterMany", presence.Leases{}, unregisterMany},
		{"RoutesAreASnapshot", presence.Leases{}, routesAreASnapshot},
		{"RaceOfOneDevice", presence.Leases{}, raceOfOneDevice},
		{"RaceOfReplaceAndUnregister", presence.Leases{}, raceOfReplaceAndUnregister},
		{"RaceOfManyUsers", presence.Leases{}, raceOfManyUsers},
		{"LaterLifeFences", presence.Leases{}, laterLifeFences},
		{"LaterLifeKeptFences", presence.Leases{}, laterLifeKeptFences},
		{"RestoreSaysWhatWasKnown", presence.Leases{}, restoreSaysWhatWasKnown},
		{"GenerationStays", presence.Leases{}, generationStays},
		{"AttachedAgain", presence.Leases{Route: time.Second}, attachedAgain},
		{"LifeLapses", presence.Leases{Life: 300 * time.Millisecond}, lifeLapses},
		{"KeptLifeStays", presence.Leases{Life: keptLife}, keptLifeStays},
		{"RouteLapses", presence.Leases{Route: 300 * time.Millisecond}, routeLapses},
		{"LapsedStandsInNobodysWay", presence.Leases{Life: 300 * time.Millisecond}, lapsedStandsInNobodysWay},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &registry{t, open(t, test.leases)}) })
	}
}

// registry is the tested Registry with errors turned into failed tests. Its
// methods may be called from any goroutine.
type registry struct {
	t    *testing.T
	here presence.Registry
}

func (r *registry) register(route presence.Route) (displaced []presence.Route, registered bool) {
	displaced, registered, err := r.here.Register(r.t.Context(), route)
	if err != nil {
		r.t.Errorf("Register(%+v): %v", route, err)
	}
	return displaced, registered
}

func (r *registry) unregister(route presence.Route) bool {
	removed, err := r.here.Unregister(r.t.Context(), route)
	if err != nil {
		r.t.Errorf("Unregister(%+v): %v", route, err)
	}
	return len(removed) > 0
}

func (r *registry) routes(users ...im.UserID) [][]presence.Route {
	found, err := r.here.Routes(r.t.Context(), users...)
	if err != nil {
		r.t.Errorf("Routes(%v): %v", users, err)
		return make([][]presence.Route, len(users))
	}
	if len(found) != len(users) {
		r.t.Fatalf("Routes of %d users: got %d entries", len(users), len(found))
	}
	return found
}

// want fails unless the user's routes are exactly these, in any order.
func (r *registry) want(user im.UserID, want ...presence.Route) {
	r.t.Helper()
	got := r.routes(user)[0]
	if !sameRoutes(got, want) {
		r.t.Errorf("routes of user %d: got %+v, want %+v", user, got, want)
	}
}

func sameRoutes(a, b []presence.Route) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y presence.Route) bool { return same(x, y) }) {
			return false
		}
	}
	return true
}

// same compares times as instants: a store may give them back in another zone.
func same(x, y presence.Route) bool {
	if !x.Since.Equal(y.Since) {
		return false
	}
	x.Since, y.Since = time.Time{}, time.Time{}
	return x == y
}

// route is a session of user 1's phone, numbered and bound at the given
// millisecond; tests change what matters to them.
func route(session uint64, since int64) presence.Route {
	return presence.Route{
		SessionRef: presence.SessionRef{Edge: "edge-a", Epoch: 10, Session: session},
		User:       1, Device: "phone", DeviceType: idl.DeviceMobile,
		TokenID: 7, Codec: idl.CodecProtobuf, Since: time.UnixMilli(since),
	}
}

func registerAndRoutes(t *testing.T, r *registry) {
	phone, laptop, other := route(1, 100), route(2, 100), route(3, 100)
	laptop.Device, laptop.DeviceType, laptop.Codec = "laptop", idl.DeviceDesktop, idl.CodecJSON
	other.User, other.Edge, other.Epoch = 2, "edge-b", 3
	for _, route := range []presence.Route{phone, laptop, other} {
		if displaced, ok := r.register(route); !ok || len(displaced) != 0 {
			t.Errorf("Register of a new device: got %v, %v, want nothing displaced and true", displaced, ok)
		}
	}
	found := r.routes(2, 9, 1)
	for i, want := range [][]presence.Route{{other}, nil, {phone, laptop}} {
		if !sameRoutes(found[i], want) {
			t.Errorf("Routes(2, 9, 1)[%d]: got %+v, want %+v", i, found[i], want)
		}
	}
	if found := r.routes(); len(found) != 0 {
		t.Errorf("Routes of nobody: got %v", found)
	}
}

func deviceReplaced(t *testing.T, r *registry) {
	old, newer := route(1, 200), route(2, 100)
	newer.Edge, newer.TokenID = "edge-b", 8 // a later sign-in wins whatever the clock says
	r.register(old)
	displaced, ok := r.register(newer)
	if !ok || !sameRoutes(displaced, []presence.Route{old}) {
		t.Errorf("Register of the device's next session: got %+v, %v, want the old one and true", displaced, ok)
	}
	r.want(1, newer)
}

func olderRefused(t *testing.T, r *registry) {
	have := route(2, 200)
	r.register(have)
	earlier, lesserToken := route(1, 199), route(3, 200)
	lesserToken.TokenID, lesserToken.Since = 6, time.UnixMilli(300)
	for _, late := range []presence.Route{earlier, lesserToken} {
		displaced, ok := r.register(late)
		if ok || !sameRoutes(displaced, []presence.Route{late}) {
			t.Errorf("Register of an older session: got %+v, %v, want itself and false", displaced, ok)
		}
		r.want(1, have)
	}
}

func equalAgeReplaced(t *testing.T, r *registry) {
	first, second := route(1, 100), route(2, 100)
	r.register(first)
	displaced, ok := r.register(second)
	if !ok || !sameRoutes(displaced, []presence.Route{first}) {
		t.Errorf("Register of a session of equal age: got %+v, %v, want the first and true", displaced, ok)
	}
	r.want(1, second)
}

func sameSessionAgain(t *testing.T, r *registry) {
	bound, again := route(1, 100), route(1, 200)
	for _, route := range []presence.Route{bound, bound, again, bound} {
		if displaced, ok := r.register(route); !ok || len(displaced) != 0 {
			t.Errorf("Register of the same session: got %+v, %v, want nothing displaced and true", displaced, ok)
		}
	}
	r.want(1, again) // the last one was an echo of the past
}

func unregisterComparesSession(t *testing.T, r *registry) {
	have := route(2, 200)
	laptop := route(3, 200)
	laptop.Device = "laptop"
	r.register(have)
	r.register(laptop)
	for name, change := range map[string]func(*presence.Route){
		"session": func(x *presence.Route) { x.Session = 1 },
		"epoch":   func(x *presence.Route) { x.Epoch-- },
		"edge":    func(x *presence.Route) { x.Edge = "edge-b" },
		"device":  func(x *presence.Route) { x.Device = "tablet" },
		"user":    func(x *presence.Route) { x.User = 2 },
	} {
		other := have
		change(&other)
		if r.unregister(other) {
			t.Errorf("Unregister with another %s: got removed", name)
		}
	}
	r.want(1, have, laptop)
	if !r.unregister(have) {
		t.Error("Unregister of the session itself: got nothing removed")
	}
	if r.unregister(have) {
		t.Error("second Unregister: got removed")
	}
	r.want(1, laptop)
}

func unregisterAfterRebind(t *testing.T, r *registry) {
	bound, again := route(1, 100), route(1, 200)
	r.register(bound)
	r.register(again)
	if r.unregister(bound) {
		t.Error("Unregister of a session's earlier binding: got removed")
	}
	r.want(1, again)
	again.Since = time.Time{}
	if !r.unregister(again) {
		t.Error("Unregister without Since: got nothing removed")
	}
	r.want(1)
}

// unregisterMany: what is there of many goes, and comes back as removed; the rest stays.
func unregisterMany(t *testing.T, r *registry) {
	var all []presence.Route
	for user := im.UserID(1); user <= 5; user++ {
		x := route(uint64(user), 200)
		x.User = user
		all = append(all, x)
	}
	r.register(all[0])
	r.register(all[2])
	r.register(all[4])
	removed, err := r.here.Unregister(t.Context(), all[:4]...)
	if err != nil || !sameRoutes(removed, []presence.Route{all[0], all[2]}) {
		t.Errorf("got %+v removed, %v, want those of users 1 and 3", removed, err)
	}
	r.want(1)
	r.want(3)
	r.want(5, all[4])
	if removed, err := r.here.Unregister(t.Context()); len(removed) > 0 || err != nil {
		t.Errorf("Unregister of none: got %v, %v", removed, err)
	}
}

func routesAreASnapshot(t *testing.T, r *registry) {
	first := route(1, 100)
	r.register(first)
	before := r.routes(1)[0]
	r.register(route(2, 200))
	r.unregister(route(2, 200))
	if !sameRoutes(before, []presence.Route{first}) {
		t.Errorf("routes read earlier have changed: got %+v, want %+v", before, first)
	}
}

// raceOfOneDevice: of many sessions of one device that register at once, the
// latest stays, and every other one is told that it was displaced, exactly once.
func raceOfOneDevice(t *testing.T, r *registry) {
	const sessions, rounds = 16, 20
	for round := range rounds {
		user := im.UserID(round + 1)
		told := make(chan presence.Route, 2*sessions)
		together(sessions, func(i int) {
			x := route(uint64(i+1), int64(1000+i))
			x.User = user
			displaced, _ := r.register(x)
			for _, d := range displaced {
				told <- d
			}
		})
		close(told)
		times := map[uint64]int{}
		for d := range told {
			times[d.Session]++
		}
		last := route(sessions, 1000+sessions-1)
		last.User = user
		r.want(user, last)
		for i := range uint64(sessions - 1) {
			if times[i+1] != 1 {
				t.Errorf("session %d was displaced %d times, want 1", i+1, times[i+1])
			}
		}
		if times[sessions] != 0 {
			t.Error("the latest session was displaced")
		}
	}
}

// raceOfReplaceAndUnregister: the end of the old session never takes the new
// session's route away.
func raceOfReplaceAndUnregister(t *testing.T, r *registry) {
	for round := range 100 {
		old, newer := route(1, 100), route(2, 200)
		old.User, newer.User = im.UserID(round+1), im.UserID(round+1)
		r.register(old)
		together(2, func(i int) {
			if i == 0 {
				r.unregister(old)
			} else if _, ok := r.register(newer); !ok {
				t.Error("the newer session was refused")
			}
		})
		r.want(newer.User, newer)
	}
}

// raceOfManyUsers: everything at once leaves what the last step of each says.
func raceOfManyUsers(t *testing.T, r *registry) {
	const users = 32
	together(users, func(i int) {
		x := route(uint64(i), 100)
		x.User = im.UserID(i + 1)
		if i%2 == 0 {
			x.Edge = "edge-b"
		}
		for range 20 {
			r.register(x)
			r.routes(1, x.User, users)
			r.unregister(x)
		}
		r.register(x)
	})
	total := 0
	for i := range users {
		total += len(r.routes(im.UserID(i + 1))[0])
	}
	if total != users {
		t.Errorf("after the race: got %d routes, want %d", total, users)
	}
}

// together runs n goroutines that start as nearly at once as can be, and waits.
func together(n int, fn func(i int)) {
	start, done := make(chan struct{}), make(chan struct{})
	for i := range n {
		go func() {
			<-start
			fn(i)
			done <- struct{}{}
		}()
	}
	close(start)
	for range n {
		<-done
	}
}
