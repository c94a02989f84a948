package presencetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
)

// RunRooms tests the Rooms that open makes, as Run does a Registry.
func RunRooms(t *testing.T, open func(t *testing.T, l presence.Leases) presence.Rooms) {
	// Most tests report nobody without having joined before.
	const soon = time.Nanosecond
	for _, test := range []struct {
		name   string
		leases presence.Leases
		run    func(t *testing.T, r *rooms)
	}{
		{"SubscribeAndEdges", presence.Leases{Join: soon}, subscribeAndEdges},
		{"ReportsAddUp", presence.Leases{Join: soon}, reportsAddUp},
		{"LaterLifeReplaces", presence.Leases{Join: soon}, laterLifeReplaces},
		{"JoinOnItsWay", presence.Leases{}, joinOnItsWay},
		{"SubscriptionLapses", presence.Leases{Route: 300 * time.Millisecond, Join: soon}, subscriptionLapses},
		{"LapsedAreToldOf", presence.Leases{Route: 300 * time.Millisecond, Join: soon}, lapsedAreToldOf},
		{"ManyRooms", presence.Leases{Join: soon}, manyRooms},
		{"RaceOfEdges", presence.Leases{Join: soon}, raceOfEdges},
		{"ChangesAreAChain", presence.Leases{Join: soon}, changesAreAChain},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &rooms{t, open(t, test.leases)}) })
	}
}

type rooms struct {
	t    *testing.T
	here presence.Rooms
}

func (r *rooms) subscribe(room im.ConversationID, life presence.Life) {
	r.t.Helper()
	if err := r.here.Subscribe(r.t.Context(), room, life); err != nil {
		r.t.Errorf("Subscribe(%s, %v): %v", room, life, err)
	}
}

func (r *rooms) report(room im.ConversationID, life presence.Life, members int64, users ...im.UserID) presence.RoomChange {
	r.t.Helper()
	changes, err := r.here.Report(r.t.Context(), life, presence.RoomReport{Room: room, Members: members, Users: users})
	if err != nil || len(changes) != 1 || changes[0].Room != room {
		r.t.Fatalf("Report(%s, %v): %+v, %v", room, life, changes, err)
	}
	return changes[0]
}

func (r *rooms) edges(rooms ...im.ConversationID) [][]presence.Life {
	r.t.Helper()
	all, err := r.here.Edges(r.t.Context(), rooms...)
	if err != nil || len(all) != len(rooms) {
		r.t.Fatalf("Edges(%v): %v, %v", rooms, all, err)
	}
	for _, lives := range all {
		slices.SortFunc(lives, func(a, b presence.Life) int { return strings.Compare(string(a.Edge), string(b.Edge)) })
	}
	return all
}

func (r *rooms) want(room im.ConversationID, want ...presence.Life) {
	r.t.Helper()
	if got := r.edges(room)[0]; !slices.Equal(got, want) {
		r.t.Errorf("edges of %s: got %v, want %v", room, got, want)
	}
}

// who writes an occupancy as "3: 1 2", with "?" behind it when not all are listed.
func who(o presence.Occupancy) string {
	words := []string{fmt.Sprint(o.Members, ":")}
	for _, u := range o.Users {
		words = append(words, u.String())
	}
	text := strings.Join(words, " ")
	if !o.Listed {
		text += "?"
	}
	return text
}

func (r *rooms) occupied(room im.ConversationID, want string) {
	r.t.Helper()
	got, err := r.here.Occupancy(r.t.Context(), room)
	if err != nil || who(got) != want {
		r.t.Errorf("occupancy of %s: got %s, %v; want %s", room, who(got), err, want)
	}
}

func (r *rooms) changed(c presence.RoomChange, before, after string) {
	r.t.Helper()
	if who(c.Before) != before || who(c.After) != after {
		r.t.Errorf("change: got %s to %s, want %s to %s", who(c.Before), who(c.After), before, after)
	}
}

func (r *rooms) isNew(what string, c presence.RoomChange, want bool) {
	r.t.Helper()
	if c.New != want {
		r.t.Errorf("%s: new %v, want %v", what, c.New, want)
	}
}

var (
	edgeA = presence.Life{Edge: "edge-a", Epoch: 3}
	edgeB = presence.Life{Edge: "edge b", Epoch: 1}
)

