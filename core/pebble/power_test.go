package pebble

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ledger is what writers were told is committed.
type ledger struct {
	mu       sync.Mutex // guards the fields below
	messages map[string]timeline.Committed
	held     map[im.ConversationID]int64 // by person 1
	count    chan bool                   // one for each entry; large enough
}

func (l *ledger) committed(key string, c timeline.Committed) {
	l.mu.Lock()
	l.messages[key] = c
	l.mu.Unlock()
	l.count <- true
}

// snapshot is what is acknowledged by now.
func (l *ledger) snapshot() (map[string]timeline.Committed, map[im.ConversationID]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.messages), maps.Clone(l.held)
}

// TestPowerCuts lets writers work, cuts the power at a random moment so that of
// what was not flushed an arbitrary part is lost, and looks at what is left; then
// the same goes on with that disk.
func TestPowerCuts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	disk := vfs.NewCrashableMem()
	known := &ledger{messages: map[string]timeline.Committed{}, held: map[im.ConversationID]int64{}}
	lives := 12
	if testing.Short() {
		lives = 5
	}
	for life := range lives {
		s := openOn(t, disk)
		checkStore(t, s, known)
		known.count = make(chan bool, 1<<20)
		stop := make(chan bool)
		var writers sync.WaitGroup
		for w := range 6 {
			writers.Go(func() { writeUntil(stop, s, known, life, w, seed) })
		}
		for range 20 + rng.IntN(200) {
			<-known.count
		}
		var acked ledger
		acked.messages, acked.held = known.snapshot()
		disk = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		close(stop)
		writers.Wait()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		// What was acknowledged after the cut went to a disk that is gone.
		known = &acked
	}
	checkStore(t, openOn(t, disk), known)
}

func writeUntil(stop <-chan bool, s *Store, known *ledger, life, w int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, uint64(life<<16|w+1)))
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprintf("%d-%d-%d", life, w, i)
		c, err := s.Append(context.Background(), timeline.Draft{
			Conversation: im.ConversationID(fmt.Sprint("g_", rng.IntN(3))), Sender: im.UserID(w + 1), ClientID: key,
			Body: make([]byte, rng.IntN(2000)), Inboxes: []im.UserID{im.UserID(w + 1), 100},
		})
		if err != nil {
			return
		}
		known.committed(key, c)
		if i%5 == 0 {
			known.acknowledge(s, c)
		}
	}
}

// acknowledge has person 1 acknowledge c before person 2.
func (l *ledger) acknowledge(s *Store, c timeline.Committed) {
	r := timeline.Receipt{Conversation: c.Conversation, By: 1, Seq: c.Seq}
	moved, err := s.Acknowledge(context.Background(), r, []im.UserID{2})
	if err != nil || !moved {
		return
	}
	l.mu.Lock()
	l.held[c.Conversation] = max(l.held[c.Conversation], c.Seq)
	l.mu.Unlock()
}

// checkStore compares what s holds with what was acknowledged, and every index
// with the logs.
func checkStore(t *testing.T, s *Store, known *ledger) {
	t.Helper()
	for key, want := range known.messages {
		got, _, ok, err := s.Find(t.Context(), want.Sender, key)
		if err != nil || !ok {
			t.Fatalf("%s was acknowledged and is lost: %v", key, err)
		}
		if got.ID != want.ID || got.Seq != want.Seq || got.Conversation != want.Conversation ||
			!slices.Equal(got.InboxSeqs, want.InboxSeqs) || len(got.Body) != len(want.Body) {
			t.Errorf("%s: got %+v, want %+v", key, got, want)
		}
	}
	for c, seq := range known.held {
		if moved, err := s.Acknowledge(t.Context(), timeline.Receipt{Conversation: c, By: 1, Seq: seq}, nil); err != nil || moved {
			t.Errorf("%s was acknowledged up to %d, and that is lost: moved %t, %v", c, seq, moved, err)
		}
	}
	messages := 0
	for i := range 3 {
		messages += checkLog(t, s, im.ConversationID(fmt.Sprint("g_", i)))
	}
	entries := checkInbox(t, s, 100)
	if entries != messages {
		t.Errorf("%d messages, but %d entries in the inbox that gets all", messages, entries)
	}
	for user := range im.UserID(6) {
		entries -= checkInbox(t, s, user+1)
	}
	if entries != 0 {
		t.Errorf("the senders' inboxes lack %d entries", entries)
	}
	if got := count(t, s, kindDedupe); got != messages {
		t.Errorf("%d messages, but %d records for de-duplication", messages, got)
	}
	checkReceipts(t, s)
}

// checkLog checks that c is dense, grows in ID and is found by client ID, and
// gives its length.
func checkLog(t *testing.T, s *Store, c im.ConversationID) int {
	t.Helper()
	p, err := s.Log(t.Context(), c, 0, 1<<30)
	if err != nil || int64(len(p.Items)) != p.Head {
		t.Fatalf("log of %s: %d messages, head %d, %v", c, len(p.Items), p.Head, err)
	}
	var last im.MessageID
	for i, m := range p.Items {
		if m.Seq != int64(i+1) {
			t.Fatalf("log of %s: message %d has seq %d", c, i+1, m.Seq)
		}
		if string(m.ID[:]) <= string(last[:]) {
			t.Errorf("log of %s: ID %s comes after %s", c, m.ID, last)
		}
		last = m.ID
		if found, _, ok, err := s.Find(t.Context(), m.Sender, m.ClientID); err != nil || !ok || found.ID != m.ID {
			t.Errorf("message %d of %s is not what its client ID finds: %t, %v", m.Seq, c, ok, err)
		}
	}
	return len(p.Items)
}

func checkInbox(t *testing.T, s *Store, user im.UserID) int {
	t.Helper()
	p, err := s.Inbox(t.Context(), user, 0, 1<<30)
	if err != nil || int64(len(p.Items)) != p.Head {
		t.Fatalf("inbox of %d: %d entries, head %d, %v", user, len(p.Items), p.Head, err)
	}
	for i, e := range p.Items {
		if e.InboxSeq != int64(i+1) {
			t.Fatalf("inbox of %d: entry %d has seq %d", user, i+1, e.InboxSeq)
		}
	}
	return len(p.Items)
}

// checkReceipts checks that person 2 has one receipt for each position.
func checkReceipts(t *testing.T, s *Store) {
	t.Helper()
	rs, _, _, err := s.Receipts(t.Context(), 2, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, kindPosition); got != len(rs) {
		t.Errorf("%d positions, but %d receipts", got, len(rs))
	}
	for _, r := range rs {
		if moved, err := s.Acknowledge(t.Context(), r, nil); err != nil || moved {
			t.Errorf("receipt %+v runs ahead of its position: %v", r, err)
		}
	}
}

// count gives how many keys of a kind there are.
func count(t *testing.T, s *Store, kind byte) (n int) {
	t.Helper()
	iter, err := s.db.NewIter(&db.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		t.Fatal(err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		n++
	}
	if err := iter.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}
