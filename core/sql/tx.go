package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"modernc.org/sqlite"
)

const (
	txAttempts = 10 // of one transaction that the engine keeps ending
	txPause    = 50 * time.Millisecond
)

// Tx runs fn in one transaction and commits it; an error or a panic of fn rolls
// it back. When the engine ended the transaction because of others, for a
// deadlock or a lock that did not come free, fn is run again in a new one, up to
// ten times within ctx: what it does beside the transaction must bear that. A
// commit whose answer was lost is not run again.
func (d *Directory) Tx(ctx context.Context, fn func(*stdsql.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := d.tx(ctx, fn)
		if err == nil || !collided(err) || attempt == txAttempts {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(rand.N(txPause)):
		}
	}
}

// tx is one try. On SQLite, which has one writer, the others wait here, in the order in
// which they came and without a connection: SQLite would have each hold one and look
// for the lock from time to time, so that readers find none.
func (d *Directory) tx(ctx context.Context, fn func(*stdsql.Tx) error) error {
	if d.writer != nil {
		select {
		case d.writer <- struct{}{}:
			defer func() { <-d.writer }()
		case <-ctx.Done():
			return fmt.Errorf("wait to write: %w", ctx.Err())
		}
	}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	ended := false
	defer func() {
		if !ended { // fn panicked
			_ = tx.Rollback()
		}
	}()
	if err := fn(tx); err != nil {
		ended = true
		if undo := tx.Rollback(); undo != nil && !errors.Is(undo, stdsql.ErrTxDone) {
			err = errors.Join(err, undo)
		}
		return err
	}
	ended = true
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// collided reports whether the engine ended a transaction, and undid it, because
// of another one: it may be run again.
func collided(err error) bool {
	if n := number(err); n != 0 {
		return n == errDeadlock || n == errLockTimeout
	}
	if refusal, ok := errors.AsType[*sqlite.Error](err); ok {
		const busy = 5 // the low octet: SQLITE_BUSY and its kinds
		return refusal.Code()&0xff == busy
	}
	return false
}
