package sql_test

import (
	stdsql "database/sql"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"
)

// TestConcurrentAppendsShareACommit: what comes while a commit is under way is the next
// one, all of it. The commit of the first is held up until all others wait.
func TestConcurrentAppendsShareACommit(t *testing.T) {
	const writers = 200
	dsn := engines.Database(t)
	figures := prometheus.NewRegistry()
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Figures: figures, Log: quiet})
	db, err := stdsql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context()) // a lock is a connection's
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	commits := func() (n int) {
		var name, value string
		if err := db.QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE 'Com_commit'").Scan(&name, &value); err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := commits()
	if _, err := conn.ExecContext(t.Context(), "LOCK TABLES record_messages WRITE"); err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	for i := range im.UserID(writers) {
		writing.Go(func() {
			a, b := 2*i+1, 2*i+2
			d := timeline.Draft{Conversation: im.ChatOf(a, b), Sender: a, ClientID: fmt.Sprint("m", i), Body: []byte("hello"), Inboxes: []im.UserID{a, b}}
			if c, err := r.Append(t.Context(), d); err != nil || c.Seq != 1 {
				t.Errorf("%d: seq %d, %v", i, c.Seq, err)
			}
		})
	}
	queued := func() int { n, _ := batches(t, figures, "freeim_timeline_queue"); return int(n) }
	tick, late := time.NewTicker(time.Millisecond), time.Now().Add(20*time.Second)
	defer tick.Stop()
	for ; queued() < writers/2; <-tick.C {
		if time.Now().After(late) {
			t.Errorf("%d writes wait behind the commit under way, want half of %d at least", queued(), writers)
			break
		}
	}
	if _, err := conn.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	writing.Wait()
	n, writes := batches(t, figures, "freeim_timeline_batch_writes")
	made := commits() - before
	t.Logf("%v writes in %v batches, %d transactions", writes, n, made)
	const few = 20
	if writes != writers || n > few || made > few {
		t.Errorf("%v writes in %v batches and %d transactions, want %d in %d at most", writes, n, made, writers, few)
	}
}

// batches gives a metric without labels: the value of a gauge, the count and sum of a
// histogram.
func batches(t *testing.T, figures prometheus.Gatherer, name string) (n, sum float64) {
	t.Helper()
	all, err := figures.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() == name {
			m := family.Metric[0]
			return m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetSampleSum()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0, 0
}
