package pebble_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/timeline"
)

// importDir, in the environment, makes the test binary the child of
// TestImportKilled.
const importDir = "FREEIM_TEST_IMPORT_DIR"

// importChild imports without end and says so, until it is killed.
func importChild(dir string) error {
	s, err := pebble.Open(pebble.Options{Dir: dir, IDs: im.NewIDGenerator(nil)})
	if err != nil {
		return err
	}
	return s.Import(context.Background(), func(add func(timeline.Item) error) error {
		if err := add(timeline.State{Epoch: "x"}); err != nil {
			return err
		}
		for seq := int64(1); ; seq++ {
			m := im.Message{Conversation: "g_1", Seq: seq, Sender: 1, Body: make([]byte, 1<<10)}
			if err := add(timeline.Stored{Message: m}); err != nil {
				return err
			}
			if seq%10_000 == 0 { // a few batches
				fmt.Println(seq)
			}
		}
	})
}

// A process that is killed in an import leaves a store that says so, not half of
// one that looks whole.
func TestImportKilled(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), importDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !bufio.NewScanner(out).Scan() {
		t.Error("the child said nothing")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if s, err := pebble.Open(pebble.Options{Dir: dir, IDs: im.NewIDGenerator(nil), Log: quiet}); !errors.Is(err, timeline.ErrUnfinished) {
		t.Errorf("got %v, %v, want %v", s, err, timeline.ErrUnfinished)
	}
}

// What others write while an import runs waits for it, and goes on behind it.
func TestWritesWaitForAnImport(t *testing.T) {
	s := open(t, pebble.Options{Dir: "waits", Memory: true})
	begun, release := make(chan bool), make(chan bool)
	var all sync.WaitGroup
	all.Go(func() {
		err := s.Import(t.Context(), func(add func(timeline.Item) error) error {
			close(begun)
			<-release
			id := im.NewIDGenerator(func() time.Time { return time.Now().Add(time.Hour) }).Next("g_1")
			return errors.Join(add(timeline.State{Epoch: "other"}),
				add(timeline.Stored{Message: im.Message{ID: id, Conversation: "g_1", Seq: 1, Sender: 1}}))
		})
		if err != nil {
			t.Errorf("import: %v", err)
		}
	})
	<-begun
	all.Go(func() {
		c, err := s.Append(t.Context(), timeline.Draft{Conversation: "g_1", Sender: 1, Inboxes: []im.UserID{1}})
		if err != nil || c.Seq != 2 || c.Time.Before(time.Now().Add(time.Minute)) {
			t.Errorf("got message %d of %s, %v, want 2, after the imported one", c.Seq, c.Time, err)
		}
	})
	if p, err := s.Log(t.Context(), "g_1", 0, 1); err != nil || p.Head != 0 {
		t.Errorf("a reader meanwhile: got head %d, %v", p.Head, err)
	}
	close(release)
	all.Wait()
	if s.Epoch() != "other" {
		t.Errorf("got epoch %q", s.Epoch())
	}
}

// A fill that panics breaks the store, not the process.
func TestImportPanics(t *testing.T) {
	s := open(t, pebble.Options{Dir: "panics", Memory: true, Log: quiet})
	if err := s.Import(t.Context(), func(func(timeline.Item) error) error { panic("boom") }); err == nil {
		t.Error("got no error")
	}
	if err := s.Health(t.Context()); err == nil {
		t.Error("the store is healthy with half an import in it")
	}
}
