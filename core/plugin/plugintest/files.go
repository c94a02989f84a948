package plugintest

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl"
	"freeim/idl/files"
)

// Files stands for the file plugin: it knows the files that it was given, and keeps references
// in the directory, so that those of a transaction that was undone never were. As a service
// it works with the host that was started last. Safe for concurrent use.
type Files struct {
	mu    sync.Mutex // guards the fields below
	host  plugin.Host
	files map[string]plugin.File
	raw   map[string]bool // those that were not committed
}

var _ plugin.Files = (*Files)(nil)

// Stub has it stand for plugin.ServiceFiles.
func (f *Files) Stub() Stub { return Stub{plugin.ServiceFiles, f} }

func (f *Files) attach(h plugin.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.host = h
}

// Add has it know a file of owner's that is ready, and gives its ID.
func (f *Files) Add(owner im.UserID, kind string) (id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.files == nil {
		f.files, f.raw = map[string]plugin.File{}, map[string]bool{}
	}
	id = files.NewID()
	f.files[id] = plugin.File{ID: id, Owner: owner, Name: "a file", Type: kind, Size: 5, SHA256: strings.Repeat("0", 64)}
	return id
}

// AddRaw is Add for a file that was not committed.
func (f *Files) AddRaw(owner im.UserID, kind string) (id string) {
	id = f.Add(owner, kind)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.raw[id] = true
	return id
}

// Use implements plugin.Files.
func (f *Files) Use(ctx context.Context, tx *stdsql.Tx, u plugin.FileUse) (used []plugin.File, err error) {
	if !strings.Contains(u.Holder, ":") || len(u.Holder) > 128 {
		return nil, fmt.Errorf("holder %q is no plugin's", u.Holder)
	}
	for _, id := range u.IDs {
		one, err := f.check(id, u)
		if err != nil {
			return nil, err
		}
		used = append(used, one)
	}
	return used, f.within(ctx, tx, func(tx *stdsql.Tx) error {
		for i, id := range u.IDs {
			had, err := tx.ExecContext(ctx, "DELETE FROM stubs_references WHERE holder = ? AND file_id = ?", u.Holder, id)
			if err != nil {
				return err
			}
			n, err := had.RowsAffected()
			if err != nil {
				return err
			}
			used[i].New = n == 0
			if _, err := tx.ExecContext(ctx, "INSERT INTO stubs_references (holder, file_id) VALUES (?, ?)", u.Holder, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *Files) check(id string, u plugin.FileUse) (one plugin.File, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, known := f.files[id]
	switch {
	case len(u.IDs) > plugin.MostFiles:
		return one, im.Invalid(u.Field, "are too many files")
	case !known || u.User != 0 && one.Owner != u.User:
		return one, &im.Error{Code: idl.CodeNotFound, Field: u.Field, Reason: "no such file of yours"}
	case f.raw[id]:
		return one, im.Invalid(u.Field, "the file was not committed")
	case !strings.HasPrefix(one.Type, u.Type):
		return one, im.Invalid(u.Field, "the file is of the type %s", one.Type)
	}
	return one, nil
}

// Release implements plugin.Files.
func (f *Files) Release(ctx context.Context, tx *stdsql.Tx, holder string, ids ...string) error {
	return f.within(ctx, tx, func(tx *stdsql.Tx) error {
		if len(ids) == 0 {
			_, err := tx.ExecContext(ctx, "DELETE FROM stubs_references WHERE holder = ?", holder)
			return err
		}
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, "DELETE FROM stubs_references WHERE holder = ? AND file_id = ?", holder, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *Files) within(ctx context.Context, tx *stdsql.Tx, do func(*stdsql.Tx) error) error {
	if tx != nil {
		return do(tx)
	}
	f.mu.Lock()
	h := f.host
	f.mu.Unlock()
	if h == nil {
		return errors.New("the files belong to no host")
	}
	return h.Tx(ctx, do)
}

// References are the files that each holder refers to, ascending.
func (f *Files) References(t testing.TB) map[string][]string {
	t.Helper()
	f.mu.Lock()
	h := f.host
	f.mu.Unlock()
	rows, err := h.DB().QueryContext(t.Context(), "SELECT holder, file_id FROM stubs_references")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string][]string{}
	for rows.Next() {
		var holder, id string
		if err := rows.Scan(&holder, &id); err != nil {
			t.Fatal(err)
		}
		all[holder] = append(all[holder], id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, ids := range all {
		slices.Sort(ids)
	}
	return all
}
