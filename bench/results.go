package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"freeim/bench/e2e/browser"
	"freeim/bench/report"
)

// runReport makes a run's pages again from its file.
func runReport(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench report", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", "", "where the pages go; empty: beside the results")
	png := flags.Bool("png", true, "make pictures of the charts too, where there is a Chromium")
	files, done, err := parse(flags, args, 1, 1, "FILE.json")
	if done || err != nil {
		return err
	}
	r, err := report.Read(files[0])
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(files[0], ".json")
	if *dir != "" {
		base = filepath.Join(*dir, filepath.Base(base))
	}
	r.Text(out)
	return publish(r, base, *png, out)
}

// runTable prints the table of targets, in Markdown.
func runTable(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench table", flag.ContinueOnError)
	flags.SetOutput(out)
	files, done, err := parse(flags, args, 1, 1, "FILE.json")
	if done || err != nil {
		return err
	}
	r, err := report.Read(files[0])
	if err != nil {
		return err
	}
	if !r.AtTargets() {
		return fmt.Errorf("%s: none of its %d measurements belongs to the table of targets; bench report shows what it holds", files[0], len(r.Rows))
	}
	t := r.Targets()
	t.Markdown(out)
	return nil
}

// runCompare compares two runs, or two targets of one.
func runCompare(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	flags.SetOutput(out)
	targets := flags.String("targets", "", "compare two targets of one run, as in limit,freeim")
	over := flags.String("fail-over", "", "fail when something is worse by more than this, as in 10%, and not by chance")
	files, done, err := parse(flags, args, 1, 2, "A.json [B.json]")
	if done || err != nil {
		return err
	}
	part, err := percent(*over)
	if err != nil {
		return err
	}
	a, err := report.Read(files[0])
	if err != nil {
		return err
	}
	var found []report.Comparison
	var onlyA, onlyB []string
	switch ta, tb, two := strings.Cut(*targets, ","); {
	case len(files) == 1 && two:
		if found, err = report.CompareTargets(a, ta, tb); err != nil {
			return fmt.Errorf("%s: %w", files[0], err)
		}
	case len(files) == 2 && *targets == "":
		b, err := report.Read(files[1])
		if err != nil {
			return err
		}
		for _, d := range report.Apart(a, b) {
			fmt.Fprintf(out, "not measured alike: %s\n", d)
		}
		found, onlyA, onlyB = report.Compare(a, b)
	default:
		return errors.New("compare two files, or one file with -targets A,B")
	}
	t := report.ComparisonTable(found)
	t.Text(out)
	for _, key := range onlyA {
		fmt.Fprintf(out, "only in %s: %s\n", files[0], key)
	}
	for _, key := range onlyB {
		fmt.Fprintf(out, "only in %s: %s\n", files[1], key)
	}
	if *over != "" {
		return failOver(found, part)
	}
	return nil
}

// failOver gives the error of a comparison that found a loss, or could not have.
func failOver(found []report.Comparison, part float64) error {
	if len(found) == 0 {
		return errors.New("there is nothing to compare")
	}
	var losses []string
	for _, c := range found {
		if c.Verdict == report.NoVerdict {
			return fmt.Errorf("-fail-over needs two rounds at least: %s was measured in %d and %d", c.Key, c.RoundsA, c.RoundsB)
		}
		if c.LossOver(part) {
			losses = append(losses, fmt.Sprintf("%s: %s is %.2f times what it was", c.Key, c.Metric.Name, c.Ratio))
		}
	}
	if len(losses) > 0 {
		return fmt.Errorf("worse by more than %g %%:\n%s", 100*part, strings.Join(losses, "\n"))
	}
	return nil
}

// percent reads 10% or 0.1; nothing is 0.
func percent(text string) (float64, error) {
	number, scale := text, 1.
	if n, ok := strings.CutSuffix(text, "%"); ok {
		number, scale = n, 100
	}
	if text == "" {
		return 0, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || !(f >= 0 && f/scale < 1) {
		return 0, fmt.Errorf("%q is no part of the whole: write 10%%", text)
	}
	return f / scale, nil
}

// parse parses the flags and wants so many files behind them.
func parse(flags *flag.FlagSet, args []string, least, most int, files string) (_ []string, done bool, err error) {
	usage := flags.Usage
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "%s [flags] %s\n", flags.Name(), files)
		usage()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, true, nil
		}
		return nil, true, err
	}
	if n := flags.NArg(); n < least || n > most {
		return nil, true, fmt.Errorf("%s: name %s", flags.Name(), files)
	}
	return flags.Args(), false, nil
}

// publish writes base.md, base.html and pictures of the charts, and says what it
// wrote. Without a Chromium there are no pictures, which it says too.
func publish(r *report.Run, base string, png bool, out io.Writer) error {
	write := func(name string, content func(io.Writer) error) error {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		if err := errors.Join(content(f), f.Close()); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(out, "wrote %s\n", name)
		return nil
	}
	if err := write(base+".md", func(w io.Writer) error { r.Markdown(w); return nil }); err != nil {
		return err
	}
	if err := write(base+".html", r.Page); err != nil || !png {
		return err
	}
	err := takePictures(r, base, out)
	if errors.Is(err, browser.ErrMissing) {
		fmt.Fprintf(out, "SKIPPED: pictures of the charts: %v\n", err)
		return nil
	}
	return err
}

// takePictures writes base-SCENARIO.png for each scenario that has charts.
func takePictures(r *report.Run, base string, out io.Writer) error {
	pictures := r.Pictures()
	if len(pictures) == 0 {
		return nil
	}
	b, err := browser.Launch(browser.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	dir, err := os.MkdirTemp("", "freeim-pictures-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for i, p := range pictures {
		page := filepath.Join(dir, fmt.Sprintf("%d.html", i))
		f, err := os.Create(page)
		if err != nil {
			return err
		}
		if err := errors.Join(p.Write(f), f.Close()); err != nil {
			return err
		}
		name := base + "-" + p.Name + ".png"
		if err := takePicture(b, page, name); err != nil {
			return fmt.Errorf("picture of %s: %w", p.Name, err)
		}
		fmt.Fprintf(out, "wrote %s\n", name)
	}
	return nil
}

// takePicture writes a page as it is, at its whole height.
func takePicture(b *browser.Browser, page, name string) error {
	tab, err := b.NewTab("file://" + page)
	if err != nil {
		return err
	}
	defer tab.Close()
	const width = 1000
	if err := errors.Join(tab.Dark(false), tab.Resize(width, 100)); err != nil {
		return err
	}
	var height int
	if err := tab.Eval("document.documentElement.scrollHeight", &height); err != nil {
		return err
	}
	if err := tab.Resize(width, height); err != nil {
		return err
	}
	return tab.Screenshot(name)
}
