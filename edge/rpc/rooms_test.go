package rpc_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	corerpc "freeim/core/rpc"
	"freeim/edge/room"
	"freeim/edge/rpc"
	"freeim/idl"
)

// told keeps what a core hears of rooms.
type told struct {
	mu     sync.Mutex // guards states
	states []string
}

func (t *told) hear(_ presence.Life, states []fanout.RoomState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range states {
		t.states = append(t.states, fmt.Sprintf("%s %d %v %d %v", s.Room, s.Members, s.Users, s.After, s.Want))
	}
}

func (t *told) has(s string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Contains(t.states, s)
}

// TestRoomsOverALink: a core that is linked hears of every room, and that its broadcasts
// are wanted again; then of what changes, and of all with each census. What it says of
// rooms arrives in its order.
func TestRoomsOverALink(t *testing.T) {
	var heard told
	c := &core{address: newAddress(t), registry: presence.NewMemory()}
	s, err := corerpc.New(corerpc.Options{Listen: c.address, CoreID: "core-1", Registry: c.registry, Rooms: heard.hear, Log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Start(doing(echo)); err != nil {
		t.Fatal(err)
	}
	h := newHub()
	for i := range 1000 { // more than one page
		h.states = append(h.states, room.State{Room: fmt.Sprint("r_", i), Members: int64(i + 1), Users: []int64{int64(i)}, After: 5})
	}
	links := startLinks(t, h, func(o *rpc.Options) { o.Census = 50 * time.Millisecond }, c.address)
	for _, want := range []string{"r_0 1 [0] 5 true", "r_999 1000 [999] 5 true", "r_0 1 [0] 5 false", "r_999 1000 [999] 5 false"} {
		poll(t, want, func() bool { return heard.has(want) })
	}
	links.RoomState(room.State{Room: "r_0", After: 6, Want: true})
	links.RoomState(room.State{Room: "r_0", After: 7})
	poll(t, "the newest state, with what was wanted", func() bool { return heard.has("r_0 0 [] 7 true") || heard.has("r_0 0 [] 6 true") })

	life := presence.Life{Edge: "edge-a", Epoch: 7}
	s.Expel(life, fanout.RoomExpulsion{Room: "r_0", Users: []im.UserID{3}, Seq: 9, Action: idl.ActionLeaveRoom, JSON: []byte("{}")})
	s.Broadcast(life, fanout.RoomFrame{Room: "r_0", Seq: 8, Important: true, Action: idl.ActionRoomMessage, JSON: []byte("{}")})
	s.Answer(life, "r_0", 6, 8, plugin.RoomPolicy{LowPerSecond: 4, List: 2})
	s.Configure(life, "r_0", plugin.RoomPolicy{Overload: 1, Version: 6})
	want := []string{"Room:r_0 Seq:8 Important:true", "After:6 Through:8", "Users:[3] Seq:9", "Policy:{Overload:ROOM_OVERLOAD_BATCH LowPerSecond:0 List:0 Version:6}"}
	h.await(t, "all that was said", func() bool {
		all := strings.Join(h.rooms, "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				return false
			}
		}
		return true
	})
}

// TestReceivesWhileItAsks: an edge takes what a core says while it still tells that core
// of its rooms: the answers to the first of many must not fill the core's outbox.
func TestReceivesWhileItAsks(t *testing.T) {
	c := startCore(t, newAddress(t), echo)
	h, hold := newHub(), make(chan struct{})
	h.hold = hold
	release := sync.OnceFunc(func() { close(hold) })
	l := startLinks(t, h, nil, c.address)
	t.Cleanup(release) // before the links are closed
	poll(t, "a broadcast before all is asked", func() bool {
		c.Broadcast(presence.Life{Edge: "edge-a", Epoch: 7}, fanout.RoomFrame{Room: "r_0", Seq: 1, Action: idl.ActionRoomMessage, JSON: []byte("{}")})
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.rooms) > 0
	})
	if l.Ready() {
		t.Error("calls go up before all is asked")
	}
	release()
	ready(t, l, true)
}
