package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/core/engines"
	"freeim/core/sql"
	"freeim/edge/client"
	"freeim/idl"
)

// TestDrainOfThousands ends one of two edges with SIGTERM while all clients are there,
// some talk, and everybody is written to: they are sent away no faster than the rate,
// the edge says how far it is and ends, and all are on the other one and miss nothing
// (figure 11).
func TestDrainOfThousands(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	n := times(200, 5000)
	rate := n / times(8, 20) // so many seconds: clients, edges, cores and stores are on one machine
	mariadb, redis := engines.MariaDB(t), engines.Redis(t)
	dsn, err := mariadb.CreateDatabase(ctx, "freeim")
	if err != nil {
		t.Fatal(err)
	}
	s := startSite(t, cluster.SiteOptions{Edges: 2, Cores: 2, MySQL: dsn, Redis: []string{redis.Addr()}, Level: "info", EdgeEnv: []string{
		fmt.Sprint("FREEIM_EDGE_DRAIN_RATE=", rate), "FREEIM_EDGE_DRAIN_TIMEOUT=60s", // the time ends no spread on a slow machine
	}})
	drained, other := s.Edges[0], s.Edges[1]
	directory, err := sql.Open(sql.Options{Dialect: "mysql", DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	flock := s.settle(ctx, enrol(ctx, t, directory, n))
	defer flock.leave()
	people := gather(t, 3, s.ways()[0])
	defer people.leave()
	herald := s.herald(ctx)
	defer herald.Close()

	flock.away.begin()
	var start time.Time
	people.talkWhile(ctx, func() {
		var meanwhile sync.WaitGroup
		meanwhile.Go(func() { flock.tell(ctx, herald) })
		meanwhile.Go(func() { s.watchDrain(ctx, drained, n) })
		start = time.Now()
		if err := drained.Stop(ctx); err != nil {
			t.Error(err)
		}
		took := time.Since(start)
		t.Logf("%s ended %v after SIGTERM", drained.Name, took.Round(time.Millisecond))
		if full() && took > 30*time.Second {
			t.Errorf("%s took %v to end, want 30 s at most", drained.Name, took)
		}
		meanwhile.Wait()
	})
	flock.allThere(ctx, other)
	flock.toldAll(ctx)
	flock.spread(start, rate)
	flock.away.judge(t)
	s.saidHowFar(drained)
	people.audit(ctx)
}

// flock is many clients with one session each, who are written to once.
type flock struct {
	t        *testing.T
	sessions []*client.Session
	away     absences
	told     []atomic.Int64 // messages, for each
	ended    atomic.Int64   // sessions that gave up
}

// settle opens a session for each token at the first edge; the second is where they may go.
func (s *site) settle(ctx context.Context, tokens []string) *flock {
	s.t.Helper()
	f := &flock{t: s.t, told: make([]atomic.Int64, len(tokens))}
	for i, token := range tokens {
		o := s.ways()[0]()
		o.Token, o.AnswerTimeout = token, 0 // as applications have it
		o.Handler = client.Handler{
			Message: func(context.Context, *client.Entry) error { f.told[i].Add(1); return nil },
			Ended:   func(context.Context, error) { f.ended.Add(1) },
		}
		away := f.away.watch(&o.Handler)
		session, err := client.Open(ctx, o)
		if err != nil {
			s.t.Fatal(err)
		}
		away.session.Store(session)
		f.sessions = append(f.sessions, session)
	}
	for _, session := range f.sessions {
		if err := session.Ready(ctx); err != nil {
			s.t.Fatal(err)
		}
	}
	return f
}

func (f *flock) leave() {
	var all sync.WaitGroup
	for _, session := range f.sessions {
		all.Go(func() { session.Close() })
	}
	all.Wait()
}

// herald is a session on the second edge that writes to everybody.
func (s *site) herald(ctx context.Context) *client.Session {
	s.t.Helper()
	if _, err := signUp(ctx, s.at(1), "herald"); err != nil {
		s.t.Fatal(err)
	}
	o := s.at(1)
	var err error
	if o.Token, err = signIn(ctx, o, "herald", "desk", idl.DeviceDesktop); err != nil {
		s.t.Fatal(err)
	}
	session, err := client.Open(ctx, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return session
}

// tell has the herald write to each, a few at once, until all is acknowledged.
func (f *flock) tell(ctx context.Context, herald *client.Session) {
	const atOnce = 4
	var all sync.WaitGroup
	defer all.Wait()
	for lane := range atOnce {
		all.Go(func() {
			for i := lane; i < len(f.sessions); i += atOnce {
				sent, err := herald.Send(ctx, client.Outgoing{To: int64(enrolled + i), Text: "we move"})
				if err == nil {
					_, err = sent.Wait(ctx)
				}
				if err != nil {
					f.t.Errorf("the message to client %d: %v", i, err)
					return
				}
			}
		})
	}
}

// allThere waits until all are on that edge, and have been away once.
func (f *flock) allThere(ctx context.Context, edge *cluster.Process) {
	f.t.Helper()
	err := until(ctx, func() (bool, error) {
		live, err := edge.Figure(ctx, "freeim_edge_sessions_live")
		return f.away.count() >= len(f.sessions) && live >= float64(len(f.sessions)), err
	})
	if err != nil || f.ended.Load() > 0 {
		f.t.Fatalf("%d of %d clients came to the other edge, %d gave up: %v", f.away.count(), len(f.sessions), f.ended.Load(), err)
	}
}

// toldAll: each is shown what was written to it, once.
func (f *flock) toldAll(ctx context.Context) {
	f.t.Helper()
	for i := range f.told {
		if err := until(ctx, func() (bool, error) { return f.told[i].Load() > 0, nil }); err != nil {
			f.t.Fatalf("client %d was not shown what was written to it: %v", i, err)
		}
	}
	for i := range f.told {
		if got := f.told[i].Load(); got != 1 {
			f.t.Errorf("client %d was shown %d messages, want 1", i, got)
		}
	}
}

// spread: at no time were more sent away than the rate allows until then. A client hears
// of it later than it was told, so a slow machine breaks nothing here.
func (f *flock) spread(start time.Time, rate int) {
	f.t.Helper()
	const early = 2 // a batch is told ahead, of so many tenths of a second at most
	f.away.mu.Lock()
	ends := slices.SortedFunc(slices.Values(f.away.ends), time.Time.Compare)
	f.away.mu.Unlock()
	if len(ends) == 0 {
		f.t.Fatal("no client was sent away")
	}
	for i, end := range ends {
		if most := int((end.Sub(start).Seconds()+early/10.0)*float64(rate)) + 1; i+1 > most {
			f.t.Fatalf("%d clients were sent away %v after SIGTERM, want %d at most", i+1, end.Sub(start), most)
		}
	}
	f.t.Logf("the first client was sent away after %v, the last after %v", ends[0].Sub(start).Round(time.Millisecond), ends[len(ends)-1].Sub(start).Round(time.Millisecond))
}

// watchDrain waits until the edge's figures say that it drains and has got somewhere, and that it is
// alive and not ready, which is a second old at most.
func (s *site) watchDrain(ctx context.Context, edge *cluster.Process, n int) {
	err := until(ctx, func() (bool, error) {
		draining, err := edge.Figure(ctx, "freeim_edge_draining")
		if err != nil || draining != 1 {
			return false, err
		}
		left, err := edge.Figure(ctx, "freeim_edge_sessions")
		if err != nil || left >= float64(n) {
			return false, err
		}
		h, err := edge.Health(ctx)
		return h.Alive && !h.Ready, err
	})
	if err != nil {
		s.t.Errorf("%s does not say that it drains, is alive and is not ready: %v", edge.Name, err)
	}
}

// progress is one line of a draining edge's log.
type progress struct{ connections, told, toTell int }

var progressLine = regexp.MustCompile(`msg=draining (?:.* )?connections=(\d+) told=(\d+) to_tell=(\d+)`)

// saidHowFar: the edge's log says on the way and at the end how many were told to go.
func (s *site) saidHowFar(edge *cluster.Process) {
	s.t.Helper()
	text, err := os.ReadFile(edge.Log)
	if err != nil {
		s.t.Fatal(err)
	}
	var said []progress
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		if m := progressLine.FindStringSubmatch(lines.Text()); m != nil {
			var at [3]int
			for i := range at {
				at[i], _ = strconv.Atoi(m[i+1]) // digits
			}
			said = append(said, progress{at[0], at[1], at[2]})
		}
	}
	if len(said) < 2 || !slices.IsSortedFunc(said, func(a, b progress) int { return a.told - b.told }) {
		s.t.Fatalf("%s said %v, want how far it is now and then", edge.Name, said)
	}
	on := said[0]
	if on.told == 0 || on.toTell == 0 {
		s.t.Errorf("at first %s said %+v, want that some were told and some were not", edge.Name, on)
	}
	there := on.told + on.toTell // at SIGTERM: a slow machine may have lost it some before
	if last := said[len(said)-1]; last.connections != 0 || last.told != there || last.toTell != 0 {
		s.t.Errorf("in the end %s said %+v, want that all %d were told and none is left", edge.Name, last, there)
	}
}