func subscribeAndEdges(_ *testing.T, r *rooms) {
	r.want("r_1")
	r.occupied("r_1", "0:")
	r.subscribe("r_1", edgeA)
	r.subscribe("r_1", edgeB)
	r.subscribe("r_1", edgeA)
	r.subscribe("r_2", edgeB)
	r.want("r_1", edgeB, edgeA)
	r.want("r_2", edgeB)
	r.occupied("r_1", "0:")
	for range 2 {
		r.report("r_1", edgeB, 0)
	}
	r.report("r_3", edgeB, 0)
	r.want("r_1", edgeA)
	r.want("r_2", edgeB)
	r.want("r_3")
	r.isNew("a report without a subscription", r.report("r_3", edgeA, 5), true)
	r.want("r_3", edgeA)
	r.isNew("a report after a report", r.report("r_3", edgeA, 6), false)
	r.isNew("a report after a subscription", r.report("r_1", edgeA, 1), false)
	r.isNew("of another edge", r.report("r_1", edgeB, 1), true)
	r.isNew("of another life", r.report("r_1", presence.Life{Edge: edgeB.Edge, Epoch: 9}, 1), true)
	r.isNew("of nobody", r.report("r_4", edgeA, 0), false)
}

func reportsAddUp(_ *testing.T, r *rooms) {
	r.changed(r.report("r_1", edgeA, 2, 10, 20), "0:", "2: 10 20")
	r.changed(r.report("r_1", edgeB, 3, 20, 30), "2: 10 20", "5: 10 20 30")
	r.occupied("r_1", "5: 10 20 30")
	if c := r.report("r_1", edgeB, 3, 20, 30); !c.Before.Same(c.After) {
		r.t.Errorf("the same again changes %s to %s", who(c.Before), who(c.After))
	}
	r.subscribe("r_1", edgeB)
	r.occupied("r_1", "5: 10 20 30")
	r.changed(r.report("r_1", edgeA, 1_000), "5: 10 20 30", "1003: 20 30?")
	r.occupied("r_1", "1003: 20 30?")
	r.changed(r.report("r_1", edgeA, 1, 9_007_199_254_740_991), "1003: 20 30?", "4: 20 30 9007199254740991")
	r.changed(r.report("r_1", edgeA, 0), "4: 20 30 9007199254740991", "3: 20 30")
	r.changed(r.report("r_1", edgeB, 0), "3: 20 30", "0:")
	r.want("r_1")
}

func laterLifeReplaces(t *testing.T, r *rooms) {
	first, second := presence.Life{Edge: "edge-a", Epoch: 1}, presence.Life{Edge: "edge-a", Epoch: 2}
	r.subscribe("r_1", first)
	r.report("r_1", first, 2, 10, 20)
	r.subscribe("r_1", second)
	r.want("r_1", second)
	r.occupied("r_1", "0:")
	if err := r.here.Subscribe(t.Context(), "r_1", first); !errors.Is(err, presence.ErrFenced) {
		t.Errorf("Subscribe of an earlier life: got %v, want ErrFenced", err)
	}
	r.report("r_1", second, 1, 30)
	for _, members := range []int64{0, 7} {
		if c := r.report("r_1", first, members); !c.Before.Same(c.After) {
			t.Errorf("a report of an earlier life changes %s to %s", who(c.Before), who(c.After))
		}
	}
	r.want("r_1", second)
	r.occupied("r_1", "1: 30")
	r.changed(r.report("r_1", presence.Life{Edge: "edge-a", Epoch: 3}, 1, 40), "1: 30", "1: 40")
}

// joinOnItsWay: an edge that says that nobody is there does not take away the
// subscription that a join has just made.
func joinOnItsWay(_ *testing.T, r *rooms) {
	r.subscribe("r_1", edgeA)
	r.report("r_1", edgeA, 0)
	r.want("r_1", edgeA)
	r.report("r_1", edgeA, 1, 10)
	r.changed(r.report("r_1", edgeA, 0), "1: 10", "0:")
	r.want("r_1", edgeA)
	r.report("r_2", edgeA, 1, 10)
	r.report("r_2", edgeA, 0)
	r.want("r_2")
}

func subscriptionLapses(t *testing.T, r *rooms) {
	r.subscribe("r_1", edgeA)
	r.until("the subscription ends", func() bool { return len(r.edges("r_1")[0]) == 0 })
	r.until("an edge that subscribes again is given", func() bool {
		r.subscribe("r_1", edgeA)
		return len(r.edges("r_1")[0]) == 1
	})
	r.until("an earlier life counts when the later one has lapsed", func() bool {
		return r.here.Subscribe(t.Context(), "r_1", presence.Life{Edge: "edge-a", Epoch: 1}) == nil
	})
}

