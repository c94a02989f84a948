package presencetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/presence"
)

// RunRooms tests the Rooms that open makes, as Run does a Registry.
func RunRooms(t *testing.T, open func(t *testing.T, l presence.Leases) presence.Rooms) {
	for _, test := range []struct {
		name   string
		leases presence.Leases
		run    func(t *testing.T, r *rooms)
	}{
		{"SubscribeAndEdges", presence.Leases{}, subscribeAndEdges},
		{"LaterLifeReplaces", presence.Leases{}, laterLifeReplaces},
		{"SubscriptionLapses", presence.Leases{Route: 300 * time.Millisecond}, subscriptionLapses},
		{"RaceOfEdges", presence.Leases{}, raceOfEdges},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &rooms{t, open(t, test.leases)}) })
	}
}

type rooms struct {
	t    *testing.T
	here presence.Rooms
}

func (r *rooms) subscribe(room im.ConversationID, life presence.Life) {
	if err := r.here.Subscribe(r.t.Context(), room, life); err != nil {
		r.t.Errorf("Subscribe(%s, %v): %v", room, life, err)
	}
}

func (r *rooms) unsubscribe(room im.ConversationID, life presence.Life) {
	if err := r.here.Unsubscribe(r.t.Context(), room, life); err != nil {
		r.t.Errorf("Unsubscribe(%s, %v): %v", room, life, err)
	}
}

func (r *rooms) edges(room im.ConversationID) []presence.Life {
	lives, err := r.here.Edges(r.t.Context(), room)
	if err != nil {
		r.t.Errorf("Edges(%s): %v", room, err)
	}
	slices.SortFunc(lives, func(a, b presence.Life) int {
		if a.Edge < b.Edge {
			return -1
		}
		return 1
	})
	return lives
}

func (r *rooms) want(room im.ConversationID, want ...presence.Life) {
	r.t.Helper()
	if got := r.edges(room); !slices.Equal(got, want) {
		r.t.Errorf("edges of %s: got %v, want %v", room, got, want)
	}
}

func subscribeAndEdges(t *testing.T, r *rooms) {
	a, b := presence.Life{Edge: "edge-a", Epoch: 3}, presence.Life{Edge: "edge-b", Epoch: 1}
	r.want("room:1")
	r.subscribe("room:1", a)
	r.subscribe("room:1", b)
	r.subscribe("room:1", a)
	r.subscribe("room:2", b)
	r.want("room:1", a, b)
	r.want("room:2", b)
	r.unsubscribe("room:1", b)
	r.unsubscribe("room:1", b)
	r.unsubscribe("room:3", b)
	r.want("room:1", a)
	r.want("room:2", b)
}

func laterLifeReplaces(t *testing.T, r *rooms) {
	first, second := presence.Life{Edge: "edge-a", Epoch: 1}, presence.Life{Edge: "edge-a", Epoch: 2}
	r.subscribe("room:1", first)
	r.subscribe("room:1", second)
	r.want("room:1", second)
	if err := r.here.Subscribe(t.Context(), "room:1", first); !errors.Is(err, presence.ErrFenced) {
		t.Errorf("Subscribe of an earlier life: got %v, want ErrFenced", err)
	}
	r.unsubscribe("room:1", first)
	r.want("room:1", second)
}

func subscriptionLapses(t *testing.T, r *rooms) {
	life := presence.Life{Edge: "edge-a", Epoch: 1}
	r.subscribe("room:1", life)
	for late := time.Now().Add(patience); len(r.edges("room:1")) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the subscription does not end")
		}
	}
	for late := time.Now().Add(patience); len(r.edges("room:1")) == 0; {
		r.subscribe("room:1", life)
		if time.Now().After(late) {
			t.Fatal("an edge that subscribes again is not given")
		}
	}
}

func raceOfEdges(t *testing.T, r *rooms) {
	together(16, func(i int) {
		life := presence.Life{Edge: presence.EdgeID('a' + rune(i)), Epoch: 1}
		for range 20 {
			r.subscribe("room:1", life)
			r.edges("room:1")
			r.unsubscribe("room:1", life)
		}
		if i%2 == 0 {
			r.subscribe("room:1", life)
		}
	})
	if got := r.edges("room:1"); len(got) != 8 {
		t.Errorf("after the race: got %d edges, want 8", len(got))
	}
}
