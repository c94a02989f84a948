package hooktool

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"freeim/core/hooks"
	"freeim/core/plugin"
	"freeim/scripts/engine"
)

func commands() []command {
	return []command{
		{name: "new", arguments: "NAME", does: "write a first rule and its test",
			example: "moderation/links", do: (*tool).scaffold},
		{name: "check", arguments: "[DIR]", does: "would a server take these scripts? Everything that is wrong, as file:line:column",
			example: "scripts", do: (*tool).check},
		{name: "test", arguments: "[DIR]", does: "run the scripts' own tests (*_test.lua)",
			example: "scripts --watch --cover", do: (*tool).test},
		{name: "eval", arguments: "[EXPR|FILE]", does: "evaluate Lua with c, a made-up call; without EXPR: what do the hooks say about the call?",
			example: `--text "buy now" "im.text.len(c.text)"`, do: (*tool).eval},
		{name: "bench", arguments: "[DIR]", does: "what each hook costs: time, units of work, allocations",
			example: `scripts --text "hello there" --time 1s`, do: (*tool).bench},
		{name: "order", arguments: "[ACTION]", does: "the hooks that an action meets, in their order; without ACTION all; --live: of the running server",
			example: "chat.send", do: (*tool).order},
		{name: "diff", arguments: "A B", does: "what differs between two directories or stored bundles: files, hooks, order",
			example: "scripts /srv/scripts.new", do: (*tool).diff},
		{name: "stubs", arguments: "[DIR]", does: "write im.d.lua and .luarc.json, for editors with lua-language-server",
			example: "scripts", do: (*tool).stubs},
		{name: "replay", arguments: "[DIR]", does: "what would these scripts have said about recorded actions? --from FILE, or those of a running server",
			example: "scripts --max-flip 0.5%", do: (*tool).replay},
		{name: "spans", does: "at which recorded action did another bundle begin to decide? --from FILE, or those of a running server",
			example: "--from data/rules/recorded", do: (*tool).spans},
		{name: "status", server: true, does: "the active rules: bundle, hooks with their counts, what is refused, what is on disk instead; of several servers: whether they differ",
			example: "--server core-1:9090 --server core-2:9090", do: (*tool).status},
		{name: "push", arguments: "[DIR]", server: true, does: "have servers check the scripts and keep them; with --activate, --shadow or --canary they use them, if all took them",
			example: "scripts --shadow --why \"a stricter list\"", do: (*tool).push},
		{name: "shadow", arguments: "[HASH]", server: true, does: "let a kept bundle judge beside the active one, and count where it would decide otherwise",
			example: "1f2e3d4c", do: (*tool).shadow},
		{name: "canary", arguments: "PERCENT [HASH]", server: true, does: "let a kept bundle decide for a share of the users; without HASH the one on trial",
			example: "5 1f2e3d4c", do: (*tool).canary},
		{name: "activate", arguments: "[HASH]", server: true, does: "make a kept bundle the active one; without HASH the one on trial",
			example: "1f2e3d4c --why \"the trial went well\"", do: (*tool).activate},
		{name: "rollback", arguments: "[HASH]", server: true, does: "end the trial, if there is one; else go back to the bundle before; or to HASH",
			example: "--why \"too strict\"", do: (*tool).rollback},
		{name: "resume", server: true, does: "let the files on disk decide again, after activate or rollback",
			example: "--why \"the files are mended\"", do: (*tool).resume},
		{name: "store", arguments: "ls|log", server: true, does: "the bundles that a server keeps, or what was decided about them, by whom and why",
			example: "ls", do: (*tool).store},
		{name: "errors", server: true, does: "where hooks fail: file:line, how often, since when, at what",
			do: (*tool).faults},
		{name: "tail", server: true, does: "decisions while they are made, until interrupted",
			example: "--verdict deny --action chat.send", do: (*tool).tail},
		{name: "trace", arguments: "--user ID", server: true, does: "what each hook says about one user's actions, for a while",
			example: "--user 100001 --ttl 10m", do: (*tool).trace},
		{name: "off", server: true, does: "ask no hook any more, or with --hook not this one; until on, or a restart",
			example: "--hook words.mask", do: (*tool).off},
		{name: "on", server: true, does: "undo off",
			example: "--hook words.mask", do: (*tool).on},
		{name: "reload", server: true, does: "read the files now, and say what became of them",
			do: (*tool).reload},
	}
}

// hintDir is added to errors of configurations.
const hintDir = "\n(name the directory of the scripts to do without a configuration, or a configuration with -config FILE)"

