package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// linting is what Lint says of one file among others.
func linting(files map[string]string) (said []string) {
	for _, f := range Lint(files, Options{Codes: []string{"rejected", "rate_limited"}, Endpoints: []string{"audit"}}) {
		said = append(said, fmt.Sprintf("%d %s %s", f.Line, f.Severity, f.Rule))
	}
	return said
}

func hookLines(body string) string {
	return "local im = require(\"im\")\nim.on_message(function(c)\n" + body + "\nend, {name = \"h\", on_error = \"open\"})\n"
}

// Every rule finds what it is for (line, severity, rule), and leaves its good twin alone.
func TestLint(t *testing.T) {
	for _, row := range []struct{ name, bad, want, good string }{
		{"undeclared global", hookLines("c.text = prefx"), "3 error undeclared-global", "prefix = 'x'\n" + hookLines("c.text = prefix")},
		{"undeclared function", "local function _f() return tostrng(1) end", "1 error undeclared-global", "local function _f() return tostring(1) end"},
		{"function of tests outside of them", "test('x', function() end)", "1 error undeclared-global", "print('x')"},
		{"guarded global", "local ok = pcall(function() return flag end)\nprint(ok)", "1 warning undeclared-global", "local ok = pcall(function() return print end)\nprint(ok)"},
		{"guarded by name", "local function probe() return flag end\nprint(pcall(probe))", "1 warning undeclared-global", ""},
		{"unknown function", hookLines("return im.deni('rejected')"), "3 error unknown-name", hookLines("return im.deny('rejected')")},
		{"unknown function below", hookLines("im.kv.gett('k')"), "3 error unknown-name", hookLines("im.kv.get('k')")},
		{"unknown function through a local", "local kv = require('im').kv\nlocal function _f() kv.gett('k') end", "2 error unknown-name", "local kv = require('im').kv\nlocal function _f() kv.get('k') end"},
		{"unknown function through a global", "im = require('im')\nlocal function _f() im.dney() end", "2 error unknown-name", "im = require('im')\nlocal function _f() im.pass() end"},
		{"a function that a script looks for", hookLines("if im.nothing then im.nothing() end"), "3 warning unknown-name,3 warning unknown-name", ""},
		{"unknown field of c", hookLines("if c.usr then return im.pass() end"), "3 error unknown-name", hookLines("if c.user then return im.pass() end")},
		{"another c", "", "", "local function _f(c) return c.usr end"},
		{"unknown method of c", hookLines("c:tga('x')"), "3 error unknown-name", hookLines("c:tag('x')")},
		{"unknown method of an object", "local im = require('im')\nlocal list = im.words('x')\nlocal function _f(t) return list:fnd(t) end", "3 error unknown-name",
			"local im = require('im')\nlocal list = im.words('x')\nlocal function _f(t) return list:find(t) end"},
		{"unknown function of strings", "print(string.trim('x'))", "1 error unknown-name", "print(string.lower('x'))"},
		{"unknown method of strings", hookLines("c.text = ('x'):trim()"), "3 error unknown-name", hookLines("c.text = ('x'):lower()")},
		{"too few arguments", hookLines("im.kv.set('k', 'v')"), "3 error argument-count", hookLines("im.kv.set('k', 'v', '1h')")},
		{"too few for a method", hookLines("c:score('LINK')"), "3 error argument-count", hookLines("c:score('LINK', 1)")},
		{"too many", hookLines("c.text = im.text.lower(c.text, true)"), "3 warning argument-count", hookLines("c.text = im.text.lower(c.text)")},
		{"arguments that are not counted", "", "", hookLines("local function both() return 'k', '1h' end\nim.kv.incr(both())\nlocal function _all(...) im.kv.incr(...) end")},
		{"colon for dot", hookLines("c.text = im.text:lower(c.text)"), "3 warning argument-count", ""},
		{"dot for colon", hookLines("c.tag('x')"), "3 error argument-count", hookLines("c.tag(c, 'x')")},
		{"loading in a hook", hookLines("local w = im.words('x')\nif w:any(c.text) then return im.pass() end"), "3 error wrong-phase", ""},
		{"loading in a function in a hook", hookLines("local function f() return im.words('x') end\nprint(f())"), "3 error wrong-phase", ""},
		{"loading in a helper", "local im = require('im')\nlocal function list() return im.words('x') end\nim.on_message(function(c) print(list():any(c.text)) end, {name = 'h', on_error = 'open'})", "2 warning wrong-phase",
			"local im = require('im')\nlocal function list() return im.words('x') end\nlocal words = list()\nim.on_message(function(c) print(words:any(c.text)) end, {name = 'h', on_error = 'open'})"},
		{"deciding while loading", "local im = require('im')\nprint(im.now())", "2 error wrong-phase", "local im = require('im')\nprint(im.hash('x'))"},
		{"deciding in a fallback", "", "", "local im = require('im')\nim.on_message(function(c) print(c.text) end, {name = 'h', on_error = {fallback = function(c) if c.user then return im.throttle(5) end end}})"},
		{"unknown code", hookLines("return im.deny('rejectd')"), "3 error unknown-code", hookLines("return im.deny('rejected')")},
		{"unknown code through a local", "local code = 'no'\n" + hookLines("return im.deny(code)"), "4 error unknown-code", "local code = 'rejected'\n" + hookLines("return im.deny(code)")},
		{"unknown code of on_error", "local im = require('im')\nim.on_message(function() end, {name = 'h', on_error = {code = 'no'}})", "2 error unknown-code",
			"local im = require('im')\nim.on_message(function() end, {name = 'h', on_error = {code = 'rejected'}})"},
		{"unknown endpoint", hookLines("im.http.post('audits', {})"), "3 error unknown-endpoint", hookLines("im.http.post('audit', {})")},
		{"unknown option", hookLines("return im.deny('rejected', 'x', {retry = 5})"), "3 error unknown-option", hookLines("return im.deny('rejected', 'x', {retry_after = 5})")},
		{"unknown option of a hook", "local im = require('im')\nim.on_message(function() end, {name = 'h', onerror = 'open', on_error = 'open'})", "2 error unknown-option", ""},
		{"missing option", "local im = require('im')\nim.on_message(function() end, {name = 'h'})", "2 error unknown-option", "local im = require('im')\nim.after('chat.send', function() end, {name = 'h'})"},
		{"global in a hook", "count = 0\n" + hookLines("count = count + 1"), "4 error hook-state", hookLines("local count = 0\ncount = count + 1")},
		{"local outside", "local count = 0\n" + hookLines("count = count + 1\nprint(count)"), "4 warning hook-state", hookLines("local count = 0\nlocal function more() count = count + 1 end\nmore()\nprint(count)")},
		{"table outside", "local seen = {}\n" + hookLines("seen[c.user] = true"), "4 warning hook-state", "local seen = {}\nseen.x = true\n" + hookLines("print(seen[c.user])")},
		{"table outside, by insert", "local seen = {}\n" + hookLines("table.insert(seen, c.user)"), "4 warning hook-state", hookLines("local seen = {}\ntable.insert(seen, c.user)")},
		{"local outside, in a helper", "local n = 0\nlocal function more() n = n + 1 return n end\n" + hookLines("print(more())"), "2 warning hook-state", "local n = 0\nlocal function more() n = n + 1 return n end\nprint(more())"},
		{"read-only field", hookLines("c.user = 'x'"), "3 error read-only", hookLines("c.text = 'x'")},
		{"read-only library", "local im = require('im')\nim.deny = nil", "2 error read-only", ""},
		{"pattern from a text", hookLines("if c.text:find(c.user) then return im.pass() end"), "3 warning dynamic-pattern", hookLines("if c.text:find(c.user, 1, true) then return im.pass() end")},
		{"pattern from a text, gsub", hookLines("local s = c.req.x\nc.text = s:gsub(s, '')"), "4 warning dynamic-pattern", hookLines("local s = c.req.x\nc.text = s:gsub('%s', '')")},
		{"pattern in a constant", "", "", "local p = '%d+'\n" + hookLines("print(c.text:match(p))")},
		{"find of other objects", "", "", "local im = require('im')\nlocal w, r = im.words('x'), im.re('x')\nlocal t = {w = w}\nim.on_message(function(c) print(w:find(c.text), r:match(c.text), t.w:find(c.text)) end, {name = 'h', on_error = 'open'})"},
		{"bad pattern", hookLines("print(c.text:match('[a'))"), "3 error bad-pattern", hookLines("print(c.text:match('[a]'))")},
		{"plain find", hookLines("print(c.text:find('spam'))"), "3 warning plain-find", hookLines("print(c.text:find('spam', 1, true), c.text:find('sp?am'))")},
		{"find of a name with dots", hookLines("print(string.find(c.text, 'example.com'))"), "3 warning plain-find", hookLines("print(string.find(c.text, 'example%.com'))")},
		{"a boolean is no verdict", hookLines("return true"), "3 error no-verdict", hookLines("return nil")},
		{"nor a table", hookLines("if c.user then return {} end"), "3 error no-verdict", hookLines("local function list() return {} end\nprint(list())")},
		{"a hook that decides nothing", "", "", "local im = require('im')\nim.on_tick('5m', function() return true end, {name = 'h'})"},
		{"unreachable after return", hookLines("do return end\nprint(c.text)"), "4 warning unreachable", hookLines("if c.user then return end\nprint(c.text)")},
		{"unreachable after all branches", hookLines("if c.user then return elseif c.text then error('x') else return end\nprint(c.text)"), "4 warning unreachable", hookLines("if c.user then return elseif c.text then return end\nprint(c.text)")},
		{"unreachable after a loop", hookLines("while true do print(1) end\nprint(2)"), "4 warning unreachable", hookLines("while true do if c.user then break end end\nprint(2)")},
		{"reached by goto", "", "", hookLines("for i = 1, 3 do\nif i == 2 then goto next end\nprint(i)\n::next::\nend")},
		{"ID and number", hookLines("if c.user == 42 then return im.pass() end"), "3 warning id-number", hookLines("if c.user == '42' then return im.pass() end")},
		{"ID in a request and number", hookLines("if 42 ~= c.req.group_id then return im.pass() end"), "3 warning id-number", hookLines("if c.req.limit == 42 then return im.pass() end")},
		{"text and number", hookLines("if c.text == 5 then return im.pass() end"), "3 warning wrong-type", hookLines("if c.text == '5' then return im.pass() end")},
		{"text in order", hookLines("if c.text > 5 then return im.pass() end"), "3 error wrong-type", hookLines("if #c.text > 5 then return im.pass() end")},
		{"unused local", hookLines("local text = c.text"), "3 warning unused-local", hookLines("local _text = c.text\nfor _, word in ipairs({}) do print(c) end")},
		{"unused hook", "local im = require('im')\nlocal function hook(c) print(c.text) end\nim.hash('x')", "2 warning unused-local", "local im = require('im')\nlocal function hook(c) print(c.text) end\nim.on_message(hook, {name = 'h', on_error = 'open'})"},
		{"unused global", "limit = 5", "1 warning unused-global", "limit = 5\nprint(limit)"},
		{"allowed", "", "", "limit = 5 -- lint: allow unused-global"},
		{"allowed, of two", "local im = require('im') limit = 5 -- lint: allow unused-global, unused-local", "", ""},
		{"another is allowed", "limit = 5 -- lint: allow unused-local", "1 warning unused-global", ""},
		{"unknown rule is allowed", "limit = 5 -- lint: allow unused-globals", "1 warning unknown-allow,1 warning unused-global", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := linting(map[string]string{"a.lua": row.bad + "\n-- end"})
			slices.Sort(got)
			if strings.Join(got, ",") != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if got := linting(map[string]string{"a.lua": row.good + "\n-- end"}); len(got) > 0 {
				t.Errorf("got %q of the good twin", got)
			}
		})
	}
}

