package engine

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Draft is a set of scripts that only its maker asks: what the operators' tool
// works with, beside any server. For one goroutine.
type Draft struct {
	b       *bundle
	opts    Options
	covered *coverage // nil: not counted
	tester  *tester   // nil: not needed yet
}

// findingText is the beginning of a message: perhaps a hook's name, then the place.
var findingText = regexp.MustCompile(`^(?:[a-z][a-z0-9_.-]*@)?([^\s:]+\.[a-z]+)(?::(\d+))?(?::(\d+))?: `)

// parseFinding reads one message of an error.
func parseFinding(text string) Finding {
	m := findingText.FindStringSubmatch(text)
	if m == nil {
		return Finding{Severity: Error, Text: text}
	}
	f := Finding{File: m[1], Severity: Error, Text: text[len(m[0]):]}
	f.Line, _ = strconv.Atoi(m[2]) // 0: not there
	f.Column, _ = strconv.Atoi(m[3])
	return f
}

// findings are the messages of an error, one or more lines each.
func findings(t tree, err error) (out []Finding) {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(err.Error()) {
		f := parseFinding(strings.TrimRight(line, "\n"))
		if f.File == "" && len(out) > 0 {
			out[len(out)-1].Text += "\n" + f.Text
			continue
		}
		out = append(out, f.located(t))
	}
	return out
}

// located gives the column where a line's text begins to a finding that has none.
func (f Finding) located(t tree) Finding {
	if f.Column > 0 || f.Line == 0 {
		return f
	}
	for _, file := range t.files {
		if lines := strings.Split(file.Text, "\n"); file.Path == f.File && f.Line <= len(lines) {
			line := lines[f.Line-1]
			f.Column = 1 + len(line) - len(strings.TrimLeft(line, " \t"))
		}
	}
	return f
}

// NewDraft builds the scripts in o.Dir, without running their tests. The findings
// are Lint's, and all that is wrong as far as it came; without a Draft nothing can be
// asked. A server refuses scripts that Lint finds an Error in, also if there is a Draft.
// cover counts the lines that run, which makes everything slower.
func NewDraft(ctx context.Context, o Options, cover bool) (*Draft, []Finding, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, nil, err
	}
	lowerMaxIndex()
	t, err := readTree(o.Dir)
	if err != nil {
		return nil, findings(t, err), nil
	}
	if len(t.files) == 0 {
		return nil, nil, fmt.Errorf("%s holds no script (*.lua)", o.Dir)
	}
	return newDraft(ctx, o, t, cover)
}

func newDraft(ctx context.Context, o Options, t tree, cover bool) (*Draft, []Finding, error) {
	d := &Draft{opts: o}
	var err error
	if d.opts.state, err = newState(o.KV, o.Now, usualBounds(), false); err != nil {
		return nil, nil, err
	}
	if cover {
		d.covered = &coverage{lines: map[string]map[int]bool{}}
	}
	found := lint(t, &d.opts)
	for i, f := range found {
		found[i] = f.located(t)
	}
	d.b, err = assemble(ctx, t, &d.opts, nil, d.covered)
	if err == nil {
		d.b.pool.alone = true
		var again *vm
		if again, err = d.b.newVM(); err == nil {
			again.close()
			return d, append(found, findings(t, d.b.unclaimed())...), nil
		}
		d.b.pool.close()
	}
	d.opts.state.close()
	for _, f := range findings(t, err) {
		if !slices.ContainsFunc(found, func(l Finding) bool { return l.Severity == Error && l.File == f.File && l.Line == f.Line }) {
			found = append(found, f)
		}
	}
	return nil, found, nil
}

// Close ends the draft.
func (d *Draft) Close() {
	if d.tester != nil {
		d.tester.v.close()
	}
	d.b.pool.close()
	d.opts.state.close()
}

// Bundle is the hash that the scripts would have as the active bundle.
func (d *Draft) Bundle() string { return d.b.tree.hash }

// Files are the paths of the scripts.
func (d *Draft) Files() []string { return d.b.tree.paths() }

// Hooks are all hooks, in the order in which they would run.
func (d *Draft) Hooks() []HookStatus {
	var out []HookStatus
	for _, h := range d.b.hooks {
		out = append(out, h.status())
	}
	return out
}

// Order is Engine.Order of the draft.
func (d *Draft) Order(action string) []Ordered { return d.b.order(action) }

// TestResult is how one test of the scripts went.
type TestResult struct {
	Name    string
	Place   string // file:line
	Took    time.Duration
	Failure *Finding // nil: it passed
}

// Tested is how the tests went.
type Tested struct {
	Tests    []TestResult // those that ran, in their order
	Left     int          // out, since they were not wanted
	Findings []Finding    // all that is wrong, failures among it
	Hooks    []Cover      // how often tests called them, and which of their lines ran
	Files    []Cover      // nil unless lines were counted
}

// Test runs the tests whose names run matches; nil: all.
func (d *Draft) Test(ctx context.Context, run *regexp.Regexp) Tested {
	var out Tested
	all, missing := 0, Warning
	if d.opts.RequireTests {
		missing = Error
	}
	err := d.b.runTests(ctx, func(t *selfTest) bool {
		all++
		return run == nil || run.MatchString(t.name)
	}, func(t *selfTest, took time.Duration, err error) {
		r := TestResult{Name: t.name, Place: fmt.Sprintf("%s:%d", t.file, t.line), Took: took}
		if found := findings(d.b.tree, err); len(found) > 0 {
			r.Failure = &found[0]
		}
		out.Tests = append(out.Tests, r)
	})
	out.Findings = findings(d.b.tree, err)
	out.Left = all - len(out.Tests)
	for _, h := range d.b.hooks {
		out.Hooks = append(out.Hooks, d.coverOf(h))
		if run == nil && err == nil && h.calls.Load() == 0 {
			out.Findings = append(out.Findings, Finding{File: h.file, Line: h.line, Severity: missing,
				Text: fmt.Sprintf("no test calls the hook %q", h.name)}.located(d.b.tree))
		}
	}
	if d.covered != nil {
		for _, f := range d.b.tree.files {
			if code := map[int]bool{}; !isTest(f.Path) && !isData(f.Path) && d.b.protos[f.Path] != nil {
				codeLines(d.b.protos[f.Path], strings.Split(f.Text, "\n"), code)
				out.Files = append(out.Files, d.covered.of(f.Path, f.Path, code))
			}
		}
	}
	d.b.forget()
	return out
}

// coverOf is how much the tests did with a hook.
func (d *Draft) coverOf(h *hook) Cover {
	out := Cover{Name: h.rule, Calls: h.calls.Load()}
	if d.covered == nil {
		return out
	}
	v, err := d.b.pool.get(context.Background())
	if err != nil {
		return out
	}
	defer d.b.pool.put(v)
	proto := v.hooks[h.number].fn.Proto
	for _, f := range d.b.tree.files {
		if proto != nil && f.Path == proto.SourceName {
			code := map[int]bool{}
			codeLines(proto, strings.Split(f.Text, "\n"), code)
			calls := out.Calls
			out = d.covered.of(h.rule, f.Path, code)
			out.Calls = calls
		}
	}
	return out
}
