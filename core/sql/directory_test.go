package sql_test

import (
	"bytes"
	"context"
	stdsql "database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"freeim/core/engines"
	"freeim/core/sql"
)

// eachDialect runs the test on every engine, with the options of an empty
// database.
func eachDialect(t *testing.T, run func(t *testing.T, o sql.Options)) {
	t.Run("sqlite", func(t *testing.T) { run(t, sql.Options{Path: filepath.Join(t.TempDir(), "directory.db")}) })
	t.Run("mysql", func(t *testing.T) { run(t, sql.Options{Dialect: "mysql", DSN: engines.Database(t)}) })
}

func open(t *testing.T, o sql.Options) *sql.Directory {
	t.Helper()
	d, err := sql.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // a second Close is no fault
	return d
}

func fresh(t *testing.T) *sql.Directory {
	return open(t, sql.Options{Path: filepath.Join(t.TempDir(), "directory.db")})
}

func run(t *testing.T, d *sql.Directory, query string, args ...any) {
	t.Helper()
	if _, err := d.DB().ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, d *sql.Directory, query string) (n int) {
	t.Helper()
	if err := d.DB().QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEveryConnectionIsSetUp(t *testing.T) {
	d := fresh(t)
	var all []*stdsql.Conn
	for range 4 {
		c, err := d.DB().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
			var got string
			if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %s", pragma, got, err, want)
			}
		}
	}
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if d.Dialect() != "sqlite" {
		t.Errorf("got dialect %q", d.Dialect())
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	noDatabase := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(noDatabase, bytes.Repeat([]byte("Dear Sir, "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		o    sql.Options
		want string
	}{
		{"no path", sql.Options{}, "no path"},
		{"a dialect that is not known", sql.Options{Dialect: "oracle", Path: "x"}, "oracle"},
		{"MySQL without a database", sql.Options{Dialect: "mysql", DSN: "a:secret@tcp(127.0.0.1:1)/"}, "no database"},
		{"no DSN", sql.Options{Dialect: "mysql", DSN: "a:secret"}, "DSN"},
		{"a DSN without a host", sql.Options{Dialect: "mysql", DSN: "a:secret/b"}, "HOST"},
		{"a DSN of another kind", sql.Options{Dialect: "mysql", DSN: "a:b@secret:3306/b"}, "HOST"},
		{"a DSN with a wrong value", sql.Options{Dialect: "mysql", DSN: "a:b@tcp(127.0.0.1:1)/b?timeout=secret"}, "parameter"},
		{"no MySQL there", sql.Options{Dialect: "mysql", DSN: "a:secret@tcp(127.0.0.1:1)/b"}, "127.0.0.1:1"},
		{"a file that is no database", sql.Options{Path: noDatabase}, "not a database"},
		{"a directory", sql.Options{Path: dir}, dir},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := sql.Open(test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, %v, want an error with %q", d, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}

func TestFileIsThePathAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "50% done?x=1#a b.db")
	d := open(t, sql.Options{Path: path})
	run(t, d, "CREATE TABLE things (n INTEGER)")
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%q has mode %o, want 600", suffix, mode)
		}
	}
}

func TestPing(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		d := open(t, o)
		if err := d.Ping(t.Context()); err != nil {
			t.Errorf("open: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Ping(t.Context()); err == nil {
			t.Error("closed: no error")
		}
	})
}

// TestConcurrentWriters has more writers than connections read and then write in
// transactions: none may fail, and none may overwrite another.
func TestConcurrentWriters(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		const writers, each = 32, 20
		d := open(t, o)
		run(t, d, "CREATE TABLE counter (n INTEGER)")
		run(t, d, "INSERT INTO counter VALUES (0)")
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					if err := increment(t.Context(), d); err != nil {
						t.Errorf("increment: %v", err)
						return
					}
				}
			})
			wg.Go(func() {
				for range each {
					if err := d.Ping(t.Context()); err != nil {
						t.Errorf("read while others write: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
		if n := number(t, d, "SELECT n FROM counter"); n != writers*each {
			t.Errorf("got %d, want %d", n, writers*each)
		}
	})
}

// increment reads, decides and writes: wrong unless the read is under the lock,
// which the first statement takes on MySQL.
func increment(ctx context.Context, d *sql.Directory) error {
	return d.Tx(ctx, func(tx *stdsql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE counter SET n = n"); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT n FROM counter").Scan(&n); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE counter SET n = ?", n+1)
		return err
	})
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		d := open(t, o)
		run(t, d, "CREATE TABLE counter (n INTEGER)")
		run(t, d, "INSERT INTO counter VALUES (1)")
		writer, err := d.DB().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writer.ExecContext(t.Context(), "UPDATE counter SET n = 2"); err != nil {
			t.Fatal(err)
		}
		reader, err := d.DB().BeginTx(t.Context(), &stdsql.TxOptions{ReadOnly: true})
		if err != nil {
			t.Fatalf("a reading transaction: %v", err)
		}
		if n := number(t, d, "SELECT n FROM counter"); n != 1 {
			t.Errorf("got %d, want what was committed: 1", n)
		}
		if err := errors.Join(reader.Rollback(), writer.Commit()); err != nil {
			t.Fatal(err)
		}
		if n := number(t, d, "SELECT n FROM counter"); n != 2 {
			t.Errorf("got %d after the commit, want 2", n)
		}
	})
}

