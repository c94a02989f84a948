package file

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"freeim/core/im"
	"freeim/core/plugin"
	"freeim/idl/files"
)

// references is the service plugin.ServiceFiles.
type references struct{ *File }

// Use implements plugin.Files. It locks the files in the order of their IDs: so do all.
func (p references) Use(ctx context.Context, tx *sql.Tx, u plugin.FileUse) (used []plugin.File, err error) {
	if name, rest, ok := strings.Cut(u.Holder, ":"); !ok || name == "" || rest == "" || len(u.Holder) > 128 {
		return nil, fmt.Errorf("%q refers to no file", u.Holder)
	}
	if len(u.IDs) == 0 {
		return nil, nil
	}
	if len(u.IDs) > plugin.MostFiles {
		return nil, im.Invalid(u.Field, "must be at most %d files", plugin.MostFiles)
	}
	if slices.ContainsFunc(u.IDs, func(id string) bool { return !files.IsID(id) }) {
		return nil, notFound(u.Field)
	}
	return used, p.within(ctx, tx, func(tx *sql.Tx) error {
		used, err = p.use(ctx, tx, u)
		return err
	})
}

// within runs fn in tx, or in a transaction of its own.
func (p references) within(ctx context.Context, tx *sql.Tx, fn func(*sql.Tx) error) error {
	if tx != nil {
		return fn(tx)
	}
	return refusal(ctx, p.store.tx(ctx, fn))
}

func (p references) use(ctx context.Context, tx *sql.Tx, u plugin.FileUse) (used []plugin.File, err error) {
	ids := slices.Compact(slices.Sorted(slices.Values(u.IDs)))
	if err := p.store.lock(ctx, tx, ids); err != nil {
		return nil, err
	}
	found, err := p.store.byIDs(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	for _, id := range u.IDs {
		f := found[id]
		if err := usable(f, u); err != nil {
			return nil, err
		}
		used = append(used, plugin.File{ID: f.id, Owner: f.owner, Name: f.name, Type: f.kind, Size: f.size, SHA256: f.sha256})
	}
	had, err := p.store.held(ctx, tx, u.Holder, ids)
	if err != nil {
		return nil, err
	}
	for i := range used {
		used[i].New = !slices.Contains(had, used[i].ID)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(had, id) })
	if len(ids) == 0 {
		return used, nil
	}
	args := make([]any, 0, 2*len(ids))
	for _, id := range ids {
		args = append(args, id, u.Holder)
	}
	if _, err := exec(ctx, tx, "refer to files", "INSERT INTO file_references (file_id, holder) VALUES "+strings.Repeat(", (?, ?)", len(ids))[2:], args...); err != nil {
		return nil, err
	}
	_, err = exec(ctx, tx, "count references", "UPDATE file_files SET refs = refs + 1, due_ms = NULL WHERE id IN "+plugin.Marks(len(ids)), anyOf(ids)...)
	return used, err
}

// usable refuses a file that may not be used so.
func usable(f *file, u plugin.FileUse) error {
	switch {
	case f == nil || f.state == going || u.User != 0 && f.owner != u.User:
		return notFound(u.Field)
	case f.state == waiting:
		return im.Invalid(u.Field, "the file was not committed")
	case !strings.HasPrefix(f.kind, u.Type):
		return im.Invalid(u.Field, "the file is of the type %s, want %s", f.kind, u.Type)
	}
	return nil
}

// Release implements plugin.Files.
func (p references) Release(ctx context.Context, tx *sql.Tx, holder string, ids ...string) error {
	return p.within(ctx, tx, func(tx *sql.Tx) error {
		for {
			held, err := p.store.held(ctx, tx, holder, ids)
			if err != nil || len(held) == 0 {
				return err
			}
			if err := p.release(ctx, tx, holder, held); err != nil {
				return err
			}
		}
	})
}

// release ends references that were there; who locks a file finds those that still are.
func (p references) release(ctx context.Context, tx *sql.Tx, holder string, ids []string) error {
	if err := p.store.lock(ctx, tx, ids); err != nil {
		return err
	}
	ids, err := p.store.held(ctx, tx, holder, ids)
	if err != nil || len(ids) == 0 {
		return err
	}
	args := anyOf(ids)
	if _, err := exec(ctx, tx, "end references", "DELETE FROM file_references WHERE holder = ? AND file_id IN "+plugin.Marks(len(ids)), append([]any{holder}, args...)...); err != nil {
		return err
	}
	if _, err := exec(ctx, tx, "count references", "UPDATE file_files SET refs = refs - 1 WHERE id IN "+plugin.Marks(len(ids)), args...); err != nil {
		return err
	}
	_, err = exec(ctx, tx, "let files go", "UPDATE file_files SET due_ms = ? WHERE refs = 0 AND due_ms IS NULL AND id IN "+plugin.Marks(len(ids)),
		append([]any{p.host.Now().Add(p.config.KeepUnused).UnixMilli()}, args...)...)
	return err
}

// held are those of the files, or without any all, at most plugin.MostFiles at a time, that
// holder refers to.
func (s *store) held(ctx context.Context, tx *sql.Tx, holder string, ids []string) (held []string, err error) {
	query, args := usedBy, []any{holder, plugin.MostFiles}
	if len(ids) > 0 {
		query, args = "SELECT file_id FROM file_references WHERE holder = ? AND file_id IN "+plugin.Marks(len(ids))+" ORDER BY file_id", append([]any{holder}, anyOf(ids)...)
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query references: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("read references: %w", err)
		}
		held = append(held, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read references: %w", err)
	}
	return held, nil
}
