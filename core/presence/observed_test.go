package presence_test

import (
	"fmt"
	"slices"
	"testing"

	"freeim/core/presence"
	"freeim/core/presence/presencetest"
)

func TestObservedIsARegistry(t *testing.T) {
	presencetest.Run(t, func(_ *testing.T, l presence.Leases) presence.Registry {
		return presence.Observe(presence.NewMemoryFor(l))
	})
}

// It says what changed, and nothing of what did not.
func TestObserved(t *testing.T) {
	o := presence.Observe(presence.NewMemory())
	var heard []string
	o.Listen(func(c presence.Change, routes ...presence.Route) {
		for _, r := range routes {
			heard = append(heard, fmt.Sprint(c, " ", r.Session))
		}
	})
	ctx, life := t.Context(), presence.Life{Edge: "e", Epoch: 1}
	if err := o.Attach(ctx, life); err != nil {
		t.Fatal(err)
	}
	route := func(session uint64, token int64) presence.Route {
		return presence.Route{SessionRef: presence.SessionRef{Edge: "e", Epoch: 1, Session: session}, User: 7, Device: "d", TokenID: token}
	}
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"a session", func() error { _, _, err := o.Register(ctx, route(1, 2)); return err }, []string{"0 1"}},
		{"an older one", func() error { _, _, err := o.Register(ctx, route(2, 1)); return err }, nil},
		{"a census", func() error {
			_, err := o.Restore(ctx, []presence.Route{route(1, 2), route(2, 1), route(3, 3)})
			return err
		}, []string{"2 1", "0 3"}},
		{"the end of one that is not there", func() error { _, err := o.Unregister(ctx, route(1, 2)); return err }, nil},
		{"the end", func() error { _, err := o.Unregister(ctx, route(3, 3)); return err }, []string{"1 3"}},
		{"one again", func() error { _, _, err := o.Register(ctx, route(3, 3)); return err }, []string{"0 3"}},
		{"the end of some", func() error {
			_, err := o.Unregister(ctx, route(1, 2), route(3, 3), route(7, 7))
			return err
		}, []string{"1 3"}},
		{"an edge that is over", func() error {
			if err := o.Attach(ctx, presence.Life{Edge: "e", Epoch: 2}); err != nil {
				return err
			}
			_, _, err := o.Register(ctx, route(4, 4))
			if err == nil {
				return fmt.Errorf("it was let in")
			}
			return nil
		}, []string{"0 4"}}, // it may have been made: who hears looks
	}
	for _, step := range steps {
		heard = nil
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if !slices.Equal(heard, step.want) {
			t.Errorf("%s: heard %v, want %v", step.name, heard, step.want)
		}
	}
}
