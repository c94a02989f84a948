package command_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"freeim/core/admin"
)

// serveRules starts a core with its administrative port, and gives the flags that
// name it.
func (s *rulesSite) serveRules() (flags []string) {
	s.t.Helper()
	core := s.serve()
	s.t.Cleanup(func() {
		if err := core.Close(context.WithoutCancel(s.t.Context())); err != nil {
			s.t.Error(err)
		}
	})
	if err := core.Start(); err != nil {
		s.t.Fatal(err)
	}
	routes := map[string]admin.Page{}
	for _, p := range core.RulePages() {
		routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
	}
	port, err := admin.New(admin.Options{Listen: "127.0.0.1:0", Routes: routes, Log: quiet})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { port.Close() })
	return []string{"--server", port.Addr().String()}
}

// eventually runs the tool until what it says has the pattern.
func (s *rulesSite) eventually(pattern string, args ...string) {
	s.t.Helper()
	want := regexp.MustCompile("(?s)" + pattern)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	said := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		_, out, errs := s.tool(args...)
		if said = out + errs; want.MatchString(said) {
			return
		}
	}
	s.t.Errorf("hooks %s: want %q in:\n%s", strings.Join(args, " "), pattern, said)
}

// What scripts/README.md walks through, with a running core: a rule and its test are
// written, refused, mended, tried in shadow, activated and rolled back; then a file is
// saved.
func TestWalkThrough(t *testing.T) {
	s := newRulesSite(t, map[string]string{"keep.lua": "-- none yet\n"})
	at := s.serveRules()
	with := func(args ...string) []string { return append(args, at...) }
	work := filepath.Join(s.dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("keep.lua", "-- none yet\n")
	s.want(0, `wrote`, "new", "spam", "--dir", work)
	write("spam_test.lua", goodTest)
	s.want(1, `work/spam_test\.lua:2:3: .*FAILED: 1 of 2 tests`, "test", work)
	s.want(1, `work/spam_test\.lua:2: .*did not take.*nothing was activated`, with("push", work, "--activate")...)
	write("spam.lua", goodRule)
	s.want(0, `passed: 2 tests`, "test", work)
	pushed := regexp.MustCompile(`[0-9a-f]{12}`).FindString(s.want(0, `is kept, .*\+spam\.lua \+spam_test\.lua; 2 tests passed\n  hook added: spam\n`, with("push", work)...))
	s.want(0, `is on trial`, with("shadow", pushed)...)
	s.want(0, `ON TRIAL is bundle `+pushed+`, shadow`, with("status")...)
	s.want(0, `activated `+pushed, with("activate", "--why", "it went well")...)
	s.want(0, `bundle `+pushed+`.*ON DISK is bundle .* NOT ACTIVE.*spam@spam\.lua`, with("status")...)
	s.want(0, `promoted .*it went well`, with("store", "log")...)
	s.want(0, `activated `, with("rollback")...)
	if out := s.want(0, `bundle`, with("status")...); strings.Contains(out, "ON DISK") {
		t.Errorf("the files are what is active:\n%s", out)
	}
	s.want(0, `activated `+pushed, with("rollback", pushed)...)
	s.put("saved.lua", "-- by somebody, later\n")
	s.eventually(`: 2 files, 0 hooks`, with("status")...)
	s.eventually(`activated .* before `+pushed+` +files`, with("store", "log")...) // the journal follows the activation
}
