package engine

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// done keeps what scripts asked for.
type done struct{ all []Effect }

func (d *done) Do(all []Effect) { d.all = append(d.all, all...) }

func TestEffects(t *testing.T) {
	tests := []struct {
		name, source string
		want         []string
	}{
		{"in their order", `im.on_message(function(c) im.emit("a", {n = 1, s = "x"}) im.kick("17", "why") end, {name = "h", on_error = "open"})
			im.on_message(function(c) im.emit("b") end, {name = "i", on_error = "open"})`,
			[]string{`emit h@a.lua:2 a {"n":1,"s":"x"} `, "kick h@a.lua:2   17 why", "emit i@a.lua:3 b {} "}},
		{"denied", `im.on_message(function(c) im.emit("a") return im.deny("rejected") end, {name = "h", on_error = "open"})`, nil},
		{"denied by another", `im.on_message(function(c) im.emit("a") end, {name = "h", on_error = "open"})
			im.on_message(function(c) return im.deny("rejected") end, {name = "i", on_error = "open"})`, nil},
		{"of a hook that fails", `im.on_message(function(c) im.emit("a") error("x") end, {name = "h", on_error = "open"})
			im.on_message(function(c) im.emit("b") end, {name = "i", on_error = "open"})`, []string{"emit i@a.lua:3 b {} "}},
		{"notices", `im.on_message(function(c) im.push("17", "hi") im.push("18", {event = "poll.closed", data = {1}}) im.push("19", {text = "ü", data = {a = 1}}) end, {name = "h", on_error = "open"})`,
			[]string{"push h@a.lua:2 notice  17  hi", "push h@a.lua:2 poll.closed [1] 18", `push h@a.lua:2 notice {"a":1} 19  ü`}},
		{"no notices", `im.on_message(function(c)
			for _, bad in ipairs{function() im.push("17") end, function() im.push("17", {}) end, function() im.push("17", "") end, function() im.push("17", ("x"):rep(1001)) end,
				function() im.push("17", "a\27b") end, function() im.push("17", "a\255b") end, function() im.push("17", {text = 1}) end, function() im.push("17", {event = "A", text = "a"}) end,
				function() im.push("17", {event = "a"}) end, function() im.push("17", {text = "a", date = {}}) end, function() im.push("17", {data = "x"}) end,
				function() im.push("17", {data = {("x"):rep(4096)}}) end, function() im.push("me", "a") end, function() im.push(17.5, "a") end} do assert(not pcall(bad)) end
			end, {name = "h", on_error = "closed"})`, nil},
		{"posts", `im.on_message(function(c) im.http.post("audit", {a = {1, 2}}) im.http.post("audit", {}) end, {name = "h", on_error = "open"})`,
			[]string{`post h@a.lua:2  {"a":[1,2]}    audit`, `post h@a.lua:2  {}    audit`}},
		{"no posts", `im.on_message(function(c)
			for _, bad in ipairs{function() im.http.post("other", {}) end, function() im.http.post("audit") end, function() im.http.post("audit", "x") end,
				function() im.http.post("audit", {("x"):rep(16384)}) end, function() im.http.post({}, {}) end} do assert(not pcall(bad)) end
			end, {name = "h", on_error = "closed"})`, nil},
		{"messages", `im.on_message(function(c) im.send("42", "17", "hi", {once = "a"}) end, {name = "h", on_error = "open"})`,
			[]string{"send h@a.lua:2   17  hi  42 a"}},
		{"no messages", `im.on_message(function(c)
			for _, bad in ipairs{function() im.send("43", "17", "hi", {once = "a"}) end, function() im.send("42", "42", "hi", {once = "a"}) end, function() im.send("42", "17", "", {once = "a"}) end,
				function() im.send("42", "17", ("x"):rep(2001), {once = "a"}) end, function() im.send("42", "17", "a\27b", {once = "a"}) end, function() im.send("42", "17", "hi") end,
				function() im.send("42", "17", "hi", {once = ""}) end, function() im.send("42", "17", "hi", {once = 5}) end, function() im.send("42", "17", "hi", {one = "a"}) end,
				function() im.send("42", "17", "hi", {once = ("x"):rep(129)}) end, function() im.send("42", "me", "hi", {once = "a"}) end} do assert(not pcall(bad)) end
			end, {name = "h", on_error = "closed"})`, nil},
		{"caught", `im.on_message(function(c)
			for _, bad in ipairs{function() im.emit("A") end, function() im.emit("a", {("x"):rep(4096)}) end, function() im.emit("a", {f = print}) end,
				function() im.kick("me") end, function() im.kick("-1") end} do assert(not pcall(bad)) end
			end, {name = "h", on_error = "closed"})`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d done
			b := bundleOf(t, "local im = require(\"im\")\n"+tt.source, func(o *Options) {
				o.Endpoints, o.Senders = []string{"audit"}, []string{"42"}
				o.Effects, o.CheckText = &d, func(text string) error {
					if strings.ContainsRune(text, 27) {
						return errors.New("must not hold control characters")
					}
					return nil
				}
			})
			v := judged(t.Context(), b, "hello")
			var got []string
			for _, e := range d.all {
				got = append(got, strings.TrimRight(strings.Join([]string{e.Kind, e.Rule, e.Event, e.Data, e.Target, e.Reason, e.Text, e.Endpoint, e.Sender, e.Once}, " "), " ")+map[bool]string{true: " "}[e.Kind == "emit"])
				if e.Bundle != b.tree.hash || e.Action != "chat.send" || e.User != "1" || e.At.IsZero() {
					t.Errorf("got %+v", e)
				}
			}
			if !slices.Equal(got, tt.want) || v.Err != nil && tt.name != "of a hook that fails" {
				t.Errorf("got %q and %v, want %q", got, v.Err, tt.want)
			}
		})
	}
}

