package plugintest_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"freeim/core/plugin"
	"freeim/core/plugin/plugintest"
)

// noter is a plugin that has tables only: a migration for each text.
type noter []string

func (noter) Info() plugin.Info          { return plugin.Info{Name: "noter", Version: "1"} }
func (noter) Register(*plugin.Registrar) {}

func (n noter) Migrations() fs.FS {
	files := fstest.MapFS{}
	for i, text := range n {
		files["0000"+string(rune('1'+i))+"_notes.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + text)}
	}
	return files
}

func noting(t *testing.T, dir string, texts ...string) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, plugintest.Options{Plugins: []plugin.Plugin{noter(texts)}, Dir: dir})
}

func note(t *testing.T, h *plugintest.Host, query string) {
	t.Helper()
	if _, err := h.DB().ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func notes(t *testing.T, h *plugintest.Host) (n int) {
	t.Helper()
	if err := h.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM notes").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHostsBeginWithTablesOfTheirOwn(t *testing.T) {
	const notesTable, body = "CREATE TABLE notes (id INTEGER NOT NULL PRIMARY KEY);", "ALTER TABLE notes ADD COLUMN body INTEGER NOT NULL DEFAULT 0;"
	dir := t.TempDir()
	one := noting(t, dir, notesTable)
	note(t, one, "INSERT INTO notes (id) VALUES (1)")
	if two := noting(t, "", notesTable); notes(t, one) != 1 || notes(t, two) != 0 {
		t.Errorf("got %d and %d notes, want the first host's note there and nowhere else", notes(t, one), notes(t, two))
	}
	if err := one.Stop(); err != nil {
		t.Fatal(err)
	}

	// The plugin's next version: a new directory has its tables, and one that is there comes to have them.
	fresh, grown := noting(t, "", notesTable, body), noting(t, dir, notesTable, body)
	note(t, fresh, "INSERT INTO notes (id, body) VALUES (1, 2)")
	note(t, grown, "INSERT INTO notes (id, body) VALUES (2, 2)")
	if notes(t, fresh) != 1 || notes(t, grown) != 2 {
		t.Errorf("got %d and %d notes, want 1 and, of both versions, 2", notes(t, fresh), notes(t, grown))
	}

	// Another text of the same file: other tables.
	other := noting(t, "", "CREATE TABLE notes (name INTEGER NOT NULL PRIMARY KEY);")
	note(t, other, "INSERT INTO notes (name) VALUES (1)")
}

func TestMigrationThatFailsIsTold(t *testing.T) {
	for range 2 { // whoever comes first
		_, err := plugintest.Start(t, plugintest.Options{Plugins: []plugin.Plugin{noter{"CREATE TABLES;"}}})
		if err == nil || !strings.Contains(err.Error(), "migrate plugin noter") {
			t.Errorf("got %v, want the plugin named", err)
		}
	}
}
