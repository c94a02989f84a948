package pebble_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/timeline"
	"freeim/core/timeline/timelinetest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
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

// A committer that remembers next to nothing must read every head again, and nearly every
// client ID may be known to a filter that is far too small.
func TestStoreWithFewHeads(t *testing.T) {
	timelinetest.Run(t, func(t *testing.T) timelinetest.Open {
		dir := t.TempDir()
		return func(ids *im.IDGenerator) timeline.Store {
			return open(t, pebble.Options{Dir: dir, IDs: ids, Heads: 2, Known: 32, MemTableSize: 1 << 20})
		}
	})
}

// What Open starts, Close ends.
func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := open(t, pebble.Options{Dir: t.TempDir()})
	if _, err := s.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1, Inboxes: []im.UserID{1, 2}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func TestMemoryForgets(t *testing.T) {
	o := pebble.Options{Dir: "nowhere", Memory: true, Log: quiet}
	first := open(t, o)
	if _, err := first.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1}); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, o)
	if p, err := second.Log(t.Context(), "c_1_2", 0, 1); err != nil || p.Head != 0 {
		t.Errorf("after Close: got head %d, %v, want an empty store", p.Head, err)
	}
	if first.Epoch() == second.Epoch() {
		t.Errorf("both stores have the epoch %s", first.Epoch())
	}
}

func TestFigures(t *testing.T) {
	figures := prometheus.NewRegistry()
	s := open(t, pebble.Options{Dir: "figures", Memory: true, Figures: figures})
	if _, err := s.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"freeim_timeline_batch_writes", "freeim_timeline_commit_seconds", "freeim_timeline_queue"} {
		if n, err := testutil.GatherAndCount(figures, name); err != nil || n != 1 {
			t.Errorf("%s: got %d series, %v, want 1", name, n, err)
		}
	}
}

func TestHealth(t *testing.T) {
	s := open(t, pebble.Options{Dir: "health", Memory: true})
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("health: got %v, want nil", err)
	}
	s.Close()
	if err := s.Health(t.Context()); !errors.Is(err, timeline.ErrClosed) {
		t.Errorf("health of a closed store: got %v, want %v", err, timeline.ErrClosed)
	}
}

// Names longer than a key holds are refused, not cut.
func TestLongNames(t *testing.T) {
	s := open(t, pebble.Options{Dir: "names", Memory: true})
	long := strings.Repeat("x", 256)
	for name, d := range map[string]timeline.Draft{
		"conversation":    {Conversation: im.ConversationID(long), Sender: 1},
		"no conversation": {Sender: 1},
		"client ID":       {Conversation: "c_1_2", Sender: 1, ClientID: long},
	} {
		if _, err := s.Append(t.Context(), d); err == nil {
			t.Errorf("append with %s: got no error", name)
		}
	}
	if _, err := s.Acknowledge(t.Context(), timeline.Receipt{Conversation: im.ConversationID(long), By: 1, Seq: 1}, nil); err == nil {
		t.Error("acknowledge: got no error")
	}
	if p, err := s.Log(t.Context(), im.ConversationID(long), 0, 1); err != nil || p.Head != 0 {
		t.Errorf("log: got head %d, %v, want an empty one", p.Head, err)
	}
	if _, _, ok, err := s.Find(t.Context(), 1, long); ok || err != nil {
		t.Errorf("find: got %t, %v", ok, err)
	}
	d := timeline.Draft{Conversation: im.ConversationID(long[:255]), Sender: 1, ClientID: long[:255]}
	if _, err := s.Append(t.Context(), d); err != nil {
		t.Errorf("append with the longest names: %v", err)
	}
}
