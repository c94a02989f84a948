package plugintest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"freeim/core/engines"
	"freeim/core/pebble"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/redis"
	"freeim/core/sql"
)

// Stores is the environment variable that says which stores hosts work with:
// "production" is MySQL and Redis, started for the tests, which are skipped when
// these are not installed; else the embedded stores.
const Stores = "FREEIM_TEST_STORES"

func (h *Host) open(t testing.TB, dir string, plugins []plugin.Plugin) error {
	t.Helper()
	switch profile := os.Getenv(Stores); profile {
	case "production":
		return h.openProduction(t, dir)
	case "", "embedded":
		return h.openEmbedded(dir, plugins)
	default:
		return fmt.Errorf("%s is %q: use production or embedded", Stores, profile)
	}
}

// openEmbedded opens a SQLite file in dir, which outlives hosts but not the machine, and the rest in
// memory. That commits are durable core/sql and bench/e2e show.
func (h *Host) openEmbedded(dir string, plugins []plugin.Plugin) (err error) {
	if h.registry == nil {
		h.registry = presence.NewMemory()
	}
	path := filepath.Join(dir, "directory.db")
	if h.copied, err = migrated.copyTo(path, plugins); err != nil {
		return err
	}
	if h.directory, err = sql.Open(sql.Options{Path: path, Unsynced: true, Log: h.log}); err != nil {
		return err
	}
	h.timelines, err = pebble.Open(pebble.Options{Dir: "timelines", Memory: true, IDs: h.ids, Log: h.log,
		CacheSize: 1 << 20, MemTableSize: 1 << 20, Known: 64 << 10})
	return err
}

// openProduction opens a database of its own on the test process's MySQL, for the
// directory and the record of messages, and one on its Redis, for hot timelines
// and presence. Limits stay in memory: Redis keeps them by its own clock, which
// no test moves.
func (h *Host) openProduction(t testing.TB, dir string) (err error) {
	t.Helper()
	dsn, err := databaseOf(t, dir)
	if err != nil {
		return err
	}
	if h.directory, err = sql.Open(sql.Options{Dialect: "mysql", DSN: dsn, Log: h.log}); err != nil {
		return err
	}
	addr, number, err := cacheOf(t, dir)
	if err != nil {
		return err
	}
	if h.redis, err = redis.Open(redis.Options{Config: redis.Config{Addresses: []string{addr}, DB: number}, Log: h.log}); err != nil {
		return err
	}
	if h.registry == nil {
		h.registry = redis.NewPresence(h.redis, presence.Leases{})
	}
	record, err := sql.OpenRecord(h.ctx, sql.RecordOptions{DSN: dsn, IDs: h.ids, Log: h.log})
	if err != nil {
		return err
	}
	h.timelines, err = redis.NewTimelines(redis.TimelinesOptions{Client: h.redis, Record: record})
	if err != nil {
		return errors.Join(err, record.Close())
	}
	return nil
}

// cacheOf is databaseOf for Redis, so that hosts on one directory are cores of one site.
func cacheOf(t testing.TB, dir string) (addr string, number int, err error) {
	t.Helper()
	path := filepath.Join(dir, "redis.db")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		addr, number = engines.RedisDatabase(t)
		return addr, number, os.WriteFile(path, fmt.Appendf(nil, "%s %d", addr, number), 0o600)
	}
	if err != nil {
		return "", 0, err
	}
	_, err = fmt.Sscan(string(text), &addr, &number)
	return addr, number, err
}

// databaseOf gives the DSN of the database that belongs to dir, and makes both
// known to each other at the first time.
func databaseOf(t testing.TB, dir string) (dsn string, err error) {
	t.Helper()
	path := filepath.Join(dir, "mysql.dsn")
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return string(text), err
	}
	dsn = engines.Database(t)
	return dsn, os.WriteFile(path, []byte(dsn), 0o600)
}
