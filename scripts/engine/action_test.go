package engine_test

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"freeim/scripts/engine"
)

const echoAction = `local im = require("im")
im.action("lua.echo", {number = 200, auth = true, rate = "5/m", max_body = 1000,
	request = {text = {type = "string", min = 1, max = 5}, kind = {type = "string", one_of = {"a", "b"}, optional = true},
		n = {type = "integer", min = 1, max = 9, optional = true}, x = {type = "number", optional = true, min = -1, max = 1}, yes = {type = "boolean", optional = true},
		who = {type = "id", optional = true}, names = {type = "list", of = {type = "string", max = 3}, max = 2, optional = true}, ids = {type = "list", of = "id", optional = true}},
	reply = {text = {type = "string"}, who = {type = "id", optional = true}, names = {type = "list", of = "string"}, ok = {type = "boolean", optional = true}}},
function(c)
	if c.req.text == "deny" then im.emit("never") return im.deny("rejected", "no", {retry_after = 50}) end
	if c.req.text == "error" then im.emit("never") error("broken") end
	if c.req.text == "loop" then while true do end end
	if c.req.text == "wrong" then return 5 end
	if c.req.text == "alien" then return {text = "x", names = {}, other = 1} end
	if c.req.text == "less" then return {text = "x"} end
	if c.req.text == "big" then return {text = ("x"):rep(5000), names = {}} end
	im.emit("seen", {text = c.req.text})
	local names = {}
	for i = 1, c.req.names and #c.req.names or 0 do names[i] = c.req.names[i] .. "!" end
	return {text = c.req.text .. tostring(c.req.n) .. tostring(c.req.kind), who = c.req.who, names = names, ok = c.req.yes}
end)
`

// perform calls an action as a host does.
func perform(t testing.TB, e *engine.Engine, number int, body string) (engine.Performed, error) {
	t.Helper()
	pin := e.Pin()
	s := pin.Scripted(number)
	if s == nil {
		t.Fatalf("no action %d", number)
	}
	req, err := s.Decode([]byte(body))
	if err != nil {
		return engine.Performed{}, err
	}
	return e.Perform(t.Context(), s, &engine.Call{Action: s.Name, Pin: pin, Request: req}), nil
}

// effectsOf keeps what scripts ask for.
type effectsOf struct{ all []engine.Effect }

func (k *effectsOf) Do(all []engine.Effect) { k.all = append(k.all, all...) }

func TestActionIsPerformed(t *testing.T) {
	kept := &effectsOf{}
	e := load(t, map[string]string{"a.lua": echoAction}, func(o *engine.Options) { o.Effects, o.ActionWall = kept, time.Second })
	for _, row := range []struct{ body, want string }{
		{`{"text":"hi"}`, `{"names":[],"text":"hinilnil"}`},
		{`{"text":"hi","kind":"a","n":3,"yes":true,"who":9007199254740991,"names":["a","b"],"unknown":{"x":[null]}}`,
			`{"names":["a!","b!"],"ok":true,"text":"hi3a","who":9007199254740991}`},
		{`{"text":"日本語です","kind":null}`, `{"names":[],"text":"日本語ですnilnil"}`},
	} {
		p, err := perform(t, e, 200, row.body)
		if err != nil || p.Verdict.Denied() || string(p.JSON) != row.want {
			t.Errorf("%s: got %s, %+v, %v, want %s", row.body, p.JSON, p.Verdict, err, row.want)
		}
	}
	if len(kept.all) != 3 || kept.all[0].Event != "seen" {
		t.Errorf("got effects %+v", kept.all)
	}
	all := e.Scripted()
	if len(all) != 1 || all[0].Name != "lua.echo" || all[0].Number != 200 || all[0].Open || all[0].Rate != 5 || all[0].Per != time.Minute || all[0].MaxBody != 1000 {
		t.Errorf("got %+v", all)
	}
	if e.Pin().Scripted(201) != nil || (engine.Pin{}).Scripted(200) != nil {
		t.Error("got an action that there is not")
	}
}

