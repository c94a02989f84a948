package engine_test

import (
	"strconv"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// colour is an enum as the generator makes it.
type colour int32

func (c colour) String() string {
	return map[colour]string{0: "RED", 1: "BLUE"}[c]
}

type inner struct {
	Name string `protobuf:"bytes,1,opt,name=name"`
}

// order is a request with a field of every kind.
type order struct {
	Text     string   `protobuf:"bytes,1,opt,name=text"`
	UserId   int64    `protobuf:"varint,2,opt,name=user_id"`
	Count    int32    `protobuf:"varint,3,opt,name=count"`
	Big      uint64   `protobuf:"varint,4,opt,name=big"`
	Ratio    float64  `protobuf:"fixed64,5,opt,name=ratio"`
	Open     bool     `protobuf:"varint,6,opt,name=open"`
	Colour   colour   `protobuf:"varint,7,opt,name=colour"`
	Inner    *inner   `protobuf:"bytes,8,opt,name=inner"`
	Members  []int64  `protobuf:"varint,9,rep,name=members"`
	Inners   []*inner `protobuf:"bytes,10,rep,name=inners"`
	Data     []byte   `protobuf:"bytes,11,opt,name=data"`
	Maybe    *string  `protobuf:"bytes,12,opt,name=maybe"`
	Password string   `protobuf:"bytes,13,opt,name=password"`
	Note     string   `protobuf:"bytes,14,opt,name=note"`
	Map      map[string]string
}

func newOrder() *order {
	some := "some"
	return &order{Text: "hi", UserId: 9007199254740993, Count: 7, Big: 1 << 63, Ratio: 0.5, Open: true, Colour: 1,
		Inner: &inner{Name: "in"}, Members: []int64{1, 2}, Inners: []*inner{{Name: "a"}, {Name: "b"}}, Data: []byte("raw"), Maybe: &some, Password: "pw"}
}

// shop is a catalogue with actions that have requests.
func shop(o *engine.Options) {
	o.Actions = []engine.Action{
		{Name: "shop.order", Request: func() any { return new(order) }, Rewritable: []engine.Field{{Name: "text", Max: 10}}},
		{Name: "shop.close", Request: func() any { return new(inner) }},
		{Name: "chat.send", Message: true, Request: func() any { return new(order) }, Rewritable: []engine.Field{{Name: "text", Max: 10}}},
	}
}

// before is a file with one hook before every action of the shop.
func before(body string) map[string]string {
	return map[string]string{"rule.lua": `local im = require("im")
im.before("shop.*", function(c) ` + body + ` end, {name = "rule", on_error = "closed"})`}
}

func askOrder(t testing.TB, e *engine.Engine, o *order) engine.Verdict {
	t.Helper()
	return e.Ask(t.Context(), engine.Before, &engine.Call{Action: "shop.order", Request: o})
}

func TestRequestIsRead(t *testing.T) {
	for _, test := range []struct{ expression, want string }{
		{"c.req.text", "hi"},
		{"c.req.user_id", "9007199254740993"},
		{"c.req.count + 1", "8"},
		{"c.req.big", "9223372036854775808"},
		{"c.req.ratio", "0.5"},
		{"tostring(c.req.open)", "true"},
		{"c.req.colour", "BLUE"},
		{"c.req.inner.name", "in"},
		{"#c.req.members", "2"},
		{"c.req.members[2]", "2"},
		{"tostring(c.req.members[3])", "nil"},
		{"c.req.inners[1].name .. c.req.inners[2].name", "ab"},
		{"c.req.data", "raw"},
		{"c.req.maybe", "some"},
		{"tostring(c.user)", "nil"},
		{"tostring(c.text)", "nil"},
		{"tostring(c) .. tostring(c.req)", "callrequest"},
	} {
		t.Run(test.expression, func(t *testing.T) {
			e := load(t, before(`return im.deny("rejected", tostring(`+test.expression+`))`), shop)
			if v := askOrder(t, e, newOrder()); v.Err != nil || v.Reason != test.want {
				t.Errorf("got %q (%v), want %q", v.Reason, v.Err, test.want)
			}
		})
	}
	e := load(t, before(`assert(c.req.inner == nil and c.req.maybe == nil and #c.req.members == 0)`), shop)
	if v := askOrder(t, e, &order{}); v.Err != nil {
		t.Error(v.Err)
	}
}

func TestRequestIsGuarded(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`return c.req.txet`, "c.req has no field 'txet'"},
		{`return c.req.inner.txet`, "c.req.inner has no field 'txet'"},
		{`return c.req.password`, "c.req.password is hidden"},
		{`return c.req.Map`, "no field 'Map'"},
		{`c.req.note = "x"`, "c.req.note is read-only"},
		{`c.req.count = 1`, "c.req.count is read-only"},
		{`c.req.inner.name = "x"`, "c.req.inner.name is read-only"},
		{`c.req.members[1] = 1`, "c.req.members is read-only"},
		{`c.req = nil`, "c.req is read-only"},
		{`return #c.req`, "c.req is no list"},
		{`return c.req.members.x`, "c.req.members is a list"},
		{`c.req.text = "12345678901"`, "more than 10 characters"},
		{`c.req.text = 5`, "must be a string"},
		{`c.text = "x"`, "shop.order has no text"},
		{`return getmetatable(c.req).__index`, "getmetatable"},
	} {
		t.Run(test.body, func(t *testing.T) {
			v := askOrder(t, load(t, before(test.body), shop), newOrder())
			if f := fault(t, v); !strings.Contains(f.Msg, test.want) && test.want != "getmetatable" {
				t.Errorf("got %q, want %q", f.Msg, test.want)
			}
		})
	}
}

