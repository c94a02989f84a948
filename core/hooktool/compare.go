package hooktool

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"freeim/scripts/engine"
)

// difference is the result of diff.
type difference struct {
	A       string       `json:"a"` // hashes
	B       string       `json:"b"`
	Files   []fileChange `json:"files"`
	Added   []string     `json:"hooks_added"`
	Removed []string     `json:"hooks_removed"`
	Changed []string     `json:"hooks_changed"`
	Moved   []string     `json:"hooks_moved"`
}

type fileChange struct {
	Path    string `json:"path"`
	Kind    string `json:"kind"`
	Added   int    `json:"lines_added"`
	Removed int    `json:"lines_removed"`
}

func (t *tool) diff(ctx context.Context, args []string) error {
	fs := t.flags()
	args, err := t.parse(fs, args, 2, 2)
	if err != nil {
		return err
	}
	var read [2]engine.Scripts
	var hooks [2][]engine.HookStatus
	for i, name := range args {
		if read[i], err = t.stored(name); err != nil {
			return err
		}
		if hooks[i], err = t.hooksOf(ctx, name, read[i]); err != nil {
			return err
		}
	}
	d := difference{A: read[0].Bundle(), B: read[1].Bundle(), Files: []fileChange{}}
	for _, c := range engine.Compare(read[0], read[1]) {
		d.Files = append(d.Files, fileChange(c))
	}
	d.compare(hooks[0], hooks[1])
	if t.json {
		return t.print(d)
	}
	d.write(t.Out)
	return nil
}

var bundleHash = regexp.MustCompile(`^[0-9a-f]{4,12}$`)

// stored is the scripts of a directory, of a file that keeps a bundle, or of the
// stored bundle whose hash begins so.
func (t *tool) stored(name string) (engine.Scripts, error) {
	if _, err := os.Stat(name); err == nil || !bundleHash.MatchString(name) {
		s, err := engine.ReadScripts(name)
		if err != nil {
			return s, fmt.Errorf("%s: %w", name, err)
		}
		return s, nil
	}
	site, err := t.load()
	if err != nil {
		return engine.Scripts{}, fmt.Errorf("%s is no directory, and for stored bundles: %w", name, err)
	}
	shelf := filepath.Join(site.Engine.StateDir, "bundles")
	found, err := filepath.Glob(filepath.Join(shelf, name+"*.json"))
	switch {
	case err != nil:
		return engine.Scripts{}, err
	case len(found) == 0:
		return engine.Scripts{}, fmt.Errorf("%s is no directory, and no stored bundle in %s begins so", name, shelf)
	case len(found) > 1:
		return engine.Scripts{}, fmt.Errorf("%d stored bundles begin with %s: give more of the hash", len(found), name)
	}
	return engine.ReadScripts(found[0])
}

// hooksOf are the hooks of scripts, none if they are wrong: then that is said.
func (t *tool) hooksOf(ctx context.Context, name string, s engine.Scripts) ([]engine.HookStatus, error) {
	site, _ := t.load() // without a configuration the defaults do
	o, err := t.known(site.Engine)
	if err != nil {
		return nil, err
	}
	d, found, err := s.Draft(ctx, o)
	if err != nil {
		return nil, err
	}
	if d == nil {
		for _, f := range told(name, found) {
			fmt.Fprintf(t.Err, "note: %s\n", f)
		}
		fmt.Fprintf(t.Err, "note: %s is wrong: its hooks are not compared\n", name)
		return nil, nil
	}
	defer d.Close()
	return d.Hooks(), nil
}

func (d *difference) compare(a, b []engine.HookStatus) {
	d.Added, d.Removed, d.Changed = []string{}, []string{}, []string{}
	names := func(hooks []engine.HookStatus) (out []string) {
		for _, h := range hooks {
			out = append(out, h.Name)
		}
		return out
	}
	before, after := names(a), names(b)
	for i, h := range b {
		at := slices.Index(before, h.Name)
		if at < 0 {
			d.Added = append(d.Added, h.Rule)
		} else if was, is := registration(a[at]), registration(b[i]); was != is {
			d.Changed = append(d.Changed, fmt.Sprintf("%s: %s, was %s", h.Name, is, was))
		}
	}
	for _, h := range a {
		if !slices.Contains(after, h.Name) {
			d.Removed = append(d.Removed, h.Rule)
		}
	}
	d.Moved = append([]string{}, engine.Moved(before, after)...)
}

