package pebble_test

import (
	"log/slog"
	"testing"

	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/timeline"
	"freeim/core/timeline/timelinetest"
)

// quiet is a logger for tests that expect faults.
var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, o pebble.Options) *pebble.Store {
	t.Helper()
	if o.IDs == nil {
		o.IDs = im.NewIDGenerator(nil)
	}
	s, err := pebble.Open(o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	timelinetest.Run(t, func(t *testing.T) timelinetest.Open {
		dir := t.TempDir()
		return func(ids *im.IDGenerator) timeline.Store {
			return open(t, pebble.Options{Dir: dir, IDs: ids})
		}
	})
}

// A committer that remembers next to nothing must read every head again.
func TestStoreWithFewHeads(t *testing.T) {
	timelinetest.Run(t, func(t *testing.T) timelinetest.Open {
		dir := t.TempDir()
		return func(ids *im.IDGenerator) timeline.Store {
			return open(t, pebble.Options{Dir: dir, IDs: ids, Heads: 2, MemTableSize: 1 << 20})
		}
	})
}
