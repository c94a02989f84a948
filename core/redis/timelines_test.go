package redis_test

import (
	"testing"

	"freeim/core/im"
	"freeim/core/pebble"
	"freeim/core/redis"
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

func timelines(t testing.TB, c *redis.Client, r *record) *redis.Timelines {
	t.Helper()
	s, err := redis.NewTimelines(redis.TimelinesOptions{Client: c, Record: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
