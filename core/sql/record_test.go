package sql_test

import (
	stdsql "database/sql"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"
	"freeim/core/timeline/timelinetest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

// quiet is a logger for tests that expect faults.
var quiet = slog.New(slog.DiscardHandler)

func openRecord(t testing.TB, o sql.RecordOptions) *sql.Record {
	t.Helper()
	if o.IDs == nil {
		o.IDs = im.NewIDGenerator(nil)
	}
	r, err := sql.OpenRecord(t.Context(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestRecord(t *testing.T) {
	timelinetest.Run(t, func(t *testing.T) timelinetest.Open {
		dsn := engines.Database(t)
		return func(ids *im.IDGenerator) timeline.Store {
			return openRecord(t, sql.RecordOptions{DSN: dsn, IDs: ids})
		}
	})
}

// What OpenRecord starts, Close ends.
func TestRecordCloseLeavesNothing(t *testing.T) {
	dsn := engines.Database(t)
	before := goleak.IgnoreCurrent()
	r := openRecord(t, sql.RecordOptions{DSN: dsn})
	if _, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1, Inboxes: []im.UserID{1, 2}}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func TestRecordFigures(t *testing.T) {
	figures := prometheus.NewRegistry()
	r := openRecord(t, sql.RecordOptions{DSN: engines.Database(t), Figures: figures})
	if _, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"freeim_timeline_batch_writes", "freeim_timeline_commit_seconds", "freeim_timeline_queue"} {
		if n, err := testutil.GatherAndCount(figures, name); err != nil || n != 1 {
			t.Errorf("%s: got %d series, %v, want 1", name, n, err)
		}
	}
}

func TestRecordHealth(t *testing.T) {
	r := openRecord(t, sql.RecordOptions{DSN: engines.Database(t)})
	if err := r.Health(t.Context()); err != nil {
		t.Errorf("health: got %v, want nil", err)
	}
	r.Close()
	if err := r.Health(t.Context()); !errors.Is(err, timeline.ErrClosed) {
		t.Errorf("health of a closed record: got %v, want %v", err, timeline.ErrClosed)
	}
}

// Names longer than a column holds are refused, not cut, and octets that mean
// something in SQL are kept.
func TestRecordNames(t *testing.T) {
	r := openRecord(t, sql.RecordOptions{DSN: engines.Database(t)})
	long := strings.Repeat("x", 256)
	for name, d := range map[string]timeline.Draft{
		"conversation":    {Conversation: im.ConversationID(long), Sender: 1},
		"no conversation": {Sender: 1},
		"client ID":       {Conversation: "c_1_2", Sender: 1, ClientID: long},
		"body":            {Conversation: "c_1_2", Sender: 1, Body: make([]byte, 1<<24)},
	} {
		if _, err := r.Append(t.Context(), d); err == nil {
			t.Errorf("append with a long %s: got no error", name)
		}
	}
	if _, err := r.Acknowledge(t.Context(), timeline.Receipt{Conversation: im.ConversationID(long), By: 1, Seq: 1}, nil); err == nil {
		t.Error("acknowledge: got no error")
	}
	if p, err := r.Log(t.Context(), im.ConversationID(long), 0, 1); err != nil || p.Head != 0 {
		t.Errorf("log: got head %d, %v, want an empty one", p.Head, err)
	}
	if _, _, ok, err := r.Find(t.Context(), 1, long); ok || err != nil {
		t.Errorf("find: got %t, %v", ok, err)
	}
	all := make([]byte, 255)
	for i := range all {
		all[i] = byte(i)
	}
	for i, name := range []string{string(all), "\x00\x1a\n\r'\"\\", "'; DROP TABLE record_messages; --", "\\", "\\'", "''", "é", "\xff\xfe'", "x ", "x", "X"} {
		d := timeline.Draft{Conversation: im.ConversationID(name), Sender: 1, ClientID: name, Body: []byte(name), Inboxes: []im.UserID{1}}
		got, err := r.Append(t.Context(), d)
		if err != nil || got.Seq != 1 || got.Duplicate || got.InboxSeqs[0] != int64(i+1) {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
		p, err := r.Inbox(t.Context(), 1, int64(i), 1)
		if err != nil || len(p.Items) != 1 || string(p.Items[0].Body) != name || string(p.Items[0].Conversation) != name || p.Items[0].ClientID != name {
			t.Errorf("%q: got %+v, %v", name, p, err)
		}
		if c, _, ok, err := r.Find(t.Context(), 1, name); err != nil || !ok || string(c.Body) != name {
			t.Errorf("%q: found %+v, %t, %v", name, c, ok, err)
		}
	}
}

// What a cache asks for is what the timelines hold.
func TestRecordForACache(t *testing.T) {
	r := openRecord(t, sql.RecordOptions{DSN: engines.Database(t)})
	var refs []timeline.Ref
	for i := range 3 {
		for _, c := range []im.ConversationID{"g_1", "g_2"} {
			got, err := r.Append(t.Context(), timeline.Draft{Conversation: c, Sender: 7, Body: []byte{byte(i)}, Inboxes: []im.UserID{7, 8}})
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, timeline.Ref{Conversation: c, Seq: got.Seq})
		}
	}
	logs, inboxes, err := r.Heads(t.Context(), []im.ConversationID{"g_2", "g_0", "g_1", "g_2"}, []im.UserID{9, 8})
	if err != nil || len(logs) != 4 || logs[0] != 3 || logs[1] != 0 || logs[2] != 3 || logs[3] != 3 || len(inboxes) != 2 || inboxes[0] != 0 || inboxes[1] != 6 {
		t.Errorf("heads: got %v, %v, %v", logs, inboxes, err)
	}
	ms, err := r.Messages(t.Context(), refs)
	if err != nil || len(ms) != 6 {
		t.Fatalf("messages: got %v, %v", ms, err)
	}
	p, err := r.Entries(t.Context(), 8, 1, 4)
	if err != nil || len(p.Items) != 4 || p.Head != 6 || !p.HasMore || p.Floor != 1 {
		t.Fatalf("entries: got %+v, %v", p, err)
	}
	for i, e := range p.Items {
		if e.InboxSeq != int64(i+2) || e.Ref != refs[i+1] || e.ID != ms[i+1].ID || ms[i+1].Seq != e.Seq || ms[i+1].Conversation != e.Conversation {
			t.Errorf("entry %d: got %+v of %+v", i, e, ms[i+1])
		}
	}
}

// An entry whose message is lost is an error, not an entry that is not there.
func TestEntryWithoutItsMessage(t *testing.T) {
	dsn := engines.Database(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn})
	for range 2 {
		if _, err := r.Append(t.Context(), timeline.Draft{Conversation: "g_1", Sender: 7, Inboxes: []im.UserID{7}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openDB(t, dsn).ExecContext(t.Context(), "DELETE FROM record_messages WHERE conversation = 'g_1' AND seq = 2"); err != nil {
		t.Fatal(err)
	}
	if all, err := r.InboxAt(t.Context(), 7, []int64{1, 2, 3}); !errors.Is(err, timeline.ErrCorrupt) {
		t.Errorf("entries: got %v, %v", all, err)
	}
	if p, err := r.Inbox(t.Context(), 7, 0, 5); !errors.Is(err, timeline.ErrCorrupt) {
		t.Errorf("a page: got %v, %v", p, err)
	}
	if all, err := r.InboxAt(t.Context(), 7, []int64{1, 3}); err != nil || all[0].Seq != 1 || all[1].InboxSeq != 0 {
		t.Errorf("the others: got %v, %v", all, err)
	}
}

// openDB opens a database beside the record.
func openDB(t *testing.T, dsn string) *stdsql.DB {
	t.Helper()
	db, err := stdsql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
