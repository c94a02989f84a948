package hooktool

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"freeim/scripts/engine"
)

// watchEvery is how often test --watch looks at the files. It runs the tests when
// two looks in a row agree.
const watchEvery = 250 * time.Millisecond

// tested is the result of test.
type tested struct {
	Dir      string     `json:"dir"`
	OK       bool       `json:"ok"`
	Tests    []testLine `json:"tests"`
	LeftOut  int        `json:"left_out,omitempty"`
	Findings []finding  `json:"findings"`
	Hooks    []covered  `json:"hooks"`
	Files    []covered  `json:"files,omitempty"`
}

type testLine struct {
	Name    string   `json:"name"`
	Place   string   `json:"place"`
	OK      bool     `json:"ok"`
	Ms      float64  `json:"ms"`
	Failure *finding `json:"failure,omitempty"`
}

type covered struct {
	Name   string `json:"name"`
	Calls  *int64 `json:"calls,omitempty"`
	Lines  int    `json:"lines,omitempty"`
	Missed []int  `json:"missed,omitempty"`
}

func (t *tool) test(ctx context.Context, args []string) error {
	fs := t.flags()
	watch := fs.Bool("watch", false, "run them again whenever a file changes, until interrupted")
	name := fs.String("run", "", "only the tests whose names this regular expression matches")
	cover := fs.Bool("cover", false, "also show which lines the tests ran; a line ran when one of its instructions did")
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	var wanted *regexp.Regexp
	if *name != "" {
		if wanted, err = regexp.Compile(*name); err != nil {
			return errUsage("--run: " + err.Error())
		}
	}
	o, err := t.scripts(args)
	if err != nil {
		return err
	}
	once := func() error { return t.testOnce(ctx, o, wanted, *cover) }
	if !*watch {
		return once()
	}
	for {
		before := content(o.Dir)
		if err := once(); err != nil && err != errFound {
			fmt.Fprintln(t.Err, err)
		}
		if !t.json {
			fmt.Fprintf(t.Out, "%s: waiting for changes in %s; Ctrl-C ends\n", time.Now().Format("15:04:05"), o.Dir)
		}
		if !changed(ctx, o.Dir, before) {
			return nil
		}
	}
}

// content is what the scripts are, or what is wrong with reading them.
func content(dir string) string {
	s, err := engine.ReadScripts(dir)
	if err != nil {
		return err.Error()
	}
	return s.Bundle()
}

// changed waits until the scripts are others than before, and stay so for a moment;
// false: ctx ended.
func changed(ctx context.Context, dir, before string) bool {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for last := before; ; {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		now := content(dir)
		if now != before && now == last {
			return true
		}
		last = now
	}
}

func (t *tool) testOnce(ctx context.Context, o engine.Options, wanted *regexp.Regexp, cover bool) error {
	began := time.Now()
	d, found, err := engine.NewDraft(ctx, o, cover)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(f engine.Finding) bool { return f.Severity == engine.Warning }) // check shows them
	out := tested{Dir: o.Dir, Tests: []testLine{}, Findings: told(o.Dir, found), Hooks: []covered{}}
	if d != nil {
		defer d.Close()
		out.take(d.Test(ctx, wanted), cover)
	}
	out.OK = wrong(out.Findings, false) == 0
	if t.json {
		err = t.print(out)
	} else {
		out.write(t.Out, cover, time.Since(began))
	}
	if err == nil && !out.OK {
		err = errFound
	}
	return err
}

// take is the result in the form that is shown.
func (r *tested) take(from engine.Tested, cover bool) {
	for _, one := range from.Tests {
		line := testLine{Name: one.Name, Place: filepath.Join(r.Dir, one.Place), OK: one.Failure == nil, Ms: ms(one.Took)}
		if one.Failure != nil {
			failure := told(r.Dir, []engine.Finding{*one.Failure})[0]
			line.Failure = &failure
		}
		r.Tests = append(r.Tests, line)
	}
	r.LeftOut = from.Left
	r.Findings = append(r.Findings, told(r.Dir, from.Findings)...)
	for _, h := range from.Hooks {
		r.Hooks = append(r.Hooks, covered{h.Name, &h.Calls, h.Lines, h.Missed})
	}
	for _, f := range from.Files {
		r.Files = append(r.Files, covered{Name: filepath.Join(r.Dir, f.Name), Lines: f.Lines, Missed: f.Missed})
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (r tested) write(out io.Writer, cover bool, took time.Duration) {
	var rows []string
	failed := 0
	shown := map[string]bool{}
	for _, one := range r.Tests {
		if one.OK {
			rows = append(rows, fmt.Sprintf("ok\t%.1f ms\t%s\t%s", one.Ms, one.Name, one.Place))
			continue
		}
		failed++
		rows = append(rows, fmt.Sprintf("FAIL\t%.1f ms\t%s\t%s", one.Ms, one.Name, one.Place))
	}
	table(out, rows...)
	for _, one := range r.Tests {
		if one.Failure != nil {
			shown[one.Failure.String()] = true
			fmt.Fprintln(out, one.Failure)
		}
	}
	for _, f := range r.Findings {
		if !shown[f.String()] {
			fmt.Fprintln(out, f)
		}
	}
	if cover {
		r.writeCover(out)
	}
	switch {
	case failed > 0:
		fmt.Fprintf(out, "FAILED: %d of %s", failed, count(len(r.Tests), "test"))
	case !r.OK:
		fmt.Fprint(out, "FAILED")
	default:
		fmt.Fprintf(out, "passed: %s", count(len(r.Tests), "test"))
	}
	if r.LeftOut > 0 {
		fmt.Fprintf(out, ", %d left out by --run", r.LeftOut)
	}
	fmt.Fprintf(out, " (%v)\n", took.Round(time.Millisecond))
}

func (r tested) writeCover(out io.Writer) {
	rows := []string{"\nhook\tcalls\tlines run"}
	for _, h := range r.Hooks {
		rows = append(rows, fmt.Sprintf("%s\t%d\t%s", h.Name, *h.Calls, h.share()))
	}
	table(out, rows...)
	rows = []string{"\nfile\tlines run\tnever run"}
	for _, f := range r.Files {
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s", f.Name, f.share(), ranges(f.Missed)))
	}
	table(out, append(rows, "")...)
}

func (c covered) share() string {
	if c.Lines == 0 {
		return "no code"
	}
	ran := c.Lines - len(c.Missed)
	return fmt.Sprintf("%d of %d (%d %%)", ran, c.Lines, 100*ran/c.Lines)
}

// ranges writes sorted numbers short: 3-5, 9.
func ranges(lines []int) string {
	var out []string
	for i := 0; i < len(lines); {
		k := i
		for k+1 < len(lines) && lines[k+1] == lines[k]+1 {
			k++
		}
		if k == i {
			out = append(out, fmt.Sprint(lines[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", lines[i], lines[k]))
		}
		i = k + 1
	}
	return strings.Join(out, ", ")
}
