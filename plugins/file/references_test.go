package file_test

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/files"
	"freeim/idl/kitex_gen/filepb"
	"freeim/plugins/file"
)

func TestUse(t *testing.T) {
	w := start(t)
	a, raw, bobs := w.upload(alice, "hello"), w.ticket(alice, "raw").FileId, w.upload(bob, "bob's")
	for name, row := range map[string]struct {
		use  plugin.FileUse
		code idl.Code
	}{
		"unknown":         {plugin.FileUse{User: alice, IDs: []string{a, files.NewID()}}, idl.CodeNotFound},
		"a path":          {plugin.FileUse{User: alice, IDs: []string{"../../etc/passwd"}}, idl.CodeNotFound},
		"another's":       {plugin.FileUse{User: alice, IDs: []string{a, bobs}}, idl.CodeNotFound},
		"not committed":   {plugin.FileUse{User: alice, IDs: []string{raw}}, idl.CodeInvalidArgument},
		"of another type": {plugin.FileUse{User: alice, Type: "video/", IDs: []string{a}}, idl.CodeInvalidArgument},
		"too many":        {plugin.FileUse{User: alice, IDs: slices.Repeat([]string{a}, plugin.MostFiles+1)}, idl.CodeInvalidArgument},
	} {
		row.use.Holder, row.use.Field = "moment:1", "images"
		if _, err := w.files.Use(t.Context(), nil, row.use); !refused(err, row.code, "images") {
			t.Errorf("%s: got %v, want %v", name, err, row.code)
		}
	}
	if n := w.rows("file_references"); n != 0 {
		t.Errorf("refusals left %d references", n)
	}
	used, err := w.files.Use(t.Context(), nil, plugin.FileUse{Holder: "chat:2", Type: "image/", IDs: []string{bobs, a}}) // passed on
	if err != nil || len(used) != 2 || used[0].ID != bobs || used[0].Owner != bob || used[1].Size != 5 {
		t.Errorf("got %+v, %v", used, err)
	}
	for _, bad := range []string{"", "moment", ":1", "moment:", "moment:" + strings.Repeat("x", 128)} {
		if err := w.use(bad, alice, a); err == nil || im.CodeOf(err) != idl.CodeInternal {
			t.Errorf("holder %q: got %v, want a fault", bad, err)
		}
	}
	if err := w.use("moment:none", alice); err != nil {
		t.Errorf("no files: %v", err)
	}
}

// A reference belongs to the caller's transaction.
func TestUseWithinTransaction(t *testing.T) {
	w := start(t)
	id := w.upload(alice, "hello")
	undone := errors.New("undone")
	within := func(do func(tx *stdsql.Tx) error) error { return w.plugin.Tx(t.Context(), do) }
	err := within(func(tx *stdsql.Tx) error {
		_, err := w.files.Use(t.Context(), tx, plugin.FileUse{Holder: "moment:1", User: alice, IDs: []string{id}})
		return errors.Join(err, undone)
	})
	if !errors.Is(err, undone) || w.rows("file_references") != 0 || w.rows("file_files WHERE refs = 0") != 1 {
		t.Errorf("got %v", err)
	}
	if err := within(func(tx *stdsql.Tx) error {
		_, err := w.files.Use(t.Context(), tx, plugin.FileUse{Holder: "moment:1", User: alice, IDs: []string{id}})
		return err
	}); err != nil || w.rows("file_files WHERE refs = 1 AND due_ms IS NULL") != 1 {
		t.Errorf("got %v", err)
	}
}

