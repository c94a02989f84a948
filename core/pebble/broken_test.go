package pebble

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"freeim/core/im"
	"freeim/core/timeline"

	db "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// faulty is a file system whose log files are flushed, and begun, only when the hooks allow.
type faulty struct {
	flush, begin atomic.Pointer[func() error]
}

func (f *faulty) over(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		flushes := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		begins := op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite
		if hook := f.flush.Load(); hook != nil && flushes && strings.HasSuffix(op.Path, ".log") {
			return (*hook)()
		}
		if hook := f.begin.Load(); hook != nil && begins && strings.HasSuffix(op.Path, ".log") {
			return (*hook)()
		}
		return nil
	}))
}

func openOn(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "store", IDs: im.NewIDGenerator(nil), Log: slog.New(slog.DiscardHandler), MemTableSize: 256 << 10, fs: fs})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func message1(clientID string) timeline.Draft {
	return timeline.Draft{
		Conversation: "c_1_2", Sender: 1, ClientID: clientID, Body: []byte(clientID), Inboxes: []im.UserID{1, 2},
	}
}

func mustAppend(t *testing.T, s *Store, clientID string) timeline.Committed {
	t.Helper()
	done, err := s.Append(t.Context(), message1(clientID))
	if err != nil {
		t.Fatalf("append %s: %v", clientID, err)
	}
	return done
}

// Nobody may see, or be answered from, a message that is not on the disk yet.
func TestUnflushedIsInvisible(t *testing.T) {
	var disk faulty
	s := openOn(t, disk.over(vfs.NewMem()))
	mustAppend(t, s, "first")

	flushing, release := make(chan bool, 8), make(chan bool)
	block := func() error {
		flushing <- true
		<-release
		return nil
	}
	disk.flush.Store(&block)
	told := make(chan bool, 1)
	draft := message1("second")
	draft.OnCommit = func(timeline.Committed) { told <- true }
	ctx, giveUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := s.Append(ctx, draft)
		gone <- err
	}()
	<-flushing
	if _, _, ok, err := s.Find(t.Context(), 1, "second"); ok || err != nil {
		t.Errorf("find before the flush: got %t, %v, want nothing", ok, err)
	}
	if p, err := s.Log(t.Context(), "c_1_2", 0, 10); err != nil || p.Head != 1 || len(p.Items) != 1 {
		t.Errorf("log before the flush: got %+v, %v, want the first message only", p, err)
	}
	if p, err := s.Inbox(t.Context(), 2, 0, 10); err != nil || p.Head != 1 || len(p.Items) != 1 {
		t.Errorf("inbox before the flush: got %+v, %v, want the first entry only", p, err)
	}
	queued, isQueued := message1("third"), make(chan bool)
	queued.Queued = func() { close(isQueued) }
	go func() {
		_, err := s.Append(ctx, queued)
		gone <- err
	}()
	<-isQueued
	giveUp()
	for range 2 {
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that gave up: got %v, want %v", err, context.Canceled)
		}
	}
	copy(queued.Body, "THIRD") // the draft is its maker's again
	queued.Inboxes[0], queued.Inboxes[1] = 8, 9
	if len(told) != 0 {
		t.Error("OnCommit was called before the flush")
	}
	disk.flush.Store(nil)
	close(release)
	if fourth := mustAppend(t, s, "fourth"); fourth.Seq != 4 {
		t.Errorf("after two callers gave up: got seq %d, want 4: their drafts were under way", fourth.Seq)
	}
	<-told
	p, err := s.Inbox(t.Context(), 2, 2, 1)
	if err != nil || len(p.Items) != 1 || string(p.Items[0].Body) != "third" {
		t.Errorf("the draft that was changed when its maker had given up: got %+v, %v", p.Items, err)
	}
}

// Once a flush has failed, nobody knows what is on the disk.
func TestFailedFlushBreaksTheStore(t *testing.T) {
	var disk faulty
	mem := vfs.NewCrashableMem()
	s := openOn(t, disk.over(mem))
	mustAppend(t, s, "kept")
	gone := func() error { return errors.New("the disk is gone") }
	disk.flush.Store(&gone)
	draft := message1("lost")
	draft.OnCommit = func(timeline.Committed) { t.Error("OnCommit was called for a message that was not flushed") }
	if _, err := s.Append(t.Context(), draft); err == nil {
		t.Fatal("append without a flush: got no error")
	}
	disk.flush.Store(nil)
	if _, err := s.Append(t.Context(), message1("after")); err == nil {
		t.Error("append after a failed flush: got no error")
	}
	if _, err := s.Acknowledge(t.Context(), timeline.Receipt{Conversation: "c_1_2", By: 2, Seq: 1}, nil); err == nil {
		t.Error("acknowledge after a failed flush: got no error")
	}
	for _, err := range []error{s.Health(t.Context()), s.Broken()} {
		if err == nil || !strings.Contains(err.Error(), "the disk is gone") {
			t.Errorf("health: got %v, want the fault", err)
		}
	}
	if p, err := s.Log(t.Context(), "c_1_2", 0, 10); err != nil || len(p.Items) != 1 {
		t.Errorf("reading after a failed flush: got %d messages, %v, want 1", len(p.Items), err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	again := openOn(t, mem.CrashClone(vfs.CrashCloneCfg{}))
	if p, err := again.Log(t.Context(), "c_1_2", 0, 10); err != nil || len(p.Items) != 1 {
		t.Errorf("after a restart: got %d messages, %v, want 1", len(p.Items), err)
	}
	if next := mustAppend(t, again, "next"); next.Seq != 2 {
		t.Errorf("after a restart: got seq %d, want 2", next.Seq)
	}
}

// small is a file system that says how much is left.
type small struct {
	vfs.FS
	left atomic.Uint64
}

func (s *small) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: s.left.Load()}, nil
}

