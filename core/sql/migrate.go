package sql

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/pressly/goose/v3"
)

// Migrate brings the tables of one plugin up to its newest migration and
// remembers the version in the table goose_<plugin>. files holds NNNNN_name.sql
// at its root, in goose's format; a file NNNNN_name.<dialect>.sql is run on that
// dialect only. Running it again changes nothing. It returns an error when the
// database was written by a newer version of the plugin.
func (d *Directory) Migrate(ctx context.Context, plugin string, files fs.FS) error {
	if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`).MatchString(plugin) {
		return fmt.Errorf("migrate plugin %q: not a name for a table", plugin)
	}
	others, err := d.otherDialects(files)
	if err != nil {
		return fmt.Errorf("list the migrations of plugin %s: %w", plugin, err)
	}
	p, err := goose.NewProvider(d.dialect, d.db, files, goose.WithTableName("goose_"+plugin),
		goose.WithDisableGlobalRegistry(true), goose.WithExcludeNames(others), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("read the migrations of plugin %s: %w", plugin, err)
	}
	current, newest, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version of plugin %s: %w", plugin, err)
	}
	if current > newest {
		return fmt.Errorf("the tables of plugin %s have schema version %d, this program knows up to %d: "+
			"they were written by a newer version, run that one", plugin, current, newest)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate plugin %s: %w", plugin, err)
	}
	for _, m := range done {
		d.log.Info("schema migrated", "plugin", plugin, "version", m.Source.Version, "file", m.Source.Path)
	}
	return nil
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