// scripts gives the engine's options for the scripts in args[0], or those of the
// configuration. With a directory a configuration is not needed.
func (t *tool) scripts(args []string) (engine.Options, error) {
	site, err := t.load()
	o := site.Engine
	switch {
	case len(args) > 0:
		o.Dir = args[0]
		if err != nil {
			fmt.Fprintf(t.Err, "note: without a configuration, with the defaults: %v\n", firstLine(err))
		}
	case err != nil:
		return o, fmt.Errorf("%w%s", err, hintDir)
	case o.Dir == "":
		return o, fmt.Errorf("core.scripts of %s is empty: the server has no rules; name a directory", site.File)
	}
	if info, err := os.Stat(o.Dir); err != nil {
		return o, fmt.Errorf("the scripts: %w", err)
	} else if !info.IsDir() {
		return o, fmt.Errorf("%s is a file: name the directory of the scripts", o.Dir)
	}
	return t.known(o)
}

// known adds what a server knows: the actions and the codes.
func (t *tool) known(o engine.Options) (_ engine.Options, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("list the actions: %v", cause)
		}
	}()
	o.Log = slog.New(slog.NewTextHandler(t.Err, &slog.HandlerOptions{ReplaceAttr: untimed}))
	o.StateDir = ""
	var specs []plugin.Spec
	for _, p := range t.Plugins {
		r := plugin.NewRegistrar(p.Info().Name)
		p.Register(r)
		specs = append(specs, r.Specs()...)
	}
	return hooks.Known(specs, o), nil
}

// untimed leaves the time out of what scripts log: it is now.
func untimed(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// finding is a Finding as JSON.
type finding struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Warning bool   `json:"warning,omitempty"`
	Rule    string `json:"rule,omitempty"` // of Lint
	Message string `json:"message"`
}

// told turns findings into ones whose files can be opened from here.
func told(dir string, found []engine.Finding) []finding {
	out := []finding{}
	for _, f := range found {
		one := finding{f.File, f.Line, f.Column, f.Severity == engine.Warning, f.Rule, f.Text}
		if f.File != "" {
			one.File = filepath.Join(dir, f.File)
		}
		out = append(out, one)
	}
	return out
}

// String is the finding as editors read it: file:line:column: text.
func (f finding) String() string {
	out := f.Message
	if f.Warning {
		out = "warning: " + out
	}
	if f.Rule != "" {
		out += " [" + f.Rule + "]"
	}
	switch {
	case f.Column > 0:
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, out)
	case f.Line > 0:
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, out)
	case f.File != "":
		return f.File + ": " + out
	}
	return out
}

// wrong counts the findings that would refuse the scripts.
func wrong(found []finding, strict bool) (n int) {
	for _, f := range found {
		if !f.Warning || strict {
			n++
		}
	}
	return n
}

// checked is the result of check.
type checked struct {
	Dir      string    `json:"dir"`
	OK       bool      `json:"ok"`
	Bundle   string    `json:"bundle,omitempty"`
	Files    []string  `json:"files"`
	Hooks    []string  `json:"hooks"`
	Tests    int       `json:"tests"`
	Findings []finding `json:"findings"`
}

func (t *tool) check(ctx context.Context, args []string) error {
	fs := t.flags()
	strict := fs.Bool("strict", false, "warnings count as errors")
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	o, err := t.scripts(args)
	if err != nil {
		return err
	}
	d, found, err := engine.NewDraft(ctx, o, false)
	if err != nil {
		return err
	}
	out := checked{Dir: o.Dir, Files: []string{}, Hooks: []string{}, Findings: told(o.Dir, found)}
	if d != nil {
		defer d.Close()
		tested := d.Test(ctx, nil)
		out.Bundle, out.Files, out.Tests = d.Bundle(), d.Files(), len(tested.Tests)
		for _, h := range d.Hooks() {
			out.Hooks = append(out.Hooks, h.Rule)
		}
		out.Findings = append(out.Findings, told(o.Dir, tested.Findings)...)
	}
	bad := wrong(out.Findings, *strict)
	out.OK = bad == 0
	if t.json {
		err = t.print(out)
	} else {
		out.write(t.Out, bad)
	}
	if err == nil && !out.OK {
		err = errFound
	}
	return err
}

func (c checked) write(out io.Writer, bad int) {
	for _, f := range c.Findings {
		fmt.Fprintln(out, f)
	}
	if bad > 0 {
		fmt.Fprintf(out, "%s: %s: a server would keep the rules that it has\n", c.Dir, count(bad, "error"))
		return
	}
	fmt.Fprintf(out, "%s: well: %s, %s, %s passed; bundle %s\n", c.Dir,
		count(len(c.Files), "file"), count(len(c.Hooks), "hook"), count(c.Tests, "test"), c.Bundle)
}

// count is "1 test", "2 tests".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// table writes rows in columns; cells are separated by tabs.
func table(out io.Writer, rows ...string) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		if row == "" {
			fmt.Fprintln(w)
		}
		for line := range strings.Lines(row) {
			fmt.Fprintln(w, clean(strings.TrimSuffix(line, "\n")))
		}
	}
	_ = w.Flush() // to a writer of the caller's, who looks
}
