package hooktool_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"freeim/scripts/engine"
)

// stricter denies more than rule does.
var stricter = strings.Replace(rule, `c.text == "no"`, `c.text == "no" or c.text == "maybe"`, 1)

// files writes scripts for a push.
func files(t *testing.T, texts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// hashIn is the first bundle that a text names.
func hashIn(t *testing.T, text string) string {
	t.Helper()
	hash := regexp.MustCompile(`\b[0-9a-f]{12}\b`).FindString(text)
	if hash == "" {
		t.Fatalf("no bundle in %q", text)
	}
	return hash
}

// until asks again until the answer has the pattern.
func (s *site) until(pattern string, args ...string) {
	s.t.Helper()
	want := regexp.MustCompile("(?s)" + pattern)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var out bytes.Buffer
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		out.Reset()
		if s.run(s.t.Context(), key, &out, args...); want.MatchString(out.String()) {
			return
		}
	}
	s.t.Errorf("hooks %s: want %q in:\n%s", strings.Join(args, " "), pattern, out.String())
}

func TestPushTrialActivateRollback(t *testing.T) {
	s := newSite(t)
	first := s.rules.Engine().Status().Bundle
	dir := files(t, map[string]string{"a.lua": "x = = 1"})
	s.want(1, regexp.QuoteMeta(dir)+`/a\.lua:1:\d+: .*did not take [0-9a-f]{12}: nothing was activated`, "push", dir)
	dir = files(t, map[string]string{"a.lua": stricter, "a_test.lua": "test('t', function(t)\n  assert(t.message{text = 'talk'}.denied)\nend)\n"})
	s.want(1, regexp.QuoteMeta(dir)+`/a_test\.lua:2: `, "push", dir, "--activate")
	s.want(0, "bundle "+first, "status")

	dir = files(t, map[string]string{"a.lua": stricter, "a_test.lua": "test('t', function(t)\n  assert(t.message{text = 'maybe'}.denied)\nend)\n"})
	pushed := hashIn(t, s.want(0, `is kept, active is `+first+`: ~a\.lua \+a_test\.lua; 1 test passed.*Next: core hooks shadow`, "push", dir, "--why", "maybe is no"))
	if s.rules.Engine().Status().Bundle != first {
		t.Error("a push activates")
	}
	s.want(2, `no bundle is on trial: name one`, "activate")
	s.want(0, pushed+` is on trial, active stays `+first, "shadow", pushed[:6])
	s.say(7, "maybe")
	s.until(`ON TRIAL is bundle `+pushed+`, shadow, since .*, by \S+ from 127\.0\.0\.1\n.*would decide otherwise about 1;.*1 × first: allow -> deny rejected\n.*chat\.send user 7 in c_1_2, by first@a\.lua`, "status")
	s.want(2, `PERCENT of the users`, "canary", "0")
	s.want(0, `is on trial`, "canary", "100%")
	s.want(0, `canary 100 %`, "status")
	s.want(0, `activated `+pushed+`, before `+first, "activate", "--why", "the trial went well", "--who", "ann")
	s.want(0, `ON DISK is bundle `+first+`, which is NOT ACTIVE: `+pushed+` is held against it since .*by ann from 127\.0\.0\.1 \(the trial went well\); "resume"`, "status")
	s.want(0, pushed+` .*active, held against.*`+first+` .*rollback goes here`, "store", "ls")
	s.want(0, `promoted +`+pushed+` +before `+first+` +ann from 127\.0\.0\.1 \(the trial went well\).*canary.*shadow.*prepared.*maybe is no.*started`, "store", "log")
	s.want(0, `activated `+first+`, before `+pushed, "rollback")
	if out := s.want(0, first, "status"); strings.Contains(out, "ON DISK") {
		t.Errorf("the files are what is active:\n%s", out)
	}
	s.want(0, `activated `+pushed, "rollback", pushed[:4])
	s.want(0, `is active, as before`, "activate", pushed)
	s.want(1, `is not kept by .*push its files first`, "activate", "abcdef012345")
	s.want(2, `4 to 12 digits`, "activate", "latest")
	s.want(0, `activated `+first, "resume")
}

// A rollback while something is on trial ends the trial, and no more.
func TestRollbackEndsTrial(t *testing.T) {
	s := newSite(t)
	first := s.rules.Engine().Status().Bundle
	s.want(1, `no bundle was active before this one`, "rollback")
	s.want(0, `activated`, "push", files(t, map[string]string{"a.lua": rule + "-- two"}), "--activate")
	second := s.rules.Engine().Status().Bundle
	s.want(0, `is on trial`, "push", files(t, map[string]string{"a.lua": stricter}), "--canary", "5")
	s.want(0, second+` is active, as before`, "rollback")
	if got := s.rules.Engine().Status(); got.Bundle != second || got.Candidate != nil {
		t.Errorf("got %+v", got)
	}
	s.want(0, `activated `+first, "rollback")
	s.want(2, `one of --activate`, "push", s.dir, "--activate", "--shadow")
}

