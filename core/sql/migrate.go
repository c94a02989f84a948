package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"
)

// Migrate brings the tables of one plugin up to its newest migration and
// remembers the version in the table goose_<plugin>. files holds NNNNN_name.sql
// at its root, in goose's format; a file NNNNN_name.<dialect>.sql is run on that
// dialect only. Running it again changes nothing; of several cores that run it at
// once on one MySQL, one does the work and the others wait for it. It returns an
// error when the database was written by a newer version of the plugin.
func (d *Directory) Migrate(ctx context.Context, plugin string, files fs.FS) error {
	return d.migrate(ctx, plugin, files, (*goose.Provider).Up)
}

// MigrateTo is Migrate up to a version that is not the newest.
func (d *Directory) MigrateTo(ctx context.Context, plugin string, files fs.FS, version int64) error {
	return d.migrate(ctx, plugin, files, func(p *goose.Provider, ctx context.Context) ([]*goose.MigrationResult, error) {
		return p.UpTo(ctx, version)
	})
}

// Version says which version a plugin's tables have here, 0 when they were never
// made, and which is the newest in files.
func (d *Directory) Version(ctx context.Context, plugin string, files fs.FS) (current, newest int64, err error) {
	p, err := d.provider(d.db, plugin, files)
	if err != nil {
		return 0, 0, err
	}
	if current, newest, err = p.GetVersions(ctx); err != nil {
		return 0, 0, fmt.Errorf("read the schema version of plugin %s: %w", plugin, err)
	}
	return current, newest, nil
}

func (d *Directory) migrate(ctx context.Context, plugin string, files fs.FS,
	up func(*goose.Provider, context.Context) ([]*goose.MigrationResult, error)) (err error) {
	db, release, err := d.migrating(ctx)
	if err != nil {
		return fmt.Errorf("migrate plugin %s: %w", plugin, err)
	}
	defer func() { err = errors.Join(err, release()) }()
	p, err := d.provider(db, plugin, files)
	if err != nil {
		return err
	}
	current, newest, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version of plugin %s: %w", plugin, err)
	}
	if current > newest {
		return fmt.Errorf("the tables of plugin %s have schema version %d, this program knows up to %d: "+
			"they were written by a newer version, run that one", plugin, current, newest)
	}
	done, err := up(p, ctx)
	if err != nil {
		return fmt.Errorf("migrate plugin %s: %w", plugin, err)
	}
	for _, m := range done {
		d.log.Info("schema migrated", "plugin", plugin, "version", m.Source.Version, "file", m.Source.Path)
	}
	return nil
}

// migrating gives the pool that migrations run on, and what to do when they are
// done. On MySQL it is one without limits of time for an answer, since a table
// may be large, and the lock that keeps other cores out is held.
func (d *Directory) migrating(ctx context.Context) (*stdsql.DB, func() error, error) {
	if d.mysql == nil {
		return d.db, func() error { return nil }, nil
	}
	patient := d.mysql.Clone()
	patient.ReadTimeout, patient.WriteTimeout = 0, 0
	db, err := mysqlPool(patient, 4)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := lockSchema(ctx, db, directoryLock, d.log)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, func() error { unlock(); return db.Close() }, nil
}

// versionTable is where the version of a plugin's tables is remembered.
func versionTable(plugin string) string { return "goose_" + plugin }

func (d *Directory) provider(db *stdsql.DB, plugin string, files fs.FS) (*goose.Provider, error) {
	if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`).MatchString(plugin) {
		return nil, fmt.Errorf("migrate plugin %q: not a name for a table", plugin)
	}
	others, err := d.otherDialects(files)
	if err != nil {
		return nil, fmt.Errorf("list the migrations of plugin %s: %w", plugin, err)
	}
	p, err := goose.NewProvider(d.dialect, db, files, goose.WithTableName(versionTable(plugin)),
		goose.WithDisableGlobalRegistry(true), goose.WithExcludeNames(others), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("read the migrations of plugin %s: %w", plugin, err)
	}
	return p, nil
}

// otherDialects names the files that are meant for an engine other than this.
func (d *Directory) otherDialects(files fs.FS) (names []string, err error) {
	all, err := fs.Glob(files, "*.sql")
	for _, name := range all {
		parts := strings.Split(name, ".") // NNNNN_name, sql or NNNNN_name, dialect, sql
		if len(parts) > 2 && parts[len(parts)-2] != d.name {
			names = append(names, name)
		}
	}
	return names, err
}