func TestRequestIsRewritten(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.before("shop.order", function(c) c.req.text = "one" c.req.text = "two" end, {name = "works", on_error = "closed", priority = 3})
im.before("shop.order", function(c) c.req.text = "half" error("boom") end, {name = "fails", on_error = "open", priority = 2})
im.before("shop.order", function(c) c.req.text = c.req.text .. "+" end, {name = "again", on_error = "closed", priority = 1})
im.before("shop.order", function(c) if c.req.count == 1 then return im.deny("rejected") end end, {name = "denies", on_error = "closed"})`}, shop)
	o := newOrder()
	v := askOrder(t, e, o)
	if o.Text != "two+" || len(v.Rewrites) != 2 || v.Rewrites[0].Before != "hi" || v.Rewrites[0].After != "two" ||
		v.Rewrites[1].Field != "text" || v.Rewrites[1].Rule != "again@a.lua:4" {
		t.Errorf("got %q, %+v", o.Text, v.Rewrites)
	}
	o = newOrder()
	o.Count = 1
	if v := askOrder(t, e, o); !v.Denied() || o.Text != "hi" || v.Rewrites != nil {
		t.Errorf("got %q, %+v, want no trace of a denied one", o.Text, v)
	}
}

// The text of a message and the field that it is are one.
func TestTextIsAField(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
im.before("chat.*", function(c) c.req.text = c.text .. "1" end, {name = "one", on_error = "closed", priority = 1})
im.on_message(function(c) c.text = c.req.text .. "2" end, {name = "two", on_error = "closed"})
im.before("*", function(c) c.text = ("x"):rep(11) end, {name = "three", on_error = "open", priority = -1})`}, shop)
	o := newOrder()
	v := e.Ask(t.Context(), engine.Before, &engine.Call{Action: "chat.send", Request: o, Text: &o.Text})
	if f := fault(t, v); o.Text != "hi12" || len(v.Rewrites) != 2 || !strings.Contains(f.Msg, "more than 10 characters") {
		t.Errorf("got %q, %+v", o.Text, v)
	}
}

func TestGlobs(t *testing.T) {
	e := load(t, map[string]string{"a.lua": `local im = require("im")
for i, glob in ipairs({"shop.order", "shop.*", "*", "chat.send"}) do
	im.before(glob, function(c) c:tag("t" .. i) end, {name = "h" .. i, on_error = "closed"})
end`}, shop)
	for _, test := range []struct{ action, want string }{
		{"shop.order", "[t1 t2 t3]"}, {"shop.close", "[t2 t3]"}, {"chat.send", "[t3 t4]"}, {"other.one", "[t3]"},
	} {
		v := e.Ask(t.Context(), engine.Before, &engine.Call{Action: test.action})
		if got := "[" + strings.Join(v.Tags, " ") + "]"; got != test.want || v.Err != nil {
			t.Errorf("%s: got %s (%v), want %s", test.action, got, v.Err, test.want)
		}
		if e.Pin().Has(engine.Before, test.action, false) == false {
			t.Errorf("%s: no hook", test.action)
		}
	}
}

