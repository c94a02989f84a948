package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

// onTrial makes an engine with a rule, and another body of it the candidate.
func onTrial(t *testing.T, body, other string, p engine.Policy) *engine.Engine {
	t.Helper()
	e := load(t, rule(body), nil)
	r, err := e.Prepare(t.Context(), rule(other), me)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = e.Activate(t.Context(), r.Prepared, p, me); err != nil || r.Activated() || r.Staged == "" {
		t.Fatalf("got %+v, %v, want a candidate", r, err)
	}
	return e
}

func sendAs(t *testing.T, e *engine.Engine, user, text string) (engine.Verdict, *sent) {
	t.Helper()
	m := message(text)
	m.User = user
	return judge(t.Context(), e, m), m
}

// diffs waits until the candidate was asked n times.
func diffs(t *testing.T, e *engine.Engine, n int64) []engine.Diff {
	t.Helper()
	eventually(t, "the candidate's answers", func() bool { return e.Status().Candidate.Asked == n })
	return e.Status().Candidate.Diffs
}

func TestShadowCountsDifferences(t *testing.T) {
	e := onTrial(t, `if c.text == "bad" then return im.deny("rejected") end c.text = "A" .. c.text`,
		`if c.text == "worse" then return im.deny("rate_limited", "no") end if c.text == "oops" then error("x") end
		 if c.text ~= "same" then c.text = "B" .. c.text else c.text = "Asame" end`, engine.Policy{Mode: engine.ModeShadow})
	for _, test := range []struct{ text, want string }{
		{"bad", ""}, {"worse", "Aworse"}, {"same", "Asame"}, {"x", "Ax"}, {"y", "Ay"}, {"oops", "Aoops"},
	} {
		v, m := sendAs(t, e, "17", test.text)
		if v.Denied() != (test.want == "") || test.want != "" && m.Text != test.want || v.Bundle != e.Status().Bundle {
			t.Errorf("got %+v with text %q, want what the active bundle says", v, m.Text)
		}
	}
	var got []string
	for _, d := range diffs(t, e, 6) {
		got = append(got, fmt.Sprintf("%s: %s > %s %d", d.Hook, d.From, d.To, d.Count))
		if x := d.Examples[0]; x.User != "17" || x.Action != "chat.send" || !strings.HasPrefix(x.From, "rule@rule.lua") {
			t.Errorf("got example %+v", x)
		}
	}
	want := []string{"rule: rewrite > rewrite otherwise 2", "rule: deny rejected > rewrite 1", "rule: rewrite > deny rate_limited 1", "rule: rewrite > deny unavailable 1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A candidate in shadow remembers by itself, and what it does reaches nobody.
func TestShadowHasNoEffect(t *testing.T) {
	const body = `c.text = tostring(im.kv.incr("n", "1h"))`
	e := onTrial(t, body, body+` c.text = c.text print("heard") im.kv.set("n", 100, "1h")`, engine.Policy{Mode: engine.ModeShadow})
	for n := range 3 {
		if _, m := ask(t, e, "hi"); m.Text != fmt.Sprint(n+1) {
			t.Errorf("got %q, want %d", m.Text, n+1)
		}
	}
	got := diffs(t, e, 3) // it says 1, 101, 101
	if len(got) != 1 || got[0].Count != 2 {
		t.Errorf("got %+v, want two differences", got)
	}
	if _, err := e.Promote(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	if _, m := ask(t, e, "hi"); m.Text != "4" {
		t.Errorf("got %q after the promotion, want the memory of the one before", m.Text)
	}
}

// What no active hook is for is asked of the candidate all the same.
func TestShadowOfNewHooks(t *testing.T) {
	e := load(t, rule(``), nil)
	r, err := e.Prepare(t.Context(), map[string]string{"a.lua": `local im = require("im")
im.before("room.join", function(c) if c.req.room_id == "lobby" then return im.deny("rejected") end end, {name = "join", on_error = "open"})`}, me)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Activate(t.Context(), r.Prepared, engine.Policy{Mode: engine.ModeShadow}, me); err != nil {
		t.Fatal(err)
	}
	join := struct {
		RoomID string `protobuf:"bytes,1,opt,name=room_id"`
	}{"lobby"}
	c := &engine.Call{Action: "room.join", Request: &join}
	c.Pin = e.PinFor(nil)
	if !c.Pin.Has(engine.Before, c.Action, false) || c.Pin.Has(engine.Before, "room.leave", false) {
		t.Error("got no question for room.join, or one for room.leave")
	}
	if v := e.Ask(t.Context(), engine.Before, c); v.Denied() {
		t.Errorf("got %+v", v)
	}
	join.RoomID = "changed afterwards"
	if got := diffs(t, e, 1); len(got) != 1 || got[0].Hook != "join" || got[0].To != "deny rejected" {
		t.Errorf("got %+v", got)
	}
}

func TestCanary(t *testing.T) {
	e := onTrial(t, `c.text = "old"`, `c.text = "new"`, engine.Policy{Mode: engine.ModeCanary, Percent: 20})
	candidate := e.Status().Candidate.Bundle
	chosen := func() map[string]bool {
		users := map[string]bool{}
		for n := range 2000 {
			user := fmt.Sprint(7_000_000_000 + n)
			v, m := sendAs(t, e, user, "hi")
			if users[user] = m.Text == "new"; users[user] != (v.Bundle == candidate) {
				t.Fatalf("got %q of bundle %s", m.Text, v.Bundle)
			}
		}
		return users
	}
	count := func(users map[string]bool) (n int) {
		for _, in := range users {
			if in {
				n++
			}
		}
		return n
	}
	first, again := chosen(), chosen()
	if n := count(first); n < 300 || n > 500 {
		t.Errorf("got %d of 2,000 users for 20 %%", n)
	}
	if _, err := e.Activate(t.Context(), candidate, engine.Policy{Mode: engine.ModeCanary, Percent: 50}, me); err != nil {
		t.Fatal(err)
	}
	wider := chosen()
	for user, in := range first {
		if again[user] != in || in && !wider[user] {
			t.Errorf("user %s was %v, then %v, then %v", user, in, again[user], wider[user])
		}
	}
	if n := count(wider); n < 850 || n > 1150 {
		t.Errorf("got %d of 2,000 users for 50 %%", n)
	}
	if v, _ := sendAs(t, e, "", "hi"); v.Bundle == candidate {
		t.Error("the canary decided for somebody unknown")
	}
	if _, err := e.Promote(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	if n := count(chosen()); n != 2000 || e.Status().Bundle != candidate || e.Status().Candidate != nil {
		t.Errorf("got %d users, status %+v", n, e.Status())
	}
}

// A call stays in its bundle, whatever becomes of that.
func TestCallStaysInItsBundle(t *testing.T) {
	e := onTrial(t, `c.text = "old"`, `c.text = "new"`, engine.Policy{Mode: engine.ModeCanary, Percent: 100})
	m := message("hi")
	if v := e.Ask(t.Context(), engine.Before, &m.Call); v.Denied() || m.Text != "new" {
		t.Errorf("got %+v, %q", v, m.Text)
	}
	if err := e.Abort(t.Context(), "", me); err != nil {
		t.Fatal(err)
	}
	m.Text = "hi"
	if v := e.Ask(t.Context(), engine.Before, &m.Call); v.Denied() || m.Text != "new" {
		t.Errorf("got %+v, %q", v, m.Text)
	}
	if _, m := ask(t, e, "hi"); m.Text != "old" {
		t.Errorf("got %q after the end of the canary", m.Text)
	}
}

func TestNoCandidate(t *testing.T) {
	e := load(t, rule(``), nil)
	if _, err := e.Promote(t.Context(), me); err == nil {
		t.Error("promoted nothing")
	}
	if err := e.Abort(t.Context(), "", me); err == nil {
		t.Error("aborted nothing")
	}
	for _, p := range []engine.Policy{{Mode: "later"}, {Mode: engine.ModeCanary}, {Mode: engine.ModeCanary, Percent: 101}} {
		if _, err := e.Activate(t.Context(), e.Status().Bundle, p, me); err == nil {
			t.Errorf("activated by %+v", p)
		}
	}
	if _, err := e.Activate(t.Context(), e.Status().Bundle, engine.Policy{Mode: engine.ModeShadow}, me); err == nil {
		t.Error("a shadow of itself")
	}
}

func TestPrepareRefuses(t *testing.T) {
	e := load(t, rule(``), nil)
	for name, text := range map[string]string{"a.lua": "nonsense", "../a.lua": "x = 1", "/a.lua": "x = 1", "a.txt.exe": "x", "a/../b.lua": "x = 1",
		".a.lua": "x = 1", "a/.b.lua": "x = 1", "empty.lua": "", "words.txt": "only data", "octets.lua": "-- \xff"} {
		if _, err := e.Prepare(t.Context(), map[string]string{name: text}, me); err == nil {
			t.Errorf("took %s", name)
		}
	}
	if n := len(e.Bundles()); n != 1 {
		t.Errorf("got %d bundles", n)
	}
}

// Files that change become candidates if the policy says so; a restart in the
// middle of a trial goes on with what was active.
func TestFilesOnTrial(t *testing.T) {
	k := newKept(t)
	k.policy = engine.Policy{Mode: engine.ModeCanary, Percent: 100}
	k.restart()
	one := k.Status().Bundle
	k.save("two")
	two := k.Status().Candidate.Bundle
	k.says("two") // the canary is for everybody
	if k.save("two") != one || k.Status().Candidate.Bundle != two {
		t.Errorf("got %+v", k.Status().Candidate)
	}
	k.restart()
	k.says("one")
	k.save("one")
	k.save("three")
	k.says("three")
	k.save("one") // the files are again what is active
	if c := k.Status().Candidate; c != nil {
		t.Errorf("got %+v", c)
	}
	k.save("three")
	if err := k.Abort(t.Context(), "", me); err != nil {
		t.Fatal(err)
	}
	k.says("one")
	if h := k.Status().Held; h == nil || h.Bundle != one || h.By != me {
		t.Errorf("got %+v, want the active bundle held", h)
	}
	k.save("four")
	if _, err := k.Promote(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	k.restart()
	k.says("four")
	if s := k.Status(); s.Held != nil || s.Candidate != nil {
		t.Errorf("got %+v", s)
	}
}

// What a candidate counted in shadow had no effect: nothing of it is left when it
// decides, and meanwhile the log says nothing of its faults.
func TestPromotedFromShadowBeginsAnew(t *testing.T) {
	dir, log := t.TempDir(), &logs{}
	put(t, dir, rule(``))
	e, err := engine.New(options(dir, log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	r, err := e.Prepare(t.Context(), rule(`if c.text == "fail" then error("boom") end return im.deny("rejected")`), me)
	if err == nil {
		_, err = e.Activate(t.Context(), r.Prepared, engine.Policy{Mode: engine.ModeShadow}, me)
	}
	if err != nil {
		t.Fatal(err)
	}
	const asked = 60
	for range asked {
		ask(t, e, "fail")
	}
	diffs(t, e, asked)
	if h := e.Status().Candidate.Hooks[0]; !h.Tripped || h.Faults != asked || h.LastFault == "" {
		t.Errorf("on trial: got %+v", h)
	}
	if text := log.String(); strings.Contains(text, "boom") || strings.Contains(text, "fails too often") {
		t.Errorf("the log has faults of a trial:\n%s", text)
	}
	if _, err := e.Promote(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	if h := e.Status().Hooks[0]; h.Tripped || h.Calls != 0 || h.Faults != 0 || h.LastFault != "" {
		t.Errorf("promoted: got %+v", h)
	}
	if v, _ := ask(t, e, "hi"); v.Err != nil || !v.Denied() || e.Status().Hooks[0].Denied != 1 {
		t.Errorf("got %+v, %+v", v, e.Status().Hooks[0])
	}
	ask(t, e, "fail")
	if !strings.Contains(log.String(), "boom") {
		t.Error("the log does not have a fault of the active bundle")
	}
}
