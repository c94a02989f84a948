package sql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/sql"
)

// load is writers that append at random, each with a resend of the same draft
// until it is answered, as clients do.
type load struct {
	t      *testing.T
	r      *sql.Record
	said   *answers
	acks   atomic.Int64
	errors atomic.Int64
	stop   context.CancelFunc
	all    sync.WaitGroup
}

func startLoad(t *testing.T, r *sql.Record, writers int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, r: r, said: newAnswers(), stop: cancel}
	for w := range writers {
		l.all.Go(func() { l.write(ctx, w) })
	}
	return l
}

func (l *load) write(ctx context.Context, w int) {
	random := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
	for i := 0; ctx.Err() == nil; i++ {
		d := randomDraft(random, im.UserID(1+w%crowd), fmt.Sprint(w, "-", i))
		for { // to the end: a draft whose caller gives up may still be committed
			c, err := l.r.Append(l.t.Context(), d)
			if err == nil {
				l.said.note(l.t, c)
				l.acks.Add(1)
				break
			}
			l.errors.Add(1)
			<-time.After(10 * time.Millisecond) // a client's pause
		}
	}
}

// end stops the writers and checks what they were told.
func (l *load) end() {
	l.stop()
	l.all.Wait()
	l.said.check(l.t, l.r)
}

// await polls until is reports true.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, poll := time.After(time.Minute), time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !is() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("a minute has passed without %s", what)
		}
	}
}

// more waits for n more acknowledgements.
func (l *load) more(n int64) {
	l.t.Helper()
	from := l.acks.Load()
	await(l.t, fmt.Sprint(n, " more acknowledgements"), func() bool { return l.acks.Load() >= from+n })
}

func ownRecord(t *testing.T, patience time.Duration) (*engines.MariaDBServer, *sql.Record) {
	t.Helper()
	m := engines.MariaDB(t)
	dsn, err := m.CreateDatabase(t.Context(), "record")
	if err != nil {
		t.Fatal(err)
	}
	return m, openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet, Patience: patience})
}

// MySQL is killed again and again under load: what was acknowledged is there,
// once and in order, and acknowledgements go on by themselves.
func TestRecordKill(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 3
	}
	m, r := ownRecord(t, 0)
	l := startLoad(t, r, 24)
	var longest time.Duration
	for range kills {
		l.more(int64(100 + rand.IntN(200)))
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		await(t, "MySQL's absence being noticed", func() bool { return r.Health(t.Context()) != nil })
		if err := m.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		l.more(1)
		longest = max(longest, time.Since(back))
	}
	l.end()
	t.Logf("%d acknowledged, %d failures, over %d kills; acknowledgements at most %v after its return", l.acks.Load(), l.errors.Load(), kills, longest)
}

// MySQL is frozen under load: nothing is acknowledged meanwhile, callers get
// errors, and acknowledgements go on by themselves.
func TestRecordFreeze(t *testing.T) {
	m, r := ownRecord(t, time.Second)
	l := startLoad(t, r, 24)
	for range 3 {
		l.more(200)
		if err := m.Pause(); err != nil {
			t.Fatal(err)
		}
		await(t, "MySQL's silence being noticed", func() bool { return r.Health(t.Context()) != nil })
		acks, failures := l.acks.Load(), l.errors.Load()
		await(t, "prompt errors", func() bool { return l.errors.Load() >= failures+100 })
		if got := l.acks.Load(); got != acks {
			t.Errorf("%d acknowledgements of a frozen database", got-acks)
		}
		if _, err := r.Log(t.Context(), "r_1", 0, 1); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read meanwhile: got %v, want a prompt error", err)
		}
		if err := m.Resume(); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		l.more(1)
		t.Logf("acknowledged %v after its return", time.Since(back))
	}
	l.end()
	t.Logf("%d acknowledged, %d failures", l.acks.Load(), l.errors.Load())
}