func TestReferencesAreCounted(t *testing.T) {
	w := start(t)
	a, b := w.upload(alice, "hello"), w.upload(alice, "world")
	refs := func(id string) (n int) {
		t.Helper()
		if err := w.DB().QueryRowContext(t.Context(), "SELECT refs FROM file_files WHERE id = ?", id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range 2 { // the second changes nothing
		if err := w.use("moment:1", alice, a, b, a); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.use("moment:2", alice, a); err != nil {
		t.Fatal(err)
	}
	if refs(a) != 2 || refs(b) != 1 {
		t.Errorf("got %d and %d", refs(a), refs(b))
	}
	w.release("moment:1", b)
	w.release("moment:1", b)
	w.release("moment:3")
	if refs(a) != 2 || refs(b) != 0 {
		t.Errorf("got %d and %d", refs(a), refs(b))
	}
	w.release("moment:1")
	w.Advance(25 * time.Hour)
	w.collect()
	if !w.has(a) || w.has(b) {
		t.Error("want the file that is referred to, and no other")
	}
	w.release("moment:2")
	w.Advance(23 * time.Hour)
	w.collect()
	if !w.has(a) {
		t.Error("it went before its time")
	}
	w.Advance(2 * time.Hour)
	w.collect()
	if w.has(a) || w.rows("file_files")+w.rows("file_references") != 0 {
		t.Error("something is left")
	}
}

// Uploads that nobody commits go, also those that never came.
func TestCollectsWhatWaits(t *testing.T) {
	w := start(t)
	came, never := w.ticket(alice, "hello").FileId, w.ticket(alice, "never")
	w.send(came, "hello")
	w.Advance(24 * time.Hour)
	w.collect()
	if !w.has(came) || w.rows("file_files") != 2 {
		t.Error("they went while they could be committed")
	}
	w.Advance(2 * time.Hour)
	w.collect()
	if w.has(came) || w.rows("file_files") != 0 {
		t.Errorf("something is left of %s or %s", came, never.FileId)
	}
	if err := w.commit(alice, came); im.CodeOf(err) != idl.CodeNotFound {
		t.Errorf("a commit that is late: got %v", err)
	}
}

// What the store does not delete is tried again, and nothing is lost over it.
func TestCollectsAgain(t *testing.T) {
	w := start(t)
	id := w.upload(alice, "hello")
	var broken atomic.Bool
	var removed atomic.Int64
	w.plugin.FailRemovals(&broken, &removed)
	broken.Store(true)
	w.Advance(25 * time.Hour)
	w.collect()
	if !w.has(id) || w.rows("file_files WHERE state = 2") != 1 || w.plugin.Counts()["failed"] != 1 {
		t.Errorf("got %v", w.plugin.Counts())
	}
	broken.Store(false)
	w.collect()
	if removed.Load() != 0 {
		t.Error("another core took it while the first had it")
	}
	w.Advance(11 * time.Minute)
	w.collect()
	if w.has(id) || w.rows("file_files") != 0 {
		t.Error("it is there still")
	}
}

// Several cores collect at once: each file is deleted by one.
func TestCollectsOnce(t *testing.T) {
	w := start(t)
	var broken atomic.Bool
	var removed atomic.Int64
	w.plugin.FailRemovals(&broken, &removed)
	const n = 30
	for range n {
		w.upload(alice, "hello")
	}
	w.Advance(25 * time.Hour)
	var cores sync.WaitGroup
	for range 4 {
		cores.Go(func() {
			if err := w.plugin.Collect(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	cores.Wait()
	if removed.Load() != n || w.rows("file_files") != 0 {
		t.Errorf("%d removals of %d files, %d are left", removed.Load(), n, w.rows("file_files"))
	}
}

// A file that is referred to at the moment of its collection is there, or the reference was refused.
func TestUseRacesWithCollection(t *testing.T) {
	w := start(t)
	const n = 20
	var ids []string
	for range n {
		ids = append(ids, w.upload(alice, "hello"))
	}
	w.Advance(25 * time.Hour)
	used := make([]error, n)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if err := w.plugin.Collect(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for i, id := range ids {
		all.Go(func() { used[i] = w.use(fmt.Sprint("moment:", i), alice, id) })
	}
	all.Wait()
	for i, id := range ids {
		if got := im.CodeOf(used[i]); used[i] != nil && got != idl.CodeNotFound {
			t.Errorf("got %v", used[i])
		}
		if w.has(id) != (used[i] == nil) {
			t.Errorf("%s: used %v, there %v", id, used[i], w.has(id))
		}
	}
}

// A commit that was answered has its file, also when the collector is at it.
func TestCommitRacesWithCollection(t *testing.T) {
	w := start(t)
	const n = 20
	var ids []string
	for range n {
		id := w.ticket(alice, "hello").FileId
		w.send(id, "hello")
		ids = append(ids, id)
	}
	w.Advance(26 * time.Hour)
	done := make([]error, n)
	var all sync.WaitGroup
	all.Go(func() {
		if err := w.plugin.Collect(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for i, id := range ids {
		all.Go(func() { done[i] = w.commit(alice, id) })
	}
	all.Wait()
	for i, id := range ids {
		if w.has(id) != (done[i] == nil) {
			t.Errorf("%s: committed %v, there %v", id, done[i], w.has(id))
		}
	}
}

// Tickets that are asked for at once do not pass the quota.
func TestQuotaRaces(t *testing.T) {
	w := start(t, func(c *file.Config) { c.FilesPerDay = 5 })
	var given atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			err := w.as(alice).Call(idl.ActionUploadFile, ask("hello", "image/png"), new(filepb.FileUploadReply))
			if err == nil {
				given.Add(1)
			} else if im.CodeOf(err) != idl.CodeRateLimited {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if given.Load() != 5 || w.rows("file_files") != 5 {
		t.Errorf("%d tickets, want 5", given.Load())
	}
}

// A core that ends between the octets and the row leaves it to another.
func TestCollectEndsBetween(t *testing.T) {
	w := start(t)
	id := w.upload(alice, "hello")
	w.Advance(25 * time.Hour)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	w.plugin.AfterRemoval(end)
	if err := w.plugin.Collect(ctx); err == nil {
		t.Fatal("the collector did not notice its end")
	}
	if w.has(id) || w.rows("file_files WHERE state = 2") != 1 {
		t.Error("want the row without its octets")
	}
	w.Advance(11 * time.Minute)
	w.collect()
	if w.rows("file_files") != 0 {
		t.Error("the row is left")
	}
}

func TestSweep(t *testing.T) {
	w := start(t)
	kept, stray, part := w.upload(alice, "hello"), files.NewID(), "."+files.NewID()+".x"+files.Part
	fresh := files.NewID()
	for _, name := range []string{stray, fresh} {
		w.send(name, "stray")
	}
	rest := filepath.Join(filepath.Dir(w.path(kept)), part)
	if err := os.WriteFile(rest, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.age(8*24*time.Hour, w.path(kept), w.path(stray), rest)
	w.age(0, w.path(fresh))
	if err := w.plugin.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(rest); err == nil || !w.has(kept) || w.has(stray) || !w.has(fresh) {
		t.Errorf("kept %v, stray %v, fresh %v, what an upload left: %v", w.has(kept), w.has(stray), w.has(fresh), err)
	}
	if n := w.plugin.Counts()["strays"]; n != 2 {
		t.Errorf("%d strays", n)
	}
}

func TestHoldings(t *testing.T) {
	w := start(t)
	holdings := w.people.Holdings()["file"]
	a, b, bobs := w.upload(alice, "hello"), w.upload(alice, "world"), w.upload(bob, "bob's")
	raw := w.ticket(alice, "raw")
	if err := w.use("chat:1", 0, a, bobs); err != nil {
		t.Fatal(err)
	}
	kept, err := holdings.Export(t.Context(), alice)
	text, _ := json.Marshal(kept)
	if err != nil || !strings.Contains(string(text), a) || !strings.Contains(string(text), b) || strings.Contains(string(text), bobs) {
		t.Errorf("got %s, %v", text, err)
	}
	var broken atomic.Bool
	var removed atomic.Int64
	w.plugin.FailRemovals(&broken, &removed)
	broken.Store(true)
	if err := holdings.Erase(t.Context(), alice); !errors.Is(err, file.ErrPlanted) {
		t.Errorf("the store fails: got %v", err)
	}
	broken.Store(false)
	for range 2 {
		if err := holdings.Erase(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
	}
	if w.has(a) || w.has(b) || !w.has(bobs) || w.rows("file_files WHERE owner = ?", int64(alice)) != 0 || w.rows("file_quotas WHERE user_id = ?", int64(alice)) != 0 {
		t.Error("something of hers is left")
	}
	if n := w.rows("file_references"); n != 1 {
		t.Errorf("%d references, want that to Bob's file", n)
	}
	w.Advance(48 * time.Hour)
	w.collect()
	if w.rows("file_files WHERE id = ?", raw.FileId) != 0 {
		t.Error("her ticket is still kept in mind")
	}
}

// age sets back when files were written.
func (w *world) age(by time.Duration, paths ...string) {
	w.t.Helper()
	then := w.Now().Add(-by)
	for _, path := range paths {
		if err := os.Chtimes(path, then, then); err != nil {
			w.t.Fatal(err)
		}
	}
}
