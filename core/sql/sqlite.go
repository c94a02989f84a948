package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
)

// sqliteSettings hold for every connection. A commit is flushed (WAL with
// synchronous=FULL). A transaction takes the one write lock when it begins
// (immediate), so it never reads first and finds at its first write that another
// was faster; it waits for that lock up to the busy timeout or its context's
// end. A transaction opened with ReadOnly takes no lock.
const sqliteSettings = "_journal_mode=WAL&_synchronous=FULL&_busy_timeout=10000&_foreign_keys=1" +
	"&_txlock=immediate&_dqs=0&_defensive=1"

// openSQLite opens, or makes, the file at path. unsynced flushes nothing.
func openSQLite(path string, unsynced bool) (*stdsql.DB, error) {
	if path == "" {
		return nil, errors.New("no path given")
	}
	if err := private(path); err != nil {
		return nil, err
	}
	settings := sqliteSettings
	if unsynced {
		settings = strings.Replace(settings, "_synchronous=FULL", "_synchronous=OFF", 1)
	}
	// The path is escaped so that a ? or a % in it is part of the file's name.
	connector, err := sqlite.NewConnector("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + settings)
	if err != nil {
		return nil, err
	}
	db := stdsql.OpenDB(connector)
	db.SetMaxOpenConns(poolSize())
	db.SetMaxIdleConns(poolSize())
	if err := readable(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// private makes the file and its directory for the owner alone: it holds
// password hashes. SQLite gives its -wal and -shm files the same mode.
func private(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// readable reads the schema, which is when SQLite looks at the file at all.
func readable(db *stdsql.DB) error {
	var tables int
	return db.QueryRowContext(context.Background(), "SELECT count(*) FROM sqlite_master").Scan(&tables)
}
