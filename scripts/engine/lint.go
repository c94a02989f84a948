package engine

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"freeim/scripts/engine/syntax"
	"freeim/scripts/engine/texts"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// Severity says what a finding means for its bundle.
type Severity string

// An Error fails whenever its line is run: it refuses the bundle. A Warning is
// shown, no more.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Finding is what Lint has to say about one line.
type Finding struct {
	File     string
	Line     int
	Column   int // in octets, from 1; 0: not known
	Severity Severity
	Rule     string // one of LintRules
	Text     string
}

// String is "file:line:column: text [rule]".
func (f Finding) String() string {
	place := fmt.Sprintf("%s:%d", f.File, f.Line)
	if f.Column > 0 {
		place = fmt.Sprintf("%s:%d", place, f.Column)
	}
	return fmt.Sprintf("%s: %s [%s]", place, f.Text, f.Rule)
}

// maxFindings is how many errors, and how many warnings, are listed of one file.
const maxFindings = 100

// Lint reads scripts, given by their paths, without running them. It says nothing
// while one of them is no valid Lua: the compiler does. Of o it needs Codes, Targets
// and Actions; without them it knows less.
func Lint(files map[string]string, o Options) []Finding {
	var list []file
	for path, text := range files {
		list = append(list, file{path, text})
	}
	o.setDefaults()
	return lint(newTree(list), &o)
}

// linter looks at one bundle. All names are resolved before anything is said: what
// a line means may depend on later ones, and on other files.
type linter struct {
	opts    *Options
	table   map[string]*symbol // by name
	below   map[string]bool    // libraries in the table
	files   []*linted
	uses    map[*ast.IdentExpr]*variable // without those of globals
	fns     map[*ast.FunctionExpr]*function
	globals map[string]*global
	lua     map[string][]string // names in Lua's own libraries; "": globals
	kinds   map[ast.Expr]kind   // of calls and fields, once they were asked for
	locals  map[*variable]kind
	probed  map[string]bool // fields of libraries that a script reads, perhaps to see whether they exist
	hints   int             // names that were searched for in others

	required map[string]bool // files, by a require anywhere
	dynamic  bool            // some require names no literal
}

// linted is one file, and what Lint found in it.
type linted struct {
	*linter
	walker
	file
	lines   []string
	allowed map[int][]string // rules by line
	found   []Finding
	errors  int
}

func lint(t tree, opts *Options) []Finding {
	l := &linter{opts: opts, table: map[string]*symbol{}, uses: map[*ast.IdentExpr]*variable{}, fns: map[*ast.FunctionExpr]*function{},
		globals: map[string]*global{}, kinds: map[ast.Expr]kind{}, locals: map[*variable]kind{}, required: map[string]bool{},
		lua: map[string][]string{}, probed: map[string]bool{}, below: map[string]bool{}}
	for library, names := range luaLibraries() {
		l.lua[library] = strings.Fields(names)
	}
	for _, s := range symbols() {
		l.table[s.name] = &s
		owner, _ := s.place()
		l.below[owner] = true
	}
	for _, f := range t.files {
		if isData(f.Path) {
			continue
		}
		chunk, err := parsed(f)
		if err != nil {
			return nil
		}
		one := &linted{linter: l, file: f, lines: strings.Split(f.Text, "\n")}
		one.allow()
		one.names(chunk)
		l.files = append(l.files, one)
	}
	l.roles()
	l.probes()
	var out []Finding
	for _, f := range l.files {
		f.check()
		out = append(out, f.found...)
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	return out
}

// parsed is the syntax of a file that the compiler would take.
func parsed(f file) (chunk []ast.Stmt, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s:1: the parser gave up: %v", f.Path, cause)
		}
	}()
	if chunk, err = parse.Parse(strings.NewReader(f.Text), f.Path); err != nil {
		return nil, err
	}
	return syntax.Check(f.Path, chunk)
}

// allowance is the comment that silences rules on its line.
var allowance = regexp.MustCompile(`--\s*lint:\s*allow\s+([a-z-]+(?:[ ,]+[a-z-]+)*)`)