// Files know of each other.
func TestLintFiles(t *testing.T) {
	const use = "local x = require('lib.x')\nprint(x, shared)\n"
	for _, row := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a global of another file", map[string]string{"a.lua": use, "lib/x.lua": "shared = 1"}, ""},
		{"a global of no file", map[string]string{"a.lua": use, "lib/x.lua": "return 1"}, "2 error undeclared-global"},
		{"a library without use", map[string]string{"a.lua": "print(1)", "lib/x.lua": "return nothing"}, "1 warning unused-file,1 warning undeclared-global"},
		{"a library required by chance", map[string]string{"a.lua": "print(require('lib.' .. 'x'))", "lib/x.lua": "return 1"}, ""},
		{"a test", map[string]string{"a_test.lua": "test('x', function(t) assert(not t.message{text = 'x'}.denied) t.wait(5) end)"}, ""},
		{"a wrong test", map[string]string{"a_test.lua": "test('x', function(t) t.mesage{} end)"}, "1 error unknown-name"},
		{"no Lua", map[string]string{"a.lua": "print(nothing)", "b.lua": "if"}, ""},
		{"data", map[string]string{"a.lua": "print(1)", "b.txt": "if"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := strings.Join(linting(row.files), ","); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestLintPlaces(t *testing.T) {
	files := map[string]string{"a.lua": "local im = require('im')\nim.on_message(function(c)\n  return im.dney('rejected')\nend, {name = 'h', on_error = 'open'})\n"}
	got := Lint(files, Options{})
	if len(got) != 1 || got[0].String() != "a.lua:3:13: im.dney does not exist, perhaps 'deny' is meant [unknown-name]" {
		t.Errorf("got %v", got)
	}
	for _, f := range Lint(map[string]string{"a.lua": strings.Repeat("x1 = x2\n", 1000)}, Options{}) {
		if f.Line > maxFindings {
			t.Errorf("got %v, beyond the limit of findings", f)
		}
	}
}

// What is shipped, what the README shows and what the table has as examples is clean.
func TestLintOfExamples(t *testing.T) {
	files := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err == nil && isScript(path) && !strings.Contains(path, "testdata") {
			text, err := os.ReadFile(path)
			files[filepath.ToSlash(strings.TrimPrefix(path, "../"))] = string(text)
			return err
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		name := fmt.Sprintf("readme%d.lua", i)
		if strings.Contains(block[1], "test(") {
			name = fmt.Sprintf("readme%d_test.lua", i)
		}
		files[name] = strings.ReplaceAll(block[1], "…", "")
	}
	for _, f := range Lint(files, Options{}) {
		t.Errorf("got %v", f)
	}
	for _, s := range symbols() {
		source := "local im = require(\"im\")\n" + s.setup + "\n"
		if s.in == inLoad {
			source += s.example
		} else {
			source += s.hooked(s.example)
		}
		for _, f := range Lint(map[string]string{"a.lua": source}, Options{}) {
			if s.example != "" && f.Severity == Error {
				t.Errorf("%s: got %v", s.name, f)
			}
		}
	}
}

// What Lint takes for Lua's own names is what scripts have.
func TestLintKnowsLua(t *testing.T) {
	b := bundleOf(t, "-- nothing", nil)
	v, err := b.newVM()
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	for library, names := range luaLibraries() {
		table := v.globals
		if library != "" {
			view := v.globals.RawGetString(library).(*lua.LTable)
			table = view.Metatable.(*lua.LTable).RawGetString("__index").(*lua.LTable)
		}
		var got []string
		table.ForEach(func(name, _ lua.LValue) {
			if library != "" || name.String() != "print" {
				got = append(got, name.String())
			}
		})
		want := strings.Fields(names)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", library, got, want)
		}
	}
}

// What Lint calls an error fails when it is run: too few arguments, unknown
// options, fields of c that it takes for read-only.
func TestLintErrorsAreCertain(t *testing.T) {
	values := map[string]string{"string": `"1s"`, "number": "1", "integer": "1"}
	for _, s := range symbols() {
		owner, name := s.place()
		if s.fn == nil && owner == "Call" && name != "text" {
			b := bundleOf(t, hookSource("c."+name+" = \"x\""), nil)
			if v := judged(t.Context(), b, "hello"); v.Err == nil {
				t.Errorf("c.%s can be assigned", name)
			}
		}
		if s.fn == nil || s.tests || owner != "im" && !strings.HasPrefix(owner, "im.") && owner != "Call" {
			continue
		}
		var args []string
		least := 0
		for i, p := range s.args {
			value := values[strings.TrimSuffix(p.typ, "?")]
			switch {
			case p.name == "code":
				value = `"rejected"`
			case strings.HasPrefix(p.typ, "fun("):
				value = "function() end"
			case value == "":
				value = "{}"
			}
			args = append(args, value)
			if !strings.HasSuffix(p.name, "?") && p.name != "..." {
				least = i + 1
			}
			if !strings.HasPrefix(p.name, "options") {
				continue
			}
			args[i] = "{nothing = 1}"
			certain(t, s, strings.Join(args, ", "), "unknown option 'nothing'")
		}
		if least > 0 {
			certain(t, s, strings.Join(args[:least-1], ", "), "")
		}
	}
}

// certain calls a function where it is allowed, and wants an error.
func certain(t *testing.T, s symbol, args, want string) {
	t.Helper()
	call := strings.Replace(s.name, "Call:", "c:", 1) + "(" + args + ")"
	var err error
	if s.in&(inHook|inEdge) == 0 {
		_, err = tryBundle(t, "local im = require(\"im\")\n"+call, nil)
	} else {
		err = s.judged(t.Context(), bundleOf(t, "local im = require(\"im\")\n"+s.hooked(call), nil), "hello").Err
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want an error with %q", call, err, want)
	}
}

// Every rule has a row above or in divert_test.go, and no finding has a rule that is not in the table.
func TestLintRules(t *testing.T) {
	var source []byte
	for _, file := range []string{"lint_test.go", "divert_test.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	for _, r := range LintRules() {
		if r.Doc == "" || !strings.HasSuffix(r.Doc, ".") {
			t.Errorf("%s: got doc %q, want sentences", r.Name, r.Doc)
		}
		if r.Name != "hooks-removed" && !strings.Contains(string(source), fmt.Sprintf("%s %s", r.Severity, r.Name)) {
			t.Errorf("%s: has no row with its severity", r.Name)
		}
	}
}

// A file as large as it may be does not take long, whatever is in it.
func TestLintIsBounded(t *testing.T) {
	for name, unit := range map[string]string{
		"undeclared": "x%d=y%d\n", "locals": "local function f%d() return f%d end\n", "gsub": "local _=c:gsub(a%d,b%d)\n", "fields": "im.a%d.b%d=1\n",
		"hooks": "im.on_message(function(c)c.a%d=b%d end,{})\n", "calls": "function g%d() h%d() end\n", "one line": "x%d=y%d ", "branches": "elseif x%d then z=y%d\n",
	} {
		var text strings.Builder
		text.WriteString("local im=require('im')\n")
		if name == "branches" {
			text.WriteString("if a then\n")
		}
		for i := 0; text.Len() < maxFile-100; i++ {
			if i%2000 == 0 && i > 0 && name != "branches" {
				text.WriteString(" end ")
			}
			if i%2000 == 0 && name != "branches" {
				text.WriteString("local function p() ") // the compiler's limits are for a function
			}
			fmt.Fprintf(&text, unit, i%2000, i%2000+1)
		}
		if name != "branches" {
			text.WriteString(" end")
		}
		if name == "branches" {
			text.WriteString("end\n")
		}
		began := time.Now()
		if _, err := parsed(file{"a.lua", text.String()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all := Lint(map[string]string{"a.lua": text.String()}, Options{})
		t.Logf("%s: %d findings in %v", name, len(all), time.Since(began).Round(time.Millisecond))
		if len(all) > 2*maxFindings {
			t.Errorf("%s: got %d findings", name, len(all))
		}
	}
}

func FuzzLint(f *testing.F) {
	for _, row := range []string{hookLines("return im.deny('rejected')"), "x = x", "local a, b = f()", "function a.b:c(...) return arg end", "goto x ::x::",
		"im = require('im') im.on_message(im, im)", "local im = require('im') im.before('*', function() end, {[1] = 2, on_error = {fallback = function(c) return c.text < 1 end}})"} {
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, source string) {
		Lint(map[string]string{"a.lua": source, "lib/b.lua": source, "c_test.lua": source}, Options{})
	})
}