func TestWaitingForTheWriteLockEndsWithTheContext(t *testing.T) {
	d := fresh(t)
	writer, err := d.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := d.DB().BeginTx(ctx, nil)
		ended <- err
	}()
	for d.DB().Stats().InUse < 2 { // until it has a connection to wait with
		runtime.Gosched()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
	if err := writer.Rollback(); err != nil {
		t.Fatal(err)
	}
}

func TestForeignKeysHold(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		d := open(t, o)
		run(t, d, "CREATE TABLE parents (id INTEGER PRIMARY KEY)")
		run(t, d, "CREATE TABLE children (parent INTEGER, FOREIGN KEY (parent) REFERENCES parents (id))")
		if _, err := d.DB().ExecContext(t.Context(), "INSERT INTO children VALUES (7)"); err == nil {
			t.Error("a child without a parent is accepted")
		}
	})
}

// files makes a schema of migrations.
func files(named map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range named {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

const (
	firstUp  = "-- +goose Up\nCREATE TABLE books (id BIGINT NOT NULL PRIMARY KEY);\n-- +goose Down\nDROP TABLE books;\n"
	secondUp = "-- +goose Up\nALTER TABLE books ADD COLUMN title VARCHAR(64);\n"
	broken   = "-- +goose Up\nCREATE TABLE shelves (id BIGINT NOT NULL PRIMARY KEY);\nCREATE TABLE books (id BIGINT);\n"
)

func TestMigrateIsIdempotentAndPerPlugin(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		for round := range 3 { // the last one after a reopen
			d := open(t, o)
			for _, plugin := range []string{"library", "library", "museum"} {
				schema := files(map[string]string{"00001_books.sql": firstUp, "00002_title.sql": secondUp})
				if plugin == "museum" {
					schema = files(map[string]string{"00001_art.sql": "-- +goose Up\nCREATE TABLE art (id BIGINT);\nINSERT INTO art VALUES (1);\n"})
				}
				if err := d.Migrate(t.Context(), plugin, schema); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
			run(t, d, "INSERT INTO books (id, title) VALUES (?, 'x')", round)
			if n := number(t, d, "SELECT count(*) FROM art"); n != 1 {
				t.Errorf("the migration of museum ran %d times", n)
			}
			if n := number(t, d, "SELECT max(version_id) FROM goose_library"); n != 2 {
				t.Errorf("library is at version %d, want 2", n)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestMigrateRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		before map[string]string
		plugin string
		files  map[string]string
		want   []string
		stays  int // tables that MySQL, whose schema knows no transactions, keeps of a failed migration
	}{
		{"a newer schema", map[string]string{"00001_books.sql": firstUp, "00002_title.sql": secondUp}, "library",
			map[string]string{"00001_books.sql": firstUp}, []string{"library", "version 2", "up to 1", "newer version"}, 0},
		{"a broken migration", map[string]string{"00001_books.sql": firstUp}, "library",
			map[string]string{"00001_books.sql": firstUp, "00002_broken.sql": broken}, []string{"library", "books"}, 1},
		{"no migrations", nil, "library", nil, []string{"library", "no migrations"}, 0},
		{"a name that is no table's", nil, "x; DROP TABLE books", map[string]string{"00001_books.sql": firstUp}, []string{"not a name"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachDialect(t, func(t *testing.T, o sql.Options) {
				d := open(t, o)
				if test.before != nil {
					if err := d.Migrate(t.Context(), "library", files(test.before)); err != nil {
						t.Fatal(err)
					}
				}
				before := tables(t, d)
				err := d.Migrate(t.Context(), test.plugin, files(test.files))
				for _, want := range test.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("got %v, want an error with %q", err, want)
					}
				}
				if d.Dialect() == "mysql" {
					before += test.stays
				}
				if after := tables(t, d); after != before {
					t.Errorf("got %d tables, want %d", after, before)
				}
			})
		})
	}
}

func tables(t *testing.T, d *sql.Directory) int {
	if d.Dialect() == "mysql" {
		return number(t, d, "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()")
	}
	return number(t, d, "SELECT count(*) FROM sqlite_master WHERE type = 'table'")
}

func TestMigrationsForOneDialect(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		d := open(t, o)
		err := d.Migrate(t.Context(), "library", files(map[string]string{
			"00001_books.sqlite.sql": firstUp,
			"00001_books.mysql.sql":  strings.Replace(firstUp, ");", ") ENGINE=InnoDB;", 1),
		}))
		if err != nil {
			t.Fatal(err)
		}
		if n := number(t, d, "SELECT count(*) FROM books"); n != 0 {
			t.Errorf("got %d", n)
		}
	})
}