// A request that breaks the schema is refused with the field's name.
func TestActionRequestIsChecked(t *testing.T) {
	e := load(t, map[string]string{"a.lua": echoAction}, func(o *engine.Options) {
		o.CheckText = func(text string) error {
			if strings.Contains(text, "\x1b") {
				return errors.New("holds a control character")
			}
			return nil
		}
	})
	for _, row := range []struct {
		body, field string
		malformed   bool
	}{
		{`{}`, "text", false},
		{`{"text":null}`, "text", false},
		{`{"text":""}`, "text", false},
		{`{"text":"123456"}`, "text", false},
		{`{"text":"\u001b"}`, "text", false},
		{`{"text":5}`, "text", true},
		{`{"text":"x","kind":"c"}`, "kind", false},
		{`{"text":"x","n":0}`, "n", false},
		{`{"text":"x","n":10}`, "n", false},
		{`{"text":"x","n":1.5}`, "n", false},
		{`{"text":"x","n":"1"}`, "n", true},
		{`{"text":"x","n":1e999}`, "n", true},
		{`{"text":"x","x":-1.01}`, "x", false},
		{`{"text":"x","yes":1}`, "yes", true},
		{`{"text":"x","who":0}`, "who", false},
		{`{"text":"x","who":-1}`, "who", false},
		{`{"text":"x","who":9007199254740992}`, "who", false},
		{`{"text":"x","who":1.5}`, "who", true},
		{`{"text":"x","who":"1"}`, "who", true},
		{`{"text":"x","names":["a","b","c"]}`, "names", false},
		{`{"text":"x","names":["aaaa"]}`, "names", false},
		{`{"text":"x","names":[1]}`, "names", true},
		{`{"text":"x","names":["a",null]}`, "names", true},
		{`{"text":"x","NAMES":["a",null]}`, "NAMES", true},
		{`{"text":"x","names":"a"}`, "names", true},
		{`{"text":"x","ids":[1,0]}`, "ids", false},
		{`[]`, "", true},
		{`{"text":"x"`, "", true},
		{`{"text":"x","names":[null`, "names", true},
	} {
		_, err := perform(t, e, 200, row.body)
		wrong, ok := errors.AsType[*engine.FieldError](err)
		if !ok || wrong.Field != row.field || wrong.Malformed != row.malformed || wrong.Reason == "" {
			t.Errorf("%s: got %+v, want field %s, malformed %v", row.body, err, row.field, row.malformed)
		}
	}
}

