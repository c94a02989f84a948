package presence_test

import (
	"testing"

	"freeim/core/presence"
	"freeim/core/presence/presencetest"
)

func TestMemory(t *testing.T) {
	presencetest.Run(t, func(*testing.T) presence.Registry { return presence.NewMemory() })
}
