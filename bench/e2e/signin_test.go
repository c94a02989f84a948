package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/edge/client"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// TestFaultsSignIn: what strangers can try, over two edges (figure 17).
func TestFaultsSignIn(t *testing.T) {
	t.Run("guesses", guesses)
	t.Run("tokens", damagedTokens)
	t.Run("withdrawn", withdrawnTokens)
	t.Run("names", unknownNames)
	t.Run("rush", rush)
}

// knock dials an edge.
func (s *site) knock(ctx context.Context, edge int) *client.Client {
	s.t.Helper()
	conn, err := client.Dial(ctx, s.at(edge))
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func tablet(id string) *accountpb.Device { return &accountpb.Device{Id: id, Type: idl.DeviceTablet} }

// guesses: five wrong passwords end a connection, ten a minute shut the account
// and the address out on every edge; whoever is signed in is not disturbed.
func guesses(t *testing.T) {
	ctx, cancel := lasting(t)
	defer cancel()
	s := startSite(t, cluster.SiteOptions{Edges: 2, EdgeEnv: []string{"FREEIM_EDGE_LIMITS_EXEMPT="}})
	if _, err := signUp(ctx, s.at(0), "victim"); err != nil {
		t.Fatal(err)
	}
	inside := s.connect(ctx, 1, "victim", idl.DeviceMobile)
	for range 2 {
		conn := s.knock(ctx, 0)
		for n := range 5 {
			if _, err := conn.SignIn(ctx, "victim", fmt.Sprint("wrong guess ", n), tablet("t")); client.CodeOf(err) != idl.CodeBadCredentials {
				t.Fatalf("guess %d: got %v, want %v", n+1, err, idl.CodeBadCredentials)
			}
		}
		select {
		case <-conn.Done():
		case <-time.After(patience):
			t.Error("five wrong guesses did not end the connection")
		}
		conn.Close()
	}
	var waits []time.Duration
	for _, edge := range []int{0, 1} { // edge 0 refuses the address itself, at edge 1 the core does
		conn := s.knock(ctx, edge)
		_, err := conn.SignIn(ctx, "victim", "another guess", tablet("t"))
		if client.CodeOf(err) != idl.CodeRateLimited || retryAfter(err) <= 0 {
			t.Errorf("the eleventh guess, on edge %d: got %v, want %v and when to try again", edge, err, idl.CodeRateLimited)
		}
		waits = append(waits, retryAfter(err))
		conn.Close()
	}
	t.Logf("the eleventh guess is put off by %v", waits)
	if err := inside.Heartbeat(ctx); err != nil {
		t.Errorf("whoever was signed in: %v", err)
	}
}

// damagedTokens: no token but the very one lets anybody in.
func damagedTokens(t *testing.T) {
	ctx, cancel := lasting(t)
	defer cancel()
	s := startSite(t, cluster.SiteOptions{Edges: 2})
	if _, err := signUp(ctx, s.at(0), "alice"); err != nil {
		t.Fatal(err)
	}
	good, err := signIn(ctx, s.at(0), "alice", "tablet", idl.DeviceTablet)
	if err != nil {
		t.Fatal(err)
	}
	withdrawn, err := signIn(ctx, s.at(0), "alice", "tablet", idl.DeviceTablet) // of the same device: the first one is void
	if err != nil {
		t.Fatal(err)
	}
	good, withdrawn = withdrawn, good
	damage := []func() string{
		func() string { return withdrawn },
		func() string { return good[:rand.IntN(len(good))] },
		func() string { return good + string(rune('a'+rand.IntN(26))) },
		func() string {
			b := []byte(good)
			b[rand.IntN(len(b))] ^= byte(1 + rand.IntN(127))
			return string(b)
		},
		func() string { return good[1:] + good[:1] },
		func() string { return fmt.Sprintf("%0*x", len(good), rand.Uint64()) },
	}
	const each = 4 // on one connection: a fifth failure ends it
	for n := 0; n < times(300, 10_000); n += each {
		conn := s.knock(ctx, n/each%2)
		for i := range each {
			token := damage[(n+i)%len(damage)]()
			if _, err := conn.Auth(ctx, token); token != good && client.CodeOf(err) != idl.CodeUnauthenticated && client.CodeOf(err) != idl.CodeInvalidArgument {
				t.Fatalf("token %q, where %q is the right one: got %v, want a refusal", token, good, err)
			}
		}
		conn.Close()
	}
	conn := s.knock(ctx, 0)
	defer conn.Close()
	if _, err := conn.Auth(ctx, good); err != nil {
		t.Errorf("the right token: %v", err)
	}
}

// withdrawnTokens: signing out others ends their connections on each edge, within
// five seconds, and lets none of them in again.
func withdrawnTokens(t *testing.T) {
	ctx, cancel := lasting(t)
	defer cancel()
	s := startSite(t, cluster.SiteOptions{Edges: 2})
	if _, err := signUp(ctx, s.at(0), "alice"); err != nil {
		t.Fatal(err)
	}
	var slowest time.Duration
	for range times(3, 100) {
		mobile, desktop := s.connect(ctx, 0, "alice", idl.DeviceMobile), s.connect(ctx, 1, "alice", idl.DeviceDesktop)
		web := s.connect(ctx, 0, "alice", idl.DeviceWeb)
		start := time.Now()
		if _, err := web.SignOut(ctx, &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS}); err != nil {
			t.Fatal(err)
		}
		for _, conn := range []*client.Client{mobile, desktop} {
			select {
			case <-conn.Done():
				if q, ok := errors.AsType[*client.Quit](conn.Err()); !ok || q.Reason != idl.CloseSignedOut {
					t.Errorf("ended with %v, want %v", conn.Err(), idl.CloseSignedOut)
				}
			case <-time.After(patience):
				t.Fatal("a connection whose token was withdrawn lives on")
			}
		}
		slowest = max(slowest, time.Since(start))
		web.Close()
	}
	t.Logf("cut %v after the token was withdrawn at the latest", slowest.Round(time.Millisecond))
	if full() && slowest > 5*time.Second {
		t.Errorf("cut %v after the token was withdrawn, want 5 s at most", slowest)
	}
}

