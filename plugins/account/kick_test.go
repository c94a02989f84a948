package account_test

import (
	"context"
	"errors"
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

// moody is a registry that does not answer while away.
type moody struct {
	presence.Registry
	away atomic.Bool
}

func (m *moody) Register(ctx context.Context, r presence.Route) ([]presence.Route, bool, error) {
	if m.away.Load() {
		return nil, false, errors.New("away")
	}
	return m.Registry.Register(ctx, r)
}

func (m *moody) Routes(ctx context.Context, users ...im.UserID) ([][]presence.Route, error) {
	if m.away.Load() {
		return nil, errors.New("away")
	}
	return m.Registry.Routes(ctx, users...)
}

// TestEndedDevicesHaveNoRoute: a kick may be lost on its way to the edge, so the
// routes go too: the next census asks about a session that has none.
func TestEndedDevicesHaveNoRoute(t *testing.T) {
	registry := &moody{Registry: presence.NewMemory()}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Presence: registry})
	alice := signUp(t, h, "alice")
	here, web := online(t, h, "alice", "phone", idl.DeviceMobile), online(t, h, "alice", "web", idl.DeviceWeb)
	signOut := func(device string) {
		t.Helper()
		req := &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_DEVICE, DeviceId: device}
		if err := here.Call(idl.ActionSignOut, req, nil); err != nil {
			t.Fatal(err)
		}
	}
	devices := func() (names []im.DeviceID) {
		routes, err := registry.Registry.Routes(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range routes[0] {
			names = append(names, r.Device)
		}
		return names
	}
	signOut("web")
	wantClosed(t, "web", web, idl.CloseSignedOut)
	if got := devices(); len(got) != 1 || got[0] != "phone" {
		t.Errorf("routes after the sign-out: got %q, want the phone's", got)
	}

	// While presence does not answer, sessions are looked for until it does.
	desk := online(t, h, "alice", "desk", idl.DeviceDesktop)
	registry.away.Store(true)
	signOut("desk")
	wantClosed(t, "desk", desk, 0)
	registry.away.Store(false)
	for late := time.Now().Add(20 * time.Second); desk.Closed() == nil || len(devices()) != 1; {
		if time.Now().After(late) {
			t.Fatal("the session of the ended device stays")
		}
	}
	wantClosed(t, "desk", desk, idl.CloseSignedOut)
	signOut("phone")
	wantClosed(t, "phone", here, idl.CloseSignedOut)
	if got := devices(); len(got) != 0 {
		t.Errorf("routes after signing oneself out: got %q", got)
	}
}

// TestPresenceAway: presence that does not answer keeps nobody out; the session
// has no route then, which its edge's census makes.
func TestPresenceAway(t *testing.T) {
	registry := &moody{Registry: presence.NewMemory()}
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Presence: registry})
	alice := signUp(t, h, "alice")
	registry.away.Store(true)
	s := online(t, h, "alice", "phone", idl.DeviceMobile)
	if id := s.Identity(); id.User != alice || id.Device != "phone" {
		t.Errorf("bound to %+v", id)
	}
	registry.away.Store(false)
	if routes, err := registry.Routes(t.Context(), alice); err != nil || len(routes[0]) != 0 {
		t.Errorf("got routes %+v, %v", routes, err)
	}
	wantClosed(t, "phone", s, 0)
}
