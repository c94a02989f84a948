package hooktool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"freeim/scripts/engine"
)

var ruleName = regexp.MustCompile(`^([a-z][a-z0-9_]*/)*[a-z][a-z0-9_]*$`)

const ruleText = `-- What this rule is for, and who asked for it.
local im = require("im")

im.on_message(function(c)
  -- c.text may be assigned; return im.deny("rejected", "why") to refuse.
  if im.text.contains(c.text, "spam and eggs") then
    return im.deny("rejected", "no breakfast here")
  end
end, {name = "%[1]s", on_error = "open"}) -- "open": goes on when this fails; "closed": refuses
`

const testText = `-- These run before the rule becomes active; one failure keeps the old rules.
test("%[1]s: what it is for is refused", function(t)
  local v = t.message{text = "Spam and Eggs!"}
  assert(v.denied and v.code == "rejected" and v.rule == "%[1]s")
end)

test("%[1]s: all else is left alone", function(t)
  local v = t.message{text = "hello"}
  assert(not v.denied and not v.rewritten)
end)
`

// scaffold writes a first rule and its test.
func (t *tool) scaffold(_ context.Context, args []string) error {
	fs := t.flags()
	dir := fs.String("dir", "", "the scripts; core.scripts if left out")
	args, err := t.parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(args[0], ".lua")
	switch {
	case !ruleName.MatchString(name):
		return errUsage(fmt.Sprintf("%q: a name has lower-case letters, digits and _, perhaps below directories: moderation/links", name))
	case strings.HasPrefix(name, "lib/"):
		return errUsage("files in lib/ run only when others require them: a rule needs another place")
	case strings.HasSuffix(name, "_test"):
		return errUsage("the test is written too: name the rule")
	}
	var where []string
	if *dir != "" {
		where = []string{*dir}
	}
	o, err := t.scripts(where)
	if err != nil {
		return err
	}
	hook := strings.ReplaceAll(name, "/", ".")
	base := filepath.Join(o.Dir, filepath.FromSlash(name))
	files := []struct{ path, text string }{{base + ".lua", ruleText}, {base + "_test.lua", testText}}
	for _, f := range files {
		if _, err := os.Lstat(f.path); err == nil {
			return fmt.Errorf("%s is there already: nothing was written", f.path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
		return err
	}
	var errs []error
	var paths []string
	for i := len(files) - 1; i >= 0; i-- { // the rule last: with it the bundle changes
		errs = append(errs, os.WriteFile(files[i].path, fmt.Appendf(nil, files[i].text, hook), 0o644))
		paths = append(paths, files[i].path)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if t.json {
		return t.print(map[string]any{"files": paths, "hook": hook})
	}
	fmt.Fprintf(t.Out, "wrote %s\nnext: edit them, then %s test %s\n", strings.Join(paths, " and "), t.Program, o.Dir)
	return nil
}

// stubs writes what editors with lua-language-server need.
func (t *tool) stubs(_ context.Context, args []string) error {
	args, err := t.parse(t.flags(), args, 0, 1)
	if err != nil {
		return err
	}
	o, err := t.scripts(args)
	if err != nil {
		return err
	}
	var paths []string
	for _, f := range []struct{ name, text string }{{"im.d.lua", engine.Stubs()}, {".luarc.json", engine.LuaRC()}} {
		path := filepath.Join(o.Dir, f.name)
		if err := os.WriteFile(path, []byte(f.text), 0o644); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	if t.json {
		return t.print(map[string]any{"files": paths})
	}
	fmt.Fprintf(t.Out, "wrote %s: open the directory in an editor with lua-language-server\n", strings.Join(paths, " and "))
	return nil
}
