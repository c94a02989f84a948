package hooktool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/admin"
	"freeim/core/hooks"
	"freeim/core/hooktool"
	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/scripts/engine"
)

const key = "0123456789abcdef"

const rule = `local im = require("im")
im.on_message(function(c)
  if c.text == "break" then error("broken") end
  if c.text == "no" then return im.deny("rejected", "as you say") end
  c.text = c.text:gsub("old", "new")
end, {name = "first", on_error = "open"})
im.before("chat.*", function(c) c:tag("seen") end, {name = "second", on_error = "open", phase = "observe"})
`

// site is a core's rules behind a real administrative port.
type site struct {
	t     *testing.T
	dir   string
	rules *hooks.Rules
	admin *admin.Server
}

func newSite(t *testing.T, changes ...func(o *engine.Options)) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), rules: hooks.New()}
	s.put(rule)
	o := engine.Options{Dir: s.dir, StateDir: t.TempDir(), Log: slog.New(slog.DiscardHandler),
		Wall: time.Second, ChainWall: time.Second, Watch: engine.Watch{For: -1}} // a busy machine is no fault of theirs
	for _, change := range changes {
		change(&o)
	}
	if err := s.rules.Open([]plugin.Spec{{Name: "chat.send", Message: true}}, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.rules.Close() })
	routes := map[string]admin.Page{}
	for _, p := range s.rules.Pages("core-1") {
		routes[p.Pattern] = admin.Page{Handler: p.Handler, About: p.About}
	}
	var err error
	if s.admin, err = admin.New(admin.Options{Listen: "127.0.0.1:0", Key: key, Routes: routes, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.admin.Close() })
	return s
}

