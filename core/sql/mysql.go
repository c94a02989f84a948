package sql

import (
	"context"
	"crypto/tls"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"freeim/conf/roots"

	"github.com/go-sql-driver/mysql"
)

// How long MySQL may take. A statement waits for a lock less than for its answer,
// so that the engine says what was the matter, and both end before an action's
// usual time does: the client hears UNAVAILABLE, not nothing.
const (
	mysqlDial     = 3 * time.Second
	mysqlAnswer   = 8 * time.Second
	mysqlLockWait = "3" // seconds
)

// mysqlMode makes MySQL refuse what it would else change silently, and read
// strings and names as SQLite does.
const mysqlMode = "'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE," +
	"NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY,ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'"

// mysqlSettings are the variables that every connection sets.
var mysqlSettings = map[string]string{
	"sql_mode":                 mysqlMode,
	"time_zone":                "'+00:00'",
	"innodb_lock_wait_timeout": mysqlLockWait,
}

// mysqlConfig is what dsn says, with what must be so whatever it says.
func mysqlConfig(dsn string, log *slog.Logger) (*mysql.Config, error) {
	c, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if c.DBName == "" {
		return nil, errors.New("the DSN names no database: USER:PASSWORD@tcp(HOST:PORT)/DATABASE")
	}
	c.MultiStatements, c.AllowAllFiles, c.AllowOldPasswords = false, false, false
	c.ParseTime, c.Loc = true, time.UTC
	c.ClientFoundRows = true   // RowsAffected counts as SQLite does
	c.InterpolateParams = true // one round trip for a query; safe with utf8mb4
	c.RejectReadOnly = true    // of a primary that became a replica: connect anew
	c.CheckConnLiveness = true
	if err := c.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	maps.Copy(c.Params, mysqlSettings)
	if c.Timeout == 0 {
		c.Timeout = mysqlDial
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = mysqlAnswer
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = mysqlAnswer
	}
	c.Logger = driverLog{log}
	return c, nil
}

// parseDSN reads a DSN. Of the driver's faults only those are shown that say
// nothing of it: a DSN that lacks a letter is split wrongly, and what the driver
// takes for a network or a value may be the password.
func parseDSN(dsn string) (*mysql.Config, error) {
	c, err := mysql.ParseDSN(dsn)
	switch {
	case err == nil:
		return c, trust(c)
	case strings.HasPrefix(err.Error(), "invalid DSN: "):
		return nil, err
	}
	return nil, errors.New("it is not USER:PASSWORD@tcp(HOST:3306)/DATABASE, or a parameter behind it is wrong")
}

// trust has c connect over TLS and verify the server by the roots in the file that
// the parameter tls_ca names, if it does. tls=true verifies by the system's.
func trust(c *mysql.Config) error {
	file, named := c.Params["tls_ca"]
	if !named {
		return nil
	}
	delete(c.Params, "tls_ca")
	if file == "" {
		return errors.New("tls_ca names no file")
	}
	pool, err := roots.Read(file)
	if err != nil {
		return fmt.Errorf("tls_ca: %w", err)
	}
	c.TLS, c.AllowFallbackToPlaintext = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, false
	return nil
}

// driverLog takes what the driver says of connections that broke.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(words ...any) { l.log.Debug("mysql driver", "says", fmt.Sprint(words...)) }

// mysqlConnector sets up what no variable does. Read committed: a statement sees
// what is committed as it begins, also when the transaction waited for a lock
// before, and nothing beside the rows themselves is locked.
type mysqlConnector struct{ driver.Connector }

func (c mysqlConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	const isolation = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
	if _, err := conn.(driver.ExecerContext).ExecContext(ctx, isolation, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// mysqlPool makes a pool; nothing is connected yet.
func mysqlPool(c *mysql.Config, connections int) (*stdsql.DB, error) {
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := stdsql.OpenDB(mysqlConnector{connector})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(3 * time.Minute) // so that after a failover all come to the new primary soon
	return db, nil
}

// openMySQL connects to the database that o.DSN names.
func (d *Directory) openMySQL(o Options) error {
	config, err := mysqlConfig(o.DSN, d.log)
	if err != nil {
		return fmt.Errorf("read the DSN of MySQL: %w", err)
	}
	connections := o.Connections
	if connections == 0 {
		connections = mysqlConnections
	}
	if d.db, err = mysqlPool(config, connections); err != nil {
		return fmt.Errorf("read the DSN of MySQL: %w", err)
	}
	d.mysql = config
	if err := d.Ping(context.Background()); err != nil { // bounded by the timeouts above
		return errors.Join(fmt.Errorf("open database %s of MySQL at %s: %w", config.DBName, config.Addr, err), d.db.Close())
	}
	return nil
}
