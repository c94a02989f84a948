package sql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
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
	name   string // of its drafts
	stop   context.CancelFunc
	all    sync.WaitGroup
}

func startLoad(t *testing.T, r *sql.Record, name string, writers int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, r: r, said: newAnswers(), name: name, stop: cancel}
	for w := range writers {
		l.all.Go(func() { l.write(ctx, w) })
	}
	return l
}

func (l *load) write(ctx context.Context, w int) {
	random := rand.New(rand.NewPCG(uint64(w), rand.Uint64()))
	for i := 0; ctx.Err() == nil; i++ {
		d := randomDraft(random, im.UserID(1+w%crowd), fmt.Sprint(l.name, w, "-", i))
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

// halt stops the writers.
func (l *load) halt() {
	l.stop()
	l.all.Wait()
}

// end stops the writers and checks what they were told.
func (l *load) end() {
	l.halt()
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
	l := startLoad(t, r, "", 24)
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
	l := startLoad(t, r, "", 24)
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

// valve is a TCP proxy that can stop passing anything on, without a word to
// either side.
type valve struct {
	net.Listener
	to   string
	mu   sync.Mutex // guards the fields below
	shut chan struct{}
	all  []net.Conn
}

func startValve(t *testing.T, to string) *valve {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{Listener: l, to: to}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			v.mu.Lock()
			v.all = append(v.all, c, s)
			v.mu.Unlock()
			running.Go(func() { v.pass(c, s) })
			running.Go(func() { v.pass(s, c) })
		}
	})
	t.Cleanup(func() {
		v.open()
		l.Close()
		v.mu.Lock()
		for _, c := range v.all {
			c.Close()
		}
		v.mu.Unlock()
		running.Wait()
	})
	return v
}

func (v *valve) pass(from, to net.Conn) {
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		v.mu.Lock()
		shut := v.shut
		v.mu.Unlock()
		if shut != nil {
			<-shut
		}
		if err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

// One core is cut off from MySQL, perhaps in the middle of a transaction: the
// other goes on with the same timelines, and the first when the way is free.
func TestRecordCutOff(t *testing.T) {
	m, near := ownRecord(t, 0)
	v := startValve(t, m.Addr())
	dsn := strings.Replace(m.DSN("record"), m.Addr(), v.Addr().String(), 1)
	far := openRecord(t, sql.RecordOptions{DSN: dsn, Log: quiet, Patience: time.Second})
	a, b := startLoad(t, near, "near", 12), startLoad(t, far, "far", 12)
	var longest time.Duration
	for range 3 {
		b.more(50 + rand.Int64N(50))
		v.close()
		cut := time.Now()
		a.more(100)
		longest = max(longest, time.Since(cut))
		await(t, "the cut being noticed", func() bool { return far.Health(t.Context()) != nil })
		v.open()
		b.more(1)
	}
	t.Logf("100 acknowledgements of the other core within %v of a cut", longest)
	b.halt()
	a.end()
	b.said.check(t, far)
}
