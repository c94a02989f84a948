package account_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

func retryAfter(t *testing.T, err error) time.Duration {
	t.Helper()
	refused, ok := errors.AsType[*im.Error](err)
	if !ok || refused.RetryAfter <= 0 {
		t.Fatalf("got %v, want a refusal that says when to try again", err)
	}
	return refused.RetryAfter
}

func TestSignInFields(t *testing.T) {
	device := func(id string, kind idl.DeviceType, name string) *accountpb.Device {
		return &accountpb.Device{Id: id, Type: kind, Name: name}
	}
	good := device("Pixel-9.a_Z", idl.DeviceMobile, strings.Repeat("界", 64))
	for _, test := range []struct {
		name  string
		req   *accountpb.SignInRequest
		code  idl.Code // 0: accepted
		field string
	}{
		{"good", &accountpb.SignInRequest{Account: "alice", Password: password, Device: good}, 0, ""},
		{"capitals", &accountpb.SignInRequest{Account: "ALICE", Password: password, Device: good}, 0, ""},
		{"longest device ID", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device(strings.Repeat("x", 64), idl.DeviceTablet, "")}, 0, ""},
		{"nothing", &accountpb.SignInRequest{}, idl.CodeInvalidArgument, "account"},
		{"no name that can be", &accountpb.SignInRequest{Account: "a b", Password: password, Device: good}, idl.CodeInvalidArgument, "account"},
		{"no password", &accountpb.SignInRequest{Account: "alice", Device: good}, idl.CodeInvalidArgument, "password"},
		{"long password", &accountpb.SignInRequest{Account: "alice", Password: strings.Repeat("x", 129), Device: good}, idl.CodeInvalidArgument, "password"},
		{"no device", &accountpb.SignInRequest{Account: "alice", Password: password}, idl.CodeInvalidArgument, "device"},
		{"no device ID", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device("", idl.DeviceWeb, "")}, idl.CodeInvalidArgument, "device.id"},
		{"long device ID", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device(strings.Repeat("x", 65), idl.DeviceWeb, "")}, idl.CodeInvalidArgument, "device.id"},
		{"device ID with a space", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device("a b", idl.DeviceWeb, "")}, idl.CodeInvalidArgument, "device.id"},
		{"device ID with other letters", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device("gerät", idl.DeviceWeb, "")}, idl.CodeInvalidArgument, "device.id"},
		{"unknown type", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device("x", idl.DeviceUnknown, "")}, idl.CodeInvalidArgument, "device.type"},
		{"invented type", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device("x", 5, "")}, idl.CodeInvalidArgument, "device.type"},
		{"negative type", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device("x", -1, "")}, idl.CodeInvalidArgument, "device.type"},
		{"long device name", &accountpb.SignInRequest{Account: "alice", Password: password, Device: device("x", idl.DeviceWeb, strings.Repeat("x", 65))}, idl.CodeInvalidArgument, "device.name"},
		{"wrong password", &accountpb.SignInRequest{Account: "alice", Password: "correct horsE", Device: good}, idl.CodeBadCredentials, ""},
		{"short wrong password", &accountpb.SignInRequest{Account: "alice", Password: "x", Device: good}, idl.CodeBadCredentials, ""},
		{"unknown account", &accountpb.SignInRequest{Account: "nobody", Password: password, Device: good}, idl.CodeBadCredentials, ""},
	} {
		for _, codec := range codecs {
			t.Run(test.name+" in "+codec.String(), func(t *testing.T) {
				h := start(t)
				alice := signUp(t, h, "alice")
				var rep accountpb.SignInReply
				err := h.Connect(codec).Call(idl.ActionSignIn, test.req, &rep)
				if test.code != 0 {
					wantRefusal(t, err, test.code, test.field)
				} else if err != nil || rep.UserId != int64(alice) || len(rep.Token) < 43 || len(rep.KickedDeviceIds) > 0 {
					t.Errorf("got %+v and %v, want a token of user %d", &rep, err, alice)
				}
			})
		}
	}
}

func TestUnknownAndWrongAreToldTheSame(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	try := func(name string) error {
		return h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: name, Password: "wrong password",
			Device: &accountpb.Device{Id: "d", Type: idl.DeviceWeb}}, nil)
	}
	if known, unknown := try("alice"), try("nobody"); known.Error() != unknown.Error() {
		t.Errorf("got %q and %q, want the same", known, unknown)
	}
}

