package redis_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"freeim/core/presence"
	"freeim/core/presence/presencetest"
	"freeim/core/redis"
)

func TestPresence(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		var n atomic.Int64
		presencetest.Run(t, func(t *testing.T, l presence.Leases) presence.Registry {
			o.Prefix = fmt.Sprint("p", n.Add(1))
			return redis.NewPresence(connect(t, redis.Options{Config: o}), l)
		})
	})
}

func TestRooms(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		var n atomic.Int64
		presencetest.RunRooms(t, func(t *testing.T, l presence.Leases) presence.Rooms {
			o.Prefix = fmt.Sprint("r", n.Add(1))
			return redis.NewRooms(connect(t, redis.Options{Config: o}), l)
		})
	})
}
