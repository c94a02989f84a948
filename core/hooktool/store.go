package hooktool

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// stored is what a server keeps, and what was decided about it.
type stored struct {
	Node, Active, Before, Candidate string
	Held                            *struct{ Bundle, Disk, Who, Why string }
	Bundles                         []struct {
		Hash, Rejected    string
		Stored, Activated time.Time
		Files, Hooks      []string
	}
	Journal []struct {
		At                           time.Time
		What, Bundle, From, Who, Why string
	}
}

// shelves are those of several servers, by their addresses.
type shelves map[string]stored

// stores reads what all servers keep: before anything is decided all of them must
// answer.
func (t *tool) stores(ctx context.Context, f *serverFlags) ([]server, shelves, error) {
	all, err := t.servers(f)
	if err != nil {
		return nil, nil, err
	}
	replies := each(ctx, all, http.MethodGet, "store", nil, nil)
	if len(all) == 1 && replies[0].err != nil {
		return nil, nil, replies[0].err
	}
	if n := failed(replies); n > 0 {
		t.complain(replies)
		return nil, nil, fmt.Errorf("%d of %s did not answer: nothing was done", n, count(len(all), "server"))
	}
	said, err := decoded[stored](replies)
	return all, said, err
}

// bundle is the hash of the bundle that all servers keep and whose hash begins so;
// without a hash, of the one that is on trial on all of them.
func (s shelves) bundle(begins string) (string, error) {
	if begins == "" {
		hash, err := s.one("on trial", func(one stored) string { return one.Candidate })
		if err == nil && hash == "" {
			err = errUsage("no bundle is on trial: name one, by its hash (store ls lists them)")
		}
		return hash, err
	}
	if !bundleHash.MatchString(begins) {
		return "", errUsage(fmt.Sprintf("%q: a hash has 4 to 12 digits, 0 to 9 and a to f", begins))
	}
	found := map[string]bool{}
	var lacking []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		n := 0
		for _, b := range s[name].Bundles {
			if strings.HasPrefix(b.Hash, begins) {
				found[b.Hash], n = true, n+1
			}
		}
		if n == 0 {
			lacking = append(lacking, name)
		}
	}
	switch {
	case len(lacking) > 0:
		return "", fmt.Errorf("%s is not kept by %s: push its files first; nothing was done", begins, strings.Join(lacking, ", "))
	case len(found) > 1:
		return "", fmt.Errorf("%s may be %s: give more of the hash", begins, strings.Join(slices.Sorted(maps.Keys(found)), " or "))
	}
	return slices.Sorted(maps.Keys(found))[0], nil
}

// one is what all servers agree about.
func (s shelves) one(what string, of func(stored) string) (string, error) {
	values := map[string]bool{}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		value := of(s[name])
		values[value] = true
		list = append(list, fmt.Sprintf("%s: %s", name, cmp.Or(value, "none")))
	}
	if len(values) > 1 {
		return "", fmt.Errorf("the servers differ in what is %s (%s): name a bundle, by its hash; nothing was done", what, strings.Join(list, ", "))
	}
	return slices.Sorted(maps.Keys(values))[0], nil
}

// store has commands of its own.
func (t *tool) store(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	args, err := t.parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	if args[0] != "ls" && args[0] != "log" {
		return errUsage(fmt.Sprintf("%q: store ls, or store log", args[0]))
	}
	all, err := t.servers(f)
	if err != nil {
		return err
	}
	replies := each(ctx, all, http.MethodGet, "store", nil, nil)
	if t.json {
		return t.answered(replies)
	}
	if len(all) == 1 && replies[0].err != nil {
		return replies[0].err
	}
	said, err := decoded[stored](replies)
	if err != nil {
		return err
	}
	t.complain(replies)
	for _, s := range all {
		one, ok := said[s.name]
		if !ok {
			continue
		}
		if len(all) > 1 {
			fmt.Fprintf(t.Out, "%s:\n", s.whose(one.Node, true))
		}
		if args[0] == "ls" {
			one.list(t.Out)
		} else {
			one.log(t.Out)
		}
	}
	if failed(replies) > 0 {
		return errFound
	}
	return nil
}

// list shows the bundles, the one that was used last first.
func (s stored) list(out io.Writer) {
	rows := []string{"bundle\tkept since\tactivated last\tfiles\thooks\t"}
	for _, b := range s.Bundles {
		activated := "never"
		if !b.Activated.IsZero() {
			activated = clock(b.Activated)
		}
		note := ""
		switch {
		case b.Hash == s.Active && s.Held != nil:
			note = "active, held against the files on disk"
		case b.Hash == s.Active:
			note = "active"
		case b.Hash == s.Candidate:
			note = "on trial"
		case b.Rejected != "":
			note = "taken back: " + b.Rejected
		case b.Hash == s.Before:
			note = "rollback goes here"
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%d\t%d\t%s", b.Hash, clock(b.Stored), activated, len(b.Files), len(b.Hooks), note))
	}
	table(out, rows...)
}

// log shows what was decided, the newest first.
func (s stored) log(out io.Writer) {
	var rows []string
	for _, e := range slices.Backward(s.Journal) {
		from := ""
		if e.From != "" && e.From != e.Bundle {
			from = "before " + e.From
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s", clock(e.At), e.What, e.Bundle, from, reasoned(e.Who, e.Why)))
	}
	table(out, rows...)
}
