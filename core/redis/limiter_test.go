package redis_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freeim/core/engines"
	"freeim/core/redis"

	goredis "github.com/redis/go-redis/v9"
)

func TestLimiter(t *testing.T) {
	forEach(t, func(t *testing.T, o redis.Config) {
		ctx := t.Context()
		one := redis.NewLimiter(connect(t, redis.Options{Config: o}), "signing", 3, time.Hour)
		two := redis.NewLimiter(connect(t, redis.Options{Config: o}), "signing", 3, time.Hour)
		other := redis.NewLimiter(connect(t, redis.Options{Config: o}), "other", 3, time.Hour)
		for i := range 3 {
			l := []*redis.Limiter{one, two}[i%2]
			if wait := l.Wait(ctx, "a"); wait != 0 {
				t.Errorf("event %d would wait %s", i, wait)
			}
			if wait := l.Take(ctx, "a"); wait != 0 {
				t.Errorf("event %d waits %s", i, wait)
			}
		}
		const share = 20 * time.Minute
		for name, wait := range map[string]time.Duration{
			"take": two.Take(ctx, "a"), "wait": one.Wait(ctx, "a"), "with a free key": one.Take(ctx, "b", "a", "c"),
		} {
			if wait <= share-time.Minute || wait > share {
				t.Errorf("%s: got %s, want about %s", name, wait, share)
			}
		}
		if wait := other.Take(ctx, "a"); wait != 0 {
			t.Errorf("another limit's key waits %s", wait)
		}
		for i := range 3 { // the refused call gave these back
			if wait := two.Take(ctx, "b", "c"); wait != 0 {
				t.Errorf("event %d of both waits %s", i, wait)
			}
		}
		for i := range 6 { // at a rate of its own, over both
			wait := []*redis.Limiter{one, two}[i%2].TakeAt(ctx, 5, time.Hour, "own")
			if i < 5 && wait != 0 || i == 5 && (wait <= 11*time.Minute || wait > 12*time.Minute) {
				t.Errorf("event %d of 5 waits %s", i, wait)
			}
		}
		one.GiveBackAt(ctx, 5, time.Hour, "own")
		for i := range 2 {
			if wait := two.TakeAt(ctx, 5, time.Hour, "own"); (wait != 0) != (i == 1) {
				t.Errorf("one of 5 was given back: event %d waits %s", i, wait)
			}
		}
		one.TakeAt(ctx, 1, time.Hour, "changed")
		if wait := two.TakeAt(ctx, 1, time.Minute, "changed"); wait <= 0 || wait > time.Minute {
			t.Errorf("the rate has changed to one a minute: waits %s", wait)
		}
		one.TakeAt(ctx, 1, time.Hour, "faster")
		until(t, "who waits as long as the new rate has him may go on", func() bool {
			return two.TakeAt(ctx, 1, 50*time.Millisecond, "faster") == 0
		})
		one.GiveBack(ctx, "a", "b")
		if wait := two.Take(ctx, "a", "b"); wait != 0 {
			t.Errorf("after giving back: waits %s", wait)
		}
		if two.Take(ctx, "a") == 0 || two.Take(ctx, "c") == 0 {
			t.Error("more came back than was given")
		}
		two.GiveBack(ctx, "never taken")
		if wait := redis.NewLimiter(connect(t, redis.Options{Config: o}), "none", 0, time.Hour).Take(ctx, "a"); wait != 0 {
			t.Errorf("no limit: waits %s", wait)
		}
	})
}

// An event comes back after its share of the period, and a race takes no more than
// there are.
func TestLimiterInTime(t *testing.T) {
	server := engines.Redis(t)
	client := connect(t, redis.Options{Config: redis.Config{Addresses: []string{server.Addr()}}})
	ctx := t.Context()
	l := redis.NewLimiter(client, "quick", 5, time.Hour)
	var taken atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if l.Take(ctx, "a") == 0 {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 5 {
		t.Errorf("a race took %d of 5", taken.Load())
	}
	soon := redis.NewLimiter(client, "soon", 2, 200*time.Millisecond)
	for soon.Take(ctx, "a") == 0 {
	}
	until(t, "an event has come back", func() bool { return soon.Take(ctx, "a") == 0 })
	past := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer past.Close()
	until(t, "a full key is forgotten", func() bool { return past.Exists(ctx, "freeim:q:soon:{a}").Val() == 0 })
	for _, lie := range []string{"garbage", "9007199254740991", "-5", "nan", "inf", "1e300", ""} {
		past.Set(ctx, "freeim:q:quick:{b}", lie, 0)
		if wait := l.Wait(ctx, "b"); wait > 12*time.Minute {
			t.Errorf("with %q in Redis: waits %s", lie, wait)
		}
	}
	past.Del(ctx, "freeim:q:quick:{b}")
	past.LPush(ctx, "freeim:q:quick:{b}", "a list")
	if wait := l.Take(ctx, "b"); wait != 0 {
		t.Errorf("with a list in Redis: waits %s", wait)
	}
}

// Without Redis each core counts alone, and it does not wait.
func TestLimiterAlone(t *testing.T) {
	server := engines.Redis(t)
	l := redis.NewLimiter(connect(t, redis.Options{Config: redis.Config{Addresses: []string{server.Addr()}}}), "x", 2, time.Hour)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if l.Take(ctx, "a") != 0 || l.Take(ctx, "a") != 0 || l.Take(ctx, "a") == 0 || l.Wait(ctx, "a") == 0 {
		t.Error("the limit is not held without Redis")
	}
	l.GiveBack(ctx, "a")
	if wait := l.Take(ctx, "a"); wait != 0 {
		t.Errorf("after giving back: waits %s", wait)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "Redis, which knows of no event, counts again", func() bool { return l.Wait(ctx, "a") == 0 })
}
