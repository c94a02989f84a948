package sql_test

import (
	stdsql "database/sql"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"

	"github.com/go-sql-driver/mysql"
)

// Doubt is about commits that were sent and not answered, and about nothing else:
// each costs a sync of every client. So it is not called for a batch that never
// came to its COMMIT.
func TestRecordDoubt(t *testing.T) {
	for _, test := range []struct {
		name, hold, release string
		doubted             bool
	}{
		{"waiting for a head", "SELECT * FROM record_conversations FOR UPDATE", "ROLLBACK", false},
		{"waiting in the packet of the COMMIT", "LOCK TABLES record_messages READ", "UNLOCK TABLES", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dsn := engines.Database(t)
			var doubts atomic.Int64
			r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet, Patience: 3 * time.Second, Doubt: func() { doubts.Add(1) }})
			db, err := stdsql.Open("mysql", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			other, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			do := func(statement string) {
				t.Helper()
				if _, err := other.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			send := func() error {
				n++
				_, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1, ClientID: fmt.Sprint(n), Inboxes: []im.UserID{1, 2}})
				return err
			}
			if err := send(); err != nil {
				t.Fatal(err)
			}
			do("START TRANSACTION")
			do(test.hold)
			if err := send(); err == nil {
				t.Fatal("committed under somebody else's lock")
			}
			do(test.release)
			await(t, "a commit", func() bool { return send() == nil }) // the doubt, if any, is behind the committer
			if got := doubts.Load(); got > 0 != test.doubted {
				t.Errorf("got %d doubts, want some: %v", got, test.doubted)
			}
		})
	}
}

// A server that takes no writes, as a primary that became a replica: nothing is
// acknowledged, nothing is in doubt, reads go on, and so do writes when it takes
// them again.
func TestRecordReadOnly(t *testing.T) {
	m := engines.MariaDB(t)
	_, err := m.CreateDatabase(t.Context(), "record")
	if err != nil {
		t.Fatal(err)
	}
	dsn, err := m.CreateAccount(t.Context(), "core", "record")
	if err != nil {
		t.Fatal(err)
	}
	var doubts atomic.Int64
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet, Doubt: func() { doubts.Add(1) }})
	send := func(id string) (timeline.Committed, error) {
		return r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1, ClientID: id, Inboxes: []im.UserID{1, 2}})
	}
	if _, err := send("before"); err != nil {
		t.Fatal(err)
	}
	if err := m.ReadOnly(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := send(fmt.Sprint("meanwhile ", i)); err == nil {
			t.Error("a server that takes no writes acknowledged one")
		}
	}
	if p, err := r.Log(t.Context(), "c_1_2", 0, 10); err != nil || len(p.Items) != 1 {
		t.Errorf("a read meanwhile: got %d messages, %v, want 1", len(p.Items), err)
	}
	if err := m.ReadOnly(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if c, err := send("after"); err != nil || c.Seq != 2 {
		t.Errorf("after it: got seq %d, %v, want 2", c.Seq, err)
	}
	if n := doubts.Load(); n > 0 {
		t.Errorf("%d doubts about refusals, want none", n)
	}
}

// What the DSN says of character sets does not make an escaped quote a bare one.
func TestRecordCharacterSet(t *testing.T) {
	c, err := mysql.ParseDSN(engines.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Params = map[string]string{"character_set_client": "gbk"}
	r := openRecord(t, sql.RecordOptions{DSN: c.FormatDSN(), Log: quiet})
	// In GBK 0xbf and a backslash are one character, and the quote behind it ends the text.
	const clientID = "\xbf' OR 1=1 -- "
	d := timeline.Draft{Conversation: "c_1_2", Sender: 1, ClientID: clientID, Inboxes: []im.UserID{1, 2}}
	if _, err := r.Append(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if _, _, found, err := r.Find(t.Context(), 1, clientID); !found || err != nil {
		t.Errorf("find: got %v, %v", found, err)
	}
}