// An action has so many effects, however many hooks it meets.
func TestEffectsAreBounded(t *testing.T) {
	var d done
	b := bundleOf(t, `local im = require("im")
for i = 1, 3 do
	im.on_message(function(c) for n = 1, 6 do pcall(im.emit, "a") end end, {name = "h" .. i, on_error = "closed"})
end`, func(o *Options) { o.Effects = &d })
	if v := judged(t.Context(), b, "hello"); v.Err != nil || len(d.all) != maxEffects {
		t.Errorf("got %d effects and %v", len(d.all), v.Err)
	}
	if v := judged(t.Context(), b, "hello"); v.Err != nil || len(d.all) != 2*maxEffects {
		t.Errorf("the next action: got %d effects and %v", len(d.all), v.Err)
	}
}

// What a candidate in shadow asks for does not happen.
func TestEffectsInShadow(t *testing.T) {
	var d done
	b := bundleOf(t, hookSource(`im.emit("a")`), func(o *Options) { o.Effects = &d })
	s := newMessage()
	q := copied(Before, &s.Call, time.Now())
	own, err := newState(nil, time.Now, usualBounds(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer own.close()
	if said := q.ask(b, &world{memory: b.opts.state, trial: true}); said.Fault != "" || len(d.all) != 0 {
		t.Errorf("got %+v and %v", said, d.all)
	}
}

func TestEffectsInTests(t *testing.T) {
	var d done
	o := &Options{Dir: "unused", Effects: &d}
	o.setDefaults()
	b, err := build(t.Context(), newTree([]file{{"a.lua", hookSource(`im.emit("seen", {text = c.text}) im.kick("7", "why") im.push("8", "hi") if c.text == "no" then return im.deny("rejected") end`)}, {"a_test.lua", `
test("told", function(t)
	t.message{text = "a"} t.message{text = "no"}
	local all = t.effects()
	assert(#all == 3 and all[1].kind == "emit" and all[1].event == "seen" and all[1].data.text == "a" and all[1].rule == "h@a.lua:2")
	assert(all[2].kind == "kick" and all[2].user == "7" and all[2].reason == "why")
	assert(all[3].kind == "push" and all[3].user == "8" and all[3].text == "hi" and all[3].event == "notice" and all[3].data == nil)
end)
test("afresh", function(t) assert(#t.effects() == 0) end)`}}), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.pool.close()
	if len(d.all) != 0 {
		t.Errorf("got %v from a test", d.all)
	}
}

// An action that is recorded has its effects all the same.
func TestEffectsOfRecordedCalls(t *testing.T) {
	var d done
	b := bundleOf(t, hookSource(`im.emit("a")`), func(o *Options) { o.Effects = &d })
	r := &recorder{}
	w, _ := r.listen(b.opts.state)
	q := copied(Before, &newMessage().Call, time.Now())
	b.judgeIn(t.Context(), b.chain(Before, q.Action, true), &q.Call, time.Now, w)
	if len(d.all) != 1 {
		t.Errorf("got %v", d.all)
	}
}

// A message has the same client ID whenever it is the same: by its key, or by the
// action that it answers; and another one otherwise.
func TestSentOnce(t *testing.T) {
	type request struct {
		ClientId string `protobuf:"bytes,1,opt,name=client_id,proto3"`
	}
	ids := func(body, user, clientID string) (all []string) {
		t.Helper()
		var d done
		b := bundleOf(t, "local im = require(\"im\")\nim.on_message(function(c) "+body+" end, {name = \"h\", on_error = \"closed\"})", func(o *Options) { o.Effects = &d })
		s := newMessage()
		s.facts[FactUser], s.Request = user, &request{clientID}
		if v := b.judge(t.Context(), b.chain(Before, s.Action, true), &s.Call, time.Now); v.Err != nil {
			t.Fatal(v.Err)
		}
		for _, e := range d.all {
			if len(e.ClientID) > 64 || !strings.HasPrefix(e.ClientID, "rule-") {
				t.Errorf("got the client ID %q", e.ClientID)
			}
			all = append(all, e.ClientID)
		}
		return all
	}
	first := ids(`im.send("42", "17", "a") im.send("42", "17", "b") im.send("42", "17", "c", {once = "k"})`, "1", "m1")
	if again := ids(`im.send("42", "17", "x") im.send("42", "17", "y") im.send("42", "17", "z", {once = "k"})`, "1", "m1"); !slices.Equal(first, again) {
		t.Errorf("got %q, then %q", first, again)
	}
	seen := map[string]bool{}
	for _, id := range slices.Concat(first, ids(`im.send("42", "17", "a")`, "1", "m2"), ids(`im.send("42", "17", "a")`, "2", "m1"),
		ids(`im.send("42", "18", "a")`, "1", "m1"), ids(`im.send("43", "17", "a")`, "1", "m1"), ids(`im.send("42", "17", "a", {once = "l"})`, "1", "m1")) {
		if seen[id] {
			t.Errorf("%s stands for two messages", id)
		}
		seen[id] = true
	}
	if other := ids(`im.send("42", "17", "c", {once = "k"})`, "9", "m9"); other[0] != first[2] {
		t.Error("a key counts for one action only")
	}
}
