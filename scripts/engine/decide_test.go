package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freeim/scripts/engine"
)

var me = engine.By{Who: "op", Why: "too strict"}

// kept is an engine whose rules and state outlive it.
type kept struct {
	*engine.Engine
	t      *testing.T
	dir    string
	state  string
	log    logs
	policy engine.Policy
	kv     engine.KV // nil: in this process
}

func newKept(t *testing.T) *kept {
	k := &kept{t: t, dir: t.TempDir(), state: t.TempDir()}
	k.write("one")
	k.start()
	t.Cleanup(func() { k.Close() })
	return k
}

func (k *kept) start() {
	k.t.Helper()
	o := options(k.dir, &k.log)
	o.StateDir, o.Policy, o.KV = k.state, k.policy, k.kv
	var err error
	if k.Engine, err = engine.New(o); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kept) restart() {
	k.t.Helper()
	k.Close()
	k.start()
}

func (k *kept) write(tag string) { put(k.t, k.dir, map[string]string{"a.lua": answer(tag)}) }

// save writes and reloads, and gives the hash.
func (k *kept) save(tag string) string {
	k.t.Helper()
	k.write(tag)
	r, err := k.Reload(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return r.To
}

func (k *kept) says(want string) {
	k.t.Helper()
	if _, m := ask(k.t, k.Engine, "hi"); m.Text != want {
		k.t.Errorf("got %q, want %q", m.Text, want)
	}
}

func TestRollbackHolds(t *testing.T) {
	k := newKept(t)
	one := k.Status().Bundle
	two := k.save("two")
	if _, err := k.Rollback(t.Context(), "", me); err != nil {
		t.Fatal(err)
	}
	k.says("one")
	if _, err := k.Reload(t.Context()); !errors.Is(err, engine.ErrHeld) || !strings.Contains(err.Error(), me.Why) {
		t.Errorf("got %v, want that it is held", err)
	}
	k.says("one")
	k.restart()
	k.says("one")
	held := k.Status().Held
	if held == nil || held.Bundle != one || held.Disk != two || held.By != me {
		t.Errorf("got hold %+v", held)
	}
	t.Run("until Resume", func(t *testing.T) {
		if _, err := k.Resume(t.Context(), me); err != nil {
			t.Fatal(err)
		}
		k.says("two")
		k.restart()
		k.says("two")
	})
	t.Run("until the files change", func(t *testing.T) {
		if _, err := k.Rollback(t.Context(), one[:6], me); err != nil {
			t.Fatal(err)
		}
		k.says("one")
		k.save("three")
		k.says("three")
		if k.Status().Held != nil {
			t.Error("still held")
		}
	})
	t.Run("until a start with other files", func(t *testing.T) {
		if _, err := k.Rollback(t.Context(), two, me); err != nil {
			t.Fatal(err)
		}
		k.write("four")
		k.restart()
		k.says("four")
	})
	t.Run("not when it is what is on disk", func(t *testing.T) {
		k.write("one")
		if _, err := k.Rollback(t.Context(), one, me); err != nil {
			t.Fatal(err)
		}
		k.says("one")
		if k.Status().Held != nil {
			t.Error("held against itself")
		}
	})
	t.Run("to nothing that is not there", func(t *testing.T) {
		for _, hash := range []string{"0000", "../x", "a"} {
			if _, err := k.Rollback(t.Context(), hash, me); err == nil {
				t.Errorf("no error for %q", hash)
			}
		}
		k.says("one")
	})
	var what []string
	for _, entry := range k.Journal() {
		what = append(what, entry.What)
		if entry.What == "rolled_back" && entry.By != me {
			t.Errorf("got %+v, want by whom", entry)
		}
	}
	want := []string{"started", "activated", "rolled_back", "started_held", "resumed", "activated", "started", "rolled_back", "activated",
		"rolled_back", "started", "rolled_back"}
	if !slices.Equal(what, want) {
		t.Errorf("got %q, want %q", what, want)
	}
}

// The files of a bundle that is not held against them stay watched: their broken
// content is refused, and the hold is over when they are what is active.
func TestHoldAndBrokenFiles(t *testing.T) {
	k := newKept(t)
	k.save("two")
	if _, err := k.Rollback(t.Context(), "", me); err != nil {
		t.Fatal(err)
	}
	put(t, k.dir, map[string]string{"a.lua": "nonsense"})
	if _, err := k.Reload(t.Context()); err == nil || errors.Is(err, engine.ErrHeld) {
		t.Errorf("got %v", err)
	}
	k.says("one")
	k.save("one")
	if k.Status().Held != nil || k.Status().Rejected != nil {
		t.Errorf("got %+v", k.Status())
	}
}

func TestShelfIsBounded(t *testing.T) {
	k := newKept(t)
	first := k.Status().Bundle
	for n := range 25 {
		k.save(fmt.Sprint("n", n))
	}
	stored := k.Bundles()
	files, err := os.ReadDir(filepath.Join(k.state, "bundles"))
	if err != nil || len(stored) != 20 || len(files) != 20 {
		t.Errorf("got %d stored, %d files, %v", len(stored), len(files), err)
	}
	if stored[0].Hash != k.Status().Bundle || !slices.Equal(stored[0].Hooks, []string{"answer"}) {
		t.Errorf("got %+v first", stored[0])
	}
	for range 3 { // what was only prepared is not what goes first
		r, err := k.Prepare(t.Context(), map[string]string{"a.lua": answer("prepared")}, me)
		if err != nil || !slices.ContainsFunc(k.Bundles(), func(s engine.Stored) bool { return s.Hash == r.Prepared }) {
			t.Fatalf("got %+v, %v", r, err)
		}
	}
	stored = k.Bundles()
	if _, err := k.Rollback(t.Context(), first, me); err == nil {
		t.Error("went back to a bundle that is gone")
	}
	if _, err := k.Rollback(t.Context(), stored[19].Hash, me); err != nil {
		t.Error(err)
	}
	k.says("n6")
}

// Without the book the bundles themselves are still there; damaged ones are not.
func TestDamagedShelf(t *testing.T) {
	k := newKept(t)
	one := k.Status().Bundle
	two := k.save("two")
	k.save("three")
	put(t, k.state, map[string]string{"decisions.json": "{", "bundles/" + two + ".json": "{}", "bundles/.scripts-9": "half"})
	k.restart()
	var found []string
	for _, s := range k.Bundles() {
		found = append(found, s.Hash)
	}
	if !slices.Contains(found, one) || slices.Contains(found, two) || len(found) != 2 {
		t.Errorf("got %v, want %s and the active one", found, one)
	}
	for _, want := range []string{"cannot be read", "left out"} {
		if !strings.Contains(k.log.String(), want) {
			t.Errorf("no log line with %q", want)
		}
	}
	if _, err := k.Rollback(t.Context(), one, me); err != nil {
		t.Error(err)
	}
	k.says("one")
	if _, err := k.Rollback(t.Context(), two, me); err == nil {
		t.Error("went back to a damaged bundle")
	}
}