// Of a push and a file that is saved, what came last counts.
func TestFilesAfterPush(t *testing.T) {
	s := newSite(t)
	s.want(0, `activated`, "push", files(t, map[string]string{"a.lua": stricter}), "--activate")
	pushed := s.rules.Engine().Status().Bundle
	s.want(1, `is held.*\(resume lets the files decide again`, "reload")
	s.put("x = = 1")
	s.want(1, `a\.lua:1:\d+`, "reload")
	s.want(0, "bundle "+pushed+`.*REJECTED .*a\.lua:1`, "status")
	s.put(rule + "-- saved")
	s.want(0, `activated [0-9a-f]{12}, before `+pushed, "reload")
	if out := s.want(0, "bundle", "status"); strings.Contains(out, "ON DISK") || strings.Contains(out, "REJECTED") {
		t.Errorf("the files are what is active:\n%s", out)
	}
	s.want(0, `activated .*files`, "store", "log")
}

func TestSeveralServers(t *testing.T) {
	a, b := newSite(t), newSite(t, func(o *engine.Options) { o.Record = engine.Record{Every: 1, Text: engine.TextFull, MaxFlip: 0.1} })
	b.say(1, "maybe")
	both := []string{"--server", a.admin.Addr().String(), "--server", b.admin.Addr().String()}
	with := func(args ...string) []string { return append(args, both...) }
	first := a.rules.Engine().Status().Bundle
	a.want(0, `2 servers decide by the same rules`, with("status")...)
	a.want(1, `1 of the last 1 recorded actions would be decided otherwise.*1 of 2 servers did not take`, with("push", files(t, map[string]string{"a.lua": stricter}), "--activate")...)
	if now := a.rules.Engine().Status().Bundle; now != first {
		t.Errorf("%s is active, although one server refused it", now)
	}
	dir := files(t, map[string]string{"a.lua": rule + "-- two"})
	a.want(0, `core-1 \(127\S+\): \S+ is kept.*core-1 \(127\S+\): activated.*core-1 \(127\S+\): activated`, with("push", dir, "--activate")...)
	second := a.rules.Engine().Status().Bundle
	if now := b.rules.Engine().Status().Bundle; now != second || now == first {
		t.Errorf("got %s and %s", second, now)
	}
	a.want(0, `activated `+first, "rollback") // on one of them
	a.want(1, `THE SERVERS DIFFER.*active `+first+`\n.*active `+second, with("status")...)
	a.want(1, `the servers differ in what is the one before .*name a bundle`, with("rollback")...)
	a.want(0, `activated `+first, with("rollback", first)...)
	a.want(0, `the same rules`, with("status")...)
	a.want(0, `all hooks are off.*all hooks are off`, with("off")...)
	a.want(0, `all hooks are on`, "on")
	a.want(1, `THE SERVERS DIFFER.*OFF`, with("status")...)
	a.want(0, `all hooks are on.*all hooks are on`, with("on")...)
	var list []struct {
		Server string
		Answer struct{ Node string }
	}
	if err := json.Unmarshal([]byte(a.want(0, `"server"`, with("status", "--json")...)), &list); err != nil || len(list) != 2 || list[1].Answer.Node != "core-1" {
		t.Errorf("%v: got %+v", err, list)
	}
	b.admin.Close()
	a.want(1, `nothing listens.*1 of 2 servers did not answer: nothing was done`, with("activate", second)...)
	a.want(1, `nothing listens.*1 of 2 servers did not take`, with("push", dir, "--activate")...)
	if now := a.rules.Engine().Status().Bundle; now != first {
		t.Errorf("%s is active, although one server did not answer", now)
	}
	a.want(1, `bundle `+first+`.*`, with("status")...)
	a.want(1, `off was done on 1 of 2 servers`, with("off")...)
}

