package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"freeim/core/engines"
	"freeim/core/redis"
	"freeim/core/server"
)

func config(t *testing.T) server.Config {
	c := server.DefaultConfig()
	c.Data, c.Scripts = t.TempDir(), ""
	c.Listen = "unix:" + filepath.Join(t.TempDir(), "core.sock")
	return c
}

func start(t *testing.T, c server.Config) (*server.Server, error) {
	t.Helper()
	s, err := server.New(t.Context(), server.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s, s.Start()
}

// TestProfiles: a core starts on each profile's stores, and is ready.
func TestProfiles(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, c *server.Config)
	}{
		{"embedded", func(*testing.T, *server.Config) {}},
		{"MySQL alone", func(t *testing.T, c *server.Config) { c.MySQL.DSN = engines.Database(t) }},
		{"MySQL and Redis", func(t *testing.T, c *server.Config) {
			c.MySQL.DSN, c.Redis.Addresses = engines.Database(t), []string{engines.Redis(t).Addr()}
		}},
		{"MySQL and a Redis that is away", func(t *testing.T, c *server.Config) {
			c.MySQL.DSN, c.Redis.Addresses = engines.Database(t), []string{"127.0.0.1:1"}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := config(t)
			row.change(t, &c)
			s, err := start(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("not ready: %v", err)
			}
		})
	}
}

// TestUnsafeMySQL: acknowledgements that a power cut would take are refused at the
// start, unless somebody insists.
func TestUnsafeMySQL(t *testing.T) {
	db := engines.MariaDBWith(t, engines.MariaDBOptions{Args: []string{"--innodb-flush-log-at-trx-commit=2"}})
	dsn, err := db.CreateDatabase(t.Context(), "freeim")
	if err != nil {
		t.Fatal(err)
	}
	c := config(t)
	c.MySQL.DSN = dsn
	if _, err := start(t, c); err == nil || !strings.Contains(err.Error(), "innodb_flush_log_at_trx_commit is 2") {
		t.Errorf("got %v, want an error that names the setting", err)
	}
	c.MySQL.AllowUnsafe = true
	s, err := start(t, c)
	if err != nil {
		t.Fatalf("with allow_unsafe: %v", err)
	}
	if err := s.Durable(t.Context()); err == nil || !strings.Contains(err.Error(), "innodb_flush_log_at_trx_commit is 2") {
		t.Errorf("the running core says %v, want the setting", err)
	}
	var log bytes.Buffer
	c.Listen = "unix:" + filepath.Join(t.TempDir(), "core.sock")
	s, err = server.New(t.Context(), server.Options{Config: c, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	const said = `level=ERROR msg="ACKS ARE NOT DURABLE, and core.mysql.allow_unsafe lets it be"`
	if text := log.String(); strings.Count(text, said) != 1 || !strings.Contains(text, "innodb_flush_log_at_trx_commit is 2") {
		t.Errorf("the log says %q, want one line with %s and the setting", text, said)
	}
}

// TestRedisAlone: Redis must never be the only copy.
func TestRedisAlone(t *testing.T) {
	c := config(t)
	c.Redis = redis.Config{Addresses: []string{"127.0.0.1:1"}}
	if _, err := start(t, c); err == nil || !strings.Contains(err.Error(), "core.mysql.dsn") {
		t.Errorf("got %v", err)
	}
}
