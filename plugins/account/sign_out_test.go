package account_test

import (
	"slices"
	"strings"
	"testing"

	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

func TestSignOutScopes(t *testing.T) {
	const (
		this, device, others, all = accountpb.SignOutScope_SIGN_OUT_SCOPE_THIS, accountpb.SignOutScope_SIGN_OUT_SCOPE_DEVICE,
			accountpb.SignOutScope_SIGN_OUT_SCOPE_OTHERS, accountpb.SignOutScope_SIGN_OUT_SCOPE_ALL
	)
	for _, test := range []struct {
		name  string
		req   *accountpb.SignOutRequest
		out   []string // who is signed out, the newest first
		code  idl.Code
		field string
	}{
		{"this", &accountpb.SignOutRequest{}, []string{"phone"}, 0, ""},
		{"another device", &accountpb.SignOutRequest{Scope: device, DeviceId: "web"}, []string{"web"}, 0, ""},
		{"this device by name", &accountpb.SignOutRequest{Scope: device, DeviceId: "phone"}, []string{"phone"}, 0, ""},
		{"others", &accountpb.SignOutRequest{Scope: others}, []string{"web", "desk"}, 0, ""},
		{"all", &accountpb.SignOutRequest{Scope: all}, []string{"web", "desk", "phone"}, 0, ""},
		{"unknown device", &accountpb.SignOutRequest{Scope: device, DeviceId: "fridge"}, nil, idl.CodeNotFound, "device_id"},
		{"somebody else's device", &accountpb.SignOutRequest{Scope: device, DeviceId: "bobs"}, nil, idl.CodeNotFound, "device_id"},
		{"device without a name", &accountpb.SignOutRequest{Scope: device}, nil, idl.CodeInvalidArgument, "device_id"},
		{"device with a long name", &accountpb.SignOutRequest{Scope: device, DeviceId: strings.Repeat("x", 65)}, nil, idl.CodeInvalidArgument, "device_id"},
		{"this with a name", &accountpb.SignOutRequest{Scope: this, DeviceId: "web"}, nil, idl.CodeInvalidArgument, "device_id"},
		{"all with a name", &accountpb.SignOutRequest{Scope: all, DeviceId: "web"}, nil, idl.CodeInvalidArgument, "device_id"},
		{"invented scope", &accountpb.SignOutRequest{Scope: 4}, nil, idl.CodeInvalidArgument, "scope"},
		{"negative scope", &accountpb.SignOutRequest{Scope: -1}, nil, idl.CodeInvalidArgument, "scope"},
	} {
		for _, codec := range codecs {
			t.Run(test.name+" in "+codec.String(), func(t *testing.T) {
				h := start(t)
				signUp(t, h, "alice")
				signUp(t, h, "bob")
				secret := token(t, h, "alice", "phone", idl.DeviceMobile)
				phone := h.Connect(codec)
				if err := phone.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: secret}, nil); err != nil {
					t.Fatal(err)
				}
				sessions := map[string]*plugintest.Session{
					"phone": phone,
					"desk":  online(t, h, "alice", "desk", idl.DeviceDesktop),
					"web":   online(t, h, "alice", "web", idl.DeviceWeb),
					"bobs":  online(t, h, "bob", "bobs", idl.DeviceWeb),
				}
				var rep accountpb.SignOutReply
				err := phone.Call(idl.ActionSignOut, test.req, &rep)
				if test.code != 0 {
					wantRefusal(t, err, test.code, test.field)
				} else if err != nil || !slices.Equal(rep.DeviceIds, test.out) {
					t.Errorf("got %q and %v, want %q", rep.DeviceIds, err, test.out)
				}
				for device, s := range sessions {
					var reason idl.CloseReason
					if slices.Contains(test.out, device) {
						reason = idl.CloseSignedOut
					}
					wantClosed(t, device, s, reason)
				}
				if n := count(t, h, "SELECT count(*) FROM account_devices"); n != 4-len(test.out) {
					t.Errorf("%d devices are left, want %d", n, 4-len(test.out))
				}
			})
		}
	}
}

func TestSignedOutDeviceSignsNobodyElseOut(t *testing.T) {
	h := start(t)
	alice := signUp(t, h, "alice")
	online(t, h, "alice", "phone", idl.DeviceMobile)
	// A session whose kick has not reached it yet: its sign-in is not there.
	stale := h.As(alice, "stolen", idl.CodecJSON)
	if _, err := h.DB().ExecContext(t.Context(), "UPDATE account_devices SET sign_in = 7"); err != nil {
		t.Fatal(err)
	}
	err := stale.Call(idl.ActionSignOut, &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_ALL}, nil)
	wantRefusal(t, err, idl.CodeUnauthenticated, "")
	if n := count(t, h, "SELECT count(*) FROM account_devices"); n != 1 {
		t.Errorf("%d devices are left, want 1", n)
	}
}
