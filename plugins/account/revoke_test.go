package account_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/core/presence"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// interrupted is a registry that does something once, before or after it has
// registered a route: what comes between the steps of an Auth.
type interrupted struct {
	presence.Registry
	before, after func()
}

func (i *interrupted) Register(ctx context.Context, r presence.Route) ([]presence.Route, bool, error) {
	i.once(&i.before)
	displaced, registered, err := i.Registry.Register(ctx, r)
	i.once(&i.after)
	return displaced, registered, err
}

func (i *interrupted) once(do *func()) {
	if fn := *do; fn != nil {
		*do = nil
		fn()
	}
}

// TestRevokedInTheMiddleOfAuth revokes a token between the steps of an Auth with it, in
// every way there is: no session and no route may be left.
func TestRevokedInTheMiddleOfAuth(t *testing.T) {
	signOut := &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS}
	type scene struct {
		*plugintest.Host
		p    *account.Account
		desk *plugintest.Session // of the same person
		wait sync.WaitGroup      // for what goes on aside
	}
	for _, test := range []struct {
		name   string
		shared bool
		revoke func(t *testing.T, s *scene)
	}{
		{"by a sign-out", false, func(t *testing.T, s *scene) {
			if err := s.desk.Call(idl.ActionSignOut, signOut, nil); err != nil {
				t.Error(err)
			}
		}},
		{"by a sign-in that displaces it", false, func(t *testing.T, s *scene) {
			if _, err := signIn(s.Host, "alice", "phone2", idl.DeviceMobile); err != nil {
				t.Error(err)
			}
		}},
		{"by a sign-in of the same device", false, func(t *testing.T, s *scene) {
			if _, err := signIn(s.Host, "alice", "phone", idl.DeviceMobile); err != nil {
				t.Error(err)
			}
		}},
		{"by a sign-out whose commit was not answered", false, func(t *testing.T, s *scene) {
			s.p.LoseAnswers(true, errors.New("planted fault"))
			if err := s.desk.Call(idl.ActionSignOut, signOut, nil); err == nil {
				t.Error("the sign-out knows that it was committed")
			}
		}},
		{"by a sign-out that has committed and does not know it yet", false, func(t *testing.T, s *scene) {
			committed := make(chan struct{})
			over, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			s.p.AfterCommit(sync.OnceFunc(func() {
				close(committed)
				<-over.Done()
			}))
			s.wait.Go(func() {
				if err := s.desk.Call(idl.ActionSignOut, signOut, nil); err != nil {
					t.Error(err)
				}
			})
			t.Cleanup(s.wait.Wait)
			t.Cleanup(cancel)
			<-committed
		}},
		{"by another core", true, func(t *testing.T, s *scene) {
			if _, err := s.DB().ExecContext(t.Context(), "DELETE FROM account_devices WHERE device_id = 'phone'"); err != nil {
				t.Error(err)
			}
		}},
	} {
		for _, when := range []string{"before its route", "after its route"} {
			t.Run(test.name+" "+when, func(t *testing.T) {
				there := &interrupted{Registry: presence.NewMemory()}
				s := &scene{p: account.Cheap()}
				s.Host = plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{s.p}, Presence: there})
				if test.shared {
					s.p.Shared()
				}
				alice := signUp(t, s.Host, "alice")
				s.desk = online(t, s.Host, "alice", "desk", idl.DeviceDesktop)
				secret := token(t, s.Host, "alice", "phone", idl.DeviceMobile)
				step := &there.before
				if when == "after its route" {
					step = &there.after
				}
				*step = func() { test.revoke(t, s) }
				session, _, err := auth(s.Host, secret)
				wantRefusal(t, err, idl.CodeUnauthenticated, "")
				if session.Identity().User != 0 {
					t.Error("the session is bound")
				}
				routes, err := s.Presence().Routes(t.Context(), alice)
				if err != nil || len(routes[0]) != 1 {
					t.Errorf("got routes %v, %v, want the desk's alone", routes, err)
				}
			})
		}
	}
}

