package presencetest

import (
	"errors"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
)

// patience is how long a test waits for a lease of a fraction of a second to end.
const patience = time.Minute

func (r *registry) attach(life presence.Life) {
	r.t.Helper()
	if err := r.here.Attach(r.t.Context(), life); err != nil {
		r.t.Fatalf("Attach(%v): %v", life, err)
	}
}

func (r *registry) keep(lives ...presence.Life) (over []presence.Life) {
	r.t.Helper()
	over, err := r.here.Keep(r.t.Context(), lives...)
	if err != nil {
		r.t.Fatalf("Keep(%v): %v", lives, err)
	}
	return over
}

func (r *registry) restore(routes ...presence.Route) []presence.Restored {
	r.t.Helper()
	all, err := r.here.Restore(r.t.Context(), routes)
	if err != nil {
		r.t.Fatalf("Restore(%+v): %v", routes, err)
	}
	if len(all) != len(routes) {
		r.t.Fatalf("Restore of %d routes: got %d results", len(routes), len(all))
	}
	return all
}

// until polls; what says what is waited for.
func (r *registry) until(what string, done func() bool) {
	r.t.Helper()
	for late := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			r.t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

func (r *registry) offline(user im.UserID) func() bool {
	return func() bool { return len(r.routes(user)[0]) == 0 }
}

func laterLifeFences(t *testing.T, r *registry) {
	before, at, elsewhere := route(1, 100), route(2, 100), route(3, 100)
	before.User, before.Epoch = 1, 9
	at.User, at.Epoch = 2, 10
	elsewhere.User, elsewhere.Edge, elsewhere.Epoch = 3, "edge-b", 1
	r.attach(before.Life())
	r.register(before)
	r.attach(elsewhere.Life())
	r.register(elsewhere)
	r.want(1, before)
	r.attach(at.Life())
	r.register(at)
	r.want(1)
	r.want(2, at)
	r.want(3, elsewhere)
	if err := r.here.Attach(t.Context(), before.Life()); !errors.Is(err, presence.ErrFenced) {
		t.Errorf("Attach of an earlier life: got %v, want ErrFenced", err)
	}
	if _, _, err := r.here.Register(t.Context(), before); !errors.Is(err, presence.ErrFenced) {
		t.Errorf("Register of an earlier life: got %v, want ErrFenced", err)
	}
	if _, err := r.here.Restore(t.Context(), []presence.Route{before}); !errors.Is(err, presence.ErrFenced) {
		t.Errorf("Restore of an earlier life: got %v, want ErrFenced", err)
	}
	if over := r.keep(before.Life(), elsewhere.Life(), at.Life()); len(over) != 1 || over[0] != before.Life() {
		t.Errorf("Keep: got %v as over, want the earlier life", over)
	}
	r.want(1)
	r.want(2, at)
	r.want(3, elsewhere)
}

// laterLifeKeptFences: what a core keeps is known though nobody attached it here.
func laterLifeKeptFences(t *testing.T, r *registry) {
	before, at := route(1, 100), route(2, 100)
	at.User, at.Epoch = 2, before.Epoch+1
	r.register(before) // neither attached nor kept: given all the same
	r.want(1, before)
	if over := r.keep(before.Life()); len(over) != 0 {
		t.Errorf("Keep of a life that is not known: got %v as over", over)
	}
	r.want(1, before)
	r.keep(at.Life())
	r.register(at)
	r.want(1)
	r.want(2, at)
	if err := r.here.Attach(t.Context(), before.Life()); !errors.Is(err, presence.ErrFenced) {
		t.Errorf("Attach of an earlier life: got %v, want ErrFenced", err)
	}
}

func restoreSaysWhatWasKnown(t *testing.T, r *registry) {
	known, rebound, fresh, newer, older := route(1, 100), route(2, 100), route(3, 100), route(4, 200), route(5, 50)
	rebound.User, fresh.User, newer.User, older.User = 2, 3, 4, 5
	beaten, kept := route(14, 100), route(15, 100)
	beaten.User, kept.User = 4, 5
	r.attach(known.Life())
	for _, x := range []presence.Route{known, rebound, beaten, kept} {
		r.register(x)
	}
	rebound.Since = time.UnixMilli(150)
	got := r.restore(known, rebound, fresh, newer, older)
	for i, want := range []presence.Restored{
		{Known: true, Registered: true}, {Registered: true}, {Registered: true},
		{Registered: true, Displaced: []presence.Route{beaten}}, {Displaced: []presence.Route{older}},
	} {
		if got[i].Known != want.Known || got[i].Registered != want.Registered || !sameRoutes(got[i].Displaced, want.Displaced) {
			t.Errorf("Restore, result %d: got %+v, want %+v", i, got[i], want)
		}
	}
	r.want(1, known)
	r.want(2, rebound)
	r.want(3, fresh)
	r.want(4, newer)
	r.want(5, kept)
	echo := rebound
	echo.Since = time.UnixMilli(100)
	if got := r.restore(echo); !got[0].Known || !got[0].Registered {
		t.Errorf("Restore of what a session was before: got %+v, want it known", got[0])
	}
	r.want(2, rebound)
	r.restore() // nothing
}

func generationStays(t *testing.T, r *registry) {
	first, err := r.here.Generation(t.Context())
	if err != nil || first == "" {
		t.Fatalf("Generation: got %q, %v", first, err)
	}
	r.attach(presence.Life{Edge: "edge-a", Epoch: 10})
	r.register(route(1, 100))
	if again, err := r.here.Generation(t.Context()); err != nil || again != first {
		t.Errorf("Generation again: got %q, %v, want %q", again, err, first)
	}
}

// attachedAgain: of a life that attaches again only what it lists is there, at
// once or by the lease of routes.
func attachedAgain(t *testing.T, r *registry) {
	listed, ended := route(1, 100), route(2, 100)
	ended.User = 2
	r.attach(listed.Life())
	r.register(listed)
	r.register(ended)
	r.attach(listed.Life())
	r.until("the route that was not listed again ends", func() bool {
		r.keep(listed.Life())
		r.restore(listed)
		return r.offline(2)()
	})
	r.restore(listed)
	r.want(1, listed)
}

// lifeLapses: what a life had before it lapsed does not come back by itself, since
// kicks have not reached it meanwhile.
func lifeLapses(t *testing.T, r *registry) {
	x := route(1, 100)
	r.attach(x.Life())
	r.register(x)
	r.until("routes of a life that nobody keeps end", r.offline(1))
	r.keep(x.Life())
	r.want(1)
	if got := r.restore(x); got[0].Known || !got[0].Registered {
		t.Errorf("Restore after the lapse: got %+v, want registered and not known", got[0])
	}
	r.until("the restored route is given", func() bool {
		r.keep(x.Life())
		r.restore(x)
		return !r.offline(1)()
	})
}

const keptLife = time.Second

func keptLifeStays(t *testing.T, r *registry) {
	x := route(1, 100)
	r.attach(x.Life())
	r.register(x)
	kept := time.Now()
	for end := kept.Add(2 * keptLife); time.Now().Before(end); time.Sleep(keptLife / 20) {
		before := time.Now()
		r.keep(x.Life())
		there := !r.offline(1)()
		if held := time.Since(kept) < keptLife; !held {
			t.Skip("SKIPPED: the machine is too slow to keep a lease")
		}
		if !there {
			t.Fatal("the route of a life that is kept is not given")
		}
		kept = before
	}
}

func routeLapses(t *testing.T, r *registry) {
	x := route(1, 100)
	r.attach(x.Life())
	r.register(x)
	r.until("a route that is not listed again ends", r.offline(1))
	if got := r.restore(x); got[0].Known || !got[0].Registered {
		t.Errorf("Restore after the lapse: got %+v, want registered and not known", got[0])
	}
	r.until("the restored route is given", func() bool {
		r.restore(x)
		return !r.offline(1)()
	})
}

// lapsedStandsInNobodysWay: an older session of the device may register once the
// newer one's edge is not kept.
func lapsedStandsInNobodysWay(t *testing.T, r *registry) {
	newer, older := route(2, 200), route(1, 100)
	older.Edge = "edge-b"
	r.attach(newer.Life())
	r.register(newer)
	r.until("routes of a life that nobody keeps end", r.offline(1))
	if displaced, ok := r.register(older); !ok || len(displaced) != 0 {
		t.Errorf("Register beside a lapsed route: got %+v, %v, want nothing displaced and true", displaced, ok)
	}
	r.want(1, older)
	r.keep(newer.Life())
	if got := r.restore(newer); !got[0].Registered || !sameRoutes(got[0].Displaced, []presence.Route{older}) {
		t.Errorf("Restore of the newer session: got %+v, want it registered and the older displaced", got[0])
	}
}
