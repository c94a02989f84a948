package engine_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"freeim/scripts/engine"
)

// breaking is a rule that fails for some texts, denies others, and takes long about others.
func breaking(tag string) string {
	return `local im = require("im")
im.on_message(function(c)
	if c.text == "fail" then error("` + tag + `") end
	if c.text == "deny" then return im.deny("rejected") end
	if c.text == "loop" then while true do end end
	if c.text == "slow" then im.kv.get("x") end
	c.text = "` + tag + `"
end, {name = "answer", on_error = "open"})
`
}

// send asks n times about text.
func send(t *testing.T, e *engine.Engine, n int, text string) {
	t.Helper()
	for range n {
		ask(t, e, text)
	}
}

// guarded is an engine in a bubble whose memory is slow, with n calls about a text behind bundle one, and
// bundle two activated.
func guarded(t *testing.T, n int, text string) *kept {
	k := &kept{t: t, dir: t.TempDir(), state: t.TempDir(), kv: laggard{}}
	put(t, k.dir, map[string]string{"a.lua": breaking("one")})
	k.start()
	t.Cleanup(func() { k.Close() })
	send(t, k.Engine, n, text)
	put(t, k.dir, map[string]string{"a.lua": breaking("two")})
	if _, err := k.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.says("two")
	return k
}

// later lets time go on, and what happens then happen.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestWorseBundleIsTakenBack(t *testing.T) {
	for _, test := range []struct {
		name, text string
		before     int    // good calls of the bundle before,
		was        string // about this; empty: "hi"
		bad, good  int
		back       bool
		why        string
	}{
		{"faults", "fail", 300, "", 30, 270, true, "failed"},
		{"faults, and nothing known of the one before", "fail", 0, "", 30, 270, true, "failed"},
		{"all fail, and the breaker opens", "fail", 300, "", 300, 0, true, "failed"},
		{"work without end", "loop", 300, "", 15, 300, true, "exceeded their budget"},
		{"denials", "deny", 300, "", 90, 210, true, "were denied"},
		{"denials, and nothing known of the one before", "deny", 100, "", 90, 210, false, ""},
		{"few faults", "fail", 300, "", 9, 300, false, ""},
		{"few calls", "fail", 300, "", 50, 50, false, ""},
		{"three denials of five", "deny", 300, "", 3, 2, false, ""},
		{"no more denials than the threshold", "deny", 300, "", 27, 273, false, ""},
		{"nothing wrong", "hi", 300, "", 300, 0, false, ""},
		{"slower", "slow", 300, "", 30, 270, true, "the hooks of one action in a hundred took"},
		{"slower for one in a hundred and fifty", "slow", 300, "", 2, 298, false, ""},
		{"as slow as the one before", "slow", 300, "slow", 300, 0, false, ""},
		{"slow, and nothing known of the one before", "slow", 100, "", 300, 0, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := guarded(t, test.before, cmp.Or(test.was, "hi"))
				one, two := k.Bundles()[1].Hash, k.Status().Bundle
				send(t, k.Engine, test.good, "hi")
				send(t, k.Engine, test.bad, test.text)
				later(2 * time.Second)
				s := k.Status()
				if !test.back {
					if s.Bundle != two || s.Rejected != nil {
						t.Errorf("got %+v, want that it stays", s)
					}
					return
				}
				if s.Bundle != one || s.Rejected == nil || s.Rejected.Bundle != two || !strings.Contains(s.Rejected.Errors[0], test.why) {
					t.Fatalf("got %s, %+v, want the one before", s.Bundle, s.Rejected)
				}
				if s.Held == nil || s.Held.Who != "watch" || s.Held.Disk != two {
					t.Errorf("got %+v, want it held", s.Held)
				}
				k.restart()
				k.says("one")
				for _, stored := range k.Bundles() {
					if (stored.Rejected != "") != (stored.Hash == two) {
						t.Errorf("got %+v", stored)
					}
				}
			})
		})
	}
}

// What gets worse later is for the breaker and for people.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := guarded(t, 300, "hi")
		later(5*time.Minute + time.Second)
		send(t, k.Engine, 300, "fail")
		later(time.Minute)
		k.says("two")
	})
}

// One that was taken back stays away until the files are other ones, and the next
// bundle is watched again.
func TestTakenBackAndMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := guarded(t, 300, "hi")
		send(t, k.Engine, 300, "fail")
		later(2 * time.Second)
		k.says("one")
		put(t, k.dir, map[string]string{"a.lua": breaking("three")})
		if _, err := k.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.says("three")
		send(t, k.Engine, 300, "fail")
		later(2 * time.Second)
		k.says("one")
		if n := k.Status().Results["rolled_back"]; n != 2 {
			t.Errorf("counted %d", n)
		}
	})
}

func TestWorseCanaryIsAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kept{t: t, dir: t.TempDir(), state: t.TempDir(), policy: engine.Policy{Mode: engine.ModeCanary, Percent: 50}}
		put(t, k.dir, map[string]string{"a.lua": breaking("one")})
		k.start()
		defer func() { k.Close() }()
		one := k.Status().Bundle
		put(t, k.dir, map[string]string{"a.lua": strings.Replace(breaking("two"), `"deny"`, `"hi"`, 1)})
		if _, err := k.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		two := k.Status().Candidate.Bundle
		for n := range 1000 {
			sendAs(t, k.Engine, fmt.Sprint(n), "hi")
		}
		if m := k.Status().Candidate.Measured; m.Calls < 300 || m.Denied != m.Calls {
			t.Errorf("got %+v", m)
		}
		later(2 * time.Second)
		s := k.Status()
		if s.Candidate != nil || s.Bundle != one || s.Rejected == nil || s.Rejected.Bundle != two || s.Held == nil {
			t.Errorf("got %+v, want the canary aborted", s)
		}
	})
}

// What cannot be taken back is tried once, and told once.
func TestCannotBeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := guarded(t, 300, "hi")
		one, two := k.Bundles()[1].Hash, k.Status().Bundle
		if err := os.Remove(filepath.Join(k.state, "bundles", one+".json")); err != nil {
			t.Fatal(err)
		}
		send(t, k.Engine, 300, "fail")
		later(time.Minute)
		if n := strings.Count(k.log.String(), "which cannot be activated"); n != 1 {
			t.Errorf("told %d times:\n%s", n, k.log.String())
		}
		s, journal := k.Status(), k.Journal()
		if last := journal[len(journal)-1]; s.Bundle != two || s.Results["not_taken_back"] != 1 || last.What != "not_taken_back" || last.Bundle != two || last.From != one {
			t.Errorf("got %+v, %+v", s, last)
		}
	})
}
