// Package hooktool is the operators' tool for rules: "core hooks …". Offline it
// checks, tests, measures and compares scripts with the engine as a library, and
// needs no server; the other half asks a running one over its administrative port,
// whose pages scripts/pages and core/hooks make, of a core or of an edge (--edge). It
// decides nothing about rules itself. core/command calls it.
package hooktool

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"freeim/core/plugin"
	"freeim/scripts/engine"
)

// The exit codes.
const (
	Done   = 0
	Failed = 1 // the reason is on Err, or the findings are on Out
	Usage  = 2 // nothing was tried
)

// Options says what to do and with what.
type Options struct {
	Program string // as in "core hooks check"
	Args    []string
	Plugins []plugin.Plugin // only constructed and configured: their actions are what rules can name
	// Site reads the configuration. It is called when something of it is needed, once.
	Site func() (Site, error)
	In   io.Reader // for "-" as a file to read
	Out  io.Writer // results
	Err  io.Writer // errors, and what scripts log
}

// Site is the part of a configuration that the tool needs.
type Site struct {
	File   string         // the configuration's name, for messages
	Engine engine.Options // Dir, StateDir and what the configuration says of rules
	Admin  string         // HOST:PORT of the administrative port; empty: it has none
	Key    string         // empty: none
}

// tool is one command under way.
type tool struct {
	Options
	command command
	json    bool
	site    *Site // nil: not read yet
}

// command is one of them.
type command struct {
	name, arguments string
	does            string
	example         string // arguments of one call that makes sense
	server          bool   // it asks a running server
	do              func(t *tool, ctx context.Context, args []string) error
}

// errUsage is a command line that cannot be understood.
type errUsage string

func (e errUsage) Error() string { return string(e) }

var (
	errHelp  = errors.New("help was asked for")
	errFound = errors.New("what is wrong was said")
)

// Run runs the command that o.Args name and returns the exit code.
func Run(ctx context.Context, o Options) int {
	t := &tool{Options: o}
	if len(o.Args) == 0 {
		t.usage(o.Err)
		return Usage
	}
	if name := o.Args[0]; name == "help" || name == "-h" || name == "--help" || name == "-help" {
		t.usage(o.Out)
		return Done
	}
	for _, c := range commands() {
		if c.name != o.Args[0] {
			continue
		}
		t.command = c
		return t.result(ctx, c.do(t, ctx, o.Args[1:]))
	}
	fmt.Fprintf(o.Err, "%s: there is no command %q%s\n", o.Program, o.Args[0], suggestion(o.Args[0]))
	t.usage(o.Err)
	return Usage
}

// result says how a command went.
func (t *tool) result(ctx context.Context, err error) int {
	var usage errUsage
	switch {
	case err == nil, errors.Is(err, errHelp):
		return Done
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintf(t.Err, "%s %s: interrupted\n", t.Program, t.command.name)
		return Failed
	case errors.Is(err, errFound):
		return Failed
	case errors.As(err, &usage):
		fmt.Fprintf(t.Err, "%s %s: %s\nusage: %s\n  for example: %s\n", t.Program, t.command.name, usage, t.line(t.command.arguments), t.line(t.command.example))
		return Usage
	}
	fmt.Fprintf(t.Err, "%s %s: %v\n", t.Program, t.command.name, err)
	return Failed
}

// line is a command line of the running command.
func (t *tool) line(arguments string) string {
	return strings.TrimSpace(t.Program + " " + t.command.name + " " + arguments)
}

func (t *tool) usage(out io.Writer) {
	fmt.Fprintf(out, "%s COMMAND works on the rules (Lua hooks). DIR is core.scripts of the configuration if left out.\n", t.Program)
	for _, part := range []struct {
		title  string
		server bool
	}{{"Beside any server:", false}, {"With a running server, over its administrative port (--edge: an edge's own rules):", true}} {
		fmt.Fprintf(out, "\n%s\n", part.title)
		for _, c := range commands() {
			if c.server == part.server {
				fmt.Fprintf(out, "  %-28s %s\n", strings.TrimSpace(c.name+" "+c.arguments), c.does)
			}
		}
	}
	fmt.Fprintf(out, "\n%s COMMAND -h tells more. --json is for machines. Exit code: 0 well, 1 not, 2 not understood.\n", t.Program)
}

// flags makes the command's flags.
func (t *tool) flags() *flag.FlagSet {
	fs := flag.NewFlagSet(t.command.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&t.json, "json", false, "print JSON, for machines")
	return fs
}

// parse reads flags and arguments, in any order, and checks how many arguments
// there are.
func (t *tool) parse(fs *flag.FlagSet, args []string, least, most int) (rest []string, err error) {
	for {
		switch err := fs.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			t.help(fs)
			return nil, errHelp
		case err != nil:
			return nil, errUsage(err.Error())
		}
		if fs.NArg() == 0 {
			break
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
	switch {
	case len(rest) < least:
		return nil, errUsage("something is missing")
	case len(rest) > most:
		return nil, errUsage(fmt.Sprintf("%q is too much", rest[most]))
	}
	return rest, nil
}

func (t *tool) help(fs *flag.FlagSet) {
	fmt.Fprintf(t.Out, "usage: %s\n%s\n", t.line(t.command.arguments), t.command.does)
	fs.SetOutput(t.Out)
	fs.PrintDefaults()
	fmt.Fprintf(t.Out, "for example:\n  %s\n", t.line(t.command.example))
}

// load reads the configuration, once.
func (t *tool) load() (Site, error) {
	if t.site == nil {
		site, err := t.Site()
		if err != nil {
			return site, err
		}
		t.site = &site
	}
	return *t.site, nil
}

// print writes a value as JSON.
func (t *tool) print(value any) error {
	enc := json.NewEncoder(t.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}

// suggestion is a command that begins like the one that there is not.
func suggestion(name string) string {
	for _, c := range commands() {
		if len(name) > 1 && strings.HasPrefix(c.name, name[:2]) {
			return fmt.Sprintf(": did you mean %q?", c.name)
		}
	}
	return ""
}
