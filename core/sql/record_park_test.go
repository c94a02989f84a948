package sql_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
	"freeim/core/timeline"
)

// hold locks rows, as a core does that is stopped inside a transaction; release
// gives them back.
func hold(t *testing.T, db *stdsql.DB, rows string) (release func()) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), rows+" FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() { _ = tx.Rollback() })
}

// A head that somebody holds for long holds up the drafts that need it, and no
// others: those go on meanwhile. Given back, it is written at once; held to the end
// of the patience, its drafts fail.
func TestRecordPassesOverHeldHeads(t *testing.T) {
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprint("given back: ", back), func(t *testing.T) {
			dsn := engines.Database(t)
			r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet})
			var numbers atomic.Int64
			send := func(c im.ConversationID, people ...im.UserID) (timeline.Committed, error) {
				return r.Append(t.Context(), timeline.Draft{Conversation: c, Sender: people[0],
					ClientID: fmt.Sprint(numbers.Add(1)), Inboxes: people})
			}
			must := func(c im.ConversationID, people ...im.UserID) {
				if _, err := send(c, people...); err != nil {
					t.Errorf("append to %s: %v", c, err)
				}
			}
			must("g_1", 1, 2)
			must("g_2", 2, 3)
			must("c_4_5", 4, 5)
			release := hold(t, openDB(t, dsn), "SELECT * FROM record_people WHERE person = 1")
			defer release()
			failed, others := make(chan error, 3), make(chan struct{})
			var running, held sync.WaitGroup
			for range 2 {
				held.Go(func() { _, err := send("g_1", 1, 2); failed <- err })
			}
			held.Go(func() { // somebody's receipt needs the head, too
				_, err := r.Acknowledge(t.Context(), timeline.Receipt{Conversation: "g_1", By: 2, Seq: 1}, []im.UserID{1})
				failed <- err
			})
			var went atomic.Int64
			for w := range 4 {
				running.Go(func() {
					for {
						select {
						case <-others:
							return
						default:
						}
						must([]im.ConversationID{"g_2", "c_4_5", "g_3", im.ConversationID(fmt.Sprint("new_", went.Load()))}[w], im.UserID(w+10), 3)
						went.Add(1)
					}
				})
			}
			await(t, "others' drafts while a head is held", func() bool { return went.Load() >= 50 })
			if back {
				from := went.Load()
				await(t, "more of them", func() bool { return went.Load() >= from+20 })
				release()
			}
			held.Wait()
			close(others)
			running.Wait()
			for range 3 {
				if err := <-failed; (err == nil) != back {
					t.Errorf("a write that needed the head: %v", err)
				}
			}
			release()
			c, err := send("g_1", 1, 2)
			if want := map[bool]int64{true: 4, false: 2}[back]; err != nil || c.Seq != want || c.InboxSeqs[0] != want {
				t.Errorf("afterwards: got %+v, %v, want seq %d", c, err, want)
			}
		})
	}
}

// While cores pass over what others hold, no draft starves: three of them write into
// few timelines at once, and each draft is committed, or refused in time and
// committed when it is sent again, once.
func TestRecordPassingOverIsFair(t *testing.T) {
	dsn := engines.Database(t)
	var records []*sql.Record
	for range 3 {
		records = append(records, openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet}))
	}
	said := newAnswers()
	var acks, refused atomic.Int64
	write := func(r *sql.Record, name string, w int, until context.Context) {
		random := rand.New(rand.NewPCG(uint64(w), 3))
		for i := 0; until.Err() == nil; i++ {
			d := randomDraft(random, im.UserID(1+w%crowd), fmt.Sprint(name, w, "-", i))
			for {
				c, err := r.Append(t.Context(), d)
				if err == nil {
					said.note(t, c)
					acks.Add(1)
					break
				}
				refused.Add(1)
			}
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	for i, r := range records {
		for w := range 8 {
			all.Go(func() { write(r, fmt.Sprint(i, "."), w, ctx) })
		}
	}
	await(t, "drafts", func() bool { return acks.Load() >= 100 })
	release := hold(t, openDB(t, dsn), "SELECT * FROM record_conversations WHERE conversation = 'g_0'")
	stuck := acks.Load()
	await(t, "drafts while g_0 is held", func() bool { return acks.Load() >= stuck+100 })
	release()
	from := acks.Load()
	await(t, "drafts of the wary", func() bool { return acks.Load() >= from+1500 })
	stop()
	all.Wait()
	said.check(t, records[0])
	t.Logf("%d acknowledged, %d refused", acks.Load(), refused.Load())
}

// A doubt is repeated, once: the COMMIT may still have been under way when MySQL
// answered again.
func TestRecordDoubtIsRepeated(t *testing.T) {
	dsn := engines.Database(t)
	var doubts atomic.Int64
	r := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet, Patience: 3 * time.Second, Doubt: func() { doubts.Add(1) }})
	send := func(id string) error {
		_, err := r.Append(t.Context(), timeline.Draft{Conversation: "c_1_2", Sender: 1, ClientID: id, Inboxes: []im.UserID{1, 2}})
		return err
	}
	if err := send("first"); err != nil {
		t.Fatal(err)
	}
	other, err := openDB(t, dsn).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), "LOCK TABLES record_messages READ"); err != nil {
		t.Fatal(err)
	}
	if err := send("second"); err == nil {
		t.Fatal("committed under somebody else's lock")
	}
	await(t, "the doubt", func() bool { return doubts.Load() == 1 })
	if _, err := other.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	await(t, "its repetition", func() bool { return doubts.Load() == 2 })
	await(t, "a commit", func() bool { return send("third") == nil })
	if n := doubts.Load(); n != 2 {
		t.Errorf("got %d doubts, want 2", n)
	}
}
