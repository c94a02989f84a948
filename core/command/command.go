// Package command is what the binaries do beside serving: backup, restore,
// verify, move and new-epoch, on the stores that a configuration names, and the
// rules' tool, which core/hooktool is. It reads
// the file's core and admin sections and leaves the others alone, so one file
// serves both binaries. The mains of core and edge call it; core/archive does
// the work.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"freeim/conf"
	"freeim/core/archive"
	"freeim/core/plugin"
	"freeim/core/server"
	"freeim/core/timeline"
)

// The exit codes.
const (
	Done   = 0
	Failed = 1 // the reason is on Err
	Usage  = 2 // nothing was tried
)

// Options says what to do and with what.
type Options struct {
	Program string // as in "core -config FILE backup OUT"
	Config  string // the configuration file
	Args    []string
	Plugins []plugin.Plugin
	In      io.Reader // for "-" as an archive to read
	Out     io.Writer // for "-" as an archive to write
	Err     io.Writer // progress, results and errors
}

// run is one command under way.
type run struct {
	Options
	log *slog.Logger
}

// command is one of them; argument is the name of its one argument, if it has one.
type command struct {
	name, argument, does string
	do                   func(r *run, ctx context.Context, argument string) error
}

func commands() []command {
	return []command{
		{"backup", "OUT", "write an archive of everything the stores hold to the file OUT, or to - (standard output)", (*run).backup},
		{"restore", "IN", "fill empty stores with the archive in the file IN, or from - (standard input); clients load anew", (*run).restore},
		{"verify", "IN", "read a whole archive and say what is in it", (*run).verify},
		{"move", "TO.yaml", "carry everything to the empty stores of another configuration (variables: TO_FREEIM_…); clients go on", (*run).move},
		{"new-epoch", "", "make clients load anew, after a store was brought back by other means than restore", (*run).newEpoch},
	}
}

