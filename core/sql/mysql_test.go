package sql_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/sql"
)

func mysqlOptions(dsn string) sql.Options { return sql.Options{Dialect: "mysql", DSN: dsn} }

func TestEveryConnectionToMySQLIsSetUp(t *testing.T) {
	// What a DSN must not turn off.
	d := open(t, mysqlOptions(engines.Database(t)+"?multiStatements=true&parseTime=false&sql_mode=''&charset=latin1&allowAllFiles=true"))
	var all []*stdsql.Conn
	for range 4 {
		c, err := d.DB().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		for variable, want := range map[string]string{
			"sql_mode": "STRICT_ALL_TABLES", "tx_isolation": "READ-COMMITTED", "time_zone": "+00:00",
			"character_set_connection": "utf8mb4", "innodb_lock_wait_timeout": "3",
		} {
			var got string
			if err := c.QueryRowContext(t.Context(), "SELECT @@"+variable).Scan(&got); err != nil || !strings.Contains(got, want) {
				t.Errorf("%s: got %q, %v, want %s", variable, got, err, want)
			}
		}
	}
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMySQLRefuses(t *testing.T) {
	d := open(t, mysqlOptions(engines.Database(t)))
	run(t, d, "CREATE TABLE letters (a VARCHAR(3) NOT NULL, n TINYINT, at DATETIME(3)) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	for _, test := range []struct {
		name, query string
		args        []any
	}{
		{"two statements", "INSERT INTO letters (a) VALUES ('x'); DROP TABLE letters", nil},
		{"a string that is too long", "INSERT INTO letters (a) VALUES (?)", []any{"four"}},
		{"a number that is too large", "INSERT INTO letters (a, n) VALUES ('x', 1000)", nil},
		{"text that is no UTF-8", "INSERT INTO letters (a) VALUES (?)", []any{"\xff"}},
		{"a file of the client", "LOAD DATA LOCAL INFILE 'mysql_test.go' INTO TABLE letters", nil},
		{"a string in double quotes", `INSERT INTO letters (a) VALUES ("x")`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := d.DB().ExecContext(t.Context(), test.query, test.args...); err == nil {
				t.Error("no error")
			}
		})
	}
	if n := number(t, d, "SELECT count(*) FROM letters"); n != 0 {
		t.Errorf("%d rows are there", n)
	}
	hostile := `'\"; --` + "\x00😀"
	run(t, d, "ALTER TABLE letters MODIFY a VARCHAR(20) NOT NULL")
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	run(t, d, "INSERT INTO letters (a, at) VALUES (?, ?)", hostile, at)
	var a string
	var back time.Time
	if err := d.DB().QueryRowContext(t.Context(), "SELECT a, at FROM letters WHERE a = ?", hostile).Scan(&a, &back); err != nil || a != hostile || !back.Equal(at) {
		t.Errorf("got %q, %v, %v", a, back, err)
	}
}

// schemas are two migrations of which the second must not run twice.
func schemas() map[string]string {
	return map[string]string{"00001_books.sql": firstUp, "00002_title.sql": secondUp, "00003_row.sql": "-- +goose Up\nINSERT INTO books (id, title) VALUES (1, 'x');\n"}
}

// TestCoresMigrateAtOnce starts processes, and in this one pools, that all
// migrate one database at the same time.
func TestCoresMigrateAtOnce(t *testing.T) {
	dsn := engines.Database(t)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			if i < 2 {
				cmd := exec.CommandContext(t.Context(), os.Args[0])
				cmd.Env = append(os.Environ(), migratorDSN+"="+dsn)
				if said, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("a process: %v: %s", err, said)
				}
				return
			}
			if err := migrate(t.Context(), dsn); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d := open(t, mysqlOptions(dsn))
	if rows, versions := number(t, d, "SELECT count(*) FROM books"), number(t, d, "SELECT count(*) FROM goose_library"); rows != 1 || versions != 4 {
		t.Errorf("got %d rows and %d versions, want 1 and 4 (with version 0)", rows, versions)
	}
}

