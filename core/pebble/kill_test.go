package pebble_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/timeline"
)

// childDir, in the environment, makes the test binary the child of TestKill.
const childDir = "FREEIM_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	if dir := os.Getenv(importDir); dir != "" {
		fmt.Fprintln(os.Stderr, importChild(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child appends without end and prints each acknowledgement, until it is killed.
func child(dir string) {
	s, err := pebble.Open(pebble.Options{Dir: dir, IDs: im.NewIDGenerator(nil)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	run := rand.Uint32()
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := 0; ; i++ {
				d := timeline.Draft{
					Conversation: im.ConversationID(fmt.Sprint("g_", i%3)), Sender: im.UserID(w + 1),
					ClientID: fmt.Sprintf("%d-%d", run, i), Body: make([]byte, 128), Inboxes: []im.UserID{im.UserID(w + 1), 100},
				}
				c, err := s.Append(context.Background(), d)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Printf("%d %s %s %s %d %d\n", c.Sender, c.ClientID, c.ID, c.Conversation, c.Seq, c.InboxSeqs[1])
			}
		})
	}
	writers.Wait()
}

// TestKill kills a process with kill -9 while it acknowledges messages, many
// times on the same directory: each one that it told of must be there.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir := t.TempDir()
	told := map[string]string{} // by sender and client ID: the line
	for range rounds {
		killAfter(t, dir, 1+rand.IntN(300), told)
		checkTold(t, dir, told)
	}
	t.Logf("%d acknowledged messages over %d kills", len(told), rounds)
}

// killAfter runs the child until it has acknowledged n messages, and notes all
// that it said.
func killAfter(t *testing.T, dir string, n int, told map[string]string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for i := 0; ; i++ {
		line, err := lines.ReadString('\n') // the last may be cut short: that ack did not arrive
		if err != nil {
			if !errors.Is(err, io.EOF) || i < n {
				t.Fatalf("the child ended after %d acknowledgements: %v %s", i, err, &complaints)
			}
			break
		}
		sender, rest, _ := strings.Cut(line, " ")
		clientID, _, _ := strings.Cut(rest, " ")
		told[sender+" "+clientID] = line
		if i+1 == n {
			cmd.Process.Kill()
		}
	}
	cmd.Wait() // its error is the kill
}

func checkTold(t *testing.T, dir string, told map[string]string) {
	t.Helper()
	s := open(t, pebble.Options{Dir: dir})
	all, err := s.Inbox(t.Context(), 100, 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	next := map[im.ConversationID]int64{}
	for i, e := range all.Items {
		if e.InboxSeq != int64(i+1) {
			t.Fatalf("inbox: entry %d has seq %d", i+1, e.InboxSeq)
		}
		if next[e.Conversation]++; e.Seq != next[e.Conversation] {
			t.Fatalf("%s: seq %d, want %d", e.Conversation, e.Seq, next[e.Conversation])
		}
		want, ok := told[fmt.Sprintf("%d %s", e.Sender, e.ClientID)]
		if !ok {
			continue // committed, but the child did not live to tell
		}
		found++
		if got := fmt.Sprintf("%d %s %s %s %d %d\n", e.Sender, e.ClientID, e.ID, e.Conversation, e.Seq, e.InboxSeq); got != want {
			t.Errorf("got %q, but was told %q", got, want)
		}
	}
	if found != len(told) {
		t.Errorf("%d messages were acknowledged, %d of them are there", len(told), found)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
