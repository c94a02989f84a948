package command_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"freeim/core/command"
	"freeim/plugins"
)

// rulesSite is a site whose configuration names a directory of scripts.
type rulesSite struct {
	*site
	scripts string
}

func newRulesSite(t *testing.T, files map[string]string) *rulesSite {
	t.Helper()
	s := &rulesSite{site: newSite(t)}
	s.scripts = filepath.Join(s.dir, "scripts")
	s.core.Scripts = s.scripts
	s.write("  scripts: " + s.scripts + "\n")
	for path, text := range files {
		s.put(path, text)
	}
	return s
}

func (s *rulesSite) put(path, text string) {
	s.t.Helper()
	full := filepath.Join(s.scripts, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// tool runs "core hooks" with args.
func (s *rulesSite) tool(args ...string) (code int, out, errs string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	code = command.Run(s.t.Context(), command.Options{Program: "core", Config: s.file, Args: append([]string{"hooks"}, args...),
		Plugins: plugins.All(), In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

// want runs the tool and looks for the pattern in what it says, of either kind.
func (s *rulesSite) want(code int, pattern string, args ...string) string {
	s.t.Helper()
	got, out, errs := s.tool(args...)
	if all := out + errs; got != code || !regexp.MustCompile("(?s)"+pattern).MatchString(all) {
		s.t.Errorf("hooks %s: exit code %d, want %d; want %q in:\n%s", strings.Join(args, " "), got, code, pattern, all)
	}
	return out
}

const (
	goodRule = `local im = require("im")
im.on_message(function(c)
  if im.text.contains(c.text, "spam") then
    return im.deny("rejected", "no spam")
  elseif c.text == "never" then
    c.text = "ever"
  end
end, {name = "spam", on_error = "open"})
`
	goodTest = `test("spam is refused", function(t)
  assert(t.message{text = "SPAM"}.denied)
end)
test("talk is not", function(t)
  assert(not t.message{text = "talk"}.denied)
end)
`
)

func TestCheckSaysWhere(t *testing.T) {
	s := newRulesSite(t, map[string]string{"spam.lua": goodRule, "spam_test.lua": goodTest})
	s.want(0, `well: 2 files, 1 hook, 2 tests passed; bundle [0-9a-f]{12}`, "check")
	s.put("bad.lua", "local x = 1\nlocal y = = 2\n")
	s.want(1, `scripts/bad\.lua:2:\d+: .*1 error`, "check")
	s.put("bad.lua", "local x = 1\n  foo()\n")
	s.want(1, `scripts/bad\.lua:2:3: global 'foo' is not declared`, "check")
	s.put("bad.lua", "require('im').before('chat.snd', function() end, {name = 'x', on_error = 'open'})\n")
	s.want(1, `bad\.lua:1:1: no action is named "chat.snd"`, "check")
	s.put("bad.lua", "require('im').before('chat.*', function() end, {name = 'x', on_error = 'open'})\n")
	s.want(0, `well`, "check")
	s.put("bad.lua", "require('im').before('room.*', function() end, {name = 'x', on_error = 'open'})\n")
	s.want(0, `bad\.lua:1:1: warning: no test calls the hook "x".*well`, "check", s.scripts)
	s.want(1, `1 error`, "check", "--strict")
	s.put("bad_test.lua", "test('fails', function(t)\n  assert(t.message{}.denied, 'why not')\nend)\n")
	out := s.want(1, `bad_test\.lua`, "check", "--json")
	var got struct {
		OK       bool
		Findings []struct {
			File    string
			Line    int
			Column  int
			Message string
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.OK || len(got.Findings) != 1 ||
		got.Findings[0].Line != 2 || !strings.Contains(got.Findings[0].Message, "why not") {
		t.Errorf("%v: got %+v from %s", err, got, out)
	}
	s.want(1, `no such file`, "check", filepath.Join(s.dir, "nowhere"))
	s.want(1, `spam\.lua is a file`, "check", filepath.Join(s.scripts, "spam.lua"))
}

func TestTestsAreNamedAndCovered(t *testing.T) {
	s := newRulesSite(t, map[string]string{"spam.lua": goodRule, "spam_test.lua": goodTest})
	s.want(0, `ok +\d.* ms +spam is refused +\S+spam_test\.lua:1.*passed: 2 tests`, "test")
	s.want(0, `passed: 1 test, 1 left out by --run`, "test", "--run", "^talk")
	s.want(0, `spam@spam\.lua:8? *.*2 +3 of 4 \(75 %\).*spam\.lua +\d+ of \d+ \(\d+ %\) +6\n`, "test", s.scripts, "--cover")
	s.put("spam_test.lua", goodTest+"test('wrong', function(t)\n  assert(false, 'as it is')\nend)\n")
	s.want(1, `FAIL.* wrong .*spam_test\.lua:8:3: .*as it is.*FAILED: 1 of 3 tests`, "test")
	s.want(2, `--run: .*usage: core hooks test`, "test", "--run", "(")
}

func TestBenchEvalAndOrder(t *testing.T) {
	s := newRulesSite(t, map[string]string{"spam.lua": goodRule, "spam_test.lua": goodTest})
	s.put("rooms.lua", "require('im').before('room.join', function(c)\n  if c.req.room == 'x' then return require('im').deny('rejected', 'not there') end\nend, {name = 'rooms', on_error = 'closed', phase = 'security'})\n")
	s.want(0, `rooms@rooms.lua:\d+ +room\.join +\S+s.*spam@spam\.lua:\d+ +chat\.send .*deny rejected`, "bench", "--time", "2ms", "--text", "spam")
	s.want(0, `^3\n`, "eval", `im.text.len(c.text)`, "--text", "abc")
	s.want(0, `^"42"\n`, "eval", "c.user", "--user", "42")
	s.want(0, `text is now "x"`, "eval", `c.text = "x"`, "--text", "abc")
	s.want(1, `eval\.lua:1: a call has no field 'txt'`, "eval", "c.txt")
	s.want(1, `eval\.lua:1:5: `, "eval", "foo +")
	s.want(0, `spam@\S+ .*deny rejected \(no spam\).*verdict: deny rejected \(no spam\) by spam@`, "eval", "--text", "more spam")
	s.want(0, `text: "ever"`, "eval", "--text", "never")
	s.want(0, `not there`, "eval", "--action", "room.join", "--set", "req.room=x")
	s.want(1, `has no field 'rom'`, "eval", "--action", "room.join", "--set", "req.rom=x")
	s.want(0, `1 +rooms@rooms\.lua:1 .*2 +spam@`, "order")
	s.put("gated.lua", `local im = require("im")
im.config{name = "later", on = {type = "boolean", default = false}}
im.on_message(function() end, {name = "gated", on_error = "open", conversations = "room"})
im.on_message(function() end, {name = "sleeps", on_error = "open", when = "later.on"})
im.before("room.join", function() end, {name = "elsewhere", on_error = "open", when = "later.on"})
`)
	if out := s.want(0, `gated@\S+ .*not asked \(in room\).*sleeps@\S+ .*not asked \(when later\.on\).*verdict: allow`, "eval", "--text", "hi"); strings.Contains(out, "elsewhere") {
		t.Errorf("a hook of another action is named:\n%s", out)
	}
	if out := s.want(0, `spam@`, "order", "chat.send"); strings.Contains(out, "rooms@") {
		t.Error(out)
	}
}

func TestNewRulePassesItsTest(t *testing.T) {
	s := newRulesSite(t, nil)
	s.want(1, `no such file`, "new", "links")
	s.put("keep.lua", "-- none yet\n")
	s.want(0, `wrote \S+links_test\.lua and \S+links\.lua`, "new", "moderation/links")
	s.want(0, `passed: 2 tests`, "test")
	s.want(0, `im\.d\.lua and \S+\.luarc\.json`, "stubs")
	s.want(0, `well: 3 files`, "check") // stubs are no scripts
	s.want(1, `there already`, "new", "moderation/links")
	s.want(2, `lib/`, "new", "lib/links")
	s.want(2, `lower-case`, "new", "../links")
}

func TestDiffOfDirectoriesAndBundles(t *testing.T) {
	s := newRulesSite(t, map[string]string{"spam.lua": goodRule, "spam_test.lua": goodTest})
	s.started() // stores the bundle
	stored := regexp.MustCompile(`bundle ([0-9a-f]{12})`).FindStringSubmatch(s.want(0, "bundle", "check"))[1]
	s.want(0, `the same`, "diff", s.scripts, stored)
	s.put("spam.lua", strings.Replace(goodRule, `"open"`, `"closed"`, 1)+`im.before("*", function() end, {name = "last", on_error = "open"})`)
	s.want(0, `changed +spam\.lua +\+2 -1 lines.*hook added +last@.*hook changed +spam: .*closed, was .*open`, "diff", stored[:8], s.scripts)
	s.put("spam.lua", strings.Replace(goodRule, `"open"`, `"open", conversations = "room"`, 1))
	s.want(0, `hook changed +spam: priority 0, on_error open, in room, was priority 0, on_error open\s`, "diff", stored[:8], s.scripts)
	s.want(1, `no stored bundle`, "diff", "abcdef", s.scripts)
	s.want(2, `something is missing`, "diff", s.scripts)
}

func TestHelpOfEveryCommand(t *testing.T) {
	s := newRulesSite(t, nil)
	out := s.want(0, `Beside any server`, "help")
	s.want(2, `did you mean "check"`, "chek")
	s.want(2, `provided but not defined.*for example`, "check", "--loud")
	for _, line := range regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(out, -1) {
		s.want(0, `usage: core hooks `+line[1]+`.*-json.*for example:\n  core hooks `+line[1], line[1], "-h")
	}
}
