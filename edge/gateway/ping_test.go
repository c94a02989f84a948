package gateway_test

import (
	"context"
	"testing"

	"freeim/edge/gateway"
	"freeim/edge/session"
)

// The loops answer a running gateway, ports or none, and not one that is closed.
func TestPing(t *testing.T) {
	g := newEdge(t, gateway.Options{}, session.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	before := g.Stats().Conns
	for range 3 {
		if err := g.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the connections of pings are gone", func() bool { return g.Stats().Conns == before })
	g.Gateway.Close()
	if err := g.Ping(ctx); err == nil {
		t.Error("a closed gateway answers")
	}
}