// What a script does wrong is INTERNAL, and nothing that it asked for happens.
func TestActionThatFails(t *testing.T) {
	kept := &effectsOf{}
	e := load(t, map[string]string{"a.lua": strings.ReplaceAll(echoAction, "max = 5}", "max = 500}")}, func(o *engine.Options) { o.Effects = kept })
	for _, row := range []struct{ text, code, kind string }{
		{"deny", "rejected", ""},
		{"error", "internal", engine.FaultScript},
		{"loop", "internal", engine.FaultBudget},
		{"wrong", "internal", engine.FaultVerdict},
		{"alien", "internal", engine.FaultVerdict},
		{"less", "internal", engine.FaultVerdict},
		{"big", "internal", engine.FaultVerdict},
	} {
		p, err := perform(t, e, 200, `{"text":"`+row.text+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		kind := ""
		if f, ok := p.Verdict.Err.(*engine.Fault); ok {
			kind = f.Kind
		}
		if !p.Verdict.Denied() || p.Verdict.Code != row.code || kind != row.kind || p.Reply != nil || p.JSON != nil || !strings.HasPrefix(p.Verdict.Rule, "lua.echo@a.lua:") {
			t.Errorf("%s: got %+v and %s", row.text, p, p.JSON)
		}
	}
	if len(kept.all) != 0 {
		t.Errorf("got effects %+v", kept.all)
	}
	for range 30 {
		if _, err := perform(t, e, 200, `{"text":"error"}`); err != nil {
			t.Fatal(err)
		}
	}
	p, err := perform(t, e, 200, `{"text":"hi"}`)
	if err != nil || p.Verdict.Code != engine.FaultCode || p.Verdict.RetryAfter == 0 {
		t.Errorf("got %+v, %v: want the breaker open", p.Verdict, err)
	}
	h := e.Status().Hooks[0]
	if h.Function != "im.action" || h.Name != "lua.echo" || !h.Tripped || h.Denied != 1 || h.Faults < 20 {
		t.Errorf("got %+v", h)
	}
	if err := e.Off(); err != nil {
		t.Fatal(err)
	}
	if p, err := perform(t, e, 200, `{"text":"hi"}`); err != nil || p.Verdict.Code != engine.FaultCode {
		t.Errorf("switched off: got %+v, %v", p.Verdict, err)
	}
}

// One string that is in a reply many times costs the script nothing: the reply is
// refused before it is written out.
func TestActionReplyThatIsHuge(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
local long = {type = "list", of = {type = "string", max = 16000}, max = 1000}
im.action("lua.huge", {number = 200, reply = {a = long, b = long, c = long, d = long}}, function()
	local text, list = ("x"):rep(16000), {}
	for i = 1, 1000 do list[i] = text end
	return {a = list, b = list, c = list, d = list}
end)`}, func(o *engine.Options) { o.ActionWall = time.Second })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p, err := perform(t, e, 200, `{}`)
	runtime.ReadMemStats(&after)
	if f, ok := p.Verdict.Err.(*engine.Fault); err != nil || !ok || f.Kind != engine.FaultVerdict || !strings.Contains(f.Msg, "61440 octets") {
		t.Errorf("got %+v, %v", p.Verdict, err)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 16<<20 {
		t.Errorf("it took %d octets to refuse it", made)
	}
}

// What a client is told of a field fits an answer, whatever the schema has.
func TestActionRefusalIsShort(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local values = {}
for i = 1, 100 do values[i] = ("日"):rep(1000) .. i end
require("im").action("lua.x", {number = 200, request = {kind = {type = "string", one_of = values}}}, function() end)`}, nil)
	_, err := perform(t, e, 200, `{"kind":"x"}`)
	wrong, ok := errors.AsType[*engine.FieldError](err)
	if !ok || wrong.Field != "kind" || !strings.HasPrefix(wrong.Reason, "must be one of") || len(wrong.Reason) > 1000 || !utf8.ValidString(wrong.Reason) {
		t.Errorf("got %.200v", err)
	}
}

