package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"freeim/bench/cluster"
	"freeim/bench/history"
	"freeim/core/server"
	"freeim/edge/client"
	"freeim/scripts/engine"
)

// editor is an operator who edits one rule, which says in each text which edit it is.
type editor struct {
	path     string
	recorded string // where the server records
	rules    *engine.Engine
	edits    int            // the last that is active
	versions map[string]int // by bundle
}

// edition is the rule as of edit n; its tests must pass before it is active.
func edition(n int) string {
	return fmt.Sprintf(`local im = require("im")
im.on_message(function(c) c.text = c.text .. " |%d" end, {name = "tag", on_error = "closed"})
`, n)
}

// saves are the ways in which a file is written.
func saves() []func(path, text string) error {
	inPlace := func(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }
	renamed := func(path, text string) error {
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
	inTwo := func(path, text string) error {
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		defer file.Close()
		for _, part := range []string{text[:len(text)/2], text[len(text)/2:]} {
			if _, err := file.WriteString(part); err != nil {
				return err
			}
			<-time.After(20 * time.Millisecond)
		}
		return nil
	}
	return []func(string, string) error{inPlace, renamed, inTwo}
}

// edit saves the next edition and waits until it is active. Every fifth time a broken
// one comes before it, which must change nothing.
func (e *editor) edit(ctx context.Context) error {
	n := e.edits + 1
	save := saves()[n%len(saves())]
	if n%5 == 0 {
		before := e.rules.Status().Bundle
		if err := save(e.path, edition(n)+"end end\n"); err != nil {
			return err
		}
		err := until(ctx, func() (bool, error) { s := e.rules.Status(); return s.Rejected != nil && s.Rejected.Bundle != "", nil })
		if err != nil || e.rules.Status().Bundle != before {
			return fmt.Errorf("a broken rule was not refused, but the bundle is %s after %s: %v", e.rules.Status().Bundle, before, err)
		}
	}
	before := e.rules.Status().Bundle
	if err := save(e.path, edition(n)); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) { s := e.rules.Status(); return s.Bundle != before && s.Rejected == nil, nil }); err != nil {
		return fmt.Errorf("edit %d is not active: %w, %+v", n, err, e.rules.Status().Rejected)
	}
	e.edits = n
	e.versions[e.rules.Status().Bundle] = n
	return nil
}

