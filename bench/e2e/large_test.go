package e2e_test

import (
	"testing"

	"freeim/bench/cluster"
	"freeim/core/server"
	"freeim/plugins/group"
)

// TestLargeGroupsAreTheSame plays the stories of groups where three members are too many for messages to be written to
// their inboxes: so each becomes a large group in the midst of its story, and no device sees a difference.
func TestLargeGroupsAreTheSame(t *testing.T) {
	large := func(_ int, o *server.Options) {
		for _, p := range o.Plugins {
			if g, is := p.(*group.Group); is {
				g.Config().(*group.Config).WriteDiffusion = 2
			}
		}
	}
	for _, story := range []string{"group", "town"} {
		for _, form := range forms {
			t.Run(story+"/"+form.name, func(t *testing.T) {
				t.Parallel()
				play(t, "testdata/"+story+".txt", form, stores{Options: cluster.Options{Core: large}})
			})
		}
	}
}
