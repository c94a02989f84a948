package account_test

import (
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/accountpb"
	"freeim/plugins/account"
)

// The core is told whose a token is while it is valid; nobody is online by that.
func TestTokens(t *testing.T) {
	h := start(t, func(c *account.Config) { c.TokenIdle = time.Hour })
	service, _ := h.Service("account.tokens")
	tokens := service.(dispatch.Tokens)
	alice := signUp(t, h, "alice")
	good := token(t, h, "alice", "script", idl.DeviceDesktop)
	who, err := tokens.Identify(t.Context(), good)
	if err != nil || who.User != alice || who.Device != "script" || who.DeviceType != idl.DeviceDesktop || who.TokenID == 0 {
		t.Fatalf("got %+v, %v", who, err)
	}
	if err := tokens.Arrive(t.Context(), &plugin.Call{}, who); err != nil {
		t.Error(err)
	}
	routes, err := h.Presence().Routes(t.Context(), alice)
	if err != nil || len(routes[0]) > 0 {
		t.Errorf("got routes %v, %v, want none", routes, err)
	}
	for name, wrong := range map[string]string{"empty": "", "another": good[:len(good)-1] + "!", "long": good + good} {
		if _, err := tokens.Identify(t.Context(), wrong); im.CodeOf(err) != idl.CodeUnauthenticated {
			t.Errorf("%s: got %v", name, err)
		}
	}
	s, _, err := auth(h, good)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Call(idl.ActionSignOut, &accountpb.SignOutRequest{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Identify(t.Context(), good); im.CodeOf(err) != idl.CodeUnauthenticated {
		t.Errorf("signed out: got %v", err)
	}
}
