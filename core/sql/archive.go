package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"strings"
)

// Querier reads: a pool, a connection or a transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*stdsql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *stdsql.Row
}

// Snapshot calls fn with the directory as it is at one moment, while others go
// on. What fn reads holds nobody up.
func (d *Directory) Snapshot(ctx context.Context, fn func(q Querier) error) error {
	if d.mysql != nil {
		db, err := d.patient()
		if err != nil {
			return err
		}
		return errors.Join(snapshotMySQL(ctx, db, fn), db.Close())
	}
	tx, err := d.db.BeginTx(ctx, &stdsql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin to read a snapshot: %w", err)
	}
	return errors.Join(fn(tx), tx.Rollback())
}

// patient makes a pool without limits of time for an answer: tables may be large.
func (d *Directory) patient() (*stdsql.DB, error) {
	c := d.mysql.Clone()
	c.ReadTimeout, c.WriteTimeout = 0, 0
	return mysqlPool(c, 2)
}

// snapshotMySQL calls fn with a moment of the database: a transaction of
// database/sql would take its moment at its first read only, and has no word for
// a consistent one.
func snapshotMySQL(ctx context.Context, db *stdsql.DB, fn func(q Querier) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to read a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, statement := range []string{
		"SET SESSION net_write_timeout = 3600, wait_timeout = 3600", // the server waits for who reads slowly
		"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("begin to read a snapshot: %w", err)
		}
	}
	err = fn(conn)
	_, rollbackErr := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	return errors.Join(err, rollbackErr)
}

// Fill calls fn with a transaction in which rows may come before those that they
// refer to.
func (d *Directory) Fill(ctx context.Context, fn func(tx *stdsql.Tx) error) (err error) {
	db, aside := d.db, "PRAGMA defer_foreign_keys = ON" // of the transaction
	if d.mysql != nil {
		// Of the connection, which ends with its pool; and its transaction may
		// wait for what comes next.
		aside = "SET SESSION foreign_key_checks = 0, wait_timeout = 3600"
		if db, err = d.patient(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin to fill the directory: %w", err)
	}
	if _, err := tx.ExecContext(ctx, aside); err != nil {
		return errors.Join(fmt.Errorf("put foreign keys aside: %w", err), tx.Rollback())
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit what fills the directory: %w", err)
	}
	return nil
}

// Tables lists the tables that are there, whoever made them.
func (d *Directory) Tables(ctx context.Context) (names []string, err error) {
	query := "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite@_%' ESCAPE '@' ORDER BY rowid"
	if d.name == "mysql" {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name"
	}
	rows, err := d.db.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list the tables: %w", err)
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// Migrated lists the plugins that have ever been migrated here.
func (d *Directory) Migrated(ctx context.Context) (plugins []string, err error) {
	tables, err := d.Tables(ctx)
	for _, table := range tables {
		if plugin, ok := strings.CutPrefix(table, versionTable("")); ok {
			plugins = append(plugins, plugin)
		}
	}
	return plugins, err
}
