package pebble

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"freeim/core/im"

	db "github.com/cockroachdb/pebble/v2"
)

// What was added may always be there; of what was not, a full filter takes few for known.
func TestKnown(t *testing.T) {
	k := newKnown(32 << 10)
	if !k.may([]byte("anything")) {
		t.Error("before it is ready it says that a key cannot be there")
	}
	k.ready.Store(true)
	keys := keysPerBlock * len(*k.blocks.Load())
	key := func(n int) []byte { return dedupeKey(nil, im.UserID(n%100), fmt.Sprint("m", n)) }
	for n := range keys {
		k.add(key(n))
	}
	vain := 0
	for n := range keys {
		if !k.may(key(n)) {
			t.Fatalf("key %d was added and cannot be there", n)
		}
		if k.may(key(keys + n)) {
			vain++
		}
	}
	if vain > keys*3/100 {
		t.Errorf("%d of %d new keys may be there, want at most 3 in 100", vain, keys)
	}
}

// A store that is opened again knows its client IDs before and after its filter is
// ready, and a new one costs neither a look nor memory.
func TestKnownAfterOpening(t *testing.T) {
	dir := t.TempDir()
	reopen := func() *Store {
		s, err := Open(Options{Dir: dir, IDs: im.NewIDGenerator(nil), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := reopen()
	want, err := s.Append(t.Context(), to(1, "old"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	defer s.Close()
	for range 2 {
		got, _, ok, err := s.Find(t.Context(), 1, "old")
		if !ok || err != nil || got.ID != want.ID {
			t.Errorf("got %v, %v, %v, want %v", got.ID, ok, err, want.ID)
		}
		again, err := s.Append(t.Context(), to(1, "old"))
		if !again.Duplicate || err != nil {
			t.Errorf("a resend: got %+v, %v, want the first again", again, err)
		}
		s.loading.Wait()
	}
	allocs := testing.AllocsPerRun(100, func() {
		if _, _, ok, err := s.Find(t.Context(), 1, "new"); ok || err != nil {
			t.Error(ok, err)
		}
	})
	if allocs > 0 {
		t.Errorf("to look for a new client ID allocates %v times, want none", allocs)
	}
}

// With too many keys to be worth it everything may be there, for good.
func TestKnownGivesUp(t *testing.T) {
	s := openMemory(t)
	batch := s.db.NewBatch()
	k := newKnown(32)
	for n := range uint64(4*keysPerBlock + 1) {
		if err := batch.Set(binary.BigEndian.AppendUint64([]byte{kindDedupe}, n), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Commit(db.NoSync); err != nil {
		t.Fatal(err)
	}
	iter, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.load(iter, nil); err != nil || k.ready.Load() || k.blocks.Load() != nil {
		t.Errorf("got %v, ready %t, want it not to be, and its memory back", err, k.ready.Load())
	}
	k.add([]byte("later")) // the committer goes on adding
	if !k.may([]byte("anything")) {
		t.Error("it says that a key cannot be there")
	}
}

// What is appended after Queued was called is committed behind the draft, though that is
// not durable yet.
func TestQueued(t *testing.T) {
	s := openMemory(t)
	const each = 100
	var seqs [each]int64
	var all sync.WaitGroup
	var next func(i int)
	next = func(i int) {
		d := to(1, fmt.Sprint("m", i))
		d.Queued = func() {
			if i+1 < each {
				all.Go(func() { next(i + 1) })
			}
		}
		c, err := s.Append(t.Context(), d)
		if err != nil {
			t.Error(err)
		}
		seqs[i] = c.Seq
	}
	all.Go(func() { next(0) })
	all.Wait()
	for i, seq := range seqs {
		if seq != int64(i+1) {
			t.Fatalf("draft %d has seq %d", i, seq)
		}
	}
}
