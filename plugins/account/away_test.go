package account_test

import (
	"errors"
	"testing"

	"freeim/core/im"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

// TestDirectoryAway closes the directory under the plugin: whatever is asked, the
// answer says when to come back, and nothing of what is wrong.
func TestDirectoryAway(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	secret := token(t, h, "alice", "phone", idl.DeviceMobile)
	here := online(t, h, "alice", "desk", idl.DeviceDesktop)
	if err := h.DB().Close(); err != nil {
		t.Fatal(err)
	}
	stranger := h.Connect(idl.CodecJSON)
	device := &accountpb.Device{Id: "web", Type: idl.DeviceWeb}
	for name, err := range map[string]error{
		"sign up":      stranger.Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: "bob", Password: password}, nil),
		"sign in":      stranger.Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: "alice", Password: password, Device: device}, nil),
		"auth":         stranger.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: secret}, nil),
		"list devices": here.Call(idl.ActionListDevices, nil, nil),
		"find user":    here.Call(idl.ActionFindUser, &accountpb.FindUserRequest{Account: "bob"}, nil),
		"sign out":     here.Call(idl.ActionSignOut, &accountpb.SignOutRequest{Scope: accountpb.SignOutScope_SIGN_OUT_SCOPE_ALL}, nil),
	} {
		refused, ok := errors.AsType[*im.Error](err)
		if !ok || refused.Code != idl.CodeUnavailable || refused.RetryAfter <= 0 || refused.Reason != "try again" {
			t.Errorf("%s: got %v, want UNAVAILABLE with a time", name, err)
		}
	}
	if stranger.Closed() != nil || here.Closed() != nil {
		t.Error("a session was ended")
	}
}