func (s *site) put(text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "a.lua"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// say puts a message of a user to the rules.
func (s *site) say(user int64, text string) {
	call := &plugin.Call{Name: "chat.send", User: im.UserID(user), Device: "d", DeviceType: idl.DeviceWeb}
	if s.rules.Wants(call, true) {
		_ = s.rules.Review(s.t.Context(), call, plugin.Reviewed{Conversation: "c_1_2", Kind: "text", Text: &text}) // the verdict is watched
	}
}

func (s *site) run(ctx context.Context, key string, out io.Writer, args ...string) int {
	return hooktool.Run(ctx, hooktool.Options{Program: "core hooks", Args: args, In: strings.NewReader(""), Out: out, Err: out,
		Site: func() (hooktool.Site, error) {
			return hooktool.Site{File: "core.yaml", Admin: s.admin.Addr().String(), Key: key, Engine: engine.Options{Dir: s.dir}}, nil
		}})
}

func (s *site) want(code int, pattern string, args ...string) string {
	s.t.Helper()
	var out bytes.Buffer
	if got := s.run(s.t.Context(), key, &out, args...); got != code || !regexp.MustCompile("(?s)"+pattern).MatchString(out.String()) {
		s.t.Errorf("hooks %s: exit code %d, want %d; want %q in:\n%s", strings.Join(args, " "), got, code, pattern, out.String())
	}
	return out.String()
}

func TestStatusErrorsAndOrder(t *testing.T) {
	s := newSite(t)
	s.want(0, `no hook has failed`, "errors")
	s.say(1, "no")
	s.say(1, "break")
	s.say(1, "break")
	s.want(0, `core-1: bundle [0-9a-f]{12} since .*first@a\.lua:\d+ +3 +1 +0 +2 +open +last fault: script: a\.lua:3: broken`, "status")
	s.want(0, `a\.lua:3: script, 2 times: .*broken.*hook first@.*first at: chat\.send kind=text text="xxxxx"`, "errors")
	s.want(0, `1 +first@\S+ +im\.on_message +business.*2 +second@\S+ +im\.before chat\.\* +observe`, "order", "--live", "chat.send")
	var status struct {
		Node   string
		Status struct {
			Bundle string
			Hooks  []struct{ Rule, LastFault string }
		}
	}
	if err := json.Unmarshal([]byte(s.want(0, `"last_fault"`, "status", "--json")), &status); err != nil || len(status.Status.Hooks) != 2 {
		t.Errorf("%v: got %+v", err, status)
	}
}

func TestSwitchAndReload(t *testing.T) {
	s := newSite(t)
	s.want(0, `first is off`, "off", "--hook", "first")
	s.want(0, `first@.* OFF`, "status")
	s.want(1, `no hook is named "third"`, "off", "--hook", "third")
	s.want(0, `all hooks are off`, "off")
	s.want(0, `OFF: no hook is asked`, "status")
	s.want(0, `all hooks are on`, "on")
	s.want(0, `is active, as before`, "reload")
	s.put(rule + `im.on_message(function() end, {name = "third", on_error = "open"})`)
	s.want(0, `activated [0-9a-f]+, .*~a\.lua.*hook added: third`, "reload")
	s.put("x = = 1")
	s.want(1, `a\.lua:1:\d+: `, "reload")
	s.want(0, `REJECTED.*a\.lua:1`, "status")
}

func TestWhoMayAsk(t *testing.T) {
	s := newSite(t)
	for pattern, key := range map[string]string{"wants the administrative key: set admin.key": "", "does not take this": "wrong-wrong-wrong"} {
		var out bytes.Buffer
		if code := s.run(t.Context(), key, &out, "status"); code != hooktool.Failed || !strings.Contains(out.String(), pattern) {
			t.Errorf("exit code %d: %s", code, out.String())
		}
	}
	address := s.admin.Addr().String()
	s.admin.Close()
	s.want(1, `nothing listens at `+regexp.QuoteMeta(address)+` \(admin\.listen of core\.yaml\)`, "status")
	s.want(1, `nothing listens`, "status", "--server", address)
	s.want(2, `must be HOST:PORT`, "status", "--server", "nowhere")
	s.want(2, `one --server at a time`, "errors", "--server", address, "--server", "127.0.0.1:1")
	s.want(2, `whose actions`, "trace")
}

// lines is a stream's output, which others wait for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// watched runs a stream while say is called, until its output has the pattern.
func (s *site) watched(pattern string, say func(), args ...string) string {
	s.t.Helper()
	ctx, end := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer end()
	out := &lines{}
	code := make(chan int, 1)
	go func() { code <- s.run(ctx, key, out, args...) }()
	want := regexp.MustCompile("(?s)" + pattern)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !want.MatchString(out.String()) && ctx.Err() == nil {
		say()
		<-tick.C
	}
	end()
	if got := <-code; got != hooktool.Done || !want.MatchString(out.String()) {
		s.t.Errorf("hooks %s: exit code %d; want %q in:\n%s", strings.Join(args, " "), got, pattern, out)
	}
	return out.String()
}

func TestTailAndTrace(t *testing.T) {
	s := newSite(t)
	talk := func() {
		s.say(1, "no")
		s.say(2, "an old word")
		s.say(2, "break")
	}
	got := s.watched(`chat\.send user 1: deny rejected \(as you say\) by first@a\.lua:\d+.*\n.*chat\.send user 1: deny`, talk, "tail", "--verdict", "deny")
	if strings.Contains(got, "user 2") {
		t.Errorf("not asked for:\n%s", got)
	}
	s.watched(`user 2: .*fault first@\S+ script: a\.lua:3: broken`, talk, "tail", "--verdict", "fault")
	got = s.watched(`rewrite of text`, talk, "tail", "--hook", "first", "--user", "2")
	if strings.Contains(got, "old word") {
		t.Errorf("a tail shows texts:\n%s", got)
	}
	s.watched(`"verdict":"rewrite"`, talk, "tail", "--json")
	got = s.watched(`first@\S+ +im\.on_message .*rewrote text: "an old word" -> "an new word".*second@\S+ .*tags seen`, talk, "trace", "--user", "2")
	if strings.Contains(got, "user 1") {
		t.Errorf("not asked for:\n%s", got)
	}
	if code := s.run(t.Context(), key, io.Discard, "trace", "--user", "2", "--ttl", "20ms"); code != hooktool.Done {
		t.Errorf("a trace that is over: exit code %d", code)
	}
	s.want(1, `ttl is "2h0m0s"`, "trace", "--user", "2", "--ttl", "2h")
}