// TestAuthLooksAgainWhereItMust: once at a token where nobody else revokes any and this
// core has not; else twice.
func TestAuthLooksAgainWhereItMust(t *testing.T) {
	for _, test := range []struct {
		name      string
		shared    bool
		meanwhile func(t *testing.T, h *plugintest.Host)
		want      int64
	}{
		{"nothing happens", false, nil, 1},
		{"another person signs in", false, func(t *testing.T, h *plugintest.Host) { token(t, h, "bob", "phone", idl.DeviceMobile) }, 1},
		{"the same person signs in elsewhere", false, func(t *testing.T, h *plugintest.Host) { token(t, h, "alice", "desk", idl.DeviceDesktop) }, 2},
		{"there are other cores", true, nil, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			there := &interrupted{Registry: presence.NewMemory()}
			p := account.Cheap()
			h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Presence: there})
			if test.shared || os.Getenv(plugintest.Stores) == "production" {
				test.want = 2
				p.Shared()
			}
			signUp(t, h, "alice")
			signUp(t, h, "bob")
			secret := token(t, h, "alice", "phone", idl.DeviceMobile)
			if test.meanwhile != nil {
				there.before = func() { test.meanwhile(t, h) }
			}
			var queries, tokens atomic.Int64
			p.CountLooks(&queries, &tokens)
			if _, _, err := auth(h, secret); err != nil {
				t.Fatal(err)
			}
			if queries.Load() != test.want {
				t.Errorf("got %d looks, want %d", queries.Load(), test.want)
			}
		})
	}
}

// TestLooksGather has many ask while the queries are held up: what comes meanwhile is
// asked together, everybody gets his own answer, and who has given up is not asked for.
func TestLooksGather(t *testing.T) {
	const people = 300
	p := account.Cheap()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
	secrets := file(t, h, people)
	var queries, tokens atomic.Int64
	p.CountLooks(&queries, &tokens)
	ready := make(chan struct{})
	p.HoldLooks(ready)
	gone, cancel := context.WithCancel(t.Context())
	var calls, leavers sync.WaitGroup
	for i := range 2 * people {
		secret, want := "no such token", idl.CodeUnauthenticated
		if i%2 == 0 {
			secret, want = secrets[i/2], 0
		}
		calls.Go(func() {
			var rep accountpb.AuthReply
			err := h.Connect(idl.CodecProtobuf).Call(idl.ActionAuth, &accountpb.AuthRequest{Token: secret}, &rep)
			switch {
			case want != 0 && im.CodeOf(err) != want, want == 0 && err != nil:
				t.Errorf("call %d: got %v, want code %v", i, err, want)
			case want == 0 && rep.UserId != int64(100_001+i/2):
				t.Errorf("call %d: got user %d", i, rep.UserId)
			}
		})
	}
	for range 50 {
		leavers.Go(func() {
			s := h.Connect(idl.CodecProtobuf)
			if err := s.CallContext(gone, idl.ActionAuth, &accountpb.AuthRequest{Token: secrets[0]}, nil); err == nil {
				t.Error("a call whose time was up got through")
			}
		})
	}
	cancel()
	leavers.Wait()
	for end := time.Now().Add(time.Minute); p.LooksWaiting() < people && time.Now().Before(end); {
		runtime.Gosched()
	}
	close(ready)
	calls.Wait()
	if n := queries.Load(); n > people {
		t.Errorf("%d tokens took %d queries", tokens.Load(), n)
	}
}

// TestLooksFailTogether: a directory that does not answer refuses those who ask with a
// time to come back, and the next ones are asked for again.
func TestLooksFailTogether(t *testing.T) {
	p := account.Cheap()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
	secrets := file(t, h, 20)
	for _, fault := range []func() error{
		func() error { return errors.New("planted fault") },
		func() error { panic("planted fault") },
	} {
		restore := p.FailLooks(fault)
		var calls sync.WaitGroup
		for _, secret := range secrets {
			calls.Go(func() {
				_, _, err := auth(h, secret)
				wantRefusal(t, err, idl.CodeUnavailable, "")
			})
		}
		calls.Wait()
		restore()
		for _, secret := range secrets {
			if _, _, err := auth(h, secret); err != nil {
				t.Error(err)
			}
		}
	}
}
