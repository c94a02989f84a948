package redis_test

import (
	"testing"

	"freeim/core/engines"
	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/redis"
	"freeim/core/sql"
	"freeim/core/timeline"
	"freeim/core/timeline/timelinetest"
)

func TestTimelines(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		client := connect(t, redis.Options{Config: o})
		timelinetest.Run(t, func(t *testing.T) timelinetest.Open {
			dir := t.TempDir()
			return func(ids *im.IDGenerator) timeline.Store {
				return timelines(t, client, openRecord(t, pebble.Options{Dir: dir, IDs: ids}))
			}
		})
	})
}

// The production profile as it is: the record in a real database.
func TestTimelinesOverMySQL(t *testing.T) {
	client := connect(t, redis.Options{Config: redis.Config{Addresses: []string{engines.Redis(t).Addr()}}})
	timelinetest.Run(t, func(t *testing.T) timelinetest.Open {
		dsn := engines.Database(t)
		return func(ids *im.IDGenerator) timeline.Store {
			r, err := sql.OpenRecord(t.Context(), sql.RecordOptions{DSN: dsn, IDs: ids, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			return timelines(t, client, r)
		}
	})
}

func timelines(t testing.TB, c *redis.Client, r redis.Record) *redis.Timelines {
	t.Helper()
	s, err := redis.NewTimelines(redis.TimelinesOptions{Client: c, Record: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
