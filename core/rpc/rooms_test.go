package rpc_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"freeim/core/dispatch"
	"freeim/core/fanout"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/rpc"
	"freeim/idl"
	"freeim/idl/kitex_gen/corepb"
)

// TestRoomsOfCalls: a call says where its session is, and a reply takes it into a room
// and out of one.
func TestRoomsOfCalls(t *testing.T) {
	seen := make(chan []im.ConversationID, 1)
	policy := plugin.RoomPolicy{Overload: 2, LowPerSecond: 50, List: 100, Version: 4}
	h := open(t, func(_ context.Context, c *plugin.Call, _ []byte) dispatch.Reply {
		seen <- c.Rooms
		return dispatch.Reply{Action: c.Action, Entered: &plugin.Entrance{Room: "r_in", Head: 7, Policy: policy}, Left: "r_out"}
	}, nil)
	e := h.link("edge-a", 1)
	c := call(1, "x")
	c.Rooms = []string{"r_a", "r_b"}
	e.send(&corepb.Uplink{Calls: []*corepb.Call{c}})
	if got := <-seen; !slices.Equal(got, []im.ConversationID{"r_a", "r_b"}) {
		t.Errorf("the call came with rooms %q", got)
	}
	want := &corepb.Enter{Room: "r_in", Head: 7, Policy: &corepb.RoomPolicy{Overload: 2, LowPerSecond: 50, List: 100, Version: 4}}
	if r := e.replies(1)[0]; !reflect.DeepEqual(r.Enter, want) || r.Leave != "r_out" {
		t.Errorf("got %+v and %q, want %+v", r.Enter, r.Leave, want)
	}
}

// TestRoomsDown: what is for a room's members reaches the edge as it was given, and
// what finds no link is lost without making all clients sync.
func TestRoomsDown(t *testing.T) {
	h := open(t, echo, nil)
	a := presence.Life{Edge: "edge-a", Epoch: 1}
	h.Broadcast(a, fanout.RoomFrame{Room: "r_a", Seq: 1})
	e := h.link("edge-a", 1) // checks Welcome
	h.Broadcast(presence.Life{Edge: "edge-a", Epoch: 2}, fanout.RoomFrame{Room: "r_a", Seq: 2})
	h.Broadcast(a, fanout.RoomFrame{Room: "r_a", Seq: 3, Important: true, Action: idl.ActionRoomMessage, Protobuf: []byte("p"), JSON: []byte("{}")})
	h.Answer(a, "r_a", 1, 3, plugin.RoomPolicy{LowPerSecond: 5})
	h.Expel(a, fanout.RoomExpulsion{Room: "r_a", Users: []im.UserID{4, 5}, Seq: 3, Action: idl.ActionLeaveRoom, Protobuf: []byte("q"), JSON: []byte("{}")})
	h.Configure(a, "r_a", plugin.RoomPolicy{Overload: 1})
	var got corepb.Downlink
	for len(got.Policies) == 0 {
		d := e.recv()
		got.Broadcasts, got.Answers = append(got.Broadcasts, d.Broadcasts...), append(got.Answers, d.Answers...)
		got.Expels, got.Policies = append(got.Expels, d.Expels...), append(got.Policies, d.Policies...)
	}
	want := corepb.Downlink{
		Broadcasts: []*corepb.Broadcast{{Room: "r_a", Seq: 3, Lane: 1, Action: 72, Protobuf: []byte("p"), Json: []byte("{}")}},
		Answers:    []*corepb.RoomAnswer{{Room: "r_a", After: 1, Through: 3, Policy: &corepb.RoomPolicy{LowPerSecond: 5}}},
		Expels:     []*corepb.Expel{{Room: "r_a", UserIds: []int64{4, 5}, Seq: 3, Action: 71, Protobuf: []byte("q"), Json: []byte("{}")}},
		Policies:   []*corepb.RoomPolicy{{Room: "r_a", Overload: 1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	e.cut()
	again := h.dial("edge-a", 1)
	again.send(&corepb.Uplink{})
	if w := again.recv().Welcome; w == nil || w.Missed {
		t.Errorf("after broadcasts that found no link: Welcome %+v, want nothing missed", w)
	}
}

// TestRoomStates: what an edge says of rooms is handed on with its life, and does not
// count as a question whether the core is there.
func TestRoomStates(t *testing.T) {
	type told struct {
		life presence.Life
		all  []fanout.RoomState
	}
	heard := make(chan told, 1)
	h := open(t, echo, func(o *rpc.Options) {
		o.Rooms = func(life presence.Life, all []fanout.RoomState) { heard <- told{life, all} }
	})
	e := h.link("edge-a", 5)
	e.send(&corepb.Uplink{Rooms: []*corepb.RoomState{
		{Room: "r_a", Members: 2, UserIds: []int64{8, 9}, After: 4, Want: true}, {Room: "r_b", Members: -1}}})
	want := told{presence.Life{Edge: "edge-a", Epoch: 5}, []fanout.RoomState{
		{RoomReport: presence.RoomReport{Room: "r_a", Members: 2, Users: []im.UserID{8, 9}}, After: 4, Want: true},
		{RoomReport: presence.RoomReport{Room: "r_b"}}}}
	if got := <-heard; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	e.send(&corepb.Uplink{Calls: []*corepb.Call{call(1, strings.Repeat("x", 3))}})
	if d := e.recv(); len(d.Replies) != 1 {
		t.Errorf("got %+v, want the reply and nothing before it", d)
	}
}