func migrate(ctx context.Context, dsn string) error {
	d, err := sql.Open(mysqlOptions(dsn))
	if err != nil {
		return err
	}
	return errors.Join(d.Migrate(ctx, "library", files(schemas())), d.Close())
}

func TestWaitingToMigrateEndsWithTheContext(t *testing.T) {
	d := open(t, mysqlOptions(engines.Database(t)))
	other, err := d.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.ExecContext(t.Context(), "DO GET_LOCK(CONCAT('freeim.', MD5(DATABASE())), 0)"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := d.Migrate(ctx, "library", files(schemas())); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
	if n := tables(t, d); n != 0 {
		t.Errorf("%d tables were made without the lock", n)
	}
}

func TestDurability(t *testing.T) {
	if err := fresh(t).Durability(t.Context()); err != nil {
		t.Errorf("SQLite: %v", err)
	}
	m := engines.MariaDBWith(t, engines.MariaDBOptions{Binlog: true})
	dsn, err := m.CreateDatabase(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, mysqlOptions(dsn))
	if err := d.Durability(t.Context()); err != nil {
		t.Errorf("a careful server: %v", err)
	}
	run(t, d, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
	run(t, d, "SET GLOBAL sync_binlog = 0")
	err = d.Durability(t.Context())
	careless, ok := errors.AsType[*sql.NotDurable](err)
	if !ok || len(careless.Problems) != 2 || !strings.Contains(err.Error(), "innodb_flush_log_at_trx_commit is 2") ||
		!strings.Contains(err.Error(), "sync_binlog is 0") {
		t.Errorf("got %v", err)
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.Durability(t.Context()); err == nil || errors.As(err, &careless) {
		t.Errorf("a server that is away: got %v, want another error", err)
	}
}

// TestMySQLKilled counts what was committed while the server is killed twice: all
// of it is there, and the pool finds back by itself.
func TestMySQLKilled(t *testing.T) {
	m := engines.MariaDB(t)
	dsn, err := m.CreateDatabase(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, mysqlOptions(dsn))
	run(t, d, "CREATE TABLE numbers (n INTEGER NOT NULL PRIMARY KEY)")
	acked, n := map[int]bool{}, 0
	for range 2 {
		begun, lost := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(lost)
			for i := 0; ; i++ { // until the server is gone
				if i == 20 {
					close(begun)
				}
				n++
				err := d.Tx(t.Context(), func(tx *stdsql.Tx) error {
					_, err := tx.ExecContext(t.Context(), "INSERT INTO numbers VALUES (?)", n)
					return err
				})
				if err != nil {
					return
				}
				acked[n] = true
			}
		}()
		select {
		case <-begun:
		case <-lost:
			t.Fatal("the server is alive and commits fail")
		}
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		<-lost
		if err := d.Ping(t.Context()); err == nil {
			t.Error("a dead server answers")
		}
		if err := m.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.Ping(t.Context()); err != nil {
			t.Errorf("after its return: %v", err)
		}
		for number := range acked {
			if there(t, d, number) != 1 {
				t.Errorf("%d was committed and is gone", number)
			}
		}
	}
}

func there(t *testing.T, d *sql.Directory, n int) int {
	return number(t, d, fmt.Sprint("SELECT count(*) FROM numbers WHERE n = ", n))
}

// TestMySQLFrozen has a server stop in the middle of everything: statements end
// by themselves, and after its return all is well.
func TestMySQLFrozen(t *testing.T) {
	m := engines.MariaDB(t)
	dsn, err := m.CreateDatabase(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, mysqlOptions(dsn+"?timeout=200ms&readTimeout=200ms"))
	if err := m.Pause(); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"with an open connection", "with a new one"} {
		if err := d.Ping(t.Context()); err == nil {
			t.Errorf("%s: a frozen server answers", what)
		}
	}
	if err := m.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := d.Ping(t.Context()); err != nil {
		t.Errorf("after its return: %v", err)
	}
}
