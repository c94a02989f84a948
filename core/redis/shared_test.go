package redis_test

import (
	"errors"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/redis"

	goredis "github.com/redis/go-redis/v9"
)

// patient is long enough for a busy machine.
const patient = 10 * time.Second

func TestShared(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		ctx := t.Context()
		one, two := redis.NewShared(connect(t, redis.Options{Config: o}), patient), redis.NewShared(connect(t, redis.Options{Config: o}), patient)
		if value, ok, err := one.Get(ctx, "k"); value != "" || ok || err != nil {
			t.Errorf("nothing: got %q, %v, %v", value, ok, err)
		}
		if err := one.Set(ctx, "k", "v", time.Hour); err != nil {
			t.Fatal(err)
		}
		if value, ok, err := two.Get(ctx, "k"); value != "v" || !ok || err != nil {
			t.Errorf("got %q, %v, %v", value, ok, err)
		}
		if _, err := two.Incr(ctx, "k", 1, time.Hour); !errors.Is(err, redis.ErrNotANumber) {
			t.Errorf("got %v", err)
		}
		for i, row := range []struct{ by, want int64 }{{5, 5}, {-7, -2}, {1 << 53, 1<<53 - 2}, {2, 1 << 53}} {
			if sum, err := []*redis.Shared{one, two}[i%2].Incr(ctx, "n", row.by, time.Hour); sum != row.want || err != nil {
				t.Errorf("add %d: got %d, %v, want %d", row.by, sum, err, row.want)
			}
		}
		if _, err := one.Incr(ctx, "n", 1, time.Hour); !errors.Is(err, redis.ErrNotANumber) {
			t.Errorf("beyond 2^53: got %v", err)
		}
		if err := one.Set(ctx, "seven", "007", time.Hour); err != nil {
			t.Fatal(err)
		}
		if sum, err := two.Incr(ctx, "seven", 1, time.Minute); sum != 8 || err != nil {
			t.Errorf("zeros in front: got %d, %v", sum, err)
		}
		if err := one.Set(ctx, "brief", "1", 30*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		until(t, "a number that was added to ends", func() bool {
			_, err := two.Incr(ctx, "brief", 0, time.Hour) // does not prolong it; a new one would be 0
			value, ok, _ := one.Get(ctx, "brief")
			return err == nil && (!ok || value == "0")
		})
		v, w := "v", "w"
		for _, row := range []struct {
			key string
			old *string
			set bool
		}{{"k", nil, false}, {"k", &w, false}, {"k", &v, true}, {"none", &v, false}, {"none", nil, true}, {"none", nil, false}} {
			if set, err := two.CAS(ctx, row.key, row.old, "w", time.Hour); set != row.set || err != nil {
				t.Errorf("%+v: got %v, %v", row, set, err)
			}
		}
		if existed, err := one.Del(ctx, "k"); !existed || err != nil {
			t.Errorf("got %v, %v", existed, err)
		}
		if existed, err := two.Del(ctx, "k"); existed || err != nil {
			t.Errorf("again: got %v, %v", existed, err)
		}
		if err := one.Set(ctx, "short", "v", 30*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		until(t, "a key ends", func() bool { _, ok, err := one.Get(ctx, "short"); return !ok && err == nil })
	})
}

// Many cores mark members of one key at once, some again and otherwise: everybody counts
// once, as first said.
func TestSharedMarks(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		ctx := t.Context()
		cores := []*redis.Shared{redis.NewShared(connect(t, redis.Options{Config: o}), patient), redis.NewShared(connect(t, redis.Options{Config: o}), patient)}
		if counts, mine, err := cores[0].Marks(ctx, "poll", "1"); len(counts) != 0 || mine != "" || err != nil {
			t.Errorf("nothing: got %v, %q, %v", counts, mine, err)
		}
		var all sync.WaitGroup
		var fresh atomic.Int64
		values := []string{"yes", "no", "1"}
		for worker := range 8 {
			all.Go(func() {
				for member := range 60 {
					value := values[member%3]
					marked, is, err := cores[worker%2].Mark(ctx, "poll", strconv.Itoa(member), value, time.Hour)
					if err != nil || marked != value {
						t.Errorf("got %q, %v", marked, err)
					}
					if is {
						fresh.Add(1)
					}
					if marked, is, err = cores[worker%2].Mark(ctx, "poll", strconv.Itoa(member), "other", time.Hour); err != nil || is || marked != value {
						t.Errorf("again: got %q, %v, %v", marked, is, err)
					}
				}
			})
		}
		all.Wait()
		counts, mine, err := cores[1].Marks(ctx, "poll", "4")
		if want := map[string]int64{"yes": 20, "no": 20, "1": 20}; !maps.Equal(counts, want) || mine != "no" || err != nil || fresh.Load() != 60 {
			t.Errorf("got %v, %q, %v, %d fresh", counts, mine, err, fresh.Load())
		}
		for i := range 29 {
			if _, _, err := cores[0].Mark(ctx, "poll", "m"+strconv.Itoa(i), "v"+strconv.Itoa(i), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := cores[0].Mark(ctx, "poll", "late", "one more", time.Hour); !errors.Is(err, redis.ErrFull) {
			t.Errorf("a 33rd value: got %v", err)
		}
		if marked, is, err := cores[0].Mark(ctx, "poll", "late", "yes", time.Hour); marked != "yes" || !is || err != nil {
			t.Errorf("a value that there is: got %q, %v, %v", marked, is, err)
		}
		if existed, err := cores[1].Del(ctx, "poll"); !existed || err != nil {
			t.Errorf("got %v, %v", existed, err)
		}
		if counts, _, err := cores[0].Marks(ctx, "poll", ""); len(counts) != 0 || err != nil {
			t.Errorf("after its end: got %v, %v", counts, err)
		}
	})
}

// What stands in the way of a key is an error, or nothing.
func TestSharedInTheWay(t *testing.T) {
	server := engines.Redis(t)
	s := redis.NewShared(connect(t, redis.Options{Config: redis.Config{Addresses: []string{server.Addr()}}}), patient)
	ctx := t.Context()
	past := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer past.Close()
	if err := past.HSet(ctx, "freeim:k:{hash}", "a", "b").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Incr(ctx, "hash", 1, time.Hour); !errors.Is(err, redis.ErrNotANumber) {
		t.Errorf("a hash: got %v", err)
	}
	if set, err := s.CAS(ctx, "hash", nil, "v", time.Hour); set || err != nil {
		t.Errorf("a hash: got %v, %v", set, err)
	}
}

// Without an answer, from a server that is frozen or dead, it fails in its time, then at
// once, and works again when the server is back.
func TestSharedWithoutRedis(t *testing.T) {
	server := engines.Redis(t)
	s := redis.NewShared(connect(t, redis.Options{Config: redis.Config{Addresses: []string{server.Addr()}}}), 50*time.Millisecond)
	ctx := t.Context()
	answers := func() bool { _, _, err := s.Get(ctx, "k"); return err == nil }
	until(t, "it answers", answers)
	for _, way := range []struct{ off, on func() error }{
		{server.Pause, server.Resume},
		{server.Kill, func() error { return server.Restart(ctx) }},
	} {
		if err := way.off(); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if answers() {
				t.Error("an answer from a server that gives none")
			}
		}
		until(t, "it is not asked", func() bool {
			_, _, err := s.Mark(ctx, "m", "1", "v", time.Hour)
			return errors.Is(err, redis.ErrAway)
		})
		if err := way.on(); err != nil {
			t.Fatal(err)
		}
		until(t, "it answers again", answers)
	}
}
