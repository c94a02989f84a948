package hooks_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/hooks"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/chatpb"
	"freeim/scripts/engine"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a dispatcher with one action that echoes, and the rules in source.
func scripted(t testing.TB, source string) (*dispatch.Dispatcher, *hooks.Rules) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.lua"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	r := plugin.NewRegistrar("chat")
	plugin.Handle(r, idl.ActionMessage, "send",
		func(_ context.Context, call *plugin.Call, req *chatpb.SendRequest) (*chatpb.SendReply, error) {
			return &chatpb.SendReply{Text: req.Text + req.ClientId}, nil
		},
		plugin.Message[chatpb.SendRequest, chatpb.SendReply](func(_ *plugin.Call, req *chatpb.SendRequest) plugin.Reviewed {
			return plugin.Reviewed{Conversation: im.ChatOf(1, 2), Kind: "text", Text: &req.Text}
		}),
		plugin.Rewrite[chatpb.SendRequest, chatpb.SendReply]("client_id", 5))
	rules := hooks.New()
	if err := rules.Open(r.Specs(), engine.Options{Dir: dir, Log: slog.New(slog.DiscardHandler),
		Wall: time.Second, ChainWall: 2 * time.Second, LoadWall: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rules.Close() })
	d, err := dispatch.New(dispatch.Options{Specs: r.Specs(), Hooks: rules})
	if err != nil {
		t.Fatal(err)
	}
	return d, rules
}

func do(t testing.TB, d *dispatch.Dispatcher, req *chatpb.SendRequest) (*chatpb.SendReply, *plugin.Call, bool) {
	t.Helper()
	body, err := idl.Append(nil, idl.CodecProtobuf, req)
	if err != nil {
		t.Fatal(err)
	}
	call := &plugin.Call{Action: idl.ActionMessage, Codec: idl.CodecProtobuf, User: 17, Device: "d1", DeviceType: idl.DeviceWeb,
		Address: "192.0.2.1:4", Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	reply := d.Do(t.Context(), call, body)
	var rep chatpb.SendReply
	if reply.Action == idl.ActionError {
		return &rep, call, false
	}
	if err := idl.Decode(reply.Body, idl.CodecProtobuf, &rep); err != nil {
		t.Fatal(err)
	}
	return &rep, call, true
}

func TestHooksThroughDispatch(t *testing.T) {
	d, rules := scripted(t, `local im = require("im")
im.before("chat.*", function(c)
	c.req.client_id = "id"
	if c.req.to_user_id == "9007199254740991" then return im.deny("rejected", "no") end
end, {name = "before", on_error = "closed"})
im.on_message(function(c)
	c.text = table.concat({c.action, c.user, c.device, c.device_type, c.client_addr, c.trace, c.conversation, c.conversation_type, c.kind, tostring(c.language)}, " ")
end, {name = "message", on_error = "closed"})`)
	rep, call, ok := do(t, d, &chatpb.SendRequest{Text: "hi", ClientId: "m1"})
	if want := "chat.send 17 d1 web 192.0.2.1:4 0af7651916cd43dd8448eb211c80319c " + string(im.ChatOf(1, 2)) + " chat text nilid"; !ok || rep.Text != want {
		t.Errorf("got %q, want %q", rep.Text, want)
	}
	if pin, ok := call.Pin.(engine.Pin); !ok || pin.Bundle() != rules.Engine().Status().Bundle {
		t.Errorf("got pin %v", call.Pin)
	}
	if rules.Bundle(call) != rules.Engine().Status().Bundle {
		t.Errorf("got bundle %q", rules.Bundle(call))
	}
	if _, call, ok := do(t, d, &chatpb.SendRequest{Text: "hi", ToUserId: 1<<53 - 1}); ok || !strings.HasPrefix(call.Rule, "before@a.lua:") {
		t.Errorf("got %v, refused by %q", ok, call.Rule)
	}
}

// A rule may not make a text of what people may not write: the hook fails.
func TestRulesKeepToWhatPeopleMayWrite(t *testing.T) {
	d, _ := scripted(t, `local im = require("im")
im.before("chat.*", function(c) if c.text:find("^id ") then c.req.client_id = c.text:sub(4) end end, {name = "request", on_error = "closed"})
im.on_message(function(c) if c.text:find("^text ") then c.text = c.text:sub(6) end end, {name = "message", on_error = "closed"})
im.on_message(function(c) if c.text:find("^open ") then c.text = c.text:sub(6) end end, {name = "open", on_error = "open"})`)
	for _, row := range []struct{ text, want string }{
		{"text a\n\tb", "a\n\tb!"},
		{"text a\x1bb", ""}, // refused, as by any hook that fails
		{"text a\u202eb", ""},
		{"id a\u202eb", ""},
		{"id ab", "id abab"},
		{"open a\x1bb", "open a\x1bb!"}, // goes on without
	} {
		rep, _, ok := do(t, d, &chatpb.SendRequest{Text: row.text, ClientId: "!"})
		if ok != (row.want != "") || rep.Text != row.want {
			t.Errorf("%q: got %q, %v, want %q", row.text, rep.Text, ok, row.want)
		}
	}
}

// What no hook is for costs next to nothing.
func TestNoHookCostsNothing(t *testing.T) {
	_, rules := scripted(t, `local im = require("im")
im.before("chat.send", function(c) end, {name = "before", on_error = "closed"})`)
	call := &plugin.Call{Name: "room.send"}
	if n := testing.AllocsPerRun(1000, func() {
		call.Pin = nil
		rules.Answered(call, "ok")
		if rules.Wants(call, false) {
			t.Fatal("a hook for another action")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNoHookForTheAction(b *testing.B) {
	_, rules := scripted(b, `local im = require("im")
im.before("chat.send", function(c) end, {name = "before", on_error = "closed"})`)
	call := &plugin.Call{Name: "chat.history"}
	b.ReportAllocs()
	for b.Loop() {
		call.Pin = nil
		if rules.Wants(call, false) {
			b.Fatal("a hook for another action")
		}
	}
}
