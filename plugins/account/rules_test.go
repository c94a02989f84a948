package account_test

import (
	"errors"
	"runtime"
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

// TestRulesOnSignIns: hooks in Lua are asked when the credentials are right, and leave
// no trace of whom they refuse. They see no secret.
func TestRulesOnSignIns(t *testing.T) {
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{account.Cheap()}, Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_login(function(c)
	assert(c.user and c.device and not pcall(function() return c.req.password or c.req.token end))
	if c.device == "tab" and c.action == "account.sign_in" then return im.deny("rejected", "no tabs") end
	if c.device == "tv" and c.action == "account.auth" then return im.throttle(1500, "later") end
end, {name = "login", on_error = "closed"})
im.on_sign_up(function(c) if c.req.account == "mallory" then return im.deny("rejected", "not you") end end, {name = "sign_up", on_error = "closed"})
im.after("account.sign_in", function(c) im.log.info("signed in: " .. c.code .. " " .. tostring(c.reply and c.reply.user_id)) end, {name = "after"})`}})
	alice := signUp(t, h, "alice")
	err := h.Connect(idl.CodecJSON).Call(idl.ActionSignUp, &accountpb.SignUpRequest{Account: "mallory", Password: password}, nil)
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRejected {
		t.Errorf("got %v", err)
	}
	in := func(pass, device string) (*accountpb.SignInReply, error) {
		rep := new(accountpb.SignInReply)
		return rep, h.Connect(idl.CodecProtobuf).Call(idl.ActionSignIn, &accountpb.SignInRequest{Account: "alice", Password: pass,
			Device: &accountpb.Device{Id: device, Type: idl.DeviceWeb, Name: device}}, rep)
	}
	_, err = in(password, "tab")
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRejected || refused.Reason != "no tabs" {
		t.Errorf("got %v", err)
	}
	_, err = in("wrong password", "tab")
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeBadCredentials {
		t.Errorf("got %v, want the credentials to be judged first", err)
	}
	rep, err := in(password, "tv")
	if err != nil || rep.UserId != int64(alice) {
		t.Fatal(rep, err)
	}
	s := h.Connect(idl.CodecJSON)
	err = s.Call(idl.ActionAuth, &accountpb.AuthRequest{Token: rep.Token}, nil)
	if refused, ok := errors.AsType[*im.Error](err); !ok || refused.Code != idl.CodeRateLimited || refused.RetryAfter != 1500*time.Millisecond {
		t.Errorf("got %v", err)
	}
	if s.Identity().User != 0 {
		t.Error("a refused session was bound")
	}
	for _, want := range []string{"signed in: rejected nil", "signed in: bad_credentials nil", "signed in: ok " + alice.String()} {
		deadline := time.Now().Add(time.Minute)
		for !strings.Contains(h.Logs(), want) {
			if time.Now().After(deadline) {
				t.Fatalf("the after hook did not say %q", want)
			}
			runtime.Gosched()
		}
	}
}

// A sign-in that races with a new hash of the password is tried again, and its person
// is judged once: rules may count.
func TestRulesAreAskedOncePerSignIn(t *testing.T) {
	p := account.Cheap()
	h := plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{p}, Scripts: map[string]string{"a.lua": `local im = require("im")
im.on_login(function(c) if im.count.window("logins", "1h") > 1 then return im.deny("rejected", "twice") end end, {name = "login", on_error = "closed"})`}})
	signUp(t, h, "alice")
	p.ChangeMeanwhile(2)
	if _, err := signIn(h, "alice", "phone", idl.DeviceMobile); err != nil {
		t.Errorf("got %v", err)
	}
}
