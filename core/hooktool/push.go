package hooktool

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"freeim/scripts/engine"
)

// byFlags say who decides, and why. The server's journal keeps it.
type byFlags struct{ who, why string }

func byOf(fs *flag.FlagSet) *byFlags {
	f := &byFlags{}
	host, _ := os.Hostname() // not known: not said
	if me, err := user.Current(); err == nil {
		f.who = me.Username + "@" + host
	}
	fs.StringVar(&f.who, "who", f.who, "`NAME` of who decides this, for the journal")
	fs.StringVar(&f.why, "why", "", "`REASON`, for the journal")
	return f
}

func (f *byFlags) query() url.Values {
	query := url.Values{"who": {f.who}}
	if f.why != "" {
		query.Set("why", f.why)
	}
	return query
}

// report is what a server says that it did.
type report struct {
	Node                       string
	From, To, Staged, Prepared string
	Files, Added, Removed      []string
	Tests                      int
	Took                       string
}

func (r report) write(t *tool, name string) {
	switch {
	case r.Prepared != "":
		fmt.Fprintf(t.Out, "%s: %s is kept, active is %s", name, r.Prepared, r.From)
	case r.Staged != "":
		fmt.Fprintf(t.Out, "%s: %s is on trial, active stays %s", name, r.Staged, r.From)
	case r.From == r.To:
		fmt.Fprintf(t.Out, "%s: %s is active, as before\n", name, r.To)
		return
	default:
		fmt.Fprintf(t.Out, "%s: activated %s, before %s", name, r.To, r.From)
	}
	if len(r.Files) > 0 {
		fmt.Fprintf(t.Out, ": %s; %s passed", strings.Join(r.Files, " "), count(r.Tests, "test"))
	}
	fmt.Fprintln(t.Out)
	for _, name := range r.Added {
		fmt.Fprintln(t.Out, "  hook added: "+name)
	}
	for _, name := range r.Removed {
		fmt.Fprintln(t.Out, "  hook REMOVED: "+name)
	}
}

// decide has all servers do something, at the same time, and shows what they did.
func (t *tool) decide(ctx context.Context, f *serverFlags, page string, query url.Values, what string) error {
	all, err := t.servers(f)
	if err != nil {
		return err
	}
	return t.commit(ctx, all, page, query, what)
}

// commit is decide on these servers.
func (t *tool) commit(ctx context.Context, all []server, page string, query url.Values, what string) error {
	replies := each(ctx, all, http.MethodPost, page, query, nil)
	if t.json {
		return t.answered(replies)
	}
	said, err := decoded[report](replies)
	if err != nil {
		return err
	}
	if len(all) == 1 && replies[0].err != nil {
		return replies[0].err
	}
	t.complain(replies)
	active := map[string]bool{}
	for _, s := range all {
		if r, ok := said[s.name]; ok {
			r.write(t, s.whose(r.Node, len(all) > 1))
			active[r.To] = true
		}
	}
	if len(active) > 1 {
		fmt.Fprintf(t.Err, "THE SERVERS DIFFER in what is active: activate HASH, with all --server addresses, makes them the same\n")
		return errFound
	}
	return t.someFailed(replies, what)
}

// push sends the files to all servers, which check them and keep them; then, if
// all took them, it has all of them use them, if that is wanted.
func (t *tool) push(ctx context.Context, args []string) error {
	fs := t.flags()
	f, by := serversOf(fs), byOf(fs)
	now := fs.Bool("activate", false, "and activate them, once all servers have taken them")
	shadow := fs.Bool("shadow", false, "and try them in shadow")
	percent := fs.Float64("canary", 0, "and try them on so many `PERCENT` of the users")
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	query := by.query()
	switch {
	case *now && !*shadow && *percent == 0:
		query.Set("mode", string(engine.ModeNow))
	case *shadow && !*now && *percent == 0:
		query.Set("mode", string(engine.ModeShadow))
	case *percent != 0 && !*now && !*shadow:
		query.Set("mode", string(engine.ModeCanary))
		query.Set("percent", strconv.FormatFloat(*percent, 'g', -1, 64))
	case *now || *shadow || *percent != 0:
		return errUsage("one of --activate, --shadow and --canary")
	}
	if f.edge && len(args) == 0 {
		return errUsage("name the directory: the configuration's, core.scripts, is a core's")
	}
	o, err := t.scripts(args)
	if err != nil {
		return err
	}
	all, err := t.servers(f)
	if err != nil {
		return err
	}
	hash, err := t.prepare(ctx, all, o.Dir, by, query.Has("mode"))
	if err != nil || !query.Has("mode") {
		return err
	}
	query.Set("hash", hash)
	return t.commit(ctx, all, "activate", query, "activate "+hash)
}

