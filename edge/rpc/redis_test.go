package rpc_test

import (
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/presence"
	"freeim/core/redis"
	corerpc "freeim/core/rpc"
	"freeim/edge/rpc"
	"freeim/edge/session"
)

// TestRedisRestartedEmpty: with the leases and the pace of production, the routes of
// two edges are there again after a real Redis has lost them, and calls are served
// while it is away. The log has how long it took.
func TestRedisRestartedEmpty(t *testing.T) {
	server := engines.Redis(t)
	open := func() presence.Registry {
		c, err := redis.Open(redis.Options{Config: redis.Config{Addresses: []string{server.Addr()}}, Log: quietLog()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // with the test's own server
		return redis.NewPresence(c, presence.Leases{})
	}
	production := func(o *corerpc.Options) { o.Lease = 0 }
	first := startNode(t, newAddress(t), open(), named("first"), production)
	second := startNode(t, newAddress(t), open(), named("second"), production)
	const sessions = 1000 // on each edge
	edges := map[string]*hub{"edge-a": newHub(), "edge-b": newHub()}
	links := map[string]*rpc.Links{}
	user := im.UserID(0)
	for id, h := range edges {
		for range sessions {
			user++
			h.sessions[session.ID(user)] = someone(int64(user))
		}
		links[id] = startLinks(t, h, func(o *rpc.Options) { o.EdgeID = id }, first.address, second.address)
		ready(t, links[id], true)
	}
	users := make([]im.UserID, user)
	for i := range users {
		users[i] = im.UserID(i + 1)
	}
	all := func() bool {
		routes, err := second.registry.Routes(t.Context(), users...)
		if err != nil {
			return false
		}
		for _, r := range routes {
			if len(r) != 1 {
				return false
			}
		}
		return true
	}
	poll(t, "all sessions have routes", all)
	for range 2 {
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		reaches(t, edges["edge-a"], links["edge-a"], "first")
		if err := server.RestartEmpty(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		poll(t, "all sessions have routes again", all)
		t.Logf("%d routes were there again %v after Redis was", len(users), time.Since(began))
	}
	for id, h := range edges {
		h.mu.Lock()
		if len(h.kicks) > 0 {
			t.Errorf("%s got kicks %q", id, h.kicks)
		}
		h.mu.Unlock()
	}
}
