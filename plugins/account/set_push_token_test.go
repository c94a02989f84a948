package account_test

import (
	"fmt"
	"strings"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
)

func setPush(s *plugintest.Session, provider, token string) error {
	return s.Call(idl.ActionSetPushToken, &accountpb.SetPushTokenRequest{Provider: provider, Token: token}, nil)
}

// pushTokens is what the service says, as "device type provider token" lines.
func pushTokens(t *testing.T, h *plugintest.Host, u im.UserID) string {
	t.Helper()
	service, _ := h.Service("account.push")
	var all []string
	err := service.(plugin.PushTokens).PushTokens(t.Context(), []im.UserID{u, u + 1000}, func(of im.UserID, d im.DeviceID, kind idl.DeviceType, provider, token string) {
		if of != u {
			t.Errorf("told of a device of %d", of)
		}
		all = append(all, fmt.Sprint(d, " ", idl.DeviceTypeName(kind), " ", provider, " ", token))
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func TestPushTokens(t *testing.T) {
	h := start(t)
	alice, bob := signUp(t, h, "alice"), signUp(t, h, "bob")
	phone, web := online(t, h, "alice", "phone", idl.DeviceMobile), online(t, h, "alice", "web", idl.DeviceWeb)
	want := func(u im.UserID, text string) {
		t.Helper()
		if got := pushTokens(t, h, u); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	set := func(s *plugintest.Session, provider, token string) {
		t.Helper()
		if err := setPush(s, provider, token); err != nil {
			t.Fatal(err)
		}
	}
	want(alice, "")
	set(phone, "apns", "aa")
	set(phone, "apns", "aa")
	set(web, "webpush", `{"endpoint":"https://push.example/x"}`)
	want(alice, "web web webpush {\"endpoint\":\"https://push.example/x\"}\nphone mobile apns aa")
	set(web, "", "")
	want(alice, "phone mobile apns aa")
	set(phone, "fcm", "bb")
	want(alice, "phone mobile fcm bb")
	set(online(t, h, "bob", "phone", idl.DeviceMobile), "fcm", "bb") // the same phone, another person
	want(alice, "")
	want(bob, "phone mobile fcm bb")
	set(phone, "fcm", "bb")
	token(t, h, "alice", "phone", idl.DeviceMobile) // signing in anew ends what was said before
	want(alice, "")
}

func TestPushTokenRefusals(t *testing.T) {
	h := start(t)
	signUp(t, h, "alice")
	s := online(t, h, "alice", "phone", idl.DeviceMobile)
	for _, test := range []struct{ name, provider, token, field string }{
		{"no provider", "", "x", "provider"},
		{"provider in capitals", "APNS", "x", "provider"},
		{"long provider", strings.Repeat("x", 17), "x", "provider"},
		{"no token", "apns", "", "token"},
		{"long token", "apns", strings.Repeat("x", 1025), "token"},
		{"control character", "apns", "x\n", "token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantRefusal(t, setPush(s, test.provider, test.token), idl.CodeInvalidArgument, test.field)
		})
	}
	secondOf := h.As(s.Identity().User+1, "gone", idl.CodecJSON)
	wantRefusal(t, setPush(secondOf, "apns", "x"), idl.CodeUnauthenticated, "")
}
