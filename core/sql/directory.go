// Package sql opens the directory: the relational database that holds accounts
// and whatever else plugins keep in tables. It opens and tunes the engine, says
// which dialect it speaks, runs the plugins' migrations and transactions, and
// says whether commits are durable; of the directory it has no tables and no
// queries of its own. core/server and plugintest open it, plugins use it
// through plugin.Host.
package sql

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

// Options says which database to open.
type Options struct {
	Dialect string // "sqlite" or "mysql"; empty: "sqlite"
	Path    string // of the SQLite file; it and its directory are made if missing, readable by the owner only
	// Unsynced has SQLite not wait for the disk: only for tests that no end of the machine is part of.
	Unsynced bool
	// DSN names the MySQL database, which must exist, as go-sql-driver/mysql reads
	// it: USER:PASSWORD@tcp(HOST:PORT)/DATABASE. What it says of timeouts and TLS
	// holds; how strings, times and modes are read is decided here.
	DSN         string
	Connections int          // bounds those to MySQL; 0: 32
	Log         *slog.Logger // nil: slog.Default
}

// mysqlConnections is the usual bound: a transaction of the directory is short.
const mysqlConnections = 32

// Directory is the open database. Safe for concurrent use.
type Directory struct {
	db      *stdsql.DB
	dialect goose.Dialect
	name    string        // of the dialect, as plugins see it
	mysql   *mysql.Config // nil for SQLite
	writer  chan struct{} // SQLite's: holds a token while a transaction runs; nil for MySQL
	log     *slog.Logger
}

// Open opens the database; a SQLite file is made if it does not exist. It returns
// an error for a dialect it does not know, for a file that is no database, and
// for a MySQL that does not answer.
func Open(o Options) (*Directory, error) {
	d := &Directory{log: o.Log}
	if d.log == nil {
		d.log = slog.Default()
	}
	switch o.Dialect {
	case "", "sqlite":
		db, err := openSQLite(o.Path, o.Unsynced)
		if err != nil {
			return nil, fmt.Errorf("open SQLite database %s: %w", o.Path, err)
		}
		d.db, d.dialect, d.name, d.writer = db, goose.DialectSQLite3, "sqlite", make(chan struct{}, 1)
	case "mysql":
		if err := d.openMySQL(o); err != nil {
			return nil, err
		}
		d.dialect, d.name = goose.DialectMySQL, "mysql"
	default:
		return nil, fmt.Errorf("dialect %q is not known: use \"sqlite\" or \"mysql\"", o.Dialect)
	}
	return d, nil
}

// DB is the pool of connections, for reading; Tx is for writing. What a caller must keep to, on every engine, is
// in README.md: writes in a transaction, and inside it only the transaction.
func (d *Directory) DB() *stdsql.DB { return d.db }

// Dialect is "sqlite" or "mysql": the same words as plugin.Host uses and as
// migrations for one engine carry in their names.
func (d *Directory) Dialect() string { return d.name }

// Ping reports whether the database answers.
func (d *Directory) Ping(ctx context.Context) error {
	var one int
	if err := d.db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("ask the directory: %w", err)
	}
	return nil
}

// Close waits for running queries and closes the database.
func (d *Directory) Close() error {
	if d.mysql == nil {
		return d.db.Close()
	}
	leave(d.db, d.log)
	return nil
}

// leave closes a pool of MySQL. A server that has ended a connection by itself
// cannot be told goodbye, which is no fault: what was committed was answered.
func leave(db *stdsql.DB, log *slog.Logger) {
	if err := db.Close(); err != nil {
		log.Debug("a connection to MySQL had ended", "err", err)
	}
}

// poolSize bounds the open connections: enough readers for every core. Writers hold
// one of them, since they wait for one another without (see tx).
func poolSize() int { return max(8, 2*runtime.GOMAXPROCS(0)) }
