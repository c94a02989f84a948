package fanout

import (
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/idl"
)

// A push to the devices of a chat at one edge is grouped in two pieces of memory: the
// list of groups, and the group with its sessions and their seqs.
func TestGroupAllocates(t *testing.T) {
	route := presence.Route{SessionRef: presence.SessionRef{Edge: "e", Epoch: 1, Session: 7}, Codec: idl.CodecProtobuf}
	p := plugin.Push{Users: []im.UserID{1, 2}, InboxSeqs: []int64{5, 6}}
	routes := [][]presence.Route{{route}, {route, route, route}}
	if n := testing.AllocsPerRun(100, func() { group(p, routes) }); n > 2 {
		t.Errorf("got %v allocations, want 2", n)
	}
}

// More sessions than the usual have their group too.
func TestGroupOfMany(t *testing.T) {
	var routes []presence.Route
	for i := range uint64(9) {
		routes = append(routes, presence.Route{SessionRef: presence.SessionRef{Edge: "e", Epoch: 1, Session: i + 1}})
	}
	got := group(plugin.Push{Users: []im.UserID{1}, InboxSeqs: []int64{5}}, [][]presence.Route{routes})
	if len(got) != 1 || len(got[0].Sessions) != 9 || len(got[0].InboxSeqs) != 9 || got[0].Sessions[8] != 9 || got[0].InboxSeqs[8] != 5 {
		t.Errorf("got %+v, want one group of 9 sessions", got)
	}
}
