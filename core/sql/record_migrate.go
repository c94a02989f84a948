package sql

import (
	"context"
	"crypto/rand"
	stdsql "database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"freeim/core/timeline"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/record/*.sql
var recordMigrations embed.FS

// recordFormat is the version of what the columns hold. Change it with anything
// that a migration cannot tell.
const recordFormat = "freeim record 1"

// recordLock is SQL: the name of the lock under which the record is migrated, one for
// each database of a server.
const recordLock = "CONCAT('freeim_', LEFT(MD5(DATABASE()), 16))"

// migrateRecord makes the tables or brings them up to date, one core at a time,
// and gives the epoch.
func migrateRecord(ctx context.Context, dsn string, log *slog.Logger) (epoch string, err error) {
	db, err := openPool(dsn, 10*time.Minute, 4) // a migration of a large table takes its time
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	unlock, err := lockSchema(ctx, db, recordLock, log)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := upgradeRecord(ctx, db, log); err != nil {
		return "", err
	}
	return initialise(ctx, db)
}

func upgradeRecord(ctx context.Context, db *stdsql.DB, log *slog.Logger) error {
	files, err := fs.Sub(recordMigrations, "migrations/record")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectMySQL, db, files, goose.WithTableName("goose_record"),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	current, newest, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if current > newest {
		return fmt.Errorf("the tables have schema version %d, this program knows up to %d: "+
			"they were written by a newer version, run that one", current, newest)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, m := range done {
		log.Info("schema migrated", "of", "the message record", "version", m.Source.Version, "file", m.Source.Path)
	}
	return nil
}

// initialise writes format and epoch into a new record, checks the format, and
// gives the epoch.
func initialise(ctx context.Context, db *stdsql.DB) (epoch string, err error) {
	_, err = db.ExecContext(ctx, "INSERT IGNORE INTO record_meta (name, value) VALUES ('format', '"+
		recordFormat+"'), ('epoch', '"+newEpoch()+"')")
	if err != nil {
		return "", fmt.Errorf("write the epoch: %w", err)
	}
	var format string
	err = db.QueryRowContext(ctx, "SELECT f.value, e.value FROM record_meta f JOIN record_meta e "+
		"WHERE f.name = 'format' AND e.name = 'epoch'").Scan(&format, &epoch)
	if err != nil {
		return "", fmt.Errorf("read the epoch: %w", err)
	}
	if format != recordFormat {
		return "", fmt.Errorf("it has the format %q, this version reads %q", format, recordFormat)
	}
	var marked bool
	if err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM record_meta WHERE name = 'import')").Scan(&marked); err != nil {
		return "", fmt.Errorf("look for an import: %w", err)
	}
	if marked {
		return "", timeline.ErrUnfinished
	}
	return epoch, nil
}

func newEpoch() string {
	var random [8]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}