func TestPasswordsThatLookTheSameAreTheSame(t *testing.T) {
	h := start(t)
	composed, decomposed := "sch\u00f6nes Wort", "scho\u0308nes Wort"
	if err := h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: "alice", Password: composed}, nil); err != nil {
		t.Fatal(err)
	}
	err := h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: "alice", Password: decomposed,
		Device: &accountpb.Device{Id: "d", Type: idl.DeviceWeb}}, nil)
	if err != nil {
		t.Errorf("the same password typed on another keyboard: %v", err)
	}
}

func TestKickPolicy(t *testing.T) {
	type signedIn struct {
		device string
		kind   idl.DeviceType
	}
	for _, test := range []struct {
		name   string
		before []signedIn
		fresh  signedIn
		kicked []string // as the reply names them
		closed []string // whose sessions end
	}{
		{"first device", nil, signedIn{"phone", idl.DeviceMobile}, nil, nil},
		{"other type stays", []signedIn{{"desk", idl.DeviceDesktop}}, signedIn{"phone", idl.DeviceMobile}, nil, nil},
		{"same type goes", []signedIn{{"old", idl.DeviceMobile}, {"desk", idl.DeviceDesktop}}, signedIn{"new", idl.DeviceMobile}, []string{"old"}, []string{"old"}},
		{"same device anew", []signedIn{{"phone", idl.DeviceMobile}, {"desk", idl.DeviceDesktop}}, signedIn{"phone", idl.DeviceMobile}, nil, []string{"phone"}},
		{"same device as another type", []signedIn{{"one", idl.DeviceWeb}, {"two", idl.DeviceDesktop}, {"three", idl.DeviceTablet}}, signedIn{"one", idl.DeviceDesktop}, []string{"two"}, []string{"one", "two"}},
		{"letter case tells devices apart", []signedIn{{"phone", idl.DeviceMobile}}, signedIn{"Phone", idl.DeviceTablet}, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t)
			signUp(t, h, "alice")
			sessions := map[string]*plugintest.Session{}
			for _, d := range test.before {
				sessions[d.device] = online(t, h, "alice", d.device, d.kind)
			}
			rep, err := signIn(h, "alice", test.fresh.device, test.fresh.kind)
			if err != nil || !slices.Equal(rep.KickedDeviceIds, test.kicked) {
				t.Fatalf("got kicked %q and %v, want %q", rep.KickedDeviceIds, err, test.kicked)
			}
			for device, s := range sessions {
				var reason idl.CloseReason
				if slices.Contains(test.closed, device) {
					reason = idl.CloseKicked
				}
				wantClosed(t, device, s, reason)
			}
		})
	}
}

func TestSignInOnItsOwnSessionIsAnsweredFirst(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	s := online(t, h, "alice", "phone", idl.DeviceMobile)
	var rep accountpb.SignInReply
	err := s.Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: "alice", Password: password,
		Device: &accountpb.Device{Id: "phone", Type: idl.DeviceMobile}}, &rep)
	if err != nil || rep.Token == "" {
		t.Fatalf("got %v", err)
	}
	wantClosed(t, "the caller", s, idl.CloseKicked)
}

