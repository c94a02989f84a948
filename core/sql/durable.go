package sql

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"strings"
)

// NotDurable says why a commit that was answered may be lost.
type NotDurable struct {
	Problems []string // one sentence each, with the setting and what it should be
}

func (e *NotDurable) Error() string {
	return "a commit that was answered may be lost: " + strings.Join(e.Problems, "; ")
}

// Durability asks the engine whether a commit is on disk before it is answered.
// It returns a *NotDurable when it is not, and another error when the engine does
// not answer. Replication is not looked at: it is the operator's.
func (d *Directory) Durability(ctx context.Context) error {
	if d.mysql == nil {
		return nil // sqliteSettings see to it
	}
	return durability(ctx, d.db)
}

func durability(ctx context.Context, db *stdsql.DB) error {
	rows, err := db.QueryContext(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN "+
		"('innodb_flush_log_at_trx_commit', 'log_bin', 'sync_binlog', 'innodb_doublewrite', 'default_storage_engine')")
	if err != nil {
		return fmt.Errorf("read MySQL's settings: %w", err)
	}
	defer rows.Close()
	settings := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return fmt.Errorf("read MySQL's settings: %w", err)
		}
		settings[strings.ToLower(name)] = strings.ToUpper(value)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read MySQL's settings: %w", err)
	}
	if problems := risks(settings); len(problems) > 0 {
		return &NotDurable{problems}
	}
	return nil
}

// risks judges the settings, by name in lower and values in upper case. One that
// an engine does not have is taken for a risk only where it is the heart of it.
func risks(settings map[string]string) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if v, known := settings["innodb_flush_log_at_trx_commit"]; !known {
		say("the engine does not say innodb_flush_log_at_trx_commit: find out whether it flushes each commit")
	} else if v != "1" {
		say("innodb_flush_log_at_trx_commit is %s: set it to 1, or a power cut takes commits back", v)
	}
	if on(settings["log_bin"]) && settings["sync_binlog"] != "1" {
		say("sync_binlog is %s with a binary log: set it to 1, or a power cut leaves replicas and log apart", settings["sync_binlog"])
	}
	if v, known := settings["innodb_doublewrite"]; known && !on(v) {
		say("innodb_doublewrite is %s: set it to ON, or a power cut tears pages", v)
	}
	if v, known := settings["default_storage_engine"]; known && v != "INNODB" {
		say("default_storage_engine is %s: set it to InnoDB, others have no transactions", v)
	}
	return problems
}

func on(value string) bool { return value == "ON" || value == "1" || value == "DETECT_AND_RECOVER" }
