package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"freeim/core/im"
	"freeim/core/plugin"
)

// store is the plugin's tables. Every statement runs on SQLite and MySQL.
type store struct {
	db *sql.DB                                                    // for reading
	tx func(ctx context.Context, fn func(tx *sql.Tx) error) error // plugin.Host.Tx
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// state is what becomes of a file.
type state int

const (
	waiting state = iota // for its octets and the commit
	ready
	going // it is being deleted: nobody finds it any more
)

// file is a row of file_files.
type file struct {
	id      string
	owner   im.UserID
	name    string
	kind    string // MIME type
	size    int64
	sha256  string
	madeMs  int64
	untilMs int64 // until when octets may come
	state   state
	refs    int64
	dueMs   sql.NullInt64
}

const columns = "id, owner, name, type, size, sha256, made_ms, until_ms, state, refs, due_ms"

const selectFiles = "SELECT " + columns + " FROM file_files WHERE "

// The listings; each has an index.
const (
	ownFiles = selectFiles + "owner = ? AND state = 1 AND (made_ms < ? OR made_ms = ? AND id < ?) ORDER BY made_ms DESC, id DESC LIMIT ?"
	allOwn   = selectFiles + "owner = ? AND state = ? ORDER BY made_ms, id LIMIT ?"
	dueFiles = selectFiles + "due_ms <= ? ORDER BY due_ms, id LIMIT ?"
	usedBy   = "SELECT file_id FROM file_references WHERE holder = ? ORDER BY file_id LIMIT ?"
)

func (s *store) files(ctx context.Context, q querier, query string, args ...any) (all []*file, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query files: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var f file
		if err := rows.Scan(&f.id, &f.owner, &f.name, &f.kind, &f.size, &f.sha256, &f.madeMs, &f.untilMs, &f.state, &f.refs, &f.dueMs); err != nil {
			return nil, fmt.Errorf("read files: %w", err)
		}
		all = append(all, &f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read files: %w", err)
	}
	return all, nil
}

// file gives one; nil: there is none.
func (s *store) file(ctx context.Context, q querier, id string) (*file, error) {
	all, err := s.files(ctx, q, selectFiles+"id = ?", id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// byIDs gives those that there are, by ID.
func (s *store) byIDs(ctx context.Context, q querier, ids []string) (map[string]*file, error) {
	all, err := s.files(ctx, q, selectFiles+"id IN "+plugin.Marks(len(ids)), anyOf(ids)...)
	found := make(map[string]*file, len(all))
	for _, f := range all {
		found[f.id] = f
	}
	return found, err
}

func anyOf(texts []string) []any {
	args := make([]any, len(texts))
	for i, text := range texts {
		args[i] = text
	}
	return args
}

// exec runs a statement, and gives how many rows it found.
func exec(ctx context.Context, tx querier, what, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return n, nil
}

// lock has the transaction be the only one that changes the files and their references.
func (s *store) lock(ctx context.Context, tx *sql.Tx, ids []string) error {
	_, err := exec(ctx, tx, "lock files", "UPDATE file_files SET refs = refs WHERE id IN "+plugin.Marks(len(ids)), anyOf(ids)...)
	return err
}

// put files a new one.
func (s *store) put(ctx context.Context, tx *sql.Tx, f *file) error {
	_, err := exec(ctx, tx, "insert a file", "INSERT INTO file_files ("+columns+") VALUES "+plugin.Marks(11),
		f.id, int64(f.owner), f.name, f.kind, f.size, f.sha256, f.madeMs, f.untilMs, int(f.state), f.refs, f.dueMs)
	return err
}

// claim has the caller be the only one that deletes a file to which nothing refers, until a
// time; false: it was referred to, or another has claimed it since it was read.
func (s *store) claim(ctx context.Context, f *file, untilMs int64) (claimed bool, err error) {
	err = s.tx(ctx, func(tx *sql.Tx) error {
		n, err := exec(ctx, tx, "claim a file", "UPDATE file_files SET state = 2, due_ms = ? WHERE id = ? AND due_ms = ? AND state = ? AND refs = 0",
			untilMs, f.id, f.dueMs.Int64, int(f.state))
		claimed = n == 1
		return err
	})
	return claimed && err == nil, err
}

// drop forgets a file whose octets are gone, and what referred to it; or if they may come
// again, by its ticket, only whose and what it was.
func (s *store) drop(ctx context.Context, f *file, nowMs int64) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		if _, err := exec(ctx, tx, "forget references", "DELETE FROM file_references WHERE file_id = ?", f.id); err != nil {
			return err
		}
		if f.untilMs > nowMs {
			_, err := exec(ctx, tx, "keep a ticket in mind", "UPDATE file_files SET owner = 0, name = '', refs = 0, due_ms = ? WHERE id = ? AND state = 2", f.untilMs, f.id)
			return err
		}
		_, err := exec(ctx, tx, "forget a file", "DELETE FROM file_files WHERE id = ? AND state = 2", f.id)
		return err
	})
}

// errNoRow says that a person has no row in file_quotas.
var errNoRow = errors.New("a person has no row")

// byOwner runs fn in a transaction that is, while it lasts, the only one in which the person gets
// tickets. fn gets what he had on the day, and says what he has.
func (s *store) byOwner(ctx context.Context, u im.UserID, day int64, fn func(tx *sql.Tx, files, octets int64) (int64, int64, error)) error {
	try := func(tx *sql.Tx) error {
		n, err := exec(ctx, tx, "lock a person", "UPDATE file_quotas SET files = files WHERE user_id = ?", int64(u))
		if err != nil {
			return err
		}
		if n != 1 {
			return errNoRow
		}
		var was, files, octets int64
		if err := tx.QueryRowContext(ctx, "SELECT day, files, octets FROM file_quotas WHERE user_id = ?", int64(u)).Scan(&was, &files, &octets); err != nil {
			return fmt.Errorf("read what a person has: %w", err)
		}
		if day > was {
			files, octets = 0, 0
		}
		now := max(day, was) // the clocks of two cores may differ about midnight
		if files, octets, err = fn(tx, files, octets); err != nil {
			return err
		}
		_, err = exec(ctx, tx, "count what a person has", "UPDATE file_quotas SET day = ?, files = ?, octets = ? WHERE user_id = ?", now, files, octets, int64(u))
		return err
	}
	err := s.tx(ctx, try)
	if !errors.Is(err, errNoRow) {
		return err
	}
	made := s.tx(ctx, func(tx *sql.Tx) error {
		_, err := exec(ctx, tx, "make a person's row", "INSERT INTO file_quotas (user_id, day, files, octets) VALUES (?, ?, 0, 0)", int64(u), day)
		return err
	})
	if err = s.tx(ctx, try); errors.Is(err, errNoRow) { // else somebody else made the row
		err = errors.Join(made, err)
	}
	return err
}
