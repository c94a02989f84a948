package engine

import (
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
		{"caught", `im.on_message(function(c)
			for _, bad in ipairs{function() im.emit("A") end, function() im.emit("a", {("x"):rep(4096)}) end, function() im.emit("a", {f = print}) end,
				function() im.kick("me") end, function() im.kick("-1") end} do assert(not pcall(bad)) end
			end, {name = "h", on_error = "closed"})`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d done
			b := bundleOf(t, "local im = require(\"im\")\n"+tt.source, func(o *Options) { o.Effects = &d })
			v := judged(t.Context(), b, "hello")
			var got []string
			for _, e := range d.all {
				got = append(got, strings.TrimRight(strings.Join([]string{e.Kind, e.Rule, e.Event, e.Data, e.Target, e.Reason}, " "), " ")+map[bool]string{true: " "}[e.Kind == "emit"])
				if e.Bundle != b.tree.hash || e.Action != "chat.send" || e.User != "1" || e.At.IsZero() {
					t.Errorf("got %+v", e)
				}
			}
			if !slices.Equal(got, tt.want) {
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
	dog := newWatchdog()
	defer dog.close()
	b, err := build(t.Context(), newTree([]file{{"a.lua", hookSource(`im.emit("seen", {text = c.text}) im.kick("7", "why") if c.text == "no" then return im.deny("rejected") end`)}, {"a_test.lua", `
test("told", function(t)
	t.message{text = "a"} t.message{text = "no"}
	local all = t.effects()
	assert(#all == 2 and all[1].kind == "emit" and all[1].event == "seen" and all[1].data.text == "a" and all[1].rule == "h@a.lua:2")
	assert(all[2].kind == "kick" and all[2].user == "7" and all[2].reason == "why")
end)
test("afresh", function(t) assert(#t.effects() == 0) end)`}}), o, dog, nil)
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
