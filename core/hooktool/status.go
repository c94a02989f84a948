package hooktool

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"freeim/scripts/engine"
)

// live is a server's answer about its rules, as far as it is shown.
type live struct {
	Node   string
	Status struct {
		Bundle   string
		Since    time.Time
		Disk     string
		Files    []string
		Hooks    []liveHook
		Tests    int
		Findings []struct{}
		Off      bool
		Late     int
		Lost     int64

		Rejected *struct {
			Bundle string
			At     time.Time
			Errors []string
		}
		Held *struct {
			Bundle, Disk, Who, Why string
			Since                  time.Time
		}
		Candidate *liveCandidate
		VMs       struct {
			Live, Idle                int
			Replaced, Broken, Starved int64
		}
	}
}

type liveHook struct {
	Rule      string
	Function  string // what registered it
	OnError   string `json:"on_error"`
	Calls     int64
	Denied    int64
	Rewritten int64
	Faults    int64
	LastFault string `json:"last_fault"`
	Tripped   bool
	Off       bool
	Asleep    bool
}

// liveCandidate is a bundle on trial.
type liveCandidate struct {
	Bundle string
	Since  time.Time
	By     struct{ Who, Why string }
	Policy struct {
		Mode    string
		Percent float64
	}
	Asked, Left int64
	Measured    struct {
		Calls, Faults, Budget, Denied int64
		P50, P99                      string
	}
	Diffs []liveDiff
}

// liveDiff is one way in which two bundles differ.
type liveDiff struct {
	Hook, From, To string
	Count          int64
	Examples       []struct {
		At                                           time.Time
		Action, User, Conversation, From, To, Reason string
	}
}

func (t *tool) status(ctx context.Context, args []string) error {
	fs := t.flags()
	f := serversOf(fs)
	if _, err := t.parse(fs, args, 0, 0); err != nil {
		return err
	}
	all, err := t.servers(f)
	if err != nil {
		return err
	}
	replies := each(ctx, all, http.MethodGet, "status", nil, nil)
	said, err := decoded[live](replies)
	if err != nil {
		return err
	}
	if t.json {
		if err := t.answers(replies); err != nil {
			return err
		}
	} else {
		t.complain(replies)
		for _, s := range all {
			if l, ok := said[s.name]; ok {
				l.write(t.Out, f.edge, s.whose(l.Node, len(all) > 1))
			}
		}
	}
	if len(all) > 1 && !t.same(all, said) || failed(replies) > 0 {
		return errFound
	}
	return nil
}

// slots are what decides on a server, in words.
func (l live) slots() string {
	s := l.Status
	parts := []string{"active " + s.Bundle}
	if c := s.Candidate; c != nil {
		parts = append(parts, fmt.Sprintf("on trial %s (%s)", c.Bundle, c.policy()))
	}
	if s.Off {
		parts = append(parts, "OFF")
	}
	for _, h := range s.Hooks {
		if h.Off && !s.Off {
			parts = append(parts, "off "+h.Rule)
		}
	}
	return strings.Join(parts, ", ")
}

// same says loudly when servers decide by different rules; false: they do.
func (t *tool) same(all []server, said map[string]live) bool {
	different := map[string]bool{}
	for _, l := range said {
		different[l.slots()] = true
	}
	if len(different) <= 1 {
		if !t.json && len(said) > 1 {
			fmt.Fprintf(t.Out, "%d servers decide by the same rules\n", len(said))
		}
		return true
	}
	fmt.Fprintln(t.Err, "THE SERVERS DIFFER: what is allowed depends on which one is asked")
	for _, s := range all {
		if l, ok := said[s.name]; ok {
			fmt.Fprintf(t.Err, "  %s: %s\n", s.whose(l.Node, true), l.slots())
		}
	}
	fmt.Fprintf(t.Err, "activate, canary, shadow or rollback, with all --server addresses, make them the same\n")
	return false
}