func TestConstraints(t *testing.T) {
	hook := func(name, options string) string {
		return `im.before("*", function(c) c:tag("` + name + `") end, {name = "` + name + `", on_error = "closed"` + options + "})\n"
	}
	head := "local im = require('im')\n"
	for i, test := range []struct{ source, want string }{
		{hook("a", `, phase = "observe"`) + hook("b", `, phase = "security"`) + hook("c", "") + hook("d", `, phase = "content", priority = -9`) + hook("e", `, phase = "limits"`), "b e d c a"},
		{hook("a", `, after = "c"`) + hook("b", "") + hook("c", ""), "b c a"},
		{hook("a", "") + hook("b", "") + hook("c", `, before = {"a", "b"}`), "c a b"},
		{hook("a", `, priority = 9, after = "b"`) + hook("b", ""), "b a"},
		{hook("a", `, after = "c"`) + hook("b", `, after = "a"`) + hook("c", `, before = "b"`), "c a b"},
	} {
		e := load(t, map[string]string{"a.lua": head + test.source}, nil)
		v := e.Ask(t.Context(), engine.Before, &engine.Call{Action: "x.y"})
		if got := strings.Join(v.Tags, " "); got != test.want {
			t.Errorf("%d: got %s, want %s", i, got, test.want)
		}
	}
	for _, test := range []struct{ source, want string }{
		{hook("a", `, after = "b"`) + hook("b", `, after = "a"`), "a.lua:2: these hooks wait for each other: a.lua:2, a.lua:3"},
		{hook("a", `, after = "a"`), "wait for each other: a.lua:2"},
		{hook("a", `, after = "zzz"`), `a.lua:2: no hook is named "zzz"`},
		{hook("a", `, after = "b"`) + hook("b", `, phase = "content"`), `a.lua:2: hook "b", at a.lua:3, is in another phase`},
		{hook("a", `, phase = "never"`), "bad value for phase"},
		{`im.before("nothing.*", function() end, {name = "a", on_error = "open"})`, `a.lua:2: no action is named "nothing.*"`},
		{`im.before("A B", function() end, {name = "a", on_error = "open"})`, "must be an action's name"},
		{`im.before("*", function() end, {name = "a"})`, "im.before: options need name"},
	} {
		dir := t.TempDir()
		put(t, dir, map[string]string{"a.lua": head + test.source})
		o := options(dir, &logs{})
		shop(&o)
		if e, err := engine.New(o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.source, err, test.want)
			if err == nil {
				e.Close()
			}
		}
	}
}

// The tests of a bundle may make any request.
func TestCallsInTests(t *testing.T) {
	files := before(`
	if c.req.user_id == "42" and c.req.members[2] == "8" and c.req.inner.name == "n" and c.req.colour == "BLUE" and c.req.maybe == "m" then
		c:score("LINK", 2.5) c:score("LINK", 1)
		c.req.text = "new"
	end
	if c.user == "9" then return im.throttle(1500, "slowly") end`)
	files["rule_test.lua"] = `test("order", function(t)
	local r = t.call{action = "shop.order", req = {user_id = "42", members = {"7", "8"}, inner = {name = "n"}, colour = "BLUE", maybe = "m", count = 3, open = true}}
	assert(r.rewrites.text == "new" and r.scores.LINK == 3.5 and r.score == 3.5 and not r.denied)
	r = t.call{action = "shop.order", user = "9"}
	assert(r.denied and r.code == "rate_limited" and r.retry_after == 1500 and r.reason == "slowly")
end)
test("mistakes", function(t)
	for i, bad in ipairs({{action = "x.y", req = {}}, {action = "shop.order", req = {nothing = 1}}, {action = "shop.order", req = {count = "1"}},
		{action = "shop.order", req = {colour = "GREEN"}}, {action = "shop.order", req = 5}, {action = "shop.order", verb = "x"}}) do
		assert(not pcall(t.call, bad), "mistake " .. i)
	end
end)`
	if e := load(t, files, shop); e.Status().Tests != 2 {
		t.Error(strconv.Itoa(e.Status().Tests))
	}
}

// A field of octets is copied with each read, so each is paid for; and so is a handle.
func TestReadingIsCharged(t *testing.T) {
	o := newOrder()
	o.Data = make([]byte, 64<<10)
	for _, test := range []struct {
		body string
		want int
	}{
		{`local x = c.req.data`, 64 << 10 / 64},
		{`for i = 1, 100 do local x = c.req.inner end`, 700},
		{`for i = 1, 100 do local x = c.req.members end`, 700},
	} {
		v := askOrder(t, load(t, before(test.body), shop), o)
		if v.Err != nil || v.Units < test.want {
			t.Errorf("%s: got %d units (%v), want at least %d", test.body, v.Units, v.Err, test.want)
		}
	}
	v := askOrder(t, load(t, before(`local t = {} for i = 1, 1000 do t[i] = c.req.data end`), shop), o)
	if f := fault(t, v); f.Kind != engine.FaultBudget {
		t.Errorf("got %v, want the budget spent", f)
	}
}
