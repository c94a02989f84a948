package sql_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"freeim/core/sql"
)

var errPlanted = errors.New("planted fault")

// set writes n in transaction tx.
func set(ctx context.Context, tx *stdsql.Tx, id, n int) error {
	_, err := tx.ExecContext(ctx, "UPDATE numbers SET n = ? WHERE id = ?", n, id)
	return err
}

// numbers makes a table of two rows, 1 and 2, with n 0.
func numbers(t *testing.T, o sql.Options) *sql.Directory {
	t.Helper()
	d := open(t, o)
	run(t, d, "CREATE TABLE numbers (id INTEGER NOT NULL PRIMARY KEY, n INTEGER NOT NULL)")
	run(t, d, "INSERT INTO numbers VALUES (1, 0), (2, 0)")
	return d
}

func TestTxUndoesWhatFails(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func() error
		want int
	}{
		{"nothing", func() error { return nil }, 7},
		{"an error", func() error { return errPlanted }, 0},
		{"a panic", func() error { panic("planted") }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachDialect(t, func(t *testing.T, o sql.Options) {
				d := numbers(t, o)
				calls := 0
				err := func() (err error) {
					defer func() {
						if recover() != nil {
							err = errPlanted
						}
					}()
					return d.Tx(t.Context(), func(tx *stdsql.Tx) error {
						calls++
						return errors.Join(set(t.Context(), tx, 1, 7), test.end())
					})
				}()
				if calls != 1 || (err == nil) != (test.want == 7) || err != nil && !errors.Is(err, errPlanted) {
					t.Errorf("got %d calls and %v", calls, err)
				}
				if n := number(t, d, "SELECT n FROM numbers WHERE id = 1"); n != test.want {
					t.Errorf("got %d, want %d", n, test.want)
				}
				// The lock is free and the connection back.
				if err := d.Tx(t.Context(), func(tx *stdsql.Tx) error { return set(t.Context(), tx, 1, 8) }); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestDeadlockIsRunAgain has two transactions lock two rows in opposite order.
func TestDeadlockIsRunAgain(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		d := numbers(t, o)
		both := make(chan struct{}) // closed when each has its first row, where the engine lets two write
		writers := 2
		if d.Dialect() == "sqlite" {
			writers = 1
		}
		var mu sync.Mutex
		arrived, calls := 0, 0
		var wg sync.WaitGroup
		for first := 1; first <= 2; first++ {
			wg.Go(func() {
				err := d.Tx(t.Context(), func(tx *stdsql.Tx) error {
					if err := set(t.Context(), tx, first, first); err != nil {
						return err
					}
					mu.Lock()
					calls++
					if arrived++; arrived == writers {
						close(both)
					}
					mu.Unlock()
					<-both
					return set(t.Context(), tx, 3-first, first)
				})
				if err != nil {
					t.Errorf("a deadlock came through: %v", err)
				}
			})
		}
		wg.Wait()
		if one, two := number(t, d, "SELECT n FROM numbers WHERE id = 1"), number(t, d, "SELECT n FROM numbers WHERE id = 2"); one != two {
			t.Errorf("got %d and %d, want both of one transaction", one, two)
		}
		if d.Dialect() == "mysql" && calls != 3 {
			t.Errorf("got %d calls, want 3: one was ended and run again", calls)
		}
	})
}

// TestLockWaitIsRunAgain keeps a row locked for longer than MySQL waits for it.
func TestLockWaitIsRunAgain(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		if o.Dialect != "mysql" {
			t.Skip("SQLite waits as long as the context")
		}
		d := numbers(t, o)
		holder, err := d.DB().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := set(t.Context(), holder, 1, 1); err != nil {
			t.Fatal(err)
		}
		calls := 0
		err = d.Tx(t.Context(), func(tx *stdsql.Tx) error {
			if calls++; calls == 2 {
				if err := holder.Commit(); err != nil {
					t.Error(err)
				}
			}
			if _, err := tx.ExecContext(t.Context(), "SET innodb_lock_wait_timeout = 1"); err != nil {
				return err
			}
			return set(t.Context(), tx, 1, 2)
		})
		if n := number(t, d, "SELECT n FROM numbers WHERE id = 1"); err != nil || calls != 2 || n != 2 {
			t.Errorf("got %v after %d calls and %d", err, calls, n)
		}
	})
}

func TestTxEndsWithTheContext(t *testing.T) {
	eachDialect(t, func(t *testing.T, o sql.Options) {
		d := numbers(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		err := d.Tx(ctx, func(tx *stdsql.Tx) error {
			if err := set(ctx, tx, 1, 1); err != nil {
				return err
			}
			cancel()
			return set(ctx, tx, 1, 2)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's end", err)
		}
		if n := number(t, d, "SELECT n FROM numbers WHERE id = 1"); n != 0 {
			t.Errorf("got %d, want 0", n)
		}
	})
}

// TestWritersWaitWithoutAConnection has far more writers wait for one than there are
// connections: who reads finds one, and who gives up leaves the line.
func TestWritersWaitWithoutAConnection(t *testing.T) {
	d := numbers(t, sql.Options{Path: filepath.Join(t.TempDir(), "directory.db")})
	const writers = 100
	holds, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		err := d.Tx(t.Context(), func(tx *stdsql.Tx) error {
			close(holds)
			<-release
			return set(t.Context(), tx, 1, 1)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-holds
	count := func(tx *stdsql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE numbers SET n = n + 1 WHERE id = 2")
		return err
	}
	for range writers {
		all.Go(func() {
			if err := d.Tx(t.Context(), count); err != nil {
				t.Error(err)
			}
		})
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Tx(gone, count); !errors.Is(err, context.Canceled) {
		t.Errorf("a writer whose time is up: got %v", err)
	}
	if n := number(t, d, "SELECT n FROM numbers WHERE id = 2"); n != 0 {
		t.Errorf("got %d while the first writes, want 0", n)
	}
	close(release)
	all.Wait()
	if n := number(t, d, "SELECT n FROM numbers WHERE id = 2"); n != writers {
		t.Errorf("got %d, want %d", n, writers)
	}
}
