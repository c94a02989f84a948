package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// hold stops the flushing of logs until it is let go, and says when one has begun.
func (f *faulty) hold() (flushing <-chan bool, letGo func()) {
	begun, release := make(chan bool, 64), make(chan bool)
	block := func() error {
		begun <- true
		<-release
		return nil
	}
	f.flush.Store(&block)
	return begun, sync.OnceFunc(func() {
		f.flush.Store(nil)
		close(release)
	})
}

// What one batch puts into an inbox is under few keys, and is read from any place in them, in pages of any size.
func TestRuns(t *testing.T) {
	var disk faulty
	s := openOn(t, disk.over(vfs.NewMem()))
	rng := rand.New(rand.NewPCG(1, 2))
	var want []string // by inbox seq, of person 2
	batches := []int{1, 2, maxRun - 1, maxRun, maxRun + 1, 3*maxRun + 5, 1, 10}
	for b, n := range batches {
		flushing, letGo := disk.hold()
		var all sync.WaitGroup
		all.Go(func() { // one that 2 does not get, whose flush the others wait for
			if _, err := s.Append(t.Context(), timeline.Draft{Conversation: "c_3_4", Sender: 3, Inboxes: []im.UserID{3, 4}}); err != nil {
				t.Error(err)
			}
		})
		<-flushing
		drafts := make([]timeline.Draft, n)
		for i := range drafts {
			drafts[i] = timeline.Draft{Conversation: im.ConversationID(fmt.Sprint("g_", rng.IntN(3))), Sender: 1, Body: fmt.Appendf(nil, "%d.%d", b, i), Inboxes: []im.UserID{1, 2}}
			want = append(want, string(drafts[i].Body))
		}
		queued := make(chan bool)
		drafts = append(drafts, timeline.Draft{Conversation: "c_3_4", Sender: 4, Inboxes: []im.UserID{3, 4}})
		all.Go(func() {
			if err := errors.Join(s.AppendAll(t.Context(), drafts)...); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			d := timeline.Draft{Conversation: "c_3_4", Sender: 3, Inboxes: []im.UserID{3, 4}, Queued: func() { close(queued) }}
			if _, err := s.Append(t.Context(), d); err != nil {
				t.Error(err)
			}
		})
		<-queued
		letGo()
		all.Wait()
	}
	wantInboxes(t, s, want)

	keys := 0
	iter, err := s.db.NewIter(&db.IterOptions{LowerBound: userPrefix(nil, kindInbox, 2), UpperBound: userPrefix(nil, kindInbox, 3)})
	if err != nil {
		t.Fatal(err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		keys++
	}
	if err := iter.Close(); err != nil {
		t.Fatal(err)
	}
	if keys > 3*len(batches) {
		t.Errorf("%d entries of %d batches are under %d keys", len(want), len(batches), keys)
	}

	again := openOn(t, vfs.NewMem())
	if err := again.Import(t.Context(), func(add func(timeline.Item) error) error { return s.Export(t.Context(), add) }); err != nil {
		t.Fatal(err)
	}
	wantInboxes(t, again, want)
}

// wantInboxes reads the inbox of 2 in pages of all sizes, from all places, and finds each of its messages by its ID.
func wantInboxes(t *testing.T, s *Store, want []string) {
	t.Helper()
	for _, limit := range []int{0, 1, 2, maxRun - 1, maxRun, maxRun + 1, 1 << 20} {
		for after := range int64(len(want) + 3) {
			p, err := s.Inbox(t.Context(), 2, after, limit)
			if err != nil || p.Head != int64(len(want)) {
				t.Fatalf("after %d: head %d, %v, want %d", after, p.Head, err, len(want))
			}
			left := want[min(int(after), len(want)):]
			if p.HasMore != (len(left) > limit) || len(p.Items) != min(len(left), limit) {
				t.Fatalf("%d after %d: %d entries, more: %t", limit, after, len(p.Items), p.HasMore)
			}
			for i, e := range p.Items {
				if e.InboxSeq != after+int64(i)+1 || string(e.Body) != left[i] {
					t.Fatalf("%d after %d: entry %d is %d, %q, want %q", limit, after, i, e.InboxSeq, e.Body, left[i])
				}
			}
		}
	}
	p, err := s.Inbox(t.Context(), 2, -1, len(want))
	if err != nil || len(p.Items) != len(want) {
		t.Fatal(len(p.Items), err)
	}
	for _, e := range p.Items {
		if after, err := s.Locate(t.Context(), 2, e.ID); err != nil || after != e.InboxSeq {
			t.Errorf("entry %d is located at %d, %v", e.InboxSeq, after, err)
		}
	}
}

// A store that was written before inbox keys held runs is read, gets the new format's name, and goes on.
func TestOpenFormer(t *testing.T) {
	mem := vfs.NewMem()
	ids := im.NewIDGenerator(nil)
	d, err := db.Open("store", &db.Options{FS: mem, Logger: logger{slog.New(slog.DiscardHandler)}})
	if err != nil {
		t.Fatal(err)
	}
	b := d.NewBatch()
	errs := []error{
		b.Set(metaKey(metaFormat), []byte("freeim timelines 1"), nil), b.Set(metaKey(metaEpoch), []byte("epoch"), nil),
	}
	var want []string
	for seq := range int64(3) {
		id := ids.Next("c_1_2")
		body := fmt.Sprint("message ", seq+1)
		want = append(want, body)
		value := appendMessage(nil, 1, "", []byte(body))
		copy(value, id[:])
		errs = append(errs, b.Set(metaKey(metaLast), id[:], nil), b.Set(logKey(nil, "c_1_2", seq+1), value, nil))
		for _, user := range []im.UserID{1, 2} {
			errs = append(errs, b.Set(userKey(nil, kindInbox, user, seq+1), entry{ID: id, Conversation: []byte("c_1_2"), Seq: seq + 1}.append(nil), nil))
		}
	}
	if err := errors.Join(append(errs, b.Commit(db.Sync), d.Close())...); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := openOn(t, mem)
		wantInboxes(t, s, want)
		want = append(want, fmt.Sprint("later ", len(want)))
		mustAppend(t, s, want[len(want)-1])
		wantInboxes(t, s, want)
		if found, _, err := meta(s.db, metaFormat); err != nil || found != format {
			t.Errorf("got format %q, %v, want %q", found, err, format)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What the batch before has, which is being flushed, counts for the one that is staged: a resend is found, seqs go on, a
// receipt is not taken twice.
func TestStagedOverFlushed(t *testing.T) {
	var disk faulty
	s := openOn(t, disk.over(vfs.NewMem()))
	mustAppend(t, s, "there")
	flushing, letGo := disk.hold()
	defer letGo()
	var all sync.WaitGroup
	results := make([]timeline.Committed, 4)
	send := func(i int, clientID string) (queued <-chan bool) {
		is := make(chan bool)
		d := message1(clientID)
		d.Queued = func() { close(is) }
		all.Go(func() {
			c, err := s.Append(t.Context(), d)
			if err != nil {
				t.Error(err)
			}
			results[i] = c
		})
		return is
	}
	moved := make([]bool, 2)
	acknowledge := func(i int) {
		all.Go(func() {
			var err error
			if moved[i], err = s.Acknowledge(t.Context(), timeline.Receipt{Conversation: "c_1_2", By: 2, Seq: 1}, []im.UserID{1}); err != nil {
				t.Error(err)
			}
		})
	}
	<-send(0, "one")
	acknowledge(0)
	<-flushing
	<-send(1, "one") // again
	<-send(2, "two")
	acknowledge(1)
	<-send(3, "three")
	other := message1("one")
	other.Digest[0] = 1
	conflict := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), other)
		conflict <- err
	}()
	letGo()
	all.Wait()
	if err := <-conflict; !errors.Is(err, timeline.ErrConflict) {
		t.Errorf("another message by that client ID: got %v, want %v", err, timeline.ErrConflict)
	}
	got := make([]string, len(results))
	for i, r := range results {
		got[i] = fmt.Sprint(r.Seq, " ", r.InboxSeqs, " ", r.Duplicate)
	}
	if want := []string{"2 [2 2] false", "2 [2 2] true", "3 [3 3] false", "4 [4 4] false"}; !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	if results[0].ID != results[1].ID {
		t.Error("a resend has another ID")
	}
	if moved[0] == moved[1] {
		t.Errorf("the same receipt twice moved %v, want one of them", moved)
	}
	if rs, _, err := s.Receipts(t.Context(), 1, 0); err != nil || len(rs) != 1 {
		t.Errorf("%d receipts, %v, want 1", len(rs), err)
	}
}
