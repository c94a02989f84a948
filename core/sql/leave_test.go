package sql_test

import (
	"testing"

	"freeim/core/engines"
	"freeim/core/sql"
)

// TestCloseAfterTheServerIsGone: connections that the server has ended are closed
// without an error, so that a core which drains then ends well.
func TestCloseAfterTheServerIsGone(t *testing.T) {
	m := engines.MariaDB(t)
	dsn, err := m.CreateDatabase(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	d, err := sql.Open(sql.Options{Dialect: "mysql", DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("Close: got %v", err)
	}
}
