package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

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

// underway has a batch be under way that is not in the database: it waits for room in the log, which its size begins anew. What is
// appended by more is of the same batch.
func underway(t *testing.T, s *Store, disk *faulty, all *sync.WaitGroup, clientID string, seq int64) (letGo func()) {
	t.Helper()
	begun, release := make(chan bool, 1), make(chan bool)
	block := func() error {
		begun <- true
		<-release
		return nil
	}
	disk.begin.Store(&block)
	large := message1(clientID)
	large.Body = make([]byte, 300<<10)
	all.Go(func() {
		if c, err := s.Append(t.Context(), large); err != nil || c.Seq != seq {
			t.Errorf("what was under way: seq %d, %v, want %d", c.Seq, err, seq)
		}
	})
	<-begun
	return sync.OnceFunc(func() {
		disk.begin.Store(nil)
		close(release)
	})
}

// What the batch before has, which is not in the database yet, counts for the one that is staged: a resend is found, seqs go on, a
// conflict is one.
func TestStagedOverFlushed(t *testing.T) {
	var disk faulty
	s := openOn(t, disk.over(vfs.NewMem()))
	mustAppend(t, s, "there")
	var all sync.WaitGroup
	letGo := underway(t, s, &disk, &all, "one", 2)
	defer letGo()
	type answer struct {
		c   timeline.Committed
		err error
	}
	send := func(clientID string, change func(*timeline.Draft)) <-chan answer {
		is, answered := make(chan bool), make(chan answer, 1)
		d := message1(clientID)
		d.Queued = func() { close(is) }
		change(&d)
		all.Go(func() {
			c, err := s.Append(t.Context(), d)
			answered <- answer{c, err}
		})
		<-is
		return answered
	}
	again := send("one", func(d *timeline.Draft) { d.Body = make([]byte, 300<<10) })
	other := send("one", func(d *timeline.Draft) { d.Digest[0] = 1 })
	next := send("two", func(*timeline.Draft) {})
	letGo()
	all.Wait()
	if a := <-again; a.err != nil || a.c.Seq != 2 || !a.c.Duplicate || !slices.Equal(a.c.InboxSeqs, []int64{2, 2}) {
		t.Errorf("a resend: got %d, %v, %t, %v", a.c.Seq, a.c.InboxSeqs, a.c.Duplicate, a.err)
	}
	if a := <-other; !errors.Is(a.err, timeline.ErrConflict) {
		t.Errorf("another message by that client ID: got %v, want %v", a.err, timeline.ErrConflict)
	}
	if a := <-next; a.err != nil || a.c.Seq != 3 || !slices.Equal(a.c.InboxSeqs, []int64{3, 3}) {
		t.Errorf("the next message: got %d, %v, %v", a.c.Seq, a.c.InboxSeqs, a.err)
	}
}

