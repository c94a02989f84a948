package sql_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"freeim/core/sql"
)

// victimPath is set in the environment of the process that TestSurvivesKill kills.
const victimPath = "FREEIM_TEST_VICTIM_PATH"

// migratorDSN is set in the environment of the processes of TestCoresMigrateAtOnce.
const migratorDSN = "FREEIM_TEST_MIGRATOR_DSN"

func TestMain(m *testing.M) {
	if path := os.Getenv(victimPath); path != "" {
		fmt.Fprintln(os.Stderr, victim(path))
		os.Exit(1)
	}
	if dsn := os.Getenv(migratorDSN); dsn != "" {
		if err := migrate(context.Background(), dsn); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim commits numbers and says so after each, until it is killed.
func victim(path string) error {
	d, err := sql.Open(sql.Options{Path: path})
	if err != nil {
		return err
	}
	var n int
	if err := d.DB().QueryRow("SELECT coalesce(max(n), 0) FROM numbers").Scan(&n); err != nil {
		return err
	}
	for {
		n++
		if _, err := d.DB().Exec("INSERT INTO numbers VALUES (?)", n); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestSurvivesKill kills a writing process again and again: every number that it
// said was committed must be there, and the database must open without ado.
func TestSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directory.db")
	d := open(t, sql.Options{Path: path})
	run(t, d, "CREATE TABLE numbers (n BIGINT NOT NULL PRIMARY KEY)")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		said := killAfter(t, path, 20+10*round)
		d := open(t, sql.Options{Path: path})
		if kept, gaps := number(t, d, "SELECT max(n) FROM numbers"), number(t, d, "SELECT max(n) - count(*) FROM numbers"); kept < said || gaps != 0 {
			t.Fatalf("round %d: %d was committed, up to %d is there, %d are missing", round, said, kept, gaps)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs a victim until it has said so many numbers, kills it, and gives
// the last that it said.
func killAfter(t *testing.T, path string, numbers int) (last int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimPath+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for heard := 0; lines.Scan(); heard++ {
		if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
			break // the last line was cut by the kill
		}
		if heard == numbers {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if last == 0 {
		t.Fatal("the victim said nothing")
	}
	return last
}
