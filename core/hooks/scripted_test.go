package hooks_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"freeim/core/dispatch"
	"freeim/core/hooks"
	"freeim/core/im"
	"freeim/core/limit"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/kitex_gen/wirepb"
	"freeim/scripts/engine"
)

const greeting = `local im = require("im")
im.action("lua.greet", {number = 210, rate = "3/m", max_body = 60, rooms = true, request = {name = {type = "string", max = 10}}, reply = {text = {type = "string"}}}, function(c)
	if c.req.name == "broken" then error("x") end
	if not c:in_room("r_lobby") then return im.deny("permission_denied", "come in") end
	return {text = "hello " .. c.req.name .. " from " .. c.user}
end)
im.before("lua.*", function(c) if c.req.name == "nobody" then return im.deny("rejected", "no") end end, {name = "before", on_error = "closed"})
im.after("lua.*", function(c) im.log.info("after", {code = c.code, text = c.reply and c.reply.text}) end, {name = "after"})
`

func TestScriptedAction(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, greeting)
	var offered []plugin.Spec
	rules := hooks.New()
	rules.Offer = func(specs []plugin.Spec) { offered = specs }
	rules.Limiter = limit.New(1, time.Minute, nil)
	if err := rules.Open(nil, engine.Options{Dir: dir, Wall: time.Second, ChainWall: 2 * time.Second, ActionWall: time.Second, LoadWall: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rules.Close() })
	if len(offered) != 1 || offered[0].Name != "lua.greet" || offered[0].Action != 210 || offered[0].Rate != 3 || offered[0].Per != time.Minute || !offered[0].Rooms {
		t.Errorf("offered %+v", offered)
	}
	d, err := dispatch.New(dispatch.Options{Hooks: rules, Scripted: rules.Scripted})
	if err != nil {
		t.Fatal(err)
	}
	user := im.UserID(17)
	call := func(number idl.Action, codec idl.Codec, body idl.Message) (string, *wirepb.Error) {
		t.Helper()
		raw, err := idl.Append(nil, codec, body)
		if err != nil {
			t.Fatal(err)
		}
		call := &plugin.Call{Action: number, Codec: codec, User: user, Rooms: []im.ConversationID{"r_lobby"}, Address: "192.0.2.1:4"}
		if user == 18 {
			call.Rooms = nil
		}
		reply := d.Do(context.WithoutCancel(t.Context()), call, raw)
		if reply.Action == idl.ActionError {
			no := new(wirepb.Error)
			if err := idl.Decode(reply.Body, codec, no); err != nil {
				t.Fatal(err)
			}
			return "", no
		}
		var rep idl.Scripted
		if err := idl.Decode(reply.Body, codec, &rep); err != nil {
			t.Fatal(err)
		}
		return string(rep.JSON), nil
	}
	for _, codec := range []idl.Codec{idl.CodecJSON, idl.CodecProtobuf} {
		user = 17
		if got, no := call(210, codec, &idl.Scripted{JSON: []byte(`{"name":"you"}`)}); no != nil || got != `{"text":"hello you from 17"}` {
			t.Errorf("%v: got %s, %+v", codec, got, no)
		}
		for name, row := range map[string]struct {
			user   im.UserID
			number idl.Action
			body   string
			code   idl.Code
			field  string
		}{
			"missing":           {100, 210, `{}`, idl.CodeInvalidArgument, "name"},
			"too long":          {101, 210, `{"name":"12345678901"}`, idl.CodeInvalidArgument, "name"},
			"wrong type":        {102, 210, `{"name":1}`, idl.CodeMalformedBody, "name"},
			"too large":         {103, 210, `{"name":"x","other":"12345678901234567890123456789012345678901234567890"}`, idl.CodeTooLarge, ""},
			"denied by a hook":  {104, 210, `{"name":"nobody"}`, idl.CodeRejected, ""},
			"denied by itself":  {18, 210, `{"name":"x"}`, idl.CodePermissionDenied, ""},
			"broken":            {105, 210, `{"name":"broken"}`, idl.CodeInternal, ""},
			"before Auth":       {0, 210, `{"name":"x"}`, idl.CodeUnauthenticated, ""},
			"no such action":    {106, 211, `{}`, idl.CodeUnknownAction, ""},
			"beyond the range":  {106, 199, `{}`, idl.CodeUnknownAction, ""},
			"reserved for edge": {106, 255, `{}`, idl.CodeUnknownAction, ""},
		} {
			user = row.user
			if _, no := call(row.number, codec, &idl.Scripted{JSON: []byte(row.body)}); no == nil || no.Code != row.code || no.Field != row.field {
				t.Errorf("%v: %s: got %+v, want %v %s", codec, name, no, row.code, row.field)
			}
		}
		user = 17
	}
	if _, no := call(210, idl.CodecJSON, &idl.Scripted{JSON: []byte(`{"name":"you"}`)}); no != nil {
		t.Errorf("the third call: got %+v", no)
	}
	if _, no := call(210, idl.CodecJSON, &idl.Scripted{JSON: []byte(`{"name":"you"}`)}); no == nil || no.Code != idl.CodeRateLimited || no.RetryAfterMs == 0 {
		t.Errorf("too often: got %+v", no)
	}
}

// Whoever has not passed Auth is counted by address, in IPv6 by the network: one customer
// has 2^64 addresses.
func TestScriptedActionOfStrangers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, `require("im").action("lua.ping", {number = 211, rate = "2/m", auth = false}, function() end)`)
	rules := hooks.New()
	rules.Limiter = limit.New(1, time.Minute, nil)
	if err := rules.Open(nil, engine.Options{Dir: dir, Wall: time.Second, ChainWall: 2 * time.Second, ActionWall: time.Second, LoadWall: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rules.Close() })
	d, err := dispatch.New(dispatch.Options{Hooks: rules, Scripted: rules.Scripted})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		address string
		refused bool
	}{
		{"[2001:db8::1]:1", false}, {"[2001:db8::2]:2", false}, {"[2001:db8:0:0:9::3]:3", true}, {"[2001:db8:0:1::1]:1", false},
		{"192.0.2.1:1", false}, {"[::ffff:192.0.2.1]:2", false}, {"192.0.2.1:3", true}, {"192.0.2.2:1", false},
	} {
		reply := d.Do(t.Context(), &plugin.Call{Action: 211, Codec: idl.CodecJSON, Address: row.address}, nil)
		no := new(wirepb.Error)
		if reply.Action == idl.ActionError {
			if err := idl.Decode(reply.Body, idl.CodecJSON, no); err != nil {
				t.Fatal(err)
			}
		}
		if (no.Code == idl.CodeRateLimited) != row.refused || no.Code != 0 && no.Code != idl.CodeRateLimited {
			t.Errorf("%s: got %+v, want refused: %v", row.address, no, row.refused)
		}
	}
}

func write(t *testing.T, dir, source string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "a.lua"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
}
