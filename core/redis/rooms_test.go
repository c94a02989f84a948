package redis_test

import (
	"slices"
	"testing"

	"freeim/core/im"
	"freeim/core/presence"
	"freeim/core/redis"

	goredis "github.com/redis/go-redis/v9"
)

// TestRoomsSpoiled: what cannot be read counts as nothing, and is overwritten.
func TestRoomsSpoiled(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		ctx := t.Context()
		r := redis.NewRooms(connect(t, redis.Options{Config: o}), presence.Leases{})
		direct := goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: o.Addresses})
		defer direct.Close()
		life := presence.Life{Edge: "edge-a", Epoch: 2}
		for name, spoil := range map[string]func(key string) error{
			"another type": func(key string) error { return direct.Set(ctx, key, "x", 0).Err() },
			"nonsense": func(key string) error {
				return direct.HSet(ctx, key, "edge-a", "nonsense", "edge-b", "9999999999999 5 5 5", "", "").Err()
			},
			"users that are none": func(key string) error {
				return direct.HSet(ctx, key, "edge-b", "9999999999999 09223372036854775809 0 1 x,y").Err()
			},
		} {
			t.Run(name, func(t *testing.T) {
				room := im.ConversationID("r_" + name)
				key := "freeim:r:{" + string(room) + "}"
				if err := spoil(key); err != nil {
					t.Fatal(err)
				}
				if lives, err := r.Edges(ctx, room); err != nil || len(lives[0]) != 0 {
					t.Errorf("got %v, %v", lives, err)
				}
				if err := r.Subscribe(ctx, room, life); err != nil {
					t.Error(err)
				}
				changes, err := r.Report(ctx, life, presence.RoomReport{Room: room, Members: 3})
				if err != nil || changes[0].After.Members != 3 {
					t.Errorf("got %+v, %v", changes, err)
				}
				if lives, err := r.Edges(ctx, room, "r_other"); err != nil || !slices.Equal(lives[0], []presence.Life{life}) {
					t.Errorf("got %v, %v", lives, err)
				}
			})
		}
	})
}
