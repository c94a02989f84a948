package rpc_test

import (
	"testing"
	"time"

	"freeim/core/plugin"
	"freeim/core/presence"
	corerpc "freeim/core/rpc"
)

// An edge hears at once which actions scripts define, from a core that is linked and from
// one that links, and forgets those that no core has any more.
func TestScriptedActionsComeAndGo(t *testing.T) {
	start := func(address string, offered []plugin.Spec) *corerpc.Server {
		s, err := corerpc.New(corerpc.Options{Listen: address, CoreID: "c", Registry: presence.NewMemory(), Log: quietLog()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		s.Offer(offered)
		if err := s.Start(doing(echo)); err != nil {
			t.Fatal(err)
		}
		return s
	}
	vote := plugin.Spec{Action: 201, Name: "lua.poll.vote", MaxBody: 256, Rate: 30, Per: time.Minute, Rooms: true}
	create := plugin.Spec{Action: 200, Name: "lua.poll.create", Open: true}
	first, second := newAddress(t), newAddress(t)
	one := start(first, []plugin.Spec{vote})
	l := startLinks(t, newHub(), nil, first, second)
	ready(t, l, true)
	info, ok := l.Action(201)
	if !ok || info.Name != "lua.poll.vote" || info.MaxBody != 256 || info.Rate != 30 || info.Per != time.Minute || !info.Rooms || info.Open {
		t.Errorf("got %+v, %t", info, ok)
	}
	if _, ok := l.Action(200); ok {
		t.Error("an action that nobody defines is known")
	}
	one.Offer([]plugin.Spec{vote, create})
	poll(t, "another action", func() bool { info, ok := l.Action(200); return ok && info.Open })
	if a, ok := l.ActionNamed("lua.poll.create"); !ok || a != 200 {
		t.Errorf("by its name: got %d, %t", a, ok)
	}
	own := plugin.Spec{Action: 210, Name: "lua.two"}
	two := start(second, []plugin.Spec{create, own})
	poll(t, "the second core", func() bool { _, ok := l.Action(own.Action); return ok })
	one.Offer(nil)
	poll(t, "the end of one", func() bool {
		_, there := l.Action(201)
		_, kept := l.Action(200)
		return !there && kept
	})
	two.Offer(nil)
	poll(t, "the end of the other", func() bool { _, ok := l.Action(200); return !ok })
}