func TestActionIsRefused(t *testing.T) {
	begin := `local im = require("im") `
	for name, row := range map[string]struct{ source, want string }{
		"no number":          {`im.action("lua.x", {}, function() end)`, "needs number"},
		"number too low":     {`im.action("lua.x", {number = 199}, function() end)`, "bad value for number"},
		"number too high":    {`im.action("lua.x", {number = 255}, function() end)`, "bad value for number"},
		"half a number":      {`im.action("lua.x", {number = 200.5}, function() end)`, "bad value for number"},
		"name":               {`im.action("poll.x", {number = 200}, function() end)`, `begins with "lua."`},
		"rate":               {`im.action("lua.x", {number = 200, rate = "5"}, function() end)`, "bad value for rate"},
		"body":               {`im.action("lua.x", {number = 200, max_body = 100000}, function() end)`, "bad value for max_body"},
		"option":             {`im.action("lua.x", {number = 200, open = true}, function() end)`, "unknown option 'open'"},
		"type":               {`im.action("lua.x", {number = 200, request = {a = {type = "map"}}}, function() end)`, "type must be"},
		"no type":            {`im.action("lua.x", {number = 200, request = {a = {}}}, function() end)`, "type must be"},
		"key":                {`im.action("lua.x", {number = 200, request = {a = {type = "string", most = 5}}}, function() end)`, "unknown key 'most'"},
		"bounds":             {`im.action("lua.x", {number = 200, request = {a = {type = "string", min = 5, max = 4}}}, function() end)`, "min and max"},
		"too long":           {`im.action("lua.x", {number = 200, request = {a = {type = "string", max = 1e6}}}, function() end)`, "min and max"},
		"list of lists":      {`im.action("lua.x", {number = 200, request = {a = {type = "list", of = {type = "list", of = "id"}}}}, function() end)`, "unknown key 'of'"},
		"list of nothing":    {`im.action("lua.x", {number = 200, request = {a = {type = "list"}}}, function() end)`, "a list needs of"},
		"secret":             {`im.action("lua.x", {number = 200, request = {token = {type = "string"}}}, function() end)`, "hidden"},
		"field":              {`im.action("lua.x", {number = 200, request = {A = {type = "string"}}}, function() end)`, "a field's name"},
		"number twice":       {`im.action("lua.x", {number = 200}, function() end) im.action("lua.y", {number = 200}, function() end)`, "has the number 200, and so has lua.x, at a.lua:1"},
		"name twice":         {`im.action("lua.x", {number = 200}, function() end) im.action("lua.x", {number = 201}, function() end)`, "another hook is named"},
		"the server's":       {`im.action("lua.x", {number = 222}, function() end)`, "the server's own"},
		"the server's name":  {`im.action("lua.own", {number = 200}, function() end)`, "the server's own"},
		"glob without any":   {`im.before("lua.*.*", function() end, {name = "h", on_error = "open"})`, "no action is named"},
		"by chance":          {`im.action("lua.x", {number = 200 + math.random(20)}, function() end)`, "loading must always do the same"},
		"request is no list": {`im.action("lua.x", {number = 200, request = 5}, function() end)`, "must be a table"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, map[string]string{"a.lua": begin + row.source})
			o := options(dir, &logs{})
			o.VMs = 16
			o.Actions = []engine.Action{{Name: "chat.send", Number: 3}, {Name: "own.x", Number: 222}, {Name: "lua.own", Number: 130}}
			e, err := engine.New(o)
			if err == nil {
				e.Close()
			}
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

// Hooks are asked about scripted actions as about any, and read the request's fields.
func TestHooksOnActions(t *testing.T) {
	e := load(t, map[string]string{"a.lua": echoAction + `
im.before("lua.*", function(c) if c.req.text == "no" then return im.deny("rejected", c.req.names[1]) end end, {name = "h", on_error = "closed"})
im.after("lua.echo", function(c) im.log.info("after", {code = c.code, text = c.reply.text}) end, {name = "z"})`}, nil)
	pin := e.Pin()
	s := pin.Scripted(200)
	req, err := s.Decode([]byte(`{"text":"no","names":["why"]}`))
	if err != nil {
		t.Fatal(err)
	}
	v := e.Ask(t.Context(), engine.Before, &engine.Call{Action: s.Name, Request: req, Pin: pin})
	if !v.Denied() || v.Reason != "why" {
		t.Errorf("got %+v", v)
	}
	if !pin.Has(engine.After, s.Name, false) {
		t.Error("no after hook")
	}
}

// The host is told which actions there are, when that changes and only then.
func TestActionsAreOffered(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{"a.lua": echoAction})
	var told [][]string
	o := options(dir, &logs{})
	o.Offer = func(all []*engine.Scripted) {
		var names []string
		for _, s := range all {
			names = append(names, s.Name)
		}
		told = append(told, names)
	}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	reload := func(source string) {
		t.Helper()
		put(t, dir, map[string]string{"a.lua": source})
		if _, err := e.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reload(echoAction + "-- the same")
	reload(strings.Replace(echoAction, "5/m", "6/m", 1))
	reload(`print("none")`)
	got, _ := json.Marshal(told)
	if want := `[["lua.echo"],["lua.echo"],null]`; string(got) != want {
		t.Errorf("told %s, want %s", got, want)
	}
}

// Tests of a bundle call its actions.
func TestActionInTests(t *testing.T) {
	const test = `test("echo", function(t)
	local v = t.action{name = "lua.echo", request = {text = "hi", who = "17", ids = {"1", "2"}}}
	assert(not v.denied and v.reply.text == "hinilnil" and v.reply.who == "17" and #v.reply.names == 0)
	v = t.action{name = "lua.echo", request = {text = "123456"}}
	assert(v.denied and v.code == "invalid_argument" and v.field == "text")
	v = t.action{name = "lua.echo", request = {text = 5}}
	assert(v.denied and v.code == "malformed_body" and v.field == "text")
	v = t.action{name = "lua.echo", request = {text = "deny"}}
	assert(v.denied and v.code == "rejected" and v.retry_after == 50 and v.rule == "lua.echo")
	assert(t.action{name = "lua.echo", user = "", request = {text = "hi"}}.code == "unauthenticated")
	assert(not pcall(t.action, {name = "lua.echo", request = {txt = "hi"}}))
	assert(not pcall(t.action, {name = "lua.none"}))
	assert(not pcall(t.action, {name = "lua.echo", request = {text = "error"}}))
	assert(#t.effects() == 1)
end)`
	e := load(t, map[string]string{"a.lua": echoAction, "a_test.lua": test}, func(o *engine.Options) { o.RequireTests = true })
	if n := e.Status().Tests; n != 1 {
		t.Errorf("got %d tests", n)
	}
}

func FuzzActionRequest(f *testing.F) {
	dir := f.TempDir()
	put(f, dir, map[string]string{"a.lua": echoAction})
	e, err := engine.New(options(dir, &logs{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { e.Close() })
	s := e.Pin().Scripted(200)
	for _, seed := range []string{`{}`, `{"text":"x","names":["a",null]}`, `{"text":"x","ids":[1],"x":0.5}`, `[`, `null`, `{"text":"x","n":1e3}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := s.Decode(body)
		if (req == nil) == (err == nil) {
			t.Fatalf("got %v and %v", req, err)
		}
		if err != nil {
			return
		}
		// What was taken is what one gets when it is sent again.
		again, marshalErr := json.Marshal(req)
		if marshalErr != nil {
			t.Fatal(marshalErr)
		}
		if _, err := s.Decode(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

// What hooks remember and ask for is there for scripted actions too: kv, rates, counts and pushes,
// one memory for both.
func TestActionRemembersAndPushes(t *testing.T) {
	kept := &effectsOf{}
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.action("lua.visit", {number = 200, request = {room = {type = "string"}}, reply = {said = {type = "string"}}}, function(c)
	local ok, wait = im.rate("visits", 2, "1m")
	if not ok then return im.deny("rate_limited", "slowly", {retry_after = wait}) end
	local before = im.kv.get("last") or "nobody"
	im.kv.set("last", c.req.room, "1h")
	local n = im.count.window("visits", "1h")
	local rooms = im.count.uniq("rooms", c.req.room, "1h")
	im.push("18", {event = "visit.seen", data = {room = c.req.room}})
	return {said = before .. " " .. n .. " " .. rooms}
end)
im.on_message(function(c) return im.deny("rejected", im.kv.get("last")) end, {name = "reads", on_error = "open"})`},
		func(o *engine.Options) { o.Effects, o.ActionWall = kept, time.Second })
	for _, row := range []struct{ room, said, code string }{
		{"lounge", "nobody 1 1", ""},
		{"lounge", "lounge 2 1", ""},
		{"garden", "", "rate_limited"}, // and neither remembers nor pushes
	} {
		p, err := perform(t, e, 200, `{"room":"`+row.room+`"}`)
		if err != nil || p.Verdict.Err != nil || p.Verdict.Code != row.code {
			t.Fatalf("%s: got %+v, %v, want code %q", row.room, p.Verdict, err, row.code)
		}
		if row.code != "" {
			if w := p.Verdict.RetryAfter; w <= 0 || w > time.Minute {
				t.Errorf("a visit again after %v", w)
			}
			continue
		}
		if want := `{"said":"` + row.said + `"}`; string(p.JSON) != want {
			t.Errorf("%s: got %s, want %s", row.room, p.JSON, want)
		}
	}
	if len(kept.all) != 2 {
		t.Fatalf("got effects %+v, want two pushes", kept.all)
	}
	for _, x := range kept.all {
		if x.Kind != "push" || x.Target != "18" || x.Event != "visit.seen" || x.Data != `{"room":"lounge"}` {
			t.Errorf("got %+v", x)
		}
	}
	if v, _ := ask(t, e, "hi"); v.Reason != "lounge" {
		t.Errorf("a hook reads %q, want what the action kept", v.Reason)
	}
}