func TestSecretsAreNotStoredNorLogged(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	secret := token(t, h, "alice", "phone", idl.DeviceMobile)
	if _, _, err := auth(h, secret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := auth(h, secret+"x"); err == nil {
		t.Fatal("a token with something behind it is let in")
	}
	if n := count(t, h, "SELECT count(*) FROM account_devices WHERE token_hash = ?", secret); n != 0 {
		t.Error("the token itself is stored")
	}
	if n := count(t, h, "SELECT count(*) FROM account_devices WHERE length(token_hash) = 64"); n != 1 {
		t.Errorf("%d hashes of tokens are stored, want 1", n)
	}
	if n := count(t, h, "SELECT count(*) FROM account_users WHERE password LIKE '$argon2id$v=19$m=64,t=1,p=1$%'"); n != 1 {
		t.Errorf("%d hashes of passwords are stored, want 1", n)
	}
	for _, word := range []string{secret, password} {
		if strings.Contains(h.Logs(), word) {
			t.Error("a secret is in the log")
		}
	}
}

func TestRaisedCostReachesTheAccountAtItsNextSignIn(t *testing.T) {
	dir := t.TempDir()
	h := plugintest.New(t, plugintest.Options{Dir: dir, Plugins: []plugin.Plugin{account.Cheap()}})
	signUp(t, h, "alice")
	token(t, h, "alice", "phone", idl.DeviceMobile)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	dearer := func(c *account.Config) { c.PasswordMemoryKiB, c.PasswordPasses = 128, 2 }
	h = plugintest.New(t, plugintest.Options{Dir: dir, Plugins: []plugin.Plugin{account.Cheap(dearer)}})
	renewed := func() int {
		return count(t, h, "SELECT count(*) FROM account_users WHERE password LIKE '%m=128,t=2,p=1%'")
	}
	wantRefusal(t, h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: "alice", Password: "wrong password",
		Device: &accountpb.Device{Id: "d", Type: idl.DeviceWeb}}, nil), idl.CodeBadCredentials, "")
	if renewed() != 0 {
		t.Error("a failed sign-in renewed the hash")
	}
	token(t, h, "alice", "phone", idl.DeviceMobile)
	if renewed() != 1 {
		t.Error("a sign-in did not renew the hash")
	}
	token(t, h, "alice", "phone", idl.DeviceMobile) // with the new hash
}

func TestFailedSignInsAreLimited(t *testing.T) {
	attempt := func(h *plugintest.Host, name, password, address string) error {
		return h.Connect(idl.CodecJSON).From(address).Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: name, Password: password,
			Device: &accountpb.Device{Id: "d", Type: idl.DeviceWeb}}, nil)
	}
	for _, test := range []struct {
		name            string
		account         func(i int) string
		address         func(i int) string
		other, otherWay string // who is not affected, and from where
	}{
		{"by account", func(int) string { return "alice" }, func(i int) string { return fmt.Sprintf("198.51.100.%d:1", i) }, "bob", "203.0.113.9:1"},
		{"by unknown account", func(int) string { return "nobody" }, func(i int) string { return fmt.Sprintf("198.51.100.%d:1", i) }, "bob", "203.0.113.9:1"},
		{"by address", func(i int) string { return fmt.Sprintf("name%d", i) }, func(i int) string { return fmt.Sprintf("198.51.100.1:%d", i) }, "bob", "203.0.113.9:1"},
		{"by network", func(i int) string { return fmt.Sprintf("name%d", i) }, func(i int) string { return fmt.Sprintf("[2001:db8::%d]:9", i) }, "bob", "[2001:db8:0:1::1]:9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t)
			signUp(t, h, "alice")
			signUp(t, h, "bob")
			for i := range 10 {
				wantRefusal(t, attempt(h, test.account(i), "wrong password", test.address(i)), idl.CodeBadCredentials, "")
			}
			err := attempt(h, test.account(11), password, test.address(11))
			wantRefusal(t, err, idl.CodeRateLimited, "")
			if err := attempt(h, test.other, password, test.otherWay); err != nil {
				t.Errorf("somebody else is refused: %v", err)
			}
			h.Advance(retryAfter(t, err) - time.Millisecond)
			wantRefusal(t, attempt(h, test.account(12), password, test.address(12)), idl.CodeRateLimited, "")
			h.Advance(time.Millisecond)
			if code := im.CodeOf(attempt(h, test.account(13), "wrong password", test.address(13))); code != idl.CodeBadCredentials {
				t.Errorf("after the advised wait: got %v, want one more try", code)
			}
			wantRefusal(t, attempt(h, test.account(14), password, test.address(14)), idl.CodeRateLimited, "")
		})
	}
}

func TestSuccessesAreNotLimitedAndDoNotReset(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	for range 30 {
		token(t, h, "alice", "phone", idl.DeviceMobile)
	}
	wrong := &accountpb.SignInRequest{Account: "alice", Password: "wrong password", Device: &accountpb.Device{Id: "d", Type: idl.DeviceWeb}}
	for range 9 {
		wantRefusal(t, h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, wrong, nil), idl.CodeBadCredentials, "")
	}
	token(t, h, "alice", "phone", idl.DeviceMobile)
	wantRefusal(t, h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, wrong, nil), idl.CodeBadCredentials, "")
	wantRefusal(t, h.Connect(idl.CodecJSON).Call(idl.ActionSignIn, wrong, nil), idl.CodeRateLimited, "")
}
