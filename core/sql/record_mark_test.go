package sql_test

import (
	stdsql "database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// stale ends m and leaves another server in its place that lacks whatever m commits
// after this copy was made: fail over by the function it returns.
func stale(t *testing.T, m *engines.MariaDBServer) (failOver func() *engines.MariaDBServer) {
	t.Helper()
	dir := t.TempDir()
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(filepath.Join(m.Dir(), "data"))); err != nil {
		t.Fatal(err)
	}
	if err := m.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() *engines.MariaDBServer {
		t.Helper()
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		return takeOver(t, m, dir)
	}
}

// change fails over from one server to another, which was there before.
func change(t *testing.T, from, to *engines.MariaDBServer) {
	t.Helper()
	if err := from.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := to.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, r *sql.Record, id string) (timeline.Committed, error) {
	return r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1, ClientID: id, Inboxes: []im.UserID{1, 2}})
}

// resend sends until it is answered or refused for the reason.
func resend(t *testing.T, r *sql.Record, id, reason string) {
	t.Helper()
	await(t, "the end of "+id, func() bool {
		_, err := send(t, r, id)
		return err == nil && reason == "" || err != nil && reason != "" && strings.Contains(err.Error(), reason)
	})
}

const lostWords = "MySQL has lost commits that were answered"

// TestRecordFailoverLost: behind a failover is a server without what one core was
// answered. No core writes until the old primary is back or there is a new epoch, so no seq
// is used twice; reads go on.
func TestRecordFailoverLost(t *testing.T) {
	m, dsn, _ := carefulServer(t)
	log, figures := &heard{}, prometheus.NewRegistry()
	one := openRecord(t, sql.RecordOptions{DSN: dsn, Log: log.logger(), Figures: figures})
	other := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	resend(t, one, "kept by one", "")
	resend(t, other, "kept by the other", "")
	failOver := stale(t, m)
	resend(t, one, "lost", "")
	wrong := failOver()
	resend(t, one, "refused by one", lostWords)
	resend(t, other, "refused by the other", lostWords)
	await(t, "the loss in the state of both", func() bool { return one.Unsafe() != nil && other.Lost() != nil })
	if p, err := one.Log(t.Context(), "c_1_2", 0, 10); err != nil || len(p.Items) != 2 {
		t.Errorf("a read meanwhile: got %d messages, %v, want the 2 that are left", len(p.Items), err)
	}
	late := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	if _, err := send(t, late, "by a core that came later"); err == nil || !strings.Contains(err.Error(), lostWords) {
		t.Errorf("a core that came later: got %v", err)
	}
	const want = "# HELP freeim_timeline_lost 1 while nothing is written, since MySQL has lost commits that were answered, or the epoch is not this core's.\n# TYPE freeim_timeline_lost gauge\nfreeim_timeline_lost 1\n"
	if err := testutil.GatherAndCompare(figures, strings.NewReader(want), "freeim_timeline_lost"); err != nil {
		t.Error(err)
	}
	if n := log.count("COMMITS ARE LOST"); n != 1 {
		t.Errorf("the log says it %d times, want once", n)
	}
	change(t, wrong, m)
	resend(t, other, "by the other, to the whole one", "")
	resend(t, one, "by one, to the whole one", "")
	change(t, m, wrong)
	resend(t, one, "refused by one again", lostWords)
	resend(t, other, "refused by the other again", lostWords)
	epoch, err := late.Renew(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resend(t, one, "by a core that was not restarted", "restart it")
	again := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	if c, err := send(t, again, "after new-epoch"); err != nil || c.Seq != 3 || again.Epoch() != epoch {
		t.Errorf("after new-epoch: seq %d in epoch %s, %v; want 3 in %s", c.Seq, again.Epoch(), err, epoch)
	}
}

// TestRecordFailoverWhole: a failover that lost nothing needs nobody, and a primary that
// comes back with everything ends the refusals.
func TestRecordFailoverWhole(t *testing.T) {
	m, dsn, _ := carefulServer(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	resend(t, r, "first", "")
	early := stale(t, m)
	resend(t, r, "second", "")
	whole := stale(t, m)
	next := whole()
	resend(t, r, "third", "")
	if err := next.Kill(); err != nil {
		t.Fatal(err)
	}
	wrong := early()
	resend(t, r, "to the wrong one", lostWords)
	change(t, wrong, next)
	resend(t, r, "fourth", "")
	if err := r.Lost(); err != nil {
		t.Errorf("after it: %v", err)
	}
	p, err := r.Log(t.Context(), "c_1_2", 0, 10)
	if err != nil || len(p.Items) != 4 {
		t.Fatalf("got %d messages, %v, want 4", len(p.Items), err)
	}
}

// TestRecordFailoverIdle: a core that sends nothing says it too, since the others must
// hear it.
func TestRecordFailoverIdle(t *testing.T) {
	m, dsn, _ := carefulServer(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet, Watch: time.Millisecond})
	failOver := stale(t, m)
	resend(t, r, "lost", "")
	failOver()
	await(t, "the loss being noticed", func() bool { return r.Lost() != nil })
	other := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
	if _, err := send(t, other, "another core's"); err == nil || !strings.Contains(err.Error(), lostWords) {
		t.Errorf("another core: got %v", err)
	}
}

// TestRecordFlagsVoid: several cores miss commits, each raises its flag, and one of them
// ends; then the server catches up. The others go on, and so does a new one.
func TestRecordFlagsVoid(t *testing.T) {
	m, dsn, db := carefulServer(t)
	var cores []*sql.Record
	for range 3 {
		cores = append(cores, openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet}))
	}
	failOver := stale(t, m)
	for i, r := range cores {
		resend(t, r, fmt.Sprint("lost ", i), "")
	}
	marks := metaRows(t, db, "core.%")
	failOver()
	for i, r := range cores {
		resend(t, r, fmt.Sprint("refused ", i), lostWords)
	}
	if flags := metaRows(t, db, "lost.%"); len(flags) != len(cores) {
		t.Fatalf("%d flags are raised, want one of each of the %d cores: %v", len(flags), len(cores), flags)
	}
	if err := cores[0].Close(); err != nil {
		t.Fatal(err)
	}
	for name, value := range marks { // all that cores look at of what it catches up with
		if _, err := db.ExecContext(t.Context(), "REPLACE INTO record_meta (name, value) VALUES (?, ?)", name, value); err != nil {
			t.Fatal(err)
		}
	}
	goesOn := func(r *sql.Record, id string) {
		t.Helper()
		if _, err := send(t, r, id); err != nil || r.Lost() != nil {
			t.Errorf("%s after the server caught up: %v, %v", id, err, r.Lost())
		}
	}
	goesOn(cores[1], "by one that flagged")
	goesOn(cores[2], "by another that flagged")
	goesOn(openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet}), "by a new one")
	if flags := metaRows(t, db, "lost.%"); len(flags) != 0 {
		t.Errorf("void flags are left: %v", flags)
	}
}

// metaRows are rows of record_meta by name.
func metaRows(t *testing.T, db *stdsql.DB, like string) map[string]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT name, value FROM record_meta WHERE name LIKE ?", like)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			t.Fatal(err)
		}
		found[name] = value
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

// TestRecordMarks: marks go with their records.
func TestRecordMarks(t *testing.T) {
	_, dsn, db := carefulServer(t)
	for i := range 3 {
		r, err := sql.OpenRecord(t.Context(), sql.RecordOptions{DSN: dsn, IDs: im.NewIDGenerator(nil), Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		resend(t, r, fmt.Sprint(i), "")
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM record_meta").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows in record_meta, %v, want format and epoch", n, err)
	}
}
