package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"freeim/bench/history"
	"freeim/edge/client"
)

// keepDir is where what a failed test leaves is kept: the directory that FAULTS_KEEP names, which is made
// if it is not there; that of go test -artifacts; or else one of its own, which nobody removes.
func keepDir(t *testing.T) (string, error) {
	if dir := os.Getenv("FAULTS_KEEP"); dir != "" {
		return dir, os.MkdirAll(dir, 0o755)
	}
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		return t.ArtifactDir(), nil
	}
	return os.MkdirTemp("", "freeim-faults-")
}

// keepHistory writes a history to a file that stays, whose path the test's log names.
func keepHistory(t *testing.T, h *history.History) {
	t.Helper()
	err := func() error {
		dir, err := keepDir(t)
		if err != nil {
			return err
		}
		f, err := os.CreateTemp(dir, strings.ReplaceAll(t.Name(), "/", "-")+"-*.jsonl")
		if err != nil {
			return err
		}
		if err := errors.Join(h.WriteLines(f), f.Close()); err != nil {
			return err
		}
		t.Logf("the history is kept in %s", f.Name())
		return nil
	}()
	if err != nil {
		t.Errorf("the history is not kept: %v", err)
	}
}

// keepBooks has the crowd's history kept, once, if t has failed by its end.
func (c *crowd) keepBooks(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() && !c.kept {
			c.kept = true
			keepHistory(t, c.books())
		}
	})
}

// books are what was sent and answered, what devices were shown, and what was read at the last audit.
func (c *crowd) books() *history.History {
	c.mu.Lock()
	h := &history.History{}
	h.Sends, h.Readings = append(h.Sends, c.sends...), append(h.Readings, c.read...)
	c.mu.Unlock()
	for _, p := range c.pairs {
		for _, m := range p.members {
			for k, told := range m.told {
				told.mu.Lock()
				h.Readings = append(h.Readings, c.shown(conversation(p.members[0], p.members[1]), m, k, told))
				told.mu.Unlock()
			}
		}
	}
	return h
}

// TestHistoryIsKept: of a check that fails, in a process of its own, the history is kept where the log says, with what was
// lost in it.
func TestHistoryIsKept(t *testing.T) {
	beside(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "kept")
	run := exec.CommandContext(ctx, self, "-test.run", "^TestPlantedLoss$", "-test.v")
	run.Env = append(os.Environ(), "FAULTS_PLANTED=yes", "FAULTS_KEEP="+dir)
	said, err := run.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		t.Fatalf("a loss is not found: %v\n%s", err, said)
	}
	files, err := filepath.Glob(filepath.Join(dir, "TestPlantedLoss-case-*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("kept are %q, %v, after\n%s", files, err, said)
	}
	if !strings.Contains(string(said), "the history is kept in "+files[0]) {
		t.Errorf("the log does not name %s:\n%s", files[0], said)
	}
	for _, want := range []string{"11 acked, 0 refused, 0 unknown, 2 lost", "0 twice, 0 phantom, 0 reordered, 0 disagree, 0 vanished"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("the log does not say %q:\n%s", want, said)
		}
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	what := map[string]int{}
	for l := range strings.Lines(string(text)) {
		var one struct{ Time, What, ID string }
		if err := json.Unmarshal([]byte(l), &one); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		if timed := one.Time != ""; timed == (one.What == "read") {
			t.Errorf("of %s the time is %q", one.What, one.Time)
		}
		what[one.What]++
		if one.ID == "planted" {
			what["planted "+one.What]++
		}
	}
	// Each of two people sent 5, which both read at the end, and all their devices were shown; and one was made up.
	want := map[string]int{"sent": 11, "acked": 11, "shown": 20, "read": 20, "planted sent": 1, "planted acked": 1}
	if fmt.Sprint(what) != fmt.Sprint(want) {
		t.Errorf("kept are %v, want %v", what, want)
	}
}

// TestPlantedLoss fails when TestHistoryIsKept has it run: a message is acknowledged that nobody finds.
func TestPlantedLoss(t *testing.T) {
	if os.Getenv("FAULTS_PLANTED") == "" {
		t.Skip("it is part of TestHistoryIsKept")
	}
	c := startCluster(t)
	people := gather(t, 1, func() client.Options { return forms[0].options(c.Edges[0]) })
	defer people.leave()
	t.Run("case", func(t *testing.T) {
		people.t = t
		people.keepBooks(t)
		people.talk(t.Context(), 5)
		people.sends = append(people.sends, history.Send{Conversation: people.sends[0].Conversation, ID: "planted", Sent: time.Now(), Answered: time.Now(),
			Outcome: history.Acked, MessageID: "2222222222222222", Seq: 11})
		people.audit(t.Context())
	})
}