// registration is what a hook's options say.
func registration(h engine.HookStatus) string {
	said := fmt.Sprintf("priority %d, on_error %s", h.Priority, h.OnError)
	if h.Gate != "" {
		said += ", " + h.Gate
	}
	return said
}

func (d difference) write(out io.Writer) {
	if d.A == d.B {
		fmt.Fprintf(out, "the same: bundle %s\n", d.A)
		return
	}
	fmt.Fprintf(out, "bundle %s -> %s\n", d.A, d.B)
	var rows []string
	for _, c := range d.Files {
		rows = append(rows, fmt.Sprintf("%s\t%s\t+%d -%d lines", c.Kind, c.Path, c.Added, c.Removed))
	}
	for _, list := range []struct {
		what  string
		hooks []string
	}{{"hook added", d.Added}, {"hook removed", d.Removed}, {"hook changed", d.Changed}} {
		for _, h := range list.hooks {
			rows = append(rows, list.what+"\t"+h)
		}
	}
	if len(d.Moved) > 0 {
		rows = append(rows, "order changed\t"+strings.Join(d.Moved, ", "))
	}
	table(out, rows...)
}

func (t *tool) order(ctx context.Context, args []string) error {
	fs := t.flags()
	dir := fs.String("dir", "", "the scripts; core.scripts if left out")
	live := fs.Bool("live", false, "ask the running server; so do --server and --edge")
	server := serversOf(fs)
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	if *live || server.edge || len(server.servers) > 0 {
		return t.liveOrder(ctx, server, args)
	}
	var where []string
	if *dir != "" {
		where = []string{*dir}
	}
	o, err := t.scripts(where)
	if err != nil {
		return err
	}
	d, err := t.draft(ctx, o)
	if err != nil {
		return err
	}
	defer d.Close()
	action := ""
	if len(args) > 0 {
		action = args[0]
	}
	if known := slices.ContainsFunc(o.Actions, func(a engine.Action) bool { return a.Name == action }); action != "" && !known && !strings.HasPrefix(action, "im.") {
		return fmt.Errorf("there is no action %q: name one as in chat.send, or a point of its own as in im.on_login", action)
	}
	return t.showOrder(ordered(d.Order(action)), action)
}

// orderLine is one hook of a chain.
type orderLine struct {
	Rule     string `json:"rule"`
	Function string `json:"function"`
	Glob     string `json:"glob"`
	Phase    string `json:"phase"`
	Priority int    `json:"priority"`
	OnError  string `json:"on_error"`
	Gate     string `json:"gate"`
	Asleep   bool   `json:"asleep"`
	Off      bool   `json:"off"`
}

func ordered(all []engine.Ordered) []orderLine {
	out := []orderLine{}
	for _, o := range all {
		out = append(out, orderLine(o))
	}
	return out
}

func (t *tool) showOrder(all []orderLine, action string) error {
	if t.json {
		return t.print(all)
	}
	if len(all) == 0 {
		fmt.Fprintf(t.Out, "no hook is asked%s\n", strings.TrimSuffix(" about "+action, " about "))
		return nil
	}
	rows := []string{"\thook\tfor\tphase\tpriority\ton error\tasked"}
	for i, h := range all {
		what := strings.TrimSpace(h.Function + " " + h.Glob)
		switch {
		case h.Off:
			what += " (off)"
		case h.Asleep:
			what += " (asleep)"
		}
		rows = append(rows, fmt.Sprintf("%d\t%s\t%s\t%s\t%d\t%s\t%s", i+1, h.Rule, what, h.Phase, h.Priority, h.OnError, cmp.Or(h.Gate, "always")))
	}
	table(t.Out, rows...)
	return nil
}
