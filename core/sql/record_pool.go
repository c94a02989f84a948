package sql

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"time"

	"freeim/core/timeline"

	"github.com/go-sql-driver/mysql"
)

// recordSession is what every connection of the record is set to. Names are
// octets, so the connection's character set is binary, and text is escaped by
// backslashes. A connection that falls silent inside a transaction, its core
// being stopped or cut off, gives its locks back: to MariaDB after three
// seconds, to others after wait_timeout. It comes after what the DSN sets, so that
// no character_set_client in there makes an escaped quote a bare one.
const recordSession = "SET NAMES binary; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; " +
	"SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 1, lock_wait_timeout = 5, wait_timeout = 10" +
	"/*M! , idle_transaction_timeout = 3" +
	", in_predicate_conversion_threshold = 0 */" // an IN of many is a range, in order

// openPool makes a pool of at most so many connections, each of which gives up
// when the server is silent for patience. It connects when first used.
func openPool(dsn string, patience time.Duration, connections int) (*stdsql.DB, error) {
	c, err := parseDSN(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the DSN: %w", err)
	}
	if c.DBName == "" {
		return nil, errors.New("the DSN names no database")
	}
	c.Timeout, c.ReadTimeout, c.WriteTimeout = patience, patience, patience
	c.MultiStatements, c.ParseTime, c.RejectReadOnly = true, true, true
	c.Collation, c.Logger = "", &mysql.NopLogger{}
	if err := c.Apply(mysql.Charset("binary", "")); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := stdsql.OpenDB(recordConnector{connector})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Second) // before the server's wait_timeout
	return db, nil
}

// recordConnector makes connections that are set up for the record.
type recordConnector struct{ driver.Connector }

func (c recordConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.(driver.ExecerContext).ExecContext(ctx, recordSession, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// reader takes one row of a result; what it holds is valid until it returns.
type reader func(row []driver.Value) error

// exchange sends a packet and gives the rows of the n-th result to the n-th
// reader. It goes below database/sql, whose conversions cost more than the rest
// of it. Results without columns do not count.
func exchange(ctx context.Context, conn *stdsql.Conn, p packet) error {
	return conn.Raw(func(c any) error {
		if len(p.readers) == 0 {
			_, err := c.(driver.ExecerContext).ExecContext(ctx, string(p.text), nil)
			return err
		}
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, string(p.text), nil)
		if err != nil {
			return err
		}
		err = readAll(rows, p.readers)
		if closing := rows.Close(); err == nil {
			err = closing
		}
		return err
	})
}

func readAll(rows driver.Rows, readers []reader) error {
	row := make([]driver.Value, 16)
	for i, read := range readers {
		if i > 0 {
			if err := rows.(driver.RowsNextResultSet).NextResultSet(); err != nil {
				return fmt.Errorf("result %d: %w", i, err)
			}
		}
		row = row[:len(rows.Columns())]
		for {
			err := rows.Next(row)
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil {
				err = read(row)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// discard takes a connection whose state is unknown out of its pool.
func discard(conn *stdsql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the error is what closes it
	_ = conn.Close()
}

// The numbers of MySQL's errors that decide what happens next.
const (
	errDuplicate   = 1062 // a unique key is there already
	errSyntax      = 1064
	errLockTimeout = 1205
	errDeadlock    = 1213
)

// number is the number of MySQL's error, 0 for one that is not MySQL's.
func number(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// faulty reports whether MySQL refused what a statement said, rather than to
// work at all: SQL states of class 22 (data) and 23 (constraints).
func faulty(err error) bool {
	if errors.Is(err, timeline.ErrCorrupt) {
		return true // what one of them needs cannot be read
	}
	e, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && (string(e.SQLState[:2]) == "22" || string(e.SQLState[:2]) == "23")
}

// errSilent stands for a deadline of the record's own, which callers must not
// take for theirs.
var errSilent = errors.New("MySQL does not answer in time")

func inTime(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errSilent
	}
	return err
}
