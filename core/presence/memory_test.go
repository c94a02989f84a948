package presence_test

import (
	"testing"

	"freeim/core/presence"
	"freeim/core/presence/presencetest"
)

func TestMemory(t *testing.T) {
	presencetest.Run(t, func(_ *testing.T, l presence.Leases) presence.Registry { return presence.NewMemoryFor(l) })
}

func TestMemoryRooms(t *testing.T) {
	presencetest.RunRooms(t, func(_ *testing.T, l presence.Leases) presence.Rooms { return presence.NewMemoryRooms(l) })
}