// What is misspelt must not mean the opposite.
func TestPagesTakeOnlyWhatTheyKnow(t *testing.T) {
	s := newSite(t)
	for _, one := range []struct {
		method, page, body string
		status             int
	}{
		{"POST", "off?hok=first", "", 400},
		{"POST", "off", "hook=first", 400},
		{"GET", "off", "", 405},
		{"POST", "off?hook=", "", 409},
		{"POST", "activate?hash=" + s.rules.Engine().Status().Bundle + "&percent=5", "", 400},
		{"POST", "activate?hash=abcd&mode=later", "", 409},
		{"POST", "rollback?hash=abcd&trial=abcd", "", 400},
		{"POST", "rollback?trial=abcd", "", 409},
		{"POST", "prepare", "{", 400},
		{"POST", "prepare", `{"files": {"../a.lua": "x = 1"}}`, 409},
		{"GET", "bundle?hash=abcd", "", 409},
		{"GET", "recording", "", 409},
		{"GET", "status?verbose=1", "", 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), one.method, "http://"+s.admin.Addr().String()+"/hooks/"+one.page, strings.NewReader(one.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		if one.body == "hook=first" {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", one.method, one.page, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != one.status {
			t.Errorf("%s %s: got %d, want %d", one.method, one.page, res.StatusCode, one.status)
		}
	}
	if st := s.rules.Engine().Status(); st.Off || st.Hooks[0].Off || len(s.rules.Engine().Journal()) != 1 {
		t.Errorf("something was decided: %+v, %+v", st, s.rules.Engine().Journal())
	}
}

// A hook that a setting puts to sleep is seen to sleep.
func TestStatusTellsWhoIsAsleep(t *testing.T) {
	s := newSite(t)
	s.put(`local im = require("im")
im.config{name = "quiet", enabled = {type = "boolean", default = false}}
im.on_message(function() end, {name = "quiet", on_error = "open", when = "quiet.enabled"})
`)
	s.want(0, `activated`, "reload")
	s.want(0, `quiet@a\.lua:3 .* open +asleep: a setting is off`, "status")
	s.want(0, `quiet@a\.lua:3 +im\.on_message \(asleep\) .* when quiet\.enabled`, "order", "chat.send", "--live")
}

func TestSwitchIsInTheJournal(t *testing.T) {
	s := newSite(t)
	s.want(0, `first is off`, "off", "--hook", "first", "--why", "too\x1b[31m slow", "--who", "ann")
	s.want(0, `on`, "on")
	s.want(0, ` on .* off +[0-9a-f]{12} +ann from 127\.0\.0\.1 \(first\. too \[31m slow\)`, "store", "log")
}

func TestReplay(t *testing.T) {
	for _, texts := range []string{engine.TextFull, engine.TextOff} {
		t.Run(texts, func(t *testing.T) {
			written := t.TempDir()
			s := newSite(t, func(o *engine.Options) { o.Record = engine.Record{Every: 1, Text: texts, Dir: written, Replay: -1} })
			s.want(1, `nothing is recorded yet`, "replay", s.dir)
			for range 10 {
				s.say(1, "no")
				s.say(2, "maybe")
			}
			s.say(3, "break")
			s.want(0, `on 21 recorded actions.*0 of 21 decided otherwise`, "replay", s.dir, "--max-flip", "0")
			against := "what was said then"
			if texts == engine.TextOff {
				against = "bundle " + s.rules.Engine().Status().Bundle
				s.want(0, against, "replay", s.dir)
				return
			}
			dir := files(t, map[string]string{"a.lua": stricter})
			s.want(0, `, against `+against+`, on 21.*old \\ new +allow +deny rejected\s.*allow +1 +10\ndeny rejected +\. +10.*10 × allow -> deny rejected, for example:.*user 2 in c_1_2, now by first@.*10 of 21 decided otherwise \(47\.62 %\); scripts fail on 1, on 1 before\ntime .*p50`, "replay", dir)
			s.want(1, `FAILED: --max-flip allows 0\.5 %`, "replay", dir, "--max-flip", "0.5%")
			s.want(1, `FAILED: a server would refuse.*broken`, "replay", files(t, map[string]string{"a.lua": strings.Replace(rule, `c.text == "break"`, `c.text ~= "no"`, 1)}))
			s.want(2, `a share, as in`, "replay", dir, "--max-flip", "half")
			s.want(0, `, against bundle [0-9a-f]{12}.* before: p50`, "replay", dir, "--old", s.dir)
			s.want(0, `, against bundle [0-9a-f]{12}`, "replay", dir, "--old", s.rules.Engine().Status().Bundle)
			var got struct {
				Flips  int
				Matrix []struct {
					From, To string
					Count    int
					Examples []struct{ User string }
				}
			}
			if err := json.Unmarshal([]byte(s.want(0, `"flip_share"`, "replay", dir, "--json")), &got); err != nil || got.Flips != 10 || len(got.Matrix) != 3 {
				t.Errorf("%v: got %+v", err, got)
			}
			s.until(`10 of 21 decided otherwise`, "replay", dir, "--from", written) // once it is written
			first := s.rules.Engine().Status().Bundle
			s.want(0, `recorded +from +to\s+`+first+` +21 .*chat.send user 1 in c_1_2 .*chat.send user 3 in c_1_2\s*$`, "spans")
			s.put(stricter)
			s.want(0, `activated`, "reload")
			s.say(4, "maybe")
			second := s.rules.Engine().Status().Bundle
			s.want(0, first+` +21 .*user 3 in c_1_2\s+`+second+` +1 .*chat.send user 4 in c_1_2 .*user 4`, "spans")
			s.until(second, "spans", "--from", written, "--json")
			s.want(1, `no such file`, "spans", "--from", filepath.Join(written, "none"))
			s.want(2, `is too much`, "spans", "somewhere")
			s.want(1, `no such file`, "replay", dir, "--from", filepath.Join(written, "none"))
		})
	}
}
