package plugintest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"freeim/core/plugin"
	"freeim/core/sql"
)

// migrated holds the directories that the hosts of a process begin with: to run all migrations for each host would
// take a quarter of the tests' time.
var migrated templates // used by openEmbedded only

// templates are SQLite files with all tables of some plugins and no rows, by what the migrations say.
type templates struct {
	mu   sync.Mutex // guards made
	made map[[sha256.Size]byte]func() ([]byte, error)
}

// copyTo makes the file at path, and reports whether it did: what is there already stays, which its host migrates.
func (t *templates) copyTo(path string, plugins []plugin.Plugin) (copied bool, err error) {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	all := tablesOf(plugins)
	key, err := keyOf(all)
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	if t.made == nil {
		t.made = map[[sha256.Size]byte]func() ([]byte, error){}
	}
	one := t.made[key]
	if one == nil {
		one = sync.OnceValues(func() ([]byte, error) { return migrate(all) })
		t.made[key] = one
	}
	t.mu.Unlock()
	file, err := one()
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, err
	}
	return true, os.WriteFile(path, file, 0o600)
}

// tables are what a plugin's migrations make.
type tables struct {
	plugin string
	files  fs.FS
}

func tablesOf(plugins []plugin.Plugin) (all []tables) {
	for _, p := range plugins {
		if m, ok := p.(plugin.Migrator); ok {
			all = append(all, tables{p.Info().Name, m.Migrations()})
		}
	}
	return all
}

// keyOf tells apart what is not migrated in the same way: names, order and text of everything count.
func keyOf(all []tables) (key [sha256.Size]byte, err error) {
	hash := sha256.New()
	for _, s := range all {
		fmt.Fprintf(hash, "%q\n", s.plugin)
		err := fs.WalkDir(s.files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(s.files, path)
			fmt.Fprintf(hash, "%q %q\n", path, text)
			return err
		})
		if err != nil {
			return key, fmt.Errorf("read the migrations of plugin %s: %w", s.plugin, err)
		}
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
}

// migrate gives a new SQLite file with the tables; closed, it is all in one file.
func migrate(all []tables) (file []byte, err error) {
	dir, err := os.MkdirTemp("", "template")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "directory.db")
	d, err := sql.Open(sql.Options{Path: path, Unsynced: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		// Other hosts wait for it, whichever test has come first.
		if err := d.Migrate(context.Background(), s.plugin, s.files); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if err := d.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}
