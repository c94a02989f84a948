package archive

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"freeim/core/sql"
)

// shape is a directory as migrations make it: which tables each plugin has at
// its version, in the order of being made, and the rows that are in them then.
// It is made in a directory of its own, so that nothing depends on how plugins
// name their tables.
type shape struct {
	dir     string
	scratch *sql.Directory
	tables  []Table
}

// newShape migrates a scratch directory to the given versions.
func newShape(ctx context.Context, schemas []Schema, versions map[string]int64) (s *shape, err error) {
	s = &shape{}
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("make a scratch directory: %w", err)
		}
	}()
	if s.dir, err = os.MkdirTemp("", "freeim-scratch-"); err != nil {
		return s, err
	}
	if s.scratch, err = sql.Open(sql.Options{Path: filepath.Join(s.dir, "directory.db"), Log: quiet()}); err != nil {
		return s, err
	}
	for _, schema := range schemas {
		if err := s.add(ctx, schema, versions[schema.Plugin]); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *shape) close() {
	if s.scratch != nil {
		s.scratch.Close() // nothing in it is needed
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

// add notes the tables that are new after a plugin was migrated.
func (s *shape) add(ctx context.Context, schema Schema, version int64) error {
	before, err := s.scratch.Tables(ctx)
	if err != nil {
		return err
	}
	if version == 0 {
		return nil
	}
	if err := s.scratch.MigrateTo(ctx, schema.Plugin, schema.Files, version); err != nil {
		return err
	}
	after, err := s.scratch.Tables(ctx)
	if err != nil {
		return err
	}
	for _, name := range after {
		if slices.Contains(before, name) || name == "goose_"+schema.Plugin {
			continue
		}
		columns, err := columnsOf(ctx, s.scratch.DB(), name)
		if err != nil {
			return err
		}
		s.tables = append(s.tables, Table{Plugin: schema.Plugin, Name: name, Columns: columns})
	}
	return nil
}

// columnsOf lists the columns of a table.
func columnsOf(ctx context.Context, q querier, table string) ([]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT * FROM "+quote(table)+" LIMIT 0")
	if err != nil {
		return nil, fmt.Errorf("read table %s: %w", table, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	for _, c := range append(columns, table) {
		if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(c) {
			return nil, fmt.Errorf("%q of table %s is no name that an archive takes", c, table)
		}
	}
	return columns, errors.Join(err, rows.Err())
}

// quote lists names as both engines take them, also when they are words of SQL.
func quote(names ...string) string { return "`" + strings.Join(names, "`, `") + "`" }

// querier reads.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*stdsql.Rows, error)
}

// exportDirectory writes the plugins with their versions, and all their tables.
func exportDirectory(ctx context.Context, from Stores, write func(Record) error) error {
	versions, err := versionsOf(ctx, from)
	if err != nil {
		return err
	}
	for _, schema := range from.Schemas {
		if err := write(Plugin{Name: schema.Plugin, Version: versions[schema.Plugin]}); err != nil {
			return err
		}
	}
	s, err := newShape(ctx, from.Schemas, versions)
	if err != nil {
		return err
	}
	defer s.close()
	return from.Directory.Snapshot(ctx, func(q sql.Querier) error {
		for _, table := range s.tables {
			if err := write(table); err != nil {
				return err
			}
			if err := readRows(ctx, q, from.Directory.Dialect(), table, math.MaxInt, func(row Row) error { return write(row) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// versionsOf gives the version of every plugin's tables, by name. It returns an
// error when something is there that this program does not know: it would be
// missing from the archive.
func versionsOf(ctx context.Context, from Stores) (map[string]int64, error) {
	migrated, err := from.Directory.Migrated(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range migrated {
		known := slices.Contains(from.Others, name) ||
			slices.ContainsFunc(from.Schemas, func(s Schema) bool { return s.Plugin == name })
		if !known {
			return nil, fmt.Errorf("there are tables of plugin %s, which this program does not have: use the one that made them", name)
		}
	}
	versions := map[string]int64{}
	for _, schema := range from.Schemas {
		if !slices.Contains(migrated, schema.Plugin) {
			continue // 0: it was never run here
		}
		current, newest, err := from.Directory.Version(ctx, schema.Plugin, schema.Files)
		if err != nil {
			return nil, err
		}
		if current > newest {
			return nil, fmt.Errorf("the tables of plugin %s have version %d, this program knows up to %d: use a newer one",
				schema.Plugin, current, newest)
		}
		versions[schema.Plugin] = current
	}
	return versions, nil
}

// readRows calls each with up to limit rows of a table; the row is each's until
// it returns.
func readRows(ctx context.Context, q querier, dialect string, t Table, limit int, each func(Row) error) error {
	query := fmt.Sprintf("SELECT %s FROM %s", quote(t.Columns...), quote(t.Name))
	if limit != math.MaxInt {
		query += fmt.Sprintf(" LIMIT %d", limit)
	}
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("read table %s: %w", t.Name, err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return fmt.Errorf("read the columns of table %s: %w", t.Name, err)
	}
	row := make(Row, len(t.Columns))
	into := make([]any, len(row))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read a row of table %s: %w", t.Name, err)
		}
		for i := range row {
			if row[i], err = portable(row[i], dialect, types[i].DatabaseTypeName()); err != nil {
				return fmt.Errorf("column %s of table %s: %w", t.Columns[i], t.Name, err)
			}
		}
		if err := each(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read table %s: %w", t.Name, err)
	}
	return nil
}

// portable makes of what a driver gives for a column what an archive holds, or
// says that it cannot. kind is the engine's type of the column.
func portable(value any, dialect, kind string) (any, error) {
	switch v := value.(type) {
	case nil, int64, float64, string:
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case float32:
		return float64(v), nil
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v), nil
		}
	case []byte:
		// SQLite's driver gives octets for octets only; MySQL's also for text.
		if dialect == "sqlite" || strings.Contains(kind, "BLOB") || strings.Contains(kind, "BINARY") {
			return v, nil
		}
		return string(v), nil
	}
	return nil, fmt.Errorf("a value of type %T (%s) cannot be archived", value, kind)
}

// target is stores on their way to be filled.
type target struct {
	Stores
	shape *shape           // of the directory as it is
	now   map[string]int64 // versions in it
	given map[string]int64 // versions in the archive
}

// newTarget checks that nothing is in the directory but what migrations put
// there. Whether the timelines are empty their Import finds out.
func newTarget(ctx context.Context, to Stores) (t *target, err error) {
	t = &target{Stores: to}
	if t.now, err = versionsOf(ctx, to); err != nil {
		return nil, fmt.Errorf("look at the directory to restore into: %w", err)
	}
	if t.shape, err = newShape(ctx, to.Schemas, t.now); err != nil {
		return nil, err
	}
	for _, table := range t.shape.tables {
		if err := t.wantFresh(ctx, table); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

func (t *target) close() { t.shape.close() }

// ErrNotEmpty is in the error of a restore into a directory that is in use.
var ErrNotEmpty = errors.New("the directory is not empty")

// wantFresh compares a table with what its migrations put into it.
func (t *target) wantFresh(ctx context.Context, table Table) error {
	fresh, err := contents(ctx, t.shape.scratch, table, math.MaxInt)
	if err != nil {
		return err
	}
	found, err := contents(ctx, t.Directory, table, len(fresh)+1)
	if err != nil {
		return err
	}
	if !slices.Equal(fresh, found) {
		return fmt.Errorf("restore: %w: there is something in table %s; a restore is into a new, empty place only", ErrNotEmpty, table.Name)
	}
	return nil
}

// contents are the rows of a table, up to limit, encoded and sorted.
func contents(ctx context.Context, d *sql.Directory, table Table, limit int) (all []string, err error) {
	err = readRows(ctx, d.DB(), d.Dialect(), table, limit, func(row Row) error {
		encoded, err := appendRow(nil, row)
		all = append(all, string(encoded))
		return err
	})
	slices.Sort(all)
	return all, err
}

// finish reads the rest of the archive, which begins with first if it is not
// nil, into the directory; then it migrates the plugins to their newest version.
func (t *target) finish(ctx context.Context, first Record, r *counted) error {
	record, err := t.plugins(ctx, first, r)
	if err == nil {
		err = t.rows(ctx, record, r)
	}
	if err != nil {
		return fmt.Errorf("fill the directory: %w", err)
	}
	for _, schema := range t.Schemas {
		if err := t.Directory.Migrate(ctx, schema.Plugin, schema.Files); err != nil {
			return fmt.Errorf("the directory is filled, but cannot be brought up to date (empty it before another restore): %w", err)
		}
	}
	return nil
}

// plugins migrates every plugin to the version that the archive has of it, and
// gives the first record behind: nil at the end.
func (t *target) plugins(ctx context.Context, record Record, r *counted) (Record, error) {
	t.given = map[string]int64{}
	for {
		p, ok := record.(Plugin)
		if record != nil && !ok {
			break
		}
		if ok {
			if err := t.wantVersion(p); err != nil {
				return nil, err
			}
			t.given[p.Name] = p.Version
		}
		var err error
		if record, err = r.next(ctx); err == io.EOF {
			record = nil
			break
		} else if err != nil {
			return nil, err
		}
	}
	for _, schema := range t.Schemas {
		version := t.given[schema.Plugin]
		if version == 0 || version == t.now[schema.Plugin] {
			continue
		}
		if err := t.Directory.MigrateTo(ctx, schema.Plugin, schema.Files, version); err != nil {
			return nil, err
		}
		t.now[schema.Plugin] = version
	}
	t.shape.close()
	var err error
	t.shape, err = newShape(ctx, t.Schemas, t.now)
	return record, err
}

// wantVersion says why the target cannot have a plugin's tables at that version.
func (t *target) wantVersion(p Plugin) error {
	i := slices.IndexFunc(t.Schemas, func(s Schema) bool { return s.Plugin == p.Name })
	if i < 0 {
		return fmt.Errorf("the archive has tables of plugin %q, which this program does not have: restore with the one that made it", p.Name)
	}
	if now := t.now[p.Name]; now > p.Version {
		return fmt.Errorf("the archive has version %d of the tables of plugin %s, and the directory has %d already: restore into a new one",
			p.Version, p.Name, now)
	}
	return nil
}

// rows fills the tables in one transaction, which is committed only when the
// archive has proved to be whole.
func (t *target) rows(ctx context.Context, record Record, r *counted) error {
	if record == nil {
		return nil // the end was read
	}
	return t.Directory.Fill(ctx, func(tx *stdsql.Tx) error {
		for _, table := range t.shape.tables {
			if t.given[table.Plugin] == 0 {
				continue // the archive knows nothing of it
			}
			// What migrations put there is in the archive, as it was by then.
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+quote(table.Name)); err != nil {
				return fmt.Errorf("empty table %s: %w", table.Name, err)
			}
		}
		var into *insertion
		for err := error(nil); err != io.EOF; record, err = r.next(ctx) {
			if err != nil {
				return err
			}
			switch record := record.(type) {
			case Table:
				if err := into.flush(ctx, tx); err != nil {
					return err
				}
				if into, err = t.into(record); err != nil {
					return err
				}
			case Row:
				if err := into.add(ctx, tx, record); err != nil {
					return err
				}
			}
		}
		return into.flush(ctx, tx)
	})
}

// into prepares to insert into a table of the archive, of which nothing is
// trusted.
func (t *target) into(table Table) (*insertion, error) {
	i := slices.IndexFunc(t.shape.tables, func(known Table) bool {
		return known.Name == table.Name && known.Plugin == table.Plugin
	})
	if i < 0 {
		return nil, fmt.Errorf("plugin %q has no table %q at this version", table.Plugin, table.Name)
	}
	known, found := slices.Sorted(slices.Values(t.shape.tables[i].Columns)), slices.Sorted(slices.Values(table.Columns))
	if !slices.Equal(known, found) {
		return nil, fmt.Errorf("table %s has the columns %q, in the archive %q", table.Name, known, found)
	}
	return &insertion{table: table}, nil
}

// insertion gathers rows for one statement.
type insertion struct {
	table  Table
	values []any
	octets int
}

// A statement takes up to so many values, and octets of them.
const (
	maxValues = 1000
	maxOctets = 256 << 10
)

func (i *insertion) add(ctx context.Context, tx *stdsql.Tx, row Row) error {
	for _, value := range row {
		switch v := value.(type) {
		case string:
			i.octets += len(v)
		case []byte:
			i.octets += len(v)
		}
	}
	i.values = append(i.values, row...)
	if len(i.values) >= maxValues || i.octets >= maxOctets {
		return i.flush(ctx, tx)
	}
	return nil
}

// flush inserts what was gathered; of nil it is nothing.
func (i *insertion) flush(ctx context.Context, tx *stdsql.Tx) error {
	if i == nil || len(i.values) == 0 {
		return nil
	}
	one := "(?" + strings.Repeat(", ?", len(i.table.Columns)-1) + ")"
	rows := len(i.values) / len(i.table.Columns)
	query := fmt.Sprintf("INSERT INTO %s (%s) VALUES %s%s", quote(i.table.Name), quote(i.table.Columns...),
		one, strings.Repeat(", "+one, rows-1))
	if _, err := tx.ExecContext(ctx, query, i.values...); err != nil {
		return fmt.Errorf("insert into table %s: %w", i.table.Name, err)
	}
	i.values, i.octets = i.values[:0], 0
	return nil
}

// quiet is the log of a scratch directory.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