// prepare has all servers check the files and keep them; an error if one refuses.
func (t *tool) prepare(ctx context.Context, all []server, dir string, by *byFlags, goesOn bool) (hash string, err error) {
	s, err := engine.ReadScripts(dir)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", dir, err)
	}
	body, err := json.Marshal(map[string]any{"files": s.Files()})
	if err != nil {
		return "", err
	}
	replies := each(ctx, all, http.MethodPost, "prepare", by.query(), body)
	for i, r := range replies {
		if r.err != nil {
			replies[i].err = located(dir, s, r.err)
		}
	}
	said, err := decoded[report](replies)
	if err != nil {
		return "", err
	}
	if t.json && !(goesOn && failed(replies) == 0) { // else what was decided is printed
		if err := t.answers(replies); err != nil {
			return "", err
		}
	} else if !t.json {
		t.complain(replies)
	}
	for _, one := range all {
		r, ok := said[one.name]
		switch {
		case !ok:
		case r.Prepared != s.Bundle():
			return "", fmt.Errorf("%s calls these files bundle %s, this program %s: they are of different versions; use the server's own", one.name, r.Prepared, s.Bundle())
		case !t.json:
			r.write(t, one.whose(r.Node, len(all) > 1))
		}
	}
	if n := failed(replies); n > 0 {
		fmt.Fprintf(t.Err, "%d of %s did not take %s: nothing was activated\n", n, count(len(all), "server"), s.Bundle())
		return "", errFound
	}
	if !t.json && !goesOn {
		edge := ""
		if all[0].edge {
			edge = "--edge "
		}
		fmt.Fprintf(t.Out, "nothing was activated. Next: %s shadow %s%s, or activate %s%s\n", t.Program, edge, s.Bundle(), edge, s.Bundle())
	}
	return s.Bundle(), nil
}

// located gives the files in a server's errors names that can be opened from here.
func located(dir string, s engine.Scripts, err error) error {
	files := s.Files()
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		path, rest, _ := strings.Cut(line, ":")
		hook, file, ofHook := strings.Cut(path, "@") // of a hook: name@file:line
		switch {
		case files[path] != "":
			line = filepath.Join(dir, path) + ":" + rest
		case ofHook && files[file] != "":
			line = filepath.Join(dir, file) + ":" + rest + " [hook " + hook + "]"
		}
		lines = append(lines, line)
	}
	if said := strings.Join(lines, "\n"); said != err.Error() {
		return errors.New("it refuses them:\n" + said)
	}
	return err
}

func (t *tool) activate(ctx context.Context, args []string) error {
	return t.use(ctx, args, 0, func([]string) (url.Values, error) { return url.Values{"mode": {"now"}}, nil })
}

func (t *tool) shadow(ctx context.Context, args []string) error {
	return t.use(ctx, args, 0, func([]string) (url.Values, error) { return url.Values{"mode": {"shadow"}}, nil })
}

func (t *tool) canary(ctx context.Context, args []string) error {
	return t.use(ctx, args, 1, func(args []string) (url.Values, error) {
		text := strings.TrimSuffix(args[0], "%")
		if n, err := strconv.ParseFloat(text, 64); err != nil || n <= 0 || n > 100 {
			return nil, errUsage(fmt.Sprintf("%q: PERCENT of the users is more than 0 and at most 100", args[0]))
		}
		return url.Values{"mode": {"canary"}, "percent": {text}}, nil
	})
}

// use has all servers use a bundle that they keep, or the one that is on trial on
// all of them. settings reads the arguments before the hash, of which there are so many.
func (t *tool) use(ctx context.Context, args []string, before int, settings func(args []string) (url.Values, error)) error {
	fs := t.flags()
	f, by := serversOf(fs), byOf(fs)
	args, err := t.parse(fs, args, before, before+1)
	if err != nil {
		return err
	}
	query, err := settings(args)
	if err != nil {
		return err
	}
	maps.Copy(query, by.query())
	all, stores, err := t.stores(ctx, f)
	if err != nil {
		return err
	}
	wanted := ""
	if len(args) > before {
		wanted = args[before]
	}
	hash, err := stores.bundle(wanted)
	if err != nil {
		return err
	}
	query.Set("hash", hash)
	return t.commit(ctx, all, "activate", query, t.command.name+" "+hash)
}

func (t *tool) rollback(ctx context.Context, args []string) error {
	fs := t.flags()
	f, by := serversOf(fs), byOf(fs)
	args, err := t.parse(fs, args, 0, 1)
	if err != nil {
		return err
	}
	all, stores, err := t.stores(ctx, f)
	if err != nil {
		return err
	}
	query := by.query()
	if len(args) > 0 {
		hash, err := stores.bundle(args[0])
		if err != nil {
			return err
		}
		query.Set("hash", hash)
		return t.commit(ctx, all, "rollback", query, "rollback "+hash)
	}
	trial, err := stores.one("on trial", func(s stored) string { return s.Candidate })
	if err != nil {
		return err
	}
	if trial != "" {
		query.Set("trial", trial)
		return t.commit(ctx, all, "rollback", query, "the end of the trial of "+trial)
	}
	hash, err := stores.one("the one before", func(s stored) string { return s.Before })
	if err == nil && hash == "" {
		err = fmt.Errorf("no bundle was active before this one, and none is on trial: %s store ls lists what there is", t.Program)
	}
	if err != nil {
		return err
	}
	query.Set("hash", hash)
	return t.commit(ctx, all, "rollback", query, "rollback "+hash)
}
