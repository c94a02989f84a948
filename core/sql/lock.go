package sql

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"log/slog"
)

// directoryLock is SQL: the name of the lock under which the directory is migrated,
// one for each database of a server, of which it may have 64 characters.
const directoryLock = "CONCAT('freeim.', MD5(DATABASE()))"

// lockSchema is what keeps cores that start at once from migrating at once: a lock of
// the server. It is held by a connection, so it ends with a core that dies. unlock
// does not fail: a connection that broke has lost the lock.
func lockSchema(ctx context.Context, db *stdsql.DB, name string, log *slog.Logger) (unlock func(), err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for the lock of migrations: %w", err)
	}
	// A migration may take long, and this connection is silent meanwhile.
	_, err = conn.ExecContext(ctx, "SET SESSION wait_timeout = 28800")
	for err == nil {
		var got stdsql.NullInt64
		// One second at a time, and said, so that a start that waits explains itself.
		err = conn.QueryRowContext(ctx, "SELECT GET_LOCK("+name+", 1)").Scan(&got)
		if err == nil && got.Int64 == 1 {
			return func() {
				// Unlocked even when ctx has ended.
				_, _ = conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK("+name+")")
				discard(conn)
			}, nil
		}
		if err == nil && !got.Valid {
			err = errors.New("MySQL does not say who has it")
		}
		if err == nil {
			log.Info("waiting for another core to migrate")
		}
	}
	return nil, errors.Join(fmt.Errorf("wait for the lock of migrations: %w", err), conn.Close())
}