// A full disk refuses writes before one of them fails, and breaks nothing: when
// there is room again all goes on, with no seq left out.
func TestFullDiskRefusesAndRecovers(t *testing.T) {
	disk := &small{FS: vfs.NewMem()}
	disk.left.Store(64 << 20)
	s := openOn(t, disk)
	mustAppend(t, s, "kept")
	disk.left.Store(64<<20 - 1)
	draft := message1("refused")
	draft.OnCommit = func(timeline.Committed) { t.Error("OnCommit was called for a message that was refused") }
	if _, err := s.Append(t.Context(), draft); !errors.Is(err, ErrFull) {
		t.Errorf("append to a full disk: got %v, want %v", err, ErrFull)
	}
	if _, err := s.Acknowledge(t.Context(), timeline.Receipt{Conversation: "c_1_2", By: 2, Seq: 1}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("acknowledge on a full disk: got %v, want %v", err, ErrFull)
	}
	if err := s.Health(t.Context()); !errors.Is(err, ErrFull) || s.Broken() != nil {
		t.Errorf("health: got %v (broken: %v), want %v and not broken", err, s.Broken(), ErrFull)
	}
	if left := s.room.left(); left != 0 {
		t.Errorf("room left: got %v octets, want 0", left)
	}
	if p, err := s.Log(t.Context(), "c_1_2", 0, 10); err != nil || len(p.Items) != 1 {
		t.Errorf("reading from a full disk: got %d messages, %v, want 1", len(p.Items), err)
	}
	disk.left.Store(65 << 20)
	if err := s.Health(t.Context()); err != nil || s.room.left() != 1<<20 {
		t.Errorf("with room again: health %v, %v octets left", err, s.room.left())
	}
	if next := mustAppend(t, s, "refused"); next.Seq != 2 {
		t.Errorf("with room again: got seq %d, want 2", next.Seq)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, row := range []struct {
		name    string
		prepare func(t *testing.T, fs vfs.FS)
		want    string
	}{
		{"an unknown format", func(t *testing.T, fs vfs.FS) { put(t, fs, metaKey(metaFormat), "freeim timelines 99") },
			`it has the format "freeim timelines 99", this version reads "freeim timelines 2"`},
		{"a database of something else", func(t *testing.T, fs vfs.FS) { put(t, fs, []byte("key"), "value") },
			"not freeim's"},
		{"a store that is open", func(t *testing.T, fs vfs.FS) { openOn(t, fs) },
			"another process has it open"},
	} {
		t.Run(row.name, func(t *testing.T) {
			mem := vfs.NewMem()
			row.prepare(t, mem)
			for range 2 { // a refusal leaves nothing locked
				_, err := Open(Options{Dir: "store", IDs: im.NewIDGenerator(nil), fs: mem})
				if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "store") {
					t.Errorf("open: got %v, want %q", err, row.want)
				}
			}
		})
	}
	t.Run("a file", func(t *testing.T) {
		_, err := Open(Options{Dir: "/dev/null", IDs: im.NewIDGenerator(nil)})
		if err == nil {
			t.Error("open: got no error")
		}
	})
	t.Run("no options", func(t *testing.T) {
		if _, err := Open(Options{}); err == nil {
			t.Error("open: got no error")
		}
	})
}

// put makes the database at "store" hold one pair.
func put(t *testing.T, fs vfs.FS, key []byte, value string) {
	t.Helper()
	d, err := db.Open("store", &db.Options{FS: fs, Logger: logger{slog.New(slog.DiscardHandler)}})
	if err == nil {
		err = errors.Join(d.Set(key, []byte(value), db.Sync), d.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A value that cannot be read fails the one call, not the process.
func TestCorruptValue(t *testing.T) {
	mem := vfs.NewMem()
	s := openOn(t, mem)
	mustAppend(t, s, "good")
	mustAppend(t, s, "a later batch's, so that the first is sought in the database")
	for _, key := range [][]byte{logKey(nil, "c_1_2", 1), dedupeKey(nil, 1, "good"), userKey(nil, kindInbox, 2, 2)} {
		if err := s.db.Set(key, []byte{1}, db.Sync); err != nil {
			t.Fatal(err)
		}
	}
	s.views.publish(s.db.NewSnapshot())
	_, err := s.Log(t.Context(), "c_1_2", 0, 10)
	wantCorrupt(t, "Log", err)
	_, err = s.Inbox(t.Context(), 2, 0, 10)
	wantCorrupt(t, "Inbox", err)
	_, err = s.Locate(t.Context(), 2, im.MessageID{})
	wantCorrupt(t, "Locate", err)
	_, _, _, err = s.Find(t.Context(), 1, "good")
	wantCorrupt(t, "Find", err)
	_, err = s.Append(t.Context(), message1("good"))
	wantCorrupt(t, "Append of a resend", err)
	mustAppend(t, s, "another")
}

func wantCorrupt(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errCorrupt) {
		t.Errorf("%s: got error %v, want %v", what, err, errCorrupt)
	}
}

func TestMissingMessage(t *testing.T) {
	s := openOn(t, vfs.NewMem())
	mustAppend(t, s, "good")
	if err := s.db.Delete(logKey(nil, "c_1_2", 1), db.Sync); err != nil {
		t.Fatal(err)
	}
	s.views.publish(s.db.NewSnapshot())
	if _, err := s.Inbox(t.Context(), 2, 0, 10); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("inbox: got error %v, want one that says what is missing", err)
	}
}

// The directory is nobody else's to read.
func TestDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(Options{Dir: dir, IDs: im.NewIDGenerator(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := vfs.Default.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode() & fs.ModePerm; got != 0o700 {
		t.Errorf("mode: got %o, want 700", got)
	}
}
