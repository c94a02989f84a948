package server

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"freeim/core/limit"
	"freeim/core/pebble"
	"freeim/core/plugin"
	"freeim/core/presence"
	"freeim/core/redis"
	"freeim/core/sql"
	"freeim/core/timeline"
	"freeim/scripts/engine"

	"github.com/prometheus/client_golang/prometheus"
)

// stores are the adapters of one profile behind the contracts.
type stores struct {
	directory *sql.Directory
	timelines timeline.Store
	registry  presence.Registry
	observed  *presence.Observed // the same
	inRooms   presence.Rooms
	limiter   func(name string, n int, per time.Duration) plugin.Limiter
	healthy   func(context.Context) error // of the timelines
	broken    func() error                // of the timelines: what only a restart mends
	unsafe    func() error                // of the timelines: why what they commit may be lost
	redis     *redis.Client               // nil without Redis
	shared    engine.Shared               // what scripts share; nil: this core is alone
}

// openStores opens the profile that the configuration names. What it opened
// before it failed is in s.stores, for Close.
func (s *Server) openStores(ctx context.Context, figures prometheus.Registerer) error {
	s.registry, s.inRooms = presence.NewMemory(), presence.NewMemoryRooms(presence.Leases{})
	s.limiter = func(_ string, n int, per time.Duration) plugin.Limiter { return limit.New(n, per, nil) }
	if s.config.MySQL.DSN == "" {
		return s.openEmbedded(figures)
	}
	if err := s.openMySQL(ctx, figures); err != nil {
		return err
	}
	if !s.config.Redis.Enabled() {
		s.log.Warn("core.redis is not set: this must be the only core of its database")
		return nil
	}
	return s.openRedis(figures)
}

// openEmbedded opens SQLite and Pebble below the data directory.
func (s *Server) openEmbedded(figures prometheus.Registerer) (err error) {
	s.directory, err = sql.Open(sql.Options{Dialect: "sqlite", Path: filepath.Join(s.config.Data, "directory.db"), Log: s.log})
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	store, err := pebble.Open(pebble.Options{
		Dir: filepath.Join(s.config.Data, "timelines"), IDs: s.ids, Log: s.log, Figures: figures})
	if err != nil {
		return fmt.Errorf("open the timelines: %w", err)
	}
	s.timelines, s.healthy, s.broken, s.unsafe = store, store.Health, store.Broken, func() error { return nil }
	return nil
}

// openMySQL opens the directory and the record in one MySQL, and refuses one that
// would make every acknowledgement a lie.
func (s *Server) openMySQL(ctx context.Context, figures prometheus.Registerer) (err error) {
	c := s.config.MySQL
	s.directory, err = sql.Open(sql.Options{Dialect: "mysql", DSN: c.DSN, Connections: c.Connections, Log: s.log})
	if err != nil {
		return fmt.Errorf("open the directory: %w", err)
	}
	if err := s.durable(ctx); err != nil {
		return err
	}
	record, err := sql.OpenRecord(ctx, sql.RecordOptions{
		DSN: c.DSN, IDs: s.ids, Log: s.log, Figures: figures, Connections: c.Connections, Doubt: s.doubt})
	if err != nil {
		return fmt.Errorf("open the message record: %w", err)
	}
	s.timelines, s.healthy, s.broken, s.unsafe = record, record.Health, func() error { return nil }, record.Unsafe
	return nil
}

// durable asserts that an acknowledged commit is on MySQL's disk.
func (s *Server) durable(ctx context.Context) error {
	err := s.directory.Durability(ctx)
	risk, risky := errors.AsType[*sql.NotDurable](err)
	switch {
	case !risky:
		return err
	case s.config.MySQL.AllowUnsafe:
		s.log.Error("ACKS ARE NOT DURABLE, and core.mysql.allow_unsafe lets it be", "problems", risk.Problems)
		return nil
	}
	return fmt.Errorf("%w: set MySQL right, or set core.mysql.allow_unsafe", err)
}

// openRedis puts Redis in front of the record, and beside it.
func (s *Server) openRedis(figures prometheus.Registerer) (err error) {
	if s.redis, err = redis.Open(redis.Options{Config: s.config.Redis, Log: s.log, Figures: figures}); err != nil {
		return fmt.Errorf("open Redis: %w", err)
	}
	hot, err := redis.NewTimelines(redis.TimelinesOptions{Client: s.redis, Record: s.timelines.(redis.Record)})
	if err != nil {
		return fmt.Errorf("open the hot timelines: %w", err)
	}
	s.timelines = hot
	s.registry, s.inRooms = redis.NewPresence(s.redis, presence.Leases{}), redis.NewRooms(s.redis, presence.Leases{})
	s.shared = shared{redis.NewShared(s.redis, 0)}
	s.limiter = func(name string, n int, per time.Duration) plugin.Limiter {
		return redis.NewLimiter(s.redis, name, n, per)
	}
	return nil
}

// doubt hears that drafts may have been committed without anybody being told:
// clients sync.
func (s *Server) doubt() {
	if links := s.links.Load(); links != nil {
		links.Resync()
	}
}

// closeStores closes what openStores has opened.
func (s *Server) closeStores() error {
	var errs []error
	if s.timelines != nil {
		errs = append(errs, s.timelines.Close())
	}
	if s.redis != nil {
		errs = append(errs, s.redis.Close())
	}
	if s.directory != nil {
		errs = append(errs, s.directory.Close())
	}
	return errors.Join(errs...)
}
