package sql_test

import (
	"bytes"
	stdsql "database/sql"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/sql"
	"freeim/core/timeline"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// heard is a log that a test reads while it is written.
type heard struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (h *heard) Write(line []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(line)
}

// count says how often the log has the words.
func (h *heard) count(words string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Count(h.text.String(), words)
}

func (h *heard) logger() *slog.Logger { return slog.New(slog.NewTextHandler(h, nil)) }

// carefulServer is a server of its own with an empty database, and a way to change it.
func carefulServer(t *testing.T) (m *engines.MariaDBServer, dsn string, db *stdsql.DB) {
	t.Helper()
	m = engines.MariaDBWith(t, engines.MariaDBOptions{Binlog: true})
	dsn, err := m.CreateDatabase(t.Context(), "record")
	if err != nil {
		t.Fatal(err)
	}
	return m, dsn, openDB(t, dsn)
}

// takeOver starts another server, with the data in dir, where m, which has ended, was.
func takeOver(t *testing.T, m *engines.MariaDBServer, dir string, args ...string) *engines.MariaDBServer {
	t.Helper()
	_, text, _ := net.SplitHostPort(m.Addr())
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return engines.MariaDBWith(t, engines.MariaDBOptions{Dir: dir, Port: port, Binlog: true, Args: args})
}

func do(t *testing.T, db *stdsql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// TestRecordUnsafe: settings are changed under a running core. It says so once for each
// change, goes on, and says when it is over.
func TestRecordUnsafe(t *testing.T) {
	_, dsn, db := carefulServer(t)
	log, figures := &heard{}, prometheus.NewRegistry()
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: log.logger(), Figures: figures, Watch: time.Millisecond})
	unsafe := func(want string) {
		t.Helper()
		const head = "# HELP freeim_timeline_unsafe 1 while MySQL's settings let a power cut take commits that were answered.\n# TYPE freeim_timeline_unsafe gauge\n"
		if err := testutil.GatherAndCompare(figures, strings.NewReader(head+"freeim_timeline_unsafe "+want+"\n"), "freeim_timeline_unsafe"); err != nil {
			t.Error(err)
		}
	}
	if err := r.Unsafe(); err != nil {
		t.Fatalf("a careful server: %v", err)
	}
	unsafe("0")
	do(t, db, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
	await(t, "the first setting being noticed", func() bool { return r.Unsafe() != nil })
	do(t, db, "SET GLOBAL sync_binlog = 0")
	await(t, "the second setting being noticed", func() bool { return strings.Contains(r.Unsafe().Error(), "sync_binlog is 0") })
	unsafe("1")
	if _, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1}); err != nil {
		t.Errorf("append meanwhile: %v", err)
	}
	if n := log.count("ACKS ARE NOT DURABLE"); n != 2 {
		t.Errorf("the log says it %d times, want once for each change, 2", n)
	}
	do(t, db, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
	do(t, db, "SET GLOBAL sync_binlog = 1")
	await(t, "the end being noticed", func() bool { return r.Unsafe() == nil && log.count("acks are durable again") == 1 })
	unsafe("0")
}

// TestRecordUnsafeElsewhere: behind a lost connection may be another server, so it is
// looked at without waiting for the next minute.
func TestRecordUnsafeElsewhere(t *testing.T) {
	m, dsn, _ := carefulServer(t)
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet, Watch: 24 * time.Hour})
	if _, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1}); err != nil || r.Unsafe() != nil {
		t.Fatalf("before: %v, %v", err, r.Unsafe())
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1}); err == nil {
		t.Fatal("an append without a server: no error")
	}
	takeOver(t, m, m.Dir(), "--innodb-flush-log-at-trx-commit=2")
	await(t, "the other server's setting being noticed", func() bool { return r.Unsafe() != nil })
}