// TestRulesEditedUnderLoad: a rule is edited every second while people talk. Nothing is
// lost, doubled or reordered; each message was judged by one edition, none by an older one
// than a message that was acknowledged before it was sent; and the recording shows at which
// message each edition began.
func TestRulesEditedUnderLoad(t *testing.T) {
	beside(t)
	ctx, cancel := lasting(t)
	defer cancel()
	dir := t.TempDir()
	e := &editor{path: filepath.Join(dir, "rules", "tag.lua"), versions: map[string]int{}}
	if err := os.Mkdir(filepath.Dir(e.path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.path, []byte(edition(0)), 0o644); err != nil {
		t.Fatal(err)
	}
	c := startClusterWith(t, cluster.Options{Dir: dir, Rules: true, Core: func(_ int, o *server.Options) {
		r := &o.Config.Rules
		r.Record.Every, r.Record.Text, r.Record.Disk = 1, engine.TextFull, true
		e.recorded = filepath.Join(o.Config.Data, "rules", "recorded")
		r.Watch.Time = -1 // a machine that other tests use too has slow moments: they take no edit back
	}})
	e.rules = c.Cores[0].Server().Rules()
	e.versions[e.rules.Status().Bundle] = 0
	people := gatherNamed(t, "p", 3, 2, func() client.Options { return forms[0].options(c.Edges[0]) })
	defer people.leave()
	edits := times(8, 600)
	people.talkWhile(ctx, func() {
		second := time.NewTicker(time.Second)
		defer second.Stop()
		progress := func() {
			want := people.acked.Load() + 30 // more than are under way
			if err := until(ctx, func() (bool, error) { return people.acked.Load() >= want, nil }); err != nil {
				t.Fatal(err)
			}
		}
		progress()
		for range edits {
			if err := e.edit(ctx); err != nil {
				t.Fatal(err)
			}
			progress()
			select {
			case <-second.C:
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
		}
	})
	report := people.audit(ctx)
	judged := people.editions(ctx)
	people.inOrder(judged)
	e.began(ctx, t, judged)
	t.Logf("%d edits while %d messages were acknowledged: %v", edits, report.Acked, report)
}

// editions is which edition of the rule each message was judged by, by client ID.
func (c *crowd) editions(ctx context.Context) map[string]int {
	c.t.Helper()
	judged := map[string]int{}
	for _, p := range c.pairs {
		for _, m := range c.readLog(ctx, p, 0) {
			said, edition, _ := strings.Cut(m.Text, " |")
			n, err := strconv.Atoi(edition)
			if err != nil || !strings.HasPrefix(said, "text ") {
				c.t.Errorf("%s is stored as %q, want the text and one edition", m.ClientId, m.Text)
			}
			judged[m.ClientId] = n
		}
	}
	return judged
}

// inOrder holds the editions against time: who sends after another was acknowledged is not
// judged by an older one.
func (c *crowd) inOrder(judged map[string]int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	answered := slices.SortedFunc(slices.Values(c.sends), func(a, b history.Send) int { return a.Answered.Compare(b.Answered) })
	sent := slices.SortedFunc(slices.Values(c.sends), func(a, b history.Send) int { return a.Sent.Compare(b.Sent) })
	newest, by, wrong := -1, "", 0
	for _, s := range sent {
		for len(answered) > 0 && answered[0].Answered.Before(s.Sent) {
			if n := judged[answered[0].ID]; n > newest {
				newest, by = n, answered[0].ID
			}
			answered = answered[1:]
		}
		if judged[s.ID] < newest {
			if wrong++; wrong <= 5 {
				c.t.Errorf("%s was judged by edition %d, after %s by edition %d", s.ID, judged[s.ID], by, newest)
			}
		}
	}
	if newest < 1 {
		c.t.Error("no edition was seen to follow another")
	}
}

// spans reads the recording, until it has the last edition.
func (e *editor) spans(ctx context.Context) (spans []engine.Span, err error) {
	err = until(ctx, func() (bool, error) {
		files, err := filepath.Glob(filepath.Join(e.recorded, "*.rec"))
		if err != nil {
			return false, err
		}
		var all []*engine.Recorded
		for _, name := range files {
			file, err := os.Open(name)
			if err != nil {
				return false, err
			}
			some, _ := engine.ReadRecording(file) // the newest ends with half a record
			all = append(all, some...)
			if err := file.Close(); err != nil {
				return false, err
			}
		}
		spans = engine.Spans(all)
		return len(spans) > 0 && e.versions[spans[len(spans)-1].Bundle] == e.edits, nil
	})
	return spans, err
}

// began asks the recording at which message each edition began, and holds the answer
// against what is stored. Of a long run it has the newest 64 MiB.
func (e *editor) began(ctx context.Context, t *testing.T, judged map[string]int) {
	t.Helper()
	spans, err := e.spans(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if first := e.versions[spans[0].Bundle]; len(spans) != e.edits-first+1 {
		t.Errorf("%d bundles decided from edition %d on, the recording says, of %d", len(spans), first, e.edits)
	}
	for i, span := range spans {
		n := e.versions[span.Bundle]
		var first struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(span.First.Request, &first); err != nil {
			t.Fatal(err)
		}
		if got, stored := judged[first.ClientID]; !stored || got != n {
			t.Errorf("edition %d began with %s, the recording says; stored is edition %d (%v)", n, first.ClientID, got, stored)
		}
		if i == 0 {
			continue
		}
		if before := e.versions[spans[i-1].Bundle]; n != before+1 {
			t.Errorf("edition %d began after edition %d", n, before)
		}
		if i < 5 || i == len(spans)-1 {
			t.Logf("bundle %s began at %s with message %s of user %s", span.Bundle, span.First.At.Format(time.RFC3339Nano), first.ClientID, span.First.Facts[engine.FactUser])
		}
	}
}