// unknownNames: how long a refusal takes does not tell whether there is such an
// account.
func unknownNames(t *testing.T) {
	ctx, cancel := lasting(t)
	defer cancel()
	s := startSite(t, cluster.SiteOptions{CoreEnv: []string{"FREEIM_PLUGINS_ACCOUNT_FAILURES_PER_MINUTE=10000"}})
	if _, err := signUp(ctx, s.at(0), "alice"); err != nil {
		t.Fatal(err)
	}
	took := map[string][]time.Duration{}
	const each = 2 // tries of each name on one connection
	for n := 0; n < times(20, 1000); n += each {
		conn := s.knock(ctx, 0)
		for range each {
			for _, name := range []string{"alice", "nobody"} { // in turn: both meet the same load
				start := time.Now()
				if _, err := conn.SignIn(ctx, name, "wrong password", tablet("t")); client.CodeOf(err) != idl.CodeBadCredentials {
					t.Fatalf("%s: got %v, want %v", name, err, idl.CodeBadCredentials)
				}
				took[name] = append(took[name], time.Since(start))
			}
		}
		conn.Close()
	}
	median := func(name string) time.Duration {
		slices.Sort(took[name])
		return took[name][len(took[name])/2]
	}
	known, unknown := median("alice"), median("nobody")
	t.Logf("%d tries each: median %v for an account, %v for none", len(took["alice"]), known, unknown)
	if differ := max(known, unknown) - min(known, unknown); full() && differ > known/10 {
		t.Errorf("medians %v and %v tell accounts that exist from others", known, unknown)
	}
}

// rush: a hundred sign-ins at once, or thirty beside other tests, take the memory of two.
func rush(t *testing.T) {
	ctx, cancel := lasting(t)
	defer cancel()
	s := startSite(t, cluster.SiteOptions{CoreEnv: []string{"FREEIM_CORE_HEAP_FLOOR=0"}}) // what hashes leave is collected at once
	people, accounts := times(30, 100), times(4, 100)
	for n := range accounts {
		patient(t, func() error {
			_, err := signUp(ctx, s.at(0), fmt.Sprint("person", n))
			return err
		})
	}
	memory := func() float64 {
		octets, err := s.Cores[0].Figure(ctx, "process_resident_memory_bytes")
		if err != nil {
			t.Fatal(err)
		}
		return octets / (1 << 20)
	}
	before := memory()
	var all sync.WaitGroup
	for n := range people {
		all.Go(func() {
			o := s.at(0)
			o.AnswerTimeout = time.Minute // they wait for each other
			patient(t, func() error {
				_, err := signIn(ctx, o, fmt.Sprint("person", n%accounts), fmt.Sprint("device", n), idl.DeviceTablet)
				return err
			})
		})
	}
	over, most := make(chan struct{}), before
	go func() { all.Wait(); close(over) }()
	for poll := time.NewTicker(50 * time.Millisecond); ; {
		most = max(most, memory())
		select {
		case <-over:
			poll.Stop()
			t.Logf("%d sign-ins at once: %.0f MiB before, %.0f MiB at most", people, before, most)
			if most > before+128 {
				t.Errorf("the core took %.0f MiB more, want 128 at most: each hash takes 19", most-before)
			}
			return
		case <-poll.C:
		}
	}
}

// patient asks again when it is told to, as clients do.
func patient(t *testing.T, ask func() error) {
	t.Helper()
	for err := ask(); err != nil; err = ask() {
		if retryAfter(err) <= 0 {
			t.Error(err)
			return
		}
		<-time.After(retryAfter(err))
	}
}
