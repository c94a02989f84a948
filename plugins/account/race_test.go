package account_test

import (
	"fmt"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// racer is one device's way: sign in, then pass Auth with what came of it.
type racer struct {
	token   string
	session *plugintest.Session
	err     error // of Auth
}

func race(h *plugintest.Host, name string, devices []string) []racer {
	racers := make([]racer, len(devices))
	var wg sync.WaitGroup
	for i, device := range devices {
		wg.Go(func() {
			rep, err := signIn(h, name, device, idl.DeviceMobile)
			if err != nil {
				racers[i].err = err
				return
			}
			racers[i].token = rep.Token
			racers[i].session, _, racers[i].err = auth(h, rep.Token)
		})
	}
	wg.Wait()
	return racers
}

// TestKickRace has two devices of one type sign in and pass Auth at the same
// time, many times: one token and one session must be left, and they must be the
// same device's.
func TestKickRace(t *testing.T) {
	const rounds = 200
	h := start(t)
	alice := signUp(t, h, "alice")
	for round := range rounds {
		racers := race(h, "alice", []string{fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)})
		checkOneLeft(t, h, alice, racers)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// TestKickRaceOfOneDevice is the same with one device that signs in twice.
func TestKickRaceOfOneDevice(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	for range 60 {
		checkOneLeft(t, h, alice, race(h, "alice", []string{"phone", "phone", "phone"}))
		if t.Failed() {
			return
		}
	}
}

func checkOneLeft(t *testing.T, h *plugintest.Host, alice im.UserID, racers []racer) {
	t.Helper()
	var live []*plugintest.Session
	valid := 0
	for _, r := range racers {
		if r.session == nil {
			t.Errorf("sign-in failed: %v", r.err)
			continue
		}
		if r.err != nil && im.CodeOf(r.err) != idl.CodeUnauthenticated {
			t.Errorf("auth: got %v, want success or UNAUTHENTICATED", r.err)
		}
		if r.err == nil && r.session.Closed() == nil {
			live = append(live, r.session)
		}
	}
	routes, err := h.Presence().Routes(t.Context(), alice)
	if err != nil || len(live) != 1 || len(routes[0]) != 1 {
		t.Errorf("got %d live sessions and %d routes, %v, want 1 and 1", len(live), len(routes[0]), err)
		return
	}
	if routes[0][0].TokenID != live[0].Identity().TokenID {
		t.Errorf("presence has sign-in %d, the live session rests on %d", routes[0][0].TokenID, live[0].Identity().TokenID)
	}
	if n := count(t, h, "SELECT count(*) FROM account_devices WHERE user_id = ? AND sign_in = ?", int64(alice), live[0].Identity().TokenID); n != 1 {
		t.Errorf("the live session rests on a sign-in that is not there")
	}
	for _, r := range racers {
		if s, _, err := auth(h, r.token); err == nil {
			valid++
			s.Close()
		}
	}
	if valid != 1 {
		t.Errorf("%d tokens are valid, want 1", valid)
	}
}

// TestSignOutRace has a device pass Auth again and again while another signs it
// out: no session may outlive its token.
func TestSignOutRace(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	desk := online(t, h, "alice", "desk", idl.DeviceDesktop)
	for round := range 60 {
		secret := token(t, h, "alice", "phone", idl.DeviceMobile)
		var wg sync.WaitGroup
		sessions := make([]*plugintest.Session, 4)
		for i := range sessions {
			wg.Go(func() { sessions[i], _, _ = auth(h, secret) })
		}
		err := desk.Call(idl.ActionSignOut, &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS}, nil)
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range sessions {
			if s.Identity().User != 0 && s.Closed() == nil {
				t.Errorf("session %d lives on without a token", i)
			}
		}
		if routes, err := h.Presence().Routes(t.Context(), alice); err != nil || len(routes[0]) != 1 {
			t.Fatalf("round %d: got %d routes, %v, want only the desk's", round, len(routes[0]), err)
		}
	}
}

// TestRacesUnderLimits has many devices sign in and pass Auth at the same time under other
// limits: of tokens and sessions as many must be left as may be, of the same devices.
func TestRacesUnderLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		beyond string
	}{{"kicked", "kick"}, {"refused", "refuse"}} {
		t.Run(test.name, func(t *testing.T) {
			const most = 3
			h := start(t, func(c *account.Config) {
				c.Devices = []account.DeviceLimit{{Types: []string{"mobile", "web"}, Most: most, Beyond: test.beyond}}
			})
			alice := signUp(t, h, "alice")
			for round := range 20 {
				racers := race(h, "alice", []string{"a", "b", "c", "d", "e", "f"})
				live, valid := 0, 0
				for _, r := range racers {
					if r.session == nil {
						if test.beyond == "kick" || im.CodeOf(r.err) != idl.CodeLimitExceeded {
							t.Errorf("sign-in: %v", r.err)
						}
						continue
					}
					if r.err == nil && r.session.Closed() == nil {
						live++
						if n := count(t, h, "SELECT count(*) FROM account_devices WHERE user_id = ? AND sign_in = ?", int64(alice), r.session.Identity().TokenID); n != 1 {
							t.Error("a live session rests on a sign-in that is not there")
						}
					}
				}
				valid = count(t, h, "SELECT count(*) FROM account_devices WHERE user_id = ?", int64(alice))
				if live != most || valid != most {
					t.Fatalf("round %d: %d sessions and %d tokens are left, want %d", round, live, valid, most)
				}
				for _, r := range racers {
					if r.session != nil && r.err == nil && r.session.Closed() == nil {
						if err := r.session.Call(idl.ActionSignOut, &accountpb.SignOutRequest{}, nil); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		})
	}
}