func (l live) write(out io.Writer, edge bool, name string) {
	s := l.Status
	fmt.Fprintf(out, "%s: bundle %s since %s: %s, %s, %s passed\n", name, s.Bundle, clock(s.Since),
		count(len(s.Files), "file"), count(len(s.Hooks), "hook"), count(s.Tests, "test"))
	if s.Off {
		fmt.Fprintln(out, "OFF: no hook is asked; \"on\" asks them again")
	}
	l.writeDisk(out)
	if s.Candidate != nil {
		s.Candidate.write(out)
	}
	if n := len(s.Findings); n > 0 {
		fmt.Fprintf(out, "%s of the linter: \"check\" shows them\n", count(n, "warning"))
	}
	rows := []string{"hook\tcalls\tdenied\trewritten\tfaults\ton error\t"}
	for _, h := range s.Hooks {
		note := ""
		switch {
		case engine.AtEdge(h.Function) && !edge:
			note = "of edges (--edge): never asked here"
		case !engine.AtEdge(h.Function) && edge:
			note = "of cores: never asked here"
		case h.Off:
			note = "OFF"
		case h.Asleep:
			note = "asleep: a setting is off"
		case h.Tripped:
			note = "NOT CALLED for a while: " + h.LastFault
		case h.LastFault != "":
			note = "last fault: " + h.LastFault
		}
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%s\t%s", h.Rule, h.Calls, h.Denied, h.Rewritten, h.Faults, h.OnError, note))
	}
	table(out, rows...)
	fmt.Fprintf(out, "VMs: %d, %d idle, %d broken; %d calls got none in time; after hooks: %d wait, %d lost\n",
		s.VMs.Live, s.VMs.Idle, s.VMs.Broken, s.VMs.Starved, s.Late, s.Lost)
}

// writeDisk says how the files on disk and the active bundle differ, if they do.
func (l live) writeDisk(out io.Writer) {
	s := l.Status
	disk := "bundle " + s.Disk
	if s.Disk == "" {
		disk = "something that cannot be read"
	}
	switch {
	case s.Candidate != nil && s.Candidate.Bundle == s.Disk:
		fmt.Fprintf(out, "ON DISK is bundle %s, which is on trial\n", s.Disk)
	case s.Held != nil && s.Held.Disk == s.Disk:
		fmt.Fprintf(out, "ON DISK is %s, which is NOT ACTIVE: %s is held against it since %s, by %s; \"resume\", or any change of the files, ends that\n",
			disk, s.Held.Bundle, clock(s.Held.Since), reasoned(s.Held.Who, s.Held.Why))
	case s.Rejected == nil && s.Disk != s.Bundle:
		fmt.Fprintf(out, "ON DISK is %s, which is NOT ACTIVE yet: \"reload\" looks at it now\n", disk)
	}
	if s.Rejected != nil {
		fmt.Fprintf(out, "REJECTED at %s, so what is on disk (%s) is not active:\n", clock(s.Rejected.At), cmp.Or(s.Rejected.Bundle, "unreadable"))
		for _, text := range s.Rejected.Errors {
			fmt.Fprintln(out, "  "+text)
		}
	}
}

// clock is a time as it is shown.
func clock(at time.Time) string { return at.Local().Format(time.DateTime) }

// reasoned is who decided, and why if that was said.
func reasoned(who, why string) string {
	if why == "" {
		return who
	}
	return fmt.Sprintf("%s (%s)", who, why)
}

func (c *liveCandidate) policy() string {
	if c.Policy.Mode == "canary" {
		return fmt.Sprintf("canary %v %%", c.Policy.Percent)
	}
	return c.Policy.Mode
}

func (c *liveCandidate) write(out io.Writer) {
	fmt.Fprintf(out, "ON TRIAL is bundle %s, %s, since %s, by %s\n", c.Bundle, c.policy(), clock(c.Since), reasoned(c.By.Who, c.By.Why))
	if m := c.Measured; c.Policy.Mode == "canary" {
		fmt.Fprintf(out, "  it decided about %s: %d denied, %d on which it failed, %d over budget; p50 %s, p99 %s\n",
			count(int(m.Calls), "action"), m.Denied, m.Faults, m.Budget, m.P50, m.P99)
		return
	}
	otherwise := int64(0)
	for _, d := range c.Diffs {
		otherwise += d.Count
	}
	fmt.Fprintf(out, "  it was asked about %s, and would decide otherwise about %d; %d were left out\n", count(int(c.Asked), "action"), otherwise, c.Left)
	writeDiffs(out, c.Diffs, 3)
}

// writeDiffs shows differences, with so many examples of each.
func writeDiffs(out io.Writer, diffs []liveDiff, examples int) {
	for _, d := range diffs {
		hook := ""
		if d.Hook != "" {
			hook = d.Hook + ": "
		}
		fmt.Fprintf(out, "  %d × %s%s -> %s\n", d.Count, hook, d.From, d.To)
		for _, e := range d.Examples[:min(len(d.Examples), examples)] {
			text := fmt.Sprintf("%s %s user %s", clock(e.At), e.Action, cmp.Or(e.User, "?"))
			if e.Conversation != "" {
				text += " in " + e.Conversation
			}
			if by := cmp.Or(e.To, e.From); by != "" {
				text += ", by " + by
			}
			if e.Reason != "" {
				text += ": " + e.Reason
			}
			fmt.Fprintln(out, "      "+clean(text))
		}
	}
}
