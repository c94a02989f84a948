package engine

import (
	"fmt"
	"strings"
)

// LintRule is one thing that Lint looks for.
type LintRule struct {
	Name     string
	Severity Severity // the worst that it says
	Doc      string
}

// LintRules are all of them, by name.
func LintRules() []LintRule {
	return []LintRule{
		{"argument-count", Error, "A function of the API gets fewer arguments than it needs, or (warning) more than it takes."},
		{"bad-pattern", Error, "A pattern of `find`, `match`, `gmatch` or `gsub` is malformed."},
		{"dynamic-pattern", Warning, "A pattern is put together at run time: a text in it may be read as a pattern, and may make it slow. Write it down, or use `im.words`, `im.text.contains` or `find(text, part, 1, true)`."},
		{"hook-state", Error, "A hook assigns to a global, which raises, or (warning) to a local outside of it, or into a table there: what is kept so is lost and differs from VM to VM. Use `im.kv`."},
		{"hooks-removed", Warning, "The bundle lacks hooks that the active one has."},
		{"id-number", Warning, "An ID is compared with a number. IDs are strings: they are never equal."},
		{"impossible-verdict", Error, "A hook shadows, holds or reroutes what cannot be: only messages can, and wait only those of chats."},
		{"no-verdict", Error, "A hook returns a value that is no verdict."},
		{"plain-find", Warning, "`find` looks for a text without special characters, or for one like `example.com`, whose dot stands for any character: say `find(text, 1, true)`."},
		{"read-only", Error, "A script assigns to a field of `c` other than `text`, or into a library."},
		{"undeclared-global", Error, "A global is read that no file assigns."},
		{"unknown-allow", Warning, "A comment `-- lint: allow` names no rule."},
		{"unknown-code", Error, "A verdict's code, or that of `on_error`, is none that rules may use."},
		{"unknown-endpoint", Error, "`im.http.post` names an endpoint that the server's configuration does not."},
		{"unknown-name", Error, "A function, method or field of the API, or of Lua's libraries, does not exist. A warning where it is only looked at, and everywhere else once a script looks."},
		{"unknown-option", Error, "A table of options has a key that does not exist, or lacks one that must be there."},
		{"unknown-target", Error, "`im.reroute` names no target of the server's configuration."},
		{"unreachable", Warning, "What comes before never lets this line be reached."},
		{"unused-file", Warning, "A file in `lib/` is not required by any other."},
		{"unused-global", Warning, "A global is never read."},
		{"unused-local", Warning, "A local is never read, or a local function neither called nor registered. A name that begins with `_` says that this is meant."},
		{"wrong-phase", Error, "A function of the API is called where it is not for: one for loading in a hook, one for hooks while loading."},
		{"wrong-type", Error, "A string is compared with a number or a boolean: never equal (warning), and an error when they are put in order."},
	}
}

func ruleNames(rules []LintRule) (names []string) {
	for _, r := range rules {
		names = append(names, r.Name)
	}
	return names
}

// LintReference is the part of scripts/README.md that lists the rules.
func LintReference() string {
	var out strings.Builder
	out.WriteString("\n| Rule | |\n|---|---|\n")
	for _, r := range LintRules() {
		fmt.Fprintf(&out, "| `%s` | %s: %s |\n", r.Name, r.Severity, r.Doc)
	}
	return out.String()
}