// A receipt that the batch before has, which is not in the database yet, is not taken twice, and the next one replaces it.
func TestReceiptsOverFlushed(t *testing.T) {
	var disk faulty
	s := openOn(t, disk.over(vfs.NewMem()))
	mustAppend(t, s, "there")
	queue := func(o op) {
		if err := s.enqueue(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	acknowledge := func(seq int64) *acknowledging {
		a := &acknowledging{Receipt: timeline.Receipt{Conversation: "c_1_2", By: 2, Seq: seq}, audience: []im.UserID{1}, done: make(chan error, 1)}
		queue(a)
		return a
	}
	// The next batch gathers while another one is flushed, and waits for room in the log.
	flushing, flushed := disk.hold()
	defer flushed()
	queue(newAppending(s, message1("held")))
	<-flushing
	first := acknowledge(1)
	large := message1("large")
	large.Body = make([]byte, 300<<10)
	queue(newAppending(s, large))
	begun, release := make(chan bool, 1), make(chan bool)
	block := func() error {
		begun <- true
		<-release
		return nil
	}
	disk.begin.Store(&block)
	letGo := sync.OnceFunc(func() {
		disk.begin.Store(nil)
		close(release)
	})
	defer letGo()
	flushed()
	<-begun
	second, third := acknowledge(1), acknowledge(2)
	letGo()
	for i, a := range []*acknowledging{first, second, third} {
		if err := <-a.done; err != nil || a.moved != (i != 1) {
			t.Errorf("receipt %d: moved %t, %v", i, a.moved, err)
		}
	}
	if rs, _, _, err := s.Receipts(t.Context(), 1, 0, 10_000); err != nil || len(rs) != 1 || rs[0].Seq != 2 {
		t.Errorf("receipts %v, %v, want that of 2 alone", rs, err)
	}
}

// An import waits until what is under way is in the database, and is refused for it.
func TestImportBehindABatch(t *testing.T) {
	for _, fault := range []error{nil, errors.New("the archive is cut")} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			var disk faulty
			s := openOn(t, disk.over(vfs.NewMem()))
			var all sync.WaitGroup
			letGo := underway(t, s, &disk, &all, "acknowledged", 1)
			defer letGo()
			i := &importing{done: make(chan error, 1), fill: func(add func(timeline.Item) error) error {
				id := im.NewIDGenerator(nil).Next("c_1_2")
				return errors.Join(add(timeline.State{Epoch: "other"}),
					add(timeline.Stored{Message: im.Message{ID: id, Conversation: "c_1_2", Seq: 1, Sender: 9}}), fault)
			}}
			if err := s.enqueue(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < 10_000 || len(s.queue) > 0; n++ { // the committer gets as far as it can
				runtime.Gosched()
			}
			letGo()
			all.Wait()
			if err := <-i.done; !errors.Is(err, timeline.ErrNotEmpty) {
				t.Errorf("import: got %v, want %v", err, timeline.ErrNotEmpty)
			}
			p, err := s.Log(t.Context(), "c_1_2", 0, 10)
			if err != nil || len(p.Items) != 1 || p.Items[0].ClientID != "acknowledged" {
				t.Errorf("%d messages are there, %v", len(p.Items), err)
			}
		})
	}
}

// Whoever is named twice in a draft has one entry of it, and loses none of another.
func TestNamedTwice(t *testing.T) {
	s := openOn(t, vfs.NewMem())
	var drafts []timeline.Draft
	for i, inboxes := range [][]im.UserID{{1, 2}, {2, 2}, {1, 2}} {
		drafts = append(drafts, timeline.Draft{Conversation: "g_1", Sender: 1, Body: fmt.Append(nil, "message ", i), Inboxes: inboxes})
	}
	if err := errors.Join(s.AppendAll(t.Context(), drafts)...); err != nil {
		t.Fatal(err)
	}
	wantInboxes(t, s, []string{"message 0", "message 1", "message 2"})
}

// A run that does not fit its key is no run.
func TestRunBeforeTheFirst(t *testing.T) {
	one := entry{Conversation: []byte("c_1_2"), Seq: 1}.append(nil)
	var run []byte
	for n := range int64(4) {
		run = append(run, one...)
		for seq := range int64(5) {
			_, err := decodeRun(nil, run, seq)
			if wrong := n+1 > seq; wrong != errors.Is(err, errCorrupt) {
				t.Errorf("%d entries up to %d: got %v", n+1, seq, err)
			}
		}
	}
}

// Who has been told is held on to no more.
func TestToldCallersAreLetGo(t *testing.T) {
	var disk faulty
	s := openOn(t, disk.over(vfs.NewMem()))
	flushing, letGo := disk.hold()
	defer letGo()
	gone, done := queueWatched(t, s, flushing)
	letGo()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i := range 2 * rounds { // whose drafts are looked for no more
		mustAppend(t, s, fmt.Sprint("m", i))
	}
	for deadline := time.Now().Add(time.Minute); ; {
		runtime.GC()
		select {
		case <-gone:
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("a draft is held after its caller was told, and other batches followed")
		}
	}
}

// queueWatched queues some drafts, while a flush is held, so that they are one batch, and says when the last one of them is told
// and when it is no more.
func queueWatched(t *testing.T, s *Store, flushing <-chan bool) (gone <-chan bool, done <-chan error) {
	t.Helper()
	queue := func(clientID string) *appending {
		a := newAppending(s, message1(clientID))
		if err := s.enqueue(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	queue("held")
	<-flushing
	queue("first")
	queue("second")
	a, ended := queue("third"), make(chan bool)
	runtime.AddCleanup(a, func(c chan bool) { close(c) }, ended)
	return ended, a.done
}