// allow reads the comments "-- lint: allow rule, rule".
func (f *linted) allow() {
	if !strings.Contains(f.Text, "lint:") {
		return
	}
	f.allowed = map[int][]string{}
	known := LintRules()
	for i, line := range f.lines {
		said := allowance.FindStringSubmatch(line)
		if said == nil {
			continue
		}
		f.allowed[i+1] = strings.FieldsFunc(said[1], func(r rune) bool { return r == ' ' || r == ',' })
		for _, name := range f.allowed[i+1] {
			if !slices.ContainsFunc(known, func(r LintRule) bool { return r.Name == name }) {
				f.warn(i+1, name, "unknown-allow", "there is no rule %q%s", name, f.nearest(name, ruleNames(known)))
			}
		}
	}
}

// warn files a warning. what is the piece of the line that it is about.
func (f *linted) warn(line int, what, rule, format string, args ...any) {
	f.say(Warning, line, what, rule, format, args...)
}

// fail files an error about code that belongs to fn, or a warning if the script
// may live with it: a pcall catches it, or nobody runs the file.
func (f *linted) fail(fn *function, line int, what, rule, format string, args ...any) {
	severity := Error
	if fn.guarded() || f.idle() {
		severity = Warning
	}
	f.say(severity, line, what, rule, format, args...)
}

func (f *linted) say(s Severity, line int, what, rule, format string, args ...any) {
	if slices.Contains(f.allowed[line], rule) {
		return
	}
	count := f.errors
	if s == Warning {
		count = len(f.found) - f.errors
	}
	if count >= maxFindings {
		return
	}
	if s == Error {
		f.errors++
	}
	f.found = append(f.found, Finding{File: f.Path, Line: line, Column: f.column(line, what), Severity: s, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// column finds a name in a line: the syntax tree has lines only. Unless the name
// is there exactly once nobody knows.
func (f *linted) column(line int, name string) int {
	if line < 1 || line > len(f.lines) || name == "" {
		return 0
	}
	text, at := f.lines[line-1], 0
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return at
		}
		i += from
		from = i + len(name)
		if i > 0 && isNameByte(text[i-1]) || from < len(text) && isNameByte(text[from]) {
			continue
		}
		if at > 0 {
			return 0
		}
		at = i + 1
	}
}

func isNameByte(b byte) bool {
	return b == '_' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || isDigit(b)
}

// idle reports whether nothing runs the file: a library that nobody requires.
func (f *linted) idle() bool {
	return strings.HasPrefix(f.Path, "lib/") && !isTest(f.Path) && !f.dynamic && !f.required[f.Path]
}

// maxHints is how many unknown names are compared with the known ones.
const maxHints = 20

// nearest is ", perhaps "x"" with the most similar name, or nothing.
func (l *linter) nearest(name string, among []string) string {
	if l.hints++; l.hints > maxHints {
		return ""
	}
	best := texts.Closest(name, among, min(2, len(name)/3)+1)
	if best == "" || best == name {
		return ""
	}
	return fmt.Sprintf(", perhaps '%s' is meant", best)
}

// refusal is an error with all findings that refuse a bundle, nil for none.
func refusal(all []Finding) error {
	var faults []error
	for _, f := range all {
		if f.Severity == Error {
			faults = append(faults, errors.New(f.String()))
		}
	}
	return errors.Join(faults...)
}

// findingLines are the findings as lines.
func findingLines(all []Finding) (out []string) {
	for _, f := range all {
		out = append(out, f.String())
	}
	return out
}

// missing are the hooks that the active bundle (nil: there is none) has and b has not.
func missing(active, b *bundle) (out []Finding) {
	if active == nil {
		return nil
	}
	names := b.rules()
	for _, h := range active.hooks {
		if !slices.Contains(names, h.name) {
			out = append(out, Finding{File: h.file, Line: h.line, Severity: Warning, Rule: "hooks-removed",
				Text: fmt.Sprintf("hook %s, which bundle %s has here, is gone", h.name, active.tree.hash)})
		}
	}
	return out
}
