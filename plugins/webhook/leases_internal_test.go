package webhook

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
)

// overheard is a host whose log is kept, and which counts how often it is asked for the time.
type overheard struct {
	plugin.Host
	log   *slog.Logger
	asked atomic.Int64

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func overhear(h plugin.Host) *overheard {
	o := &overheard{Host: h}
	o.log = slog.New(slog.NewTextHandler(o, nil))
	return o
}

func (o *overheard) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(line)
}

func (o *overheard) Log() *slog.Logger { return o.log }

func (o *overheard) Now() time.Time {
	o.asked.Add(1)
	return o.Host.Now()
}

// lines is how many lines of the log say something.
func (o *overheard) lines(what string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Count(o.text.String(), what)
}

// housed is a plugin in a host that is overheard. It was not started.
func housed(t *testing.T) (*Webhook, *overheard) {
	t.Helper()
	hook := New()
	plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{hook}, Stubs: []plugintest.Stub{new(plugintest.Messages).Outbox()}})
	o := overhear(hook.host)
	hook.host, hook.lookouts = o, newLookouts()
	return hook, o
}

// rename takes a table away, or gives it back: then nothing that needs it succeeds.
func rename(t *testing.T, hook *Webhook, from, to string) {
	t.Helper()
	if err := hook.store.tx(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// until polls.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(time.Minute); !done(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// A directory that does not answer for long is told of once, and once more when it has answered in between, by who
// delivers and by who sweeps.
func TestAwayIsToldOnce(t *testing.T) {
	for name, row := range map[string]struct {
		run  func(*Webhook, context.Context)
		says string
	}{
		"deliveries": {func(p *Webhook, ctx context.Context) {
			(&endpoint{Endpoint: Endpoint{Name: "x"}, plugin: p, look: make(chan struct{})}).run(ctx)
		}, "deliveries wait"},
		"sweeps": {(*Webhook).runSweeps, "who went offline waits to be told: the directory"},
	} {
		t.Run(name, func(t *testing.T) {
			hook, o := housed(t)
			hook.config.Lease = 4 * time.Millisecond // a fourth of it is the pause
			for round := 1; round <= 2; round++ {
				rename(t, hook, "webhook_endpoints", "elsewhere")
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				all.Go(func() { row.run(hook, ctx) })
				asked := o.asked.Load()
				until(t, "it was tried ten times", func() bool { return o.asked.Load() > asked+10 })
				cancel()
				all.Wait()
				rename(t, hook, "elsewhere", "webhook_endpoints")
				if n := o.lines(row.says); n != round {
					t.Errorf("told of %d times in %d times away", n, round)
				}
			}
		})
	}
}

// Of faults in a row the first counts, and one after something went well; the end of all is none.
func TestFaults(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	bad := fmt.Errorf("bad")
	var f faults
	for i, step := range []struct {
		ctx  context.Context
		err  error
		want bool
	}{{t.Context(), nil, false}, {t.Context(), bad, true}, {t.Context(), bad, false}, {t.Context(), nil, false}, {ended, bad, false}, {t.Context(), bad, true}} {
		if got := f.first(step.ctx, step.err); got != step.want {
			t.Errorf("step %d: got %t", i, got)
		}
	}
}

// A sweep goes on as long as its lease is renewed, and ends when another core has it.
func TestSweepHoldsItsLease(t *testing.T) {
	hook, _ := housed(t)
	hook.core, hook.config.Lease, hook.config.PresenceGrace = "a", time.Second, time.Millisecond
	if err := hook.beginSweeps(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, _, err := hook.take(ctx, sweepLease)
	if l == nil || err != nil {
		t.Fatalf("nobody has it, and it is not given: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		hook.sweepWhile(ctx, l)
	}()
	first := l.end()
	until(t, "the lease is renewed", func() bool { return l.end().After(first) })
	if other, _, err := hook.store.take(ctx, sweepLease, "b", hook.host.Now(), hook.config.Lease); other != nil || err != nil {
		t.Errorf("another core has it too: %v", err)
	}
	other, _, err := hook.store.take(ctx, sweepLease, "b", hook.host.Now().Add(time.Hour), time.Hour)
	if other == nil || err != nil {
		t.Fatalf("what is over is not given: %v", err)
	}
	until(t, "it sweeps no more", func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if st, err := hook.store.state(t.Context(), sweepLease); err != nil || st.owner != "b" {
		t.Errorf("the lease is %q's, %v", st.owner, err)
	}
}

// An event that two tell, each by what he read before, is one: who notes it counts it, and nobody counts what another did.
func TestToldInTurnsIsCountedOnce(t *testing.T) {
	hook, _ := housed(t)
	for u := im.UserID(1); u <= 3; u++ {
		coming := person{user: u, state: stateComing, tag: fmt.Sprint(u), atMs: 1, sinceMs: 1, device: "d"}
		if err := hook.online.apply(t.Context(), []*move{{was: person{user: u}, is: coming}}); err != nil {
			t.Fatal(err)
		}
	}
	tell := func(users ...im.UserID) {
		t.Helper()
		rows, err := hook.online.people(t.Context(), users)
		if err != nil {
			t.Fatal(err)
		}
		var read []person
		for _, u := range users {
			read = append(read, rows[u])
		}
		for range 2 { // by two who have read the same
			if _, err := hook.tellOnline(t.Context(), read); err != nil {
				t.Fatal(err)
			}
		}
	}
	tell(1)
	tell(2, 3)
	rows, err := hook.online.people(t.Context(), []im.UserID{1})
	if err != nil {
		t.Fatal(err)
	}
	going := rows[1]
	going.state, going.tag = stateGoing, "gone"
	if err := hook.online.apply(t.Context(), []*move{{was: rows[1], is: going}}); err != nil {
		t.Fatal(err)
	}
	tell(1)
	if got := hook.Counts(); got["online"] != 3 || got["offline"] != 1 {
		t.Errorf("got %v, want 3 who came and 1 who went", got)
	}
}

// A core that comes late to renew a lease has it still, if nobody took it; else not.
func TestRenewLate(t *testing.T) {
	hook, _ := housed(t)
	hook.core, hook.config.Lease = "a", time.Minute
	if err := hook.beginSweeps(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, _, err := hook.take(t.Context(), sweepLease)
	if l == nil || err != nil {
		t.Fatalf("it is not given: %v", err)
	}
	l.extend(time.Now().Add(-time.Second))
	if err := hook.renew(t.Context(), sweepLease, l); err != nil || time.Until(l.end()) < time.Second {
		t.Errorf("it is over, though nobody took it: %v, it ends at %v", err, l.end())
	}
	if other, _, err := hook.store.take(t.Context(), sweepLease, "b", hook.host.Now().Add(time.Hour), time.Minute); other == nil || err != nil {
		t.Fatalf("what is over is not given: %v", err)
	}
	if err := hook.renew(t.Context(), sweepLease, l); !errors.Is(err, errFenced) {
		t.Errorf("it is renewed though another core has it: %v", err)
	}
}
