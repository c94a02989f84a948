package account_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

const newPassword = "battery staple"

func changePassword(s *plugintest.Session, old, next string, all bool) ([]string, error) {
	var rep accountpb.ChangePasswordReply
	err := s.Call(idl.ActionChangePassword, &accountpb.ChangePasswordRequest{Password: old, NewPassword: next, SignOutAll: all}, &rep)
	slices.Sort(rep.DeviceIds)
	return rep.DeviceIds, err
}

// signInWith signs a web device in with a password.
func signInWith(h *plugintest.Host, name, secret string) error {
	req := &accountpb.SignInRequest{Account: name, Password: secret, Device: &accountpb.Device{Id: "other", Type: idl.DeviceTablet}}
	return h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, req, nil)
}

func TestChangePassword(t *testing.T) {
	for _, test := range []struct {
		name      string
		old, next string
		all       bool
		code      idl.Code // 0: changed
		field     string
		ended     string
	}{
		{"others end", password, newPassword, false, 0, "", "desk web"},
		{"all end", password, newPassword, true, 0, "", "desk phone web"},
		{"wrong", "wrong horse", newPassword, false, idl.CodeBadCredentials, "", ""},
		{"no old one", "", newPassword, false, idl.CodeInvalidArgument, "password", ""},
		{"short", password, "1234567", false, idl.CodeInvalidArgument, "new_password", ""},
		{"long", password, strings.Repeat("x", 129), false, idl.CodeInvalidArgument, "new_password", ""},
		{"the same", password, password, false, idl.CodeInvalidArgument, "new_password", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t)
			signUp(t, h, "alice")
			phone := online(t, h, "alice", "phone", idl.DeviceMobile)
			desk := online(t, h, "alice", "desk", idl.DeviceDesktop)
			secret := token(t, h, "alice", "web", idl.DeviceWeb)
			ended, err := changePassword(phone, test.old, test.next, test.all)
			if test.code != 0 {
				wantRefusal(t, err, test.code, test.field)
				wantClosed(t, "desk", desk, 0)
				if err := signInWith(h, "alice", password); err != nil {
					t.Errorf("the old password: %v", err)
				}
				return
			}
			if err != nil || strings.Join(ended, " ") != test.ended {
				t.Fatalf("ended %q, %v", ended, err)
			}
			wantClosed(t, "desk", desk, idl.CloseSignedOut)
			own := idl.CloseReason(0)
			if test.all {
				own = idl.CloseSignedOut
			}
			wantClosed(t, "phone", phone, own)
			_, _, err = auth(h, secret)
			wantRefusal(t, err, idl.CodeUnauthenticated, "")
			wantRefusal(t, signInWith(h, "alice", password), idl.CodeBadCredentials, "")
			if err := signInWith(h, "alice", newPassword); err != nil {
				t.Errorf("the new password: %v", err)
			}
		})
	}
}

func TestChangePasswordIsLimitedLikeSignIn(t *testing.T) {
	h := start(t, func(c *account.Config) { c.FailuresPerMinute = 3 })
	signUp(t, h, "alice")
	phone := online(t, h, "alice", "phone", idl.DeviceMobile)
	for range 3 {
		_, err := changePassword(phone, "wrong horse", newPassword, false)
		wantRefusal(t, err, idl.CodeBadCredentials, "")
	}
	_, err := changePassword(phone, password, newPassword, false)
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter <= 0 {
		t.Errorf("got %v, want to be told when to try again", err)
	}
	wantRefusal(t, signInWith(h, "alice", password), idl.CodeRateLimited, "") // one account, one count
}

// TestPasswordChangesMeanwhile: whoever changes it beside another is asked again.
func TestPasswordChangesMeanwhile(t *testing.T) {
	p := account.Cheap()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}})
	signUp(t, h, "alice")
	phone := online(t, h, "alice", "phone", idl.DeviceMobile)
	p.ChangeMeanwhile(2)
	if _, err := changePassword(phone, password, newPassword, false); err != nil {
		t.Errorf("changed at the third try: %v", err)
	}
	p.ChangeMeanwhile(3)
	_, err := changePassword(phone, newPassword, password, false)
	wantRefusal(t, err, idl.CodeUnavailable, "")
}

// TestChangePasswordRace has devices sign in with the old password while it is changed: none
// of their tokens and sessions may be left.
func TestChangePasswordRace(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	phone := online(t, h, "alice", "phone", idl.DeviceMobile)
	old, next := password, newPassword
	for round := range 30 {
		var wg sync.WaitGroup
		kinds := []idl.DeviceType{idl.DeviceDesktop, idl.DeviceWeb, idl.DeviceTablet}
		sessions := make([]*plugintest.Session, len(kinds))
		for i, kind := range kinds {
			wg.Go(func() {
				var rep accountpb.SignInReply
				req := &accountpb.SignInRequest{Account: "alice", Password: old, Device: &accountpb.Device{Id: kind.String(), Type: kind}}
				if h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, req, &rep) == nil {
					sessions[i], _, _ = auth(h, rep.Token)
				}
			})
		}
		_, err := changePassword(phone, old, next, false)
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
		old, next = next, old
		for i, s := range sessions {
			if s != nil && s.Identity().User != 0 && s.Closed() == nil {
				t.Errorf("round %d: the session of device %d rests on the old password", round, i)
			}
		}
		if n := count(t, h, "SELECT count(*) FROM account_devices WHERE user_id = ?", int64(alice)); n != 1 {
			t.Fatalf("round %d: %d devices are signed in", round, n)
		}
		h.Advance(time.Minute) // failed tries are forgotten
	}
}