func (r *rooms) until(what string, done func() bool) {
	r.t.Helper()
	for late := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			r.t.Fatalf("not so: %s", what)
		}
	}
}

// lapsedAreToldOf: who was at an edge that died goes with a report of another, once.
func lapsedAreToldOf(_ *testing.T, r *rooms) {
	r.report("r_1", edgeA, 1, 10)
	r.changed(r.report("r_1", edgeB, 1, 20), "1: 10", "2: 10 20")
	r.until("the dead edge's member goes", func() bool {
		c := r.report("r_1", edgeB, 1, 20)
		if c.Before.Same(c.After) {
			return false
		}
		r.changed(c, "2: 10 20", "1: 20")
		return true
	})
	if c := r.report("r_1", edgeB, 1, 20); !c.Before.Same(c.After) {
		r.t.Errorf("told twice: %s to %s", who(c.Before), who(c.After))
	}
	r.occupied("r_1", "1: 20")
}

// manyRooms: one call is about many rooms, and each is right.
func manyRooms(t *testing.T, r *rooms) {
	const n = 700
	var reports []presence.RoomReport
	var names []im.ConversationID
	for i := range n {
		name := im.ConversationID(fmt.Sprintf("r_{%d}", i))
		names = append(names, name)
		reports = append(reports, presence.RoomReport{Room: name, Members: int64(i), Users: []im.UserID{im.UserID(i + 1)}})
	}
	changes, err := r.here.Report(t.Context(), edgeA, reports...)
	if err != nil || len(changes) != n {
		t.Fatalf("got %d changes, %v", len(changes), err)
	}
	for i, lives := range r.edges(names...) {
		if changes[i].Room != names[i] || changes[i].After.Members != int64(i) || len(lives) != min(i, 1) {
			t.Errorf("room %d: got %+v and %v", i, changes[i], lives)
		}
	}
	if all, err := r.here.Edges(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("no rooms: got %v, %v", all, err)
	}
	if all, err := r.here.Report(t.Context(), edgeA); err != nil || len(all) != 0 {
		t.Errorf("no reports: got %v, %v", all, err)
	}
}

func raceOfEdges(t *testing.T, r *rooms) {
	together(16, func(i int) {
		life := presence.Life{Edge: presence.EdgeID('a' + rune(i)), Epoch: 1}
		for range 20 {
			r.subscribe("r_1", life)
			r.report("r_1", life, 1, im.UserID(i+1))
			r.edges("r_1")
			r.report("r_1", life, 0)
		}
		if i%2 == 0 {
			r.report("r_1", life, 1, im.UserID(i+1))
		}
	})
	if got := r.edges("r_1")[0]; len(got) != 8 {
		t.Errorf("after the race: got %d edges, want 8", len(got))
	}
	r.occupied("r_1", "8: 1 3 5 7 9 11 13 15")
}

// changesAreAChain: of concurrent reports each change begins where another ended, so
// who adds up what came and went has the room.
func changesAreAChain(t *testing.T, r *rooms) {
	const edges, each = 6, 30
	all := make([][]presence.RoomChange, edges)
	together(edges, func(i int) {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		life := presence.Life{Edge: presence.EdgeID('a' + rune(i)), Epoch: 1}
		for range each {
			var users []im.UserID
			for u := range im.UserID(5) {
				if random.IntN(2) == 0 {
					users = append(users, u+1+5*im.UserID(i))
				}
			}
			all[i] = append(all[i], r.report("r_1", life, int64(len(users)), users...))
		}
	})
	sum := map[im.UserID]int{}
	for _, c := range slices.Concat(all...) {
		for _, u := range c.After.Users {
			sum[u]++
		}
		for _, u := range c.Before.Users {
			sum[u]--
		}
	}
	o, err := r.here.Occupancy(t.Context(), "r_1")
	if err != nil {
		t.Fatal(err)
	}
	for u, n := range sum {
		if slices.Contains(o.Users, u) != (n == 1) || n != 0 && n != 1 {
			t.Errorf("user %d: came %d times more than went; in the room: %v", u, n, slices.Contains(o.Users, u))
		}
	}
}