// Run runs the command that o.Args name and returns the exit code.
func Run(ctx context.Context, o Options) int {
	r := &run{Options: o, log: slog.New(slog.NewTextHandler(o.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if len(o.Args) > 0 && o.Args[0] == hooksName {
		return r.hooks(ctx, o.Args[1:])
	}
	if len(o.Args) > 0 && o.Args[0] == heldName {
		return r.held(ctx, o.Args[1:])
	}
	for _, c := range commands() {
		want := 1
		if c.argument != "" {
			want = 2
		}
		if len(o.Args) == 0 || o.Args[0] != c.name {
			continue
		}
		if len(o.Args) != want {
			fmt.Fprintf(o.Err, "usage: %s -config FILE %s %s\n", o.Program, c.name, c.argument)
			return Usage
		}
		argument := ""
		if want == 2 {
			argument = o.Args[1]
		}
		if err := c.do(r, ctx, argument); err != nil {
			fmt.Fprintf(o.Err, "%s: %s: %v\n", o.Program, c.name, err)
			return Failed
		}
		return Done
	}
	r.usage()
	return Usage
}

func (r *run) usage() {
	fmt.Fprintf(r.Err, "%s -config FILE serves; with a command it does this instead:\n", r.Program)
	for _, c := range commands() {
		fmt.Fprintf(r.Err, "  %-9s %-8s %s\n", c.name, c.argument, c.does)
	}
	fmt.Fprintf(r.Err, "  %-9s %-8s %s\n", hooksName, "…", "check, test, measure, watch and switch the rules; alone it lists its commands")
	fmt.Fprintf(r.Err, "  %-9s %-8s %s\n", heldName, "…", "list the messages that wait for a decision, approve ID, or deny ID REASON, at a running server")
}

// config is the part of a configuration that the commands need.
type config struct {
	Core  *server.Config `yaml:"core"`
	Admin conf.Admin     `yaml:"admin"`
}

func load(path string, env func(string) (string, bool)) (config, error) {
	c := config{Admin: conf.DefaultAdmin()}
	if err := conf.LoadPart(path, env, &c); err != nil {
		return c, err
	}
	if c.Core == nil {
		return c, fmt.Errorf("%s has no core section: nothing is stored there", path)
	}
	if c.Core.Data == "" {
		c.Core.Data = server.DefaultConfig().Data
	}
	return c, nil
}

// open opens the stores of the configuration.
func (r *run) open(ctx context.Context, c config, create bool) (*server.Archived, error) {
	return server.OpenArchived(ctx, *c.Core, r.Plugins, create, r.log)
}

// using opens the stores of the configuration and calls fn with them.
func (r *run) using(ctx context.Context, create bool, fn func(s *server.Archived) error) (err error) {
	c, err := load(r.Config, os.LookupEnv)
	if err != nil {
		return err
	}
	s, err := r.open(ctx, c, create)
	if errors.Is(err, server.ErrInUse) {
		return fmt.Errorf("%w\n%s", err, busy(c))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(s)
}

// busy says what to do when a server has the stores open.
func busy(c config) string {
	if c.Admin.Listen == "" {
		return "a running server has them: stop it, or give it an administrative port (admin.listen) and take a backup there"
	}
	key := ""
	if c.Admin.Key != "" || c.Admin.KeyFile != "" {
		key = ` -H "Authorization: Bearer $KEY"`
	}
	return fmt.Sprintf("a running server has them: stop it, or let it write a backup itself:\n"+
		"  curl -f%s -o OUT http://%s/backup", key, c.Admin.Listen)
}

func (r *run) newEpoch(ctx context.Context, _ string) error {
	return r.using(ctx, false, func(s *server.Archived) error {
		renewer, ok := s.Timelines.(timeline.Renewer)
		if !ok {
			return fmt.Errorf("a %T has no epoch that can be renewed", s.Timelines)
		}
		epoch, err := renewer.Renew(ctx)
		if err == nil {
			fmt.Fprintf(r.Err, "the epoch is %s now: start all cores (again)\n", epoch)
		}
		return err
	})
}

func (r *run) backup(ctx context.Context, path string) error {
	return r.using(ctx, false, func(s *server.Archived) error {
		progress, done := r.progress("backed up")
		defer done()
		if path == "-" {
			sum, err := archive.Backup(ctx, r.Out, s.Stores, progress)
			return r.result(err, done, "backed up: %s", sum)
		}
		var sum archive.Summary
		err := writeFile(path, func(f io.Writer) (err error) {
			sum, err = archive.Backup(ctx, f, s.Stores, progress)
			return err
		})
		return r.result(err, done, "backed up to %s: %s", path, sum)
	})
}

// result ends the progress and says how it went, if it went well.
func (r *run) result(err error, done func(), format string, args ...any) error {
	done()
	if err == nil {
		fmt.Fprintf(r.Err, format+"\n", args...)
	}
	return err
}

// writeFile calls fill with a file that gets its name only when it is whole and
// flushed. An existing file is not replaced.
func writeFile(path string, fill func(w io.Writer) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already: an archive is not overwritten", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.partial") // readable by the owner only
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (r *run) verify(ctx context.Context, path string) error {
	in, err := r.reader(path)
	if err != nil {
		return err
	}
	defer in.Close()
	progress, done := r.progress("read")
	defer done()
	sum, err := archive.Verify(ctx, in, progress)
	return r.result(err, done, "whole, of %s, epoch %s: %s", sum.Made.Format("2006-01-02 15:04:05 UTC"), sum.Epoch, sum)
}

// reader opens the archive at path, or standard input.
func (r *run) reader(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(r.In), nil
	}
	return os.Open(path)
}

func (r *run) restore(ctx context.Context, path string) error {
	if path != "-" { // a file is read twice: nothing is opened for one that is damaged
		if err := r.verify(ctx, path); err != nil {
			return err
		}
	}
	return r.using(ctx, true, func(s *server.Archived) error {
		in, err := r.reader(path)
		if err != nil {
			return err
		}
		defer in.Close()
		progress, done := r.progress("restored")
		defer done()
		sum, err := archive.Restore(ctx, in, s.Stores, archive.Anew, progress)
		return r.result(err, done, "restored: %s\nclients will load anew (epoch %s)", sum, s.Timelines.Epoch())
	})
}

func (r *run) move(ctx context.Context, path string) error {
	to, err := load(path, func(name string) (string, bool) { return os.LookupEnv("TO_" + name) })
	if err != nil {
		return err
	}
	return r.using(ctx, false, func(from *server.Archived) (err error) {
		target, err := r.open(ctx, to, true)
		if errors.Is(err, server.ErrInUse) {
			return fmt.Errorf("%w: stop what runs there; or it is where you are moving from", err)
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, target.Close()) }()
		progress, done := r.progress("moved")
		defer done()
		sum, err := archive.Move(ctx, from.Stores, target.Stores, archive.Continue, progress)
		return r.result(err, done, "moved: %s\nclients will go on; never serve from %s again", sum, r.Config)
	})
}
