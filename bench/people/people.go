// Package people files accounts and tokens for a measurement into a directory
// database that no core has open, since signing up a million people by password
// would take days. It uses the account plugin's own migrations and its table
// layout; the server knows nothing of it and checks these tokens like any other.
// bench calls Prepare before a site starts, and load workers call Token. Nobody
// prepared here can sign in: their password hash is none.
package people

import (
	"context"
	"crypto/sha256"
	stdsql "database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"freeim/core/sql"
	"freeim/plugins/account"
)

const (
	// firstUser is the user ID of the person with index 0: the plugin's first.
	firstUser = 100001
	// deviceName is the one device of everybody, of type mobile.
	deviceName, deviceType = "bench", 1
	// perStatement rows go into one INSERT, perCommit into one transaction.
	perStatement, perCommit = 100, 50_000
)

// UserID is the ID of the person with an index, from 0.
func UserID(index int) int64 { return firstUser + int64(index) }

// Token is the token of the person with an index: whoever has the seed, which is
// random for each measurement, can tell all of them.
func Token(seed string, index int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, index))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Prepare makes the directory database of a core whose data directory is data,
// with so many people in it, each signed in on one device.
func Prepare(ctx context.Context, data, seed string, people int) (err error) {
	directory, err := sql.Open(sql.Options{Path: filepath.Join(data, "directory.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() {
		if closed := directory.Close(); err == nil {
			err = closed
		}
	}()
	if err := directory.Migrate(ctx, "account", account.New().Migrations()); err != nil {
		return err
	}
	for from := 0; from < people; from += perCommit {
		to := min(from+perCommit, people)
		if err := directory.Tx(ctx, func(tx *stdsql.Tx) error { return file(ctx, tx, seed, from, to) }); err != nil {
			return fmt.Errorf("file people %d to %d: %w", from, to, err)
		}
	}
	return nil
}

// file files the people with the indices from to to-1.
func file(ctx context.Context, tx *stdsql.Tx, seed string, from, to int) error {
	// The index of tokens is filled in no order, so its pages are kept in memory.
	if _, err := tx.ExecContext(ctx, "PRAGMA cache_size = -262144"); err != nil { // KiB
		return err
	}
	const user, device = "INSERT INTO account_users (id, name, nickname, password, sign_ins, created_ms) VALUES ",
		"INSERT INTO account_devices (user_id, sign_in, device_id, device_type, name, token_hash, signed_in_ms, last_seen_ms) VALUES "
	fullUsers, err := tx.PrepareContext(ctx, user+rows("(?,?,?,?,?,?)", perStatement))
	if err != nil {
		return err
	}
	defer fullUsers.Close()
	fullDevices, err := tx.PrepareContext(ctx, device+rows("(?,?,?,?,?,?,?,?)", perStatement))
	if err != nil {
		return err
	}
	defer fullDevices.Close()
	now := time.Now().UnixMilli()
	users, devices := make([]any, 0, 6*perStatement), make([]any, 0, 8*perStatement)
	for ; from < to; from += perStatement {
		users, devices = users[:0], devices[:0]
		last := min(from+perStatement, to)
		for i := from; i < last; i++ {
			id := UserID(i)
			hash := sha256.Sum256([]byte(Token(seed, i)))
			users = append(users, id, fmt.Sprintf("bench%d", i), fmt.Sprintf("bench%d", i), "!", 1, now)
			devices = append(devices, id, 1, deviceName, deviceType, deviceName, hex.EncodeToString(hash[:]), now, now)
		}
		if last-from == perStatement {
			_, err = fullUsers.ExecContext(ctx, users...)
			if err == nil {
				_, err = fullDevices.ExecContext(ctx, devices...)
			}
		} else {
			_, err = tx.ExecContext(ctx, user+rows("(?,?,?,?,?,?)", last-from), users...)
			if err == nil {
				_, err = tx.ExecContext(ctx, device+rows("(?,?,?,?,?,?,?,?)", last-from), devices...)
			}
		}
		if err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "UPDATE account_counters SET value = ? WHERE name = 'user'", UserID(to-1))
	return err
}

func rows(row string, n int) string { return strings.TrimSuffix(strings.Repeat(row+",", n), ",") }
