package rpc

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"freeim/core/presence"
	"freeim/idl/kitex_gen/corepb"
)

// slow is a registry that takes its time for each call about sessions.
type slow struct {
	presence.Registry
	takes time.Duration

	mu    sync.Mutex // guards calls
	calls []string   // begun
}

func (r *slow) answer(ctx context.Context, call string) error {
	r.mu.Lock()
	r.calls = append(r.calls, call)
	r.mu.Unlock()
	select {
	case <-time.After(r.takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *slow) Restore(ctx context.Context, routes []presence.Route) ([]presence.Restored, error) {
	if err := r.answer(ctx, "restore"); err != nil {
		return nil, err
	}
	return r.Registry.Restore(ctx, routes)
}

func (r *slow) Unregister(ctx context.Context, routes ...presence.Route) ([]presence.Route, error) {
	if err := r.answer(ctx, "unregister"); err != nil {
		return nil, err
	}
	return r.Registry.Unregister(ctx, routes...)
}

// reluctant is a Server without its streams, over a registry that takes so long for a
// call, and without any who may come back.
func reluctant(t *testing.T, takes time.Duration) (*Server, *slow) {
	registry := &slow{Registry: presence.NewMemory(), takes: takes}
	s := &Server{options: Options{Registry: registry}, log: slog.New(slog.DiscardHandler), work: t.Context(), instance: "instance"}
	s.options.Admit = func(_ context.Context, routes []presence.Route) []bool { return make([]bool, len(routes)) }
	s.edges = newEdges(s)
	return s, registry
}

// begin attaches a link, and has its books kept until the test ends.
func begin(t *testing.T, s *Server, id presence.EdgeID) *link {
	t.Helper()
	l := newLink(s.edges.of(id), 1, 1<<30)
	if err := s.edges.attach(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	s.links.Go(func() { s.keepBooks(l) })
	return l
}

// sessions is a page of so many that come back, and as many that have ended.
func sessions(first, n uint64) *corepb.Uplink {
	up := new(corepb.Uplink)
	for session := first; session < first+n; session++ {
		up.Registers = append(up.Registers, &corepb.Register{Session: session, Codec: 1, Identity: &corepb.Identity{UserId: int64(session), DeviceId: "d", TokenId: 1}})
		ended := session + 1_000_000
		up.Gone = append(up.Gone, &corepb.Gone{Session: ended, Identity: &corepb.Identity{UserId: int64(ended), DeviceId: "d", TokenId: 1}})
	}
	return up
}

// However much an older link of an edge still has to tell a slow registry, a newer one
// waits for one of its calls, and one of another edge for none.
func TestTurnIsOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, registry := reluctant(t, 4*time.Second)
		old := begin(t, s, "edge-a")
		old.pages <- sessions(1, 100)
		old.pages <- sessions(101, 100)
		synctest.Wait() // the first call is under way
		began := time.Now()
		other := begin(t, s, "edge-b")
		if waited := time.Since(began); waited > 0 {
			t.Errorf("another edge waited for %s", waited)
		}
		newer := begin(t, s, "edge-a")
		if waited := time.Since(began); waited > registry.takes {
			t.Errorf("the newer link waited for %s, want one call of %s", waited, registry.takes)
		}
		if !old.ended() || s.edges.link("edge-a", 1) != newer {
			t.Error("the newer link is not in the place of the older one")
		}
		newer.end()
		other.end()
		s.links.Wait()
	})
}

// Of a page that the registry is told of, each kind of news is one call: nobody's session
// waits for as many calls as there are others'.
func TestPageIsFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, registry := reluctant(t, 900*time.Millisecond)
		l := newLink(s.edges.of("edge-a"), 1, 1<<30)
		if !s.book(l, sessions(1, 100), false) {
			t.Fatal("the link has ended")
		}
		if want := []string{"restore", "unregister", "unregister"}; !slices.Equal(registry.calls, want) {
			t.Errorf("a page was %d calls, %v, want %v", len(registry.calls), registry.calls[:min(4, len(registry.calls))], want)
		}
	})
}

// A link is welcome in time although the registry is too slow for all sessions that it
// begins with: then the edge lists them again.
func TestWelcomeWhileTheRegistryIsSlow(t *testing.T) {
	for _, row := range []struct {
		name  string
		takes time.Duration
		again bool // the edge is to list its sessions
	}{
		{"quick", time.Millisecond, false},
		{"slow", 900 * time.Millisecond, true},
		{"silent", time.Hour, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := reluctant(t, row.takes)
				began := time.Now()
				l := begin(t, s, "edge-a")
				for page := range uint64(200) {
					l.pages <- &corepb.Uplink{Registers: sessions(1+512*page, 512).Registers}
				}
				l.pages <- new(corepb.Uplink)
				var sent []*batch // nothing is taken before there is a Welcome
				for len(sent) == 0 {
					<-l.out.wake
					sent = l.out.take()
				}
				if waited := time.Since(began); waited > 3*booking {
					t.Errorf("welcome after %s", waited)
				}
				synctest.Wait()
				again := slices.ContainsFunc(append(sent, l.out.take()...), func(b *batch) bool { return b.Census })
				if sent[0].Welcome == nil || again != row.again || l.ended() {
					t.Errorf("got welcome %v, to list again %t, want it, and %t", sent[0].Welcome, again, row.again)
				}
				l.end()
				s.links.Wait()
			})
		})
	}
}

// A link that has ended while it waited for its turn takes nobody's place.
func TestEndedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := reluctant(t, 4*time.Second)
		old := begin(t, s, "edge-a")
		old.pages <- sessions(1, 1)
		synctest.Wait()
		stream, cut := context.WithCancel(t.Context())
		late := newLink(s.edges.of("edge-a"), 1, 1<<20)
		attached := make(chan error, 1)
		go func() { attached <- s.edges.attach(stream, late) }()
		synctest.Wait()
		cut()
		synctest.Wait()
		select {
		case err := <-attached:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want the end of the stream", err)
			}
		default:
			t.Fatal("it waits still")
		}
		if old.ended() || s.edges.link("edge-a", 1) != old {
			t.Error("it is in the place of a link that stands")
		}
		old.end()
		s.links.Wait()
	})
}
