package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"freeim/core/archive"
	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/plugin"
	"freeim/core/redis"
	"freeim/core/sql"
	"freeim/core/timeline"
)

// ErrInUse is in the error of OpenArchived when a running server has the stores.
// Of MySQL nobody can tell.
var ErrInUse = pebble.ErrInUse

// recordTables is the name under which the message record keeps its tables in the
// directory's database.
const recordTables = "record"

// Archived are the stores that hold everything a site keeps, opened without a
// core and without Redis in front of them: for backup, restore and moving.
type Archived struct{ archive.Stores }

// OpenArchived opens the stores that the configuration names. They are made if
// create is set; else it is an error that there are none.
func OpenArchived(ctx context.Context, c Config, plugins []plugin.Plugin, create bool, log *slog.Logger) (*Archived, error) {
	a := &Archived{archive.Stores{Schemas: schemas(plugins), Others: []string{recordTables}}}
	open := a.openEmbedded
	if c.MySQL.DSN != "" {
		open = a.openMySQL
	}
	if err := open(ctx, c, create, log); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Archived) openEmbedded(_ context.Context, c Config, create bool, log *slog.Logger) error {
	dir := filepath.Join(c.Data, "timelines")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && !create {
		return fmt.Errorf("there are no stores in %s", c.Data)
	}
	// The timelines first: they can tell that somebody has them open.
	timelines, err := pebble.Open(pebble.Options{Dir: dir, IDs: im.NewIDGenerator(nil), Log: log})
	if err != nil {
		return err
	}
	a.Timelines = timelines
	if a.Directory, err = sql.Open(sql.Options{Path: filepath.Join(c.Data, "directory.db"), Log: log}); err != nil {
		return errors.Join(err, timelines.Close())
	}
	return nil
}

func (a *Archived) openMySQL(ctx context.Context, c Config, create bool, log *slog.Logger) (err error) {
	a.Directory, err = sql.Open(sql.Options{Dialect: "mysql", DSN: c.MySQL.DSN, Log: log})
	if err != nil {
		return err
	}
	migrated, err := a.Directory.Migrated(ctx)
	if err == nil && !create && !slices.Contains(migrated, recordTables) {
		err = errors.New("no core has ever run on this database")
	}
	if err == nil {
		var record *sql.Record
		record, err = sql.OpenRecord(ctx, sql.RecordOptions{DSN: c.MySQL.DSN, IDs: im.NewIDGenerator(nil), Log: log})
		a.Timelines = record
	}
	if err != nil {
		return errors.Join(err, a.Directory.Close())
	}
	return nil
}

// Close closes the stores.
func (a *Archived) Close() error { return errors.Join(a.Timelines.Close(), a.Directory.Close()) }

// schemas are the tables of all plugins that have some.
func schemas(plugins []plugin.Plugin) (all []archive.Schema) {
	for _, p := range plugins {
		if m, ok := p.(plugin.Migrator); ok {
			all = append(all, archive.Schema{Plugin: p.Info().Name, Files: m.Migrations()})
		}
	}
	return all
}

// Backup is the page of the administrative port that gives an archive of the
// running stores. A backup that runs when the server stops is broken off.
func (s *Server) Backup() http.Handler {
	page := archive.Handler(archive.Stores{
		Timelines: whole(s.timelines), Directory: s.directory, Schemas: s.schemas, Others: []string{recordTables},
	}, s.log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		page.ServeHTTP(w, r.WithContext(ctx))
	})
}

// whole is the store that holds everything: not the copies in front of it.
func whole(t timeline.Store) timeline.Store {
	if hot, ok := t.(*redis.Timelines); ok {
		if record, ok := hot.Record.(timeline.Store); ok {
			return record
		}
	}
	return t
}
